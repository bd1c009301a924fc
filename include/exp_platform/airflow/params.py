"""The typed parameters of `experiment_analysis`: they make the trigger form and refuse a bad conf."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml
from airflow.sdk import Param
from jsonschema import FormatChecker

_ADVANCED = "Rarely needed"  # "Advanced Options" is Airflow's own
_ONE_FAULT = r"[a-z_]+(:[0-9.]+(:[0-9,]+)?)?"
# A refusal shows the name of the format, where it would show the expression of a pattern.
FAULT = "fault such as bots or broken_exposure_logging:0.3"
FIELDS = (
    "experiment_id",
    "dt",
    "generate_synth",
    "full_refresh",
    "config",
    "analysis_mode",
    "fault",
    "seed",
)


def _is_fault(text: object) -> bool:
    """True for one fault or several, as `NAME[:SIZE[:DAYS]]`; other types than text are refused by the type."""
    return not isinstance(text, str) or re.fullmatch(rf"{_ONE_FAULT}( {_ONE_FAULT})*", text) is not None


FormatChecker.checkers[FAULT] = (_is_fault, ())  # where the plugin is not loaded, the run's first task refuses


def default_config(root: Path) -> str:
    """The profile of $EXP_CONFIG, else configs/dev.yaml."""
    return os.environ.get("EXP_CONFIG") or str(Path("configs") / "dev.yaml")


def known_experiments(root: Path) -> list[str]:
    """Experiment ids that a run may name: the registry's file names and the scenarios of every profile, unvalidated."""
    found = {file.stem for file in (root / "configs" / "experiments").glob("*.y*ml")}
    for profile in {root / default_config(root), *(root / "configs").glob("*.yaml")}:
        found |= set(_scenarios(profile))
    return sorted(found)


def _scenarios(profile: Path) -> list[str]:
    try:
        content = yaml.load(profile.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  the safe loader, in C where there is one
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return []  # the first task of a run that uses this profile says what is wrong with it
    scenarios = content.get("experiments") if isinstance(content, dict) else None
    return [str(name) for name in scenarios] if isinstance(scenarios, dict) else []


def analysis_params(root: Path) -> dict[str, Param]:
    """The fields of the form; those that are rarely needed are folded."""
    return {
        "experiment_id": Param(
            title="Experiment",
            description="Its file in configs/experiments, or a scenario of the profile. A new file is offered here "
            "half a minute after it was written.",
            # Null is no choice, as it is not in the list; with "string" alone the form would open with an error.
            type=["string", "null"],
            enum=known_experiments(root),
        ),
        "dt": Param(
            None,
            title="As-of date",
            description="Events before the end of this day (UTC) count. Empty: yesterday, or the last day with raw "
            "data if that is earlier.",
            type=["null", "string"],
            format="date",
            minLength=10,
            maxLength=10,
        ),
        "generate_synth": Param(
            False,
            title="Generate synthetic data first",
            description="Writes the raw events of the profile's scenario. Refused where the profile is not synthetic.",
            type="boolean",
        ),
        "full_refresh": _advanced(
            False,
            "Full refresh",
            "Computes everything again instead of reusing rows of earlier runs.",
            type="boolean",
        ),
        "config": config_param(root),
        "analysis_mode": _advanced(
            None,
            "Analysis mode",
            "Only to override the registry's mode for this run; the mode is recorded with the results.",
            type=["null", "string"],
            enum=["itt", "exposed", None],
            values_display={
                "null": "as registered",
                "itt": "itt: everybody assigned",
                "exposed": "exposed: those who saw it",
            },
        ),
        "fault": _advanced(
            None,
            "Fault to generate",
            "Only with synthetic data: what shall be wrong with it, as NAME[:SIZE[:DAYS]], for example "
            "broken_exposure_logging:0.3; several with spaces between them.",
            type=["null", "string"],
            format=FAULT,
        ),
        "seed": _advanced(
            None, "Seed", "Only with synthetic data; empty: the scenario's.", type=["null", "integer"], minimum=0
        ),
    }


def config_param(root: Path) -> Param:
    """The field for the profile that a run uses."""
    return _advanced(default_config(root), "Profile", "A file in configs/.", type="string", minLength=1)


def _advanced(default: Any, title: str, description: str, **schema: Any) -> Param:
    return Param(default, title=title, description=description, section=_ADVANCED, **schema)
