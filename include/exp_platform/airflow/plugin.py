"""The plugin of Airflow. Every service, task and command loads it, so its pages are imported where they are shown."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

from exp_platform.airflow import notes, preload
from exp_platform.airflow.links import PAGES
from exp_platform.airflow.timetable import OnRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from fastapi import FastAPI

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@functools.cache
def _pages() -> FastAPI:
    from exp_platform.airflow.pages import build_app  # two seconds: FastAPI, memos and with them SciPy

    return build_app()


class PagesOnRequest:
    """The web app of the pages, imported by the server's first request for one of them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; the import does not keep other requests waiting."""
        await (await asyncio.to_thread(_pages))(scope, receive, send)


class ExperimentPages(AirflowPlugin):
    """The plugin: an entry in the navigation, pages that a task's buttons lead to, timetable, notes, preload."""

    name = "experiment_pages"
    fastapi_apps = [{"app": PagesOnRequest(), "url_prefix": PAGES, "name": "experiments"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {"name": "Experiments", "href": f"{PAGES}/", "destination": "nav", "url_route": "experiments"}
    ]
    timetables = [OnRequest]  # noqa: RUF012
    listeners = [notes, preload]  # noqa: RUF012
