"""A small experiment, drawn once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from exp_platform.config.load import Project
from exp_platform.synth.frames import DrawnWorld, Frames, draw
from exp_platform.synth.generate import plan_of
from exp_platform.synth.generation import SynthPlan

USERS, DAYS = 3000, 14


@pytest.fixture(scope="session")
def plan(session_project: Project) -> SynthPlan:
    """3,000 users over 14 days: exposure 0.8, conversion 0.10 to 0.20, orders dearer by a tenth, pages slower."""
    shipped = plan_of(session_project, "exp_checkout_button_001")
    scenario = shipped.scenario.model_copy(
        update={
            "days": DAYS,
            "n_users": USERS,
            "exposure_rate": 0.8,
            "effect_lift_conversion": 0.10,
            "effect_lift_revenue": 0.10,
            "effect_lift_latency": 0.05,
            "effect_lift_refunds": 0.20,
        }
    )
    end = shipped.experiment.start_ts + timedelta(days=DAYS)
    return replace(shipped, scenario=scenario, experiment=shipped.experiment.model_copy(update={"end_ts": end}))


@pytest.fixture(scope="session")
def world(spark: Any, plan: SynthPlan) -> DrawnWorld:
    """The healthy data of the plan, computed once."""
    drawn = draw(spark, plan)
    frames = Frames(**{name: frame.persist() for name, frame in drawn.frames.present().items()})
    return DrawnWorld(drawn.users.persist(), drawn.candidates.persist(), frames)


@pytest.fixture(scope="session")
def rows(world: DrawnWorld) -> Callable[[str], pd.DataFrame]:
    """A dataset, the users or the candidates as pandas."""
    found = world.frames.present() | {"users": world.users, "candidates": world.candidates}
    collected: dict[str, pd.DataFrame] = {}

    def get(name: str) -> pd.DataFrame:
        if name not in collected:
            collected[name] = found[name].toArrow().to_pandas()
        return collected[name].copy()

    return get
