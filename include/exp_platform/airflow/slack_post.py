"""Post messages to Slack through Airflow's Slack provider and the connection `slack_default`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import URLError

from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook
from airflow.sdk.exceptions import AirflowNotFoundException
from slack_sdk.http_retry import HttpRequest, HttpResponse, RateLimitErrorRetryHandler, RetryState
from slack_sdk.http_retry.builtin_handlers import ConnectionErrorRetryHandler, ServerErrorRetryHandler

CONNECTION = "slack_default"
RETRIES = 2
TIMEOUT_SECONDS = 10
LONGEST_WAIT_SECONDS = 30  # a run does not wait longer for Slack, whatever Retry-After asks


class SlackError(Exception):
    """The message did not arrive; the error text never contains the webhook's URL, which is a secret."""


class PatientRateLimitHandler(RateLimitErrorRetryHandler):
    """Waits as long as Slack asks, unless that is longer than LONGEST_WAIT_SECONDS."""

    def _can_retry(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        if response is None or response.status_code != 429:
            return False
        asked = next((v for k, v in response.headers.items() if k.lower() == "retry-after"), ["1"])
        return asked[0].isdigit() and int(asked[0]) <= LONGEST_WAIT_SECONDS


def slack_sender(timeout: int = TIMEOUT_SECONDS) -> Callable[[Mapping[str, Any]], None] | None:
    """A function `send(payload)`, which raises when the message did not arrive; None without a connection."""
    hook = SlackWebhookHook(
        slack_webhook_conn_id=CONNECTION,
        timeout=timeout,
        retry_handlers=[
            PatientRateLimitHandler(max_retry_count=RETRIES),
            ServerErrorRetryHandler(max_retry_count=RETRIES),
            ConnectionErrorRetryHandler(
                max_retry_count=RETRIES, error_types=[URLError, TimeoutError, ConnectionError, HTTPException]
            ),
        ],
    )
    try:
        client = hook.client
    except (AirflowNotFoundException, ValueError):
        return None

    def send(payload: Mapping[str, Any]) -> None:
        try:
            answer = client.send_dict(dict(payload))
        except TimeoutError:
            raise SlackError(f"no answer within {timeout} s") from None
        except URLError as error:
            raise SlackError(f"no connection: {error.reason}") from None
        except (OSError, HTTPException) as error:
            raise SlackError(f"the connection broke: {type(error).__name__}") from None
        if answer.status_code != 200:
            raise SlackError(f"Slack answered {answer.status_code}: {str(answer.body)[:200]}")

    return send
