"""A decision policy: the choices in the rules that a company may make differently."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from exp_platform.config.key_rules import suggest
from exp_platform.config.models import Model
from exp_platform.config.yaml_file import parse_yaml
from exp_platform.errors import ConfigError

FOLDER = "configs/policies"


class Policy(Model):
    """configs/policies/<name>.yaml."""

    name: str = Field(description="Equals the file's name.")
    version: int = Field(ge=1, description="Raise it with every change of the rules; each memo names it.")
    description: str = Field(description="One sentence for people.")
    ship_on: Literal["significant", "practical"] = Field(
        default="significant", description="practical: the whole interval must lie beyond the practical threshold."
    )
    guardrails: Literal["all_pass", "none_failed"] = Field(
        default="all_pass", description="none_failed: an inconclusive guardrail does not hold a ship back."
    )
    ship_with_caution: bool = Field(default=True, description="false: open doubts hold a ship back.")
    min_days: int = Field(default=0, ge=0, description="Full days since start_ts before anything ships.")
    secondaries: Literal["holm", "benjamini_hochberg"] = Field(
        default="holm",
        description="How secondary metrics are corrected: benjamini_hochberg bounds the share of false discoveries.",
    )

    untested_trends: Literal["invalid", "doubt"] = Field(
        default="invalid",
        description="doubt: a rollout whose trends before nobody can test is decided, and the doubt is named.",
    )

    @property
    def label(self) -> str:
        """`name version (fingerprint)`: two memos with the same label were decided by the same rules."""
        later = {"untested_trends"} if self.untested_trends == "invalid" else set()  # a choice that came after labels
        rules = self.model_dump(exclude={"description", *later})
        fingerprint = hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.name} v{self.version} ({fingerprint})"


DEFAULT = Policy(
    name="default",
    version=2,
    description="Ship what is significantly better and harms no guardrail; stop what harms one.",
    min_days=7,
)


def load_policy(root: Path, name: str) -> Policy:
    """The policy that a registry entry names; `default` needs no file."""
    folder = root / FOLDER
    file = folder / f"{name}.yaml"
    shown = f"{FOLDER}/{name}.yaml"
    if not file.is_file():
        if name == DEFAULT.name:
            return DEFAULT
        known = sorted({DEFAULT.name, *(f.stem for f in folder.glob("*.yaml"))})
        raise ConfigError(f"{shown}: no such policy{suggest(name, known)}; known: {', '.join(known)}")
    try:
        policy = Policy.model_validate(parse_yaml(file.read_text(encoding="utf-8"), shown))
    except ValidationError as error:
        problems = (
            f"{'.'.join(str(p) for p in e['loc'])}: found {e.get('input')!r}; {e['msg']}" for e in error.errors()
        )
        raise ConfigError("\n".join(f"{shown}: {problem}" for problem in problems)) from None
    if policy.name != name:
        raise ConfigError(f"{shown}: name: '{policy.name}' must equal the file's name '{name}'")
    return policy
