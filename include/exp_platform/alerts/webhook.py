"""Post messages to a Slack webhook by the standard library alone."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

ATTEMPTS = 3
TIMEOUT_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 30.0  # a run does not wait longer for Slack, whatever Retry-After asks


class SendError(Exception):
    """The message did not arrive; the error text never contains the webhook's URL, which is a secret."""


def webhook(
    url: str,
    *,
    attempts: int = ATTEMPTS,
    timeout: float = TIMEOUT_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> Callable[[Mapping[str, Any]], None]:
    """A `send(payload)` that tries again after 429, 5xx, time-outs and refused connections.

    After 429 it waits as long as Retry-After says.
    """

    def send(payload: Mapping[str, Any]) -> None:
        for attempt in range(1, attempts + 1):
            problem, wait = _post(url, payload, timeout)
            if problem is None:
                return
            if wait is None or wait > LONGEST_WAIT_SECONDS or attempt == attempts:
                raise SendError(f"{problem} (attempt {attempt} of {attempts})")
            sleep(wait if wait > 0 else float(2 ** (attempt - 1)))

    return send


def _post(url: str, payload: Mapping[str, Any], timeout: float) -> tuple[str | None, float | None]:
    """Post once; return the problem, or None, and the seconds to wait before another try, or None for no other try."""
    try:
        request = urllib.request.Request(  # noqa: S310  the address is a secret of the person who runs this
            url, data=json.dumps(payload).encode(), headers={"Content-Type": "application/json"}, method="POST"
        )
        if request.type not in ("http", "https"):
            return "the webhook's URL must begin with https://", None
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310  the address is a secret of the person who runs this
            answer.read()
        return None, None
    except urllib.error.HTTPError as error:
        said = error.read(200).decode("utf-8", "replace").strip()
        problem = f"Slack answered {error.code}{': ' + said if said else ''}"
        if error.code == 429:
            return problem, _retry_after(error.headers.get("Retry-After"))
        return problem, 0.0 if error.code >= 500 else None
    except TimeoutError:
        return f"no answer within {timeout:g} s", 0.0
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            return f"no answer within {timeout:g} s", 0.0
        return f"no connection: {error.reason}", 0.0
    except (OSError, http.client.HTTPException) as error:
        return f"the connection broke: {type(error).__name__}", 0.0
    except ValueError:
        return "the webhook's URL is not a URL", None


def _retry_after(value: str | None) -> float:
    try:
        return max(float(value or 1), 0.001)
    except ValueError:
        return 1.0
