"""Pages of Airflow's own server, behind its login, that show memos and data docs."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from airflow.api_fastapi.core_api.security import get_user
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from exp_platform.airflow import notes
from exp_platform.airflow.links import PAGES
from exp_platform.airflow.timetable import OnRequest
from exp_platform.config.load import load_project

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Experiments</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
td,th{{text-align:left;padding:.3rem 1.5rem .3rem 0}}</style>
<h1>Experiments</h1>{body}
<p><a href="{pages}/docs/">Data docs</a>: what the contracts check, and how the latest checks went.</p>
</html>"""


def folders() -> tuple[Path, Path]:
    """The folders of memos and of data docs."""
    project = load_project()
    return Path(project.resolve(project.profile.memo_dir)), Path(project.resolve(project.profile.docs_dir))


def inside(folder: Path, name: str) -> Path | None:
    """The file of that name, when it exists below the folder; else None."""
    file = (folder / name).resolve()
    return file if file.is_file() and file.is_relative_to(folder.resolve()) else None


def list_memos(memos: Path) -> str:
    """An HTML table with one row per memo, the latest first."""
    files = sorted(memos.glob("*.html"), key=lambda file: file.stat().st_mtime, reverse=True)
    if not files:
        return "<p>No memo yet: trigger <code>experiment_analysis</code>.</p>"
    rows = "".join(
        f'<tr><td><a href="{PAGES}/memos/{html.escape(file.name)}">{html.escape(file.stem)}</a></td>'
        + "".join(f"<td>{html.escape(word)}</td>" for word in _summary(file.with_suffix(".json")))
        + f"<td>{datetime.fromtimestamp(file.stat().st_mtime, UTC):%Y-%m-%d %H:%M} UTC</td></tr>"
        for file in files
    )
    heads = "".join(f"<th>{head}</th>" for head in ("Memo", "Decision", "Trust", "As of", "Written"))
    return f"<table><tr>{heads}</tr>{rows}</table>"


def _summary(file: Path) -> tuple[str, str, str]:
    """Decision, trust and dt of a memo; a blocked memo is marked, because its numbers are old."""
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    answer = content.get("answer") or {}
    blocked = f" (blocked since {content['blocked']['since']})" if content.get("blocked") else ""
    decision = f"{answer.get('decision_label', '–')}{blocked}"
    return decision, answer.get("trust_label", "–"), content.get("dt") or "–"


def build_app(where: Callable[[], tuple[Path, Path]] = folders) -> FastAPI:
    """The web app with the pages; each page requires Airflow's login."""
    app = FastAPI(title="Experiments", dependencies=[Depends(get_user)], docs_url=None, redoc_url=None)

    @app.get("/")
    def index() -> HTMLResponse:
        return HTMLResponse(_PAGE.format(body=list_memos(where()[0]), pages=PAGES))

    @app.get("/memos/{name:path}")
    def memo(name: str) -> Response:
        of_a_day = "/" in name and inside(where()[0], name) is None  # not written yet: the latest memo is shown
        shown = f"{name.split('/')[0]}.html" if of_a_day else name
        return _serve(where()[0], shown, f"no memo {name}: the stage write_memo has not run for it")

    @app.get("/docs/{name:path}")
    def docs(name: str) -> Response:
        if not name:
            return RedirectResponse(f"{PAGES}/docs/index.html")
        return _serve(where()[1], name, "no data docs: build them with `make docs`")

    return app


def _serve(folder: Path, name: str, otherwise: str) -> Response:
    file = inside(folder, name)
    if file is None:
        raise HTTPException(404, otherwise)
    return FileResponse(file)


class ExperimentPages(AirflowPlugin):
    """The plugin: an entry in the navigation, pages that a task's buttons lead to, timetable and notes of runs."""

    name = "experiment_pages"
    fastapi_apps = [{"app": build_app(), "url_prefix": PAGES, "name": "experiments"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {"name": "Experiments", "href": f"{PAGES}/", "destination": "nav", "url_route": "experiments"}
    ]
    timetables = [OnRequest]  # noqa: RUF012
    listeners = [notes]  # noqa: RUF012
