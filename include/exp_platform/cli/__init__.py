"""The `exp` command: run, look at and reproduce experiments by hand."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

from exp_platform.errors import ExpError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, rich_markup_mode=None)
# A pipe has no width, and rich would cut numbers off at 80 characters.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
problems = Console(stderr=True, highlight=False)

CONFIG = typer.Option(None, "--config", help="Profile; default $EXP_CONFIG, else configs/dev.yaml.")


def for_people(command: Callable[..., Any]) -> Callable[..., Any]:
    """End a command that raises one of our own errors with its sentence and exit code, instead of a traceback."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ExpError as error:
            problems.print(str(error), markup=False, soft_wrap=True)
            raise typer.Exit(error.exit_code) from None

    return wrapped


# Each of these adds its commands to `app`.
from exp_platform.cli import (  # noqa: E402
    act,  # noqa: F401
    canary,  # noqa: F401
    compare,  # noqa: F401
    diff,  # noqa: F401
    doctor,  # noqa: F401
    look,  # noqa: F401
    mapping,  # noqa: F401
    plan,  # noqa: F401
    show,  # noqa: F401
    validate,  # noqa: F401
)
