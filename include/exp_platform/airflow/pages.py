"""Pages of Airflow's own server, behind its login, that show memos and data docs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from markupsafe import Markup

from exp_platform.airflow.links import PAGES
from exp_platform.config.load import load_project
from exp_platform.errors import ExpError
from exp_platform.lake.store_path import Folder, StorePath, page_folder
from exp_platform.memo.index.page import page
from exp_platform.memo.index.store import Registered, read_index, registered

_DOCS = Markup('<a href="{}/docs/">Data docs</a>: what the contracts check, and how the latest checks went.').format(
    PAGES
)


def folders() -> tuple[Folder, Folder]:
    """The folders of memos and of data docs."""
    project = load_project(only=())
    return page_folder(project, project.profile.memo_dir), page_folder(project, project.profile.docs_dir)


def inside(folder: Folder, name: str) -> Folder | None:
    """The file of that name, when it exists below the folder; else None."""
    if isinstance(folder, StorePath):
        plain = all(part not in ("", ".", "..") for part in name.split("/"))
        return folder / name if plain and (folder / name).is_file() else None
    file = (folder / name).resolve()
    return file if file.is_file() and file.is_relative_to(folder.resolve()) else None


def registry() -> tuple[Registered, ...]:
    """Every experiment of the registry, those without a memo included."""
    return registered(load_project())


def index_page(memos: Folder, experiments: tuple[Registered, ...], today: date) -> str:
    """The index of all experiments as of now, with links to memos on this server."""
    return page(read_index(memos, experiments), today, memos=f"{PAGES}/memos/", more=_DOCS)


def build_app(
    where: Callable[[], tuple[Folder, Folder]] = folders,
    experiments: Callable[[], tuple[Registered, ...]] = registry,
) -> FastAPI:
    """The web app with the pages; each page requires Airflow's login."""
    app = FastAPI(title="Experiments", dependencies=[Depends(get_user)], docs_url=None, redoc_url=None)

    @app.exception_handler(ExpError)
    def unavailable(request: Request, error: ExpError) -> Response:
        return JSONResponse({"detail": str(error)}, 503)

    @app.get("/")
    def index() -> HTMLResponse:
        return HTMLResponse(index_page(where()[0], experiments(), datetime.now(UTC).date()))

    @app.get("/memos/{name:path}")
    def memo(name: str) -> Response:
        of_a_day = "/" in name and inside(where()[0], name) is None  # not written yet: the latest memo is shown
        shown = f"{name.split('/')[0]}.html" if of_a_day else name
        return _serve(where()[0], shown, f"no memo {name}: the stage write_memo has not run for it")

    @app.get("/docs/{name:path}")
    def docs(name: str) -> Response:
        if not name:
            return RedirectResponse(f"{PAGES}/docs/index.html")
        return _serve(where()[1], name, "no data docs: the first run writes them, `make docs` writes them anew")

    return app


def _serve(folder: Folder, name: str, otherwise: str) -> Response:
    file = inside(folder, name)
    if file is None:
        raise HTTPException(404, otherwise)
    if isinstance(file, StorePath):
        return Response(file.read_bytes(), media_type=file.media_type)
    return FileResponse(file)
