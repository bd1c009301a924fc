"""J6: the levels before assignment that stand beside an effect of difference-in-differences."""

from __future__ import annotations

import numpy as np

from exp_platform.causal.did import before_and_after
from exp_platform.results.cube import Cube
from exp_platform.results.frame import Frame
from exp_platform.results.plan import AnalysisPlan
from exp_platform.stats.effect import Effect
from exp_platform.status import Method, ResultStatus


def before_columns(cube: Cube, plan: AnalysisPlan, effect: Effect, method: Method) -> Frame:
    """Each arm's level before assignment, weighted over cohort dates as the effect is; null for any other method.

    The means of a row are those after the change, so that the four levels of a row leave its effect:
    (treatment_mean − treatment_pre_mean) − (control_mean − control_pre_mean).
    """
    control, treatment = np.full(effect.lead, np.nan), np.full(effect.lead, np.nan)
    if method is Method.DID and cube.stats.did_v.shape[-1]:
        by_date = plan.is_rollout
        levels = before_and_after(
            cube.stats if by_date else cube.overall, ratio=cube.kind == "ratio", by_cohort_date=by_date
        )
        applies = effect.status != ResultStatus.NOT_APPLICABLE.value
        control, treatment = (
            np.where(applies & np.isfinite(level), level, np.nan)
            for level in (levels.control_before, levels.treatment_before)
        )
    return {"control_pre_mean": control.ravel(), "treatment_pre_mean": treatment.ravel()}
