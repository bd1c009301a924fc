"""Render the memo's content as Markdown, HTML and JSON; text from configuration or data is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from exp_platform.config.models.metric_types import TYPES
from exp_platform.memo import words
from exp_platform.memo.exposure import shown as by_exposure
from exp_platform.memo.forest import axis_limit, forest_svg


def to_json(content: Mapping[str, Any]) -> str:
    """The content as JSON with sorted keys and without NaN."""
    return json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def to_markdown(content: Mapping[str, Any]) -> str:
    """The content as Markdown, for a repository, a mail or a terminal."""
    return _environment(autoescape=False, finalize=_plain).get_template("memo.md.j2").render(content) + "\n"


def to_html(content: Mapping[str, Any]) -> str:
    """The content as one HTML file that includes its style and pictures."""
    environment = _environment(autoescape=True, finalize=None)
    return environment.get_template("memo.html.j2").render(content, style=Markup(_template("memo.css"))) + "\n"


def _environment(*, autoescape: bool, finalize: Any) -> Environment:
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    environment.filters |= {
        "number": words.number,
        "percent": words.percent,
        "p": words.p_value,
        "pis": words.p_is,
        "md": words.markdown,
        "effect": shown_effect,
        "interval": shown_interval,
        "relative": relative_effect,
        "level": lambda value, row: words.level(_is_share(row), value),
        "by_exposure": by_exposure,
        "level_of": level_of,
        "change": lambda value, row: words.effect(_is_share(row), value, "absolute"),
        "sentence": words.sentence,
        "harm": lambda value, row: words.harm(value, row["margin_kind"]),
    }
    environment.globals |= {
        "forest": _forest,
        "axis": _axis,
        "harm_forest": _harm_forest,
        "delta_forest": _delta_forest,
        "delta_axis": _delta_axis,
    }
    return environment


def _template(name: str) -> str:
    return resources.files("exp_platform.memo").joinpath("templates", name).read_text(encoding="utf-8")


def shown_effect(row: Mapping[str, Any]) -> str:
    """The effect of a result on its deciding scale, as text."""
    return words.effect(_is_share(row), row["effect"], row["scale"])


def shown_interval(row: Mapping[str, Any]) -> str:
    """The interval in force of a result on its deciding scale, as text."""
    return words.interval(_is_share(row), row["low"], row["high"], row["scale"])


def level_of(row: Mapping[str, Any], arm: str) -> str:
    """The level of `control` or `treatment` in a result; of difference-in-differences before and after the change."""
    before, after = row[f"{arm}_pre_mean"], words.level(_is_share(row), row[f"{arm}_mean"])
    return after if before is None else f"{words.level(_is_share(row), before)} → {after}"


def relative_effect(row: Mapping[str, Any]) -> str:
    """The relative effect of a result with its interval in force, as text."""
    if row["effect_rel"] is None:
        return "–"
    shown = words.effect(_is_share(row), row["effect_rel"], "relative")
    return f"{shown} ({words.interval(_is_share(row), row['rel_low'], row['rel_high'], 'relative')})"


def _forest(row: Mapping[str, Any], limit: float) -> Markup:
    """Draw the relative interval of one result; relative, because metrics of different units share the axis."""
    label = f"{row['metric']}, {row['arm']}: {relative_effect(row)}, {row['tone']}"
    threshold = row["practical_threshold"] if row["scale"] == "relative" else 0.0
    return Markup(
        forest_svg(
            row["effect_rel"],
            row["rel_low"],
            row["rel_high"],
            limit,
            tone=row["tone"],
            label=label,
            threshold=threshold,
        )
    )


def _axis(rows: list[Mapping[str, Any]]) -> float:
    return axis_limit([(row["rel_low"], row["rel_high"]) for row in rows])


def _harm_forest(row: Mapping[str, Any]) -> Markup:
    """Draw a guardrail's harm with its interval and its margin; each guardrail has its own axis."""
    limit = axis_limit([(row["harm_low"], row["bound"])])
    kind = row["margin_kind"]
    label = f"harm {words.harm(row['harm'], kind)}, at most {words.harm(row['bound'], kind)}"
    tone = {"pass": "better", "fail": "worse"}.get(row["status"], "unclear")
    reach = max(limit, 1.3 * row["margin"])
    return Markup(
        forest_svg(row["harm"], row["harm_low"], row["bound"], reach, tone=tone, label=label, margin=row["margin"])
    )


def _delta_forest(row: Mapping[str, Any], limit: float) -> Markup:
    label = f"day {row['relative_day']}: difference {words.number(row['delta'])}"
    return Markup(forest_svg(row["delta"], row["ci_low"], row["ci_high"], limit, tone="unclear", label=label))


def _delta_axis(rows: list[Mapping[str, Any]]) -> float:
    return axis_limit([(row["ci_low"], row["ci_high"]) for row in rows])


def _is_share(row: Mapping[str, Any]) -> bool:
    return TYPES[row["type"]].estimand == "binary"


def _plain(value: Any) -> Any:
    return "–" if value is None else value
