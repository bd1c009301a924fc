"""The faults that the generator knows: name -> the function that does it, the check that must fire, the usual size."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from exp_platform.config.key_rules import suggest
from exp_platform.config.models import Fault
from exp_platform.errors import ConfigError
from exp_platform.synth import fault_files, fault_rows
from exp_platform.synth.fault_files import FileFault
from exp_platform.synth.fault_rows import RowFault
from exp_platform.synth.folder import Folder
from exp_platform.synth.frames import Frames
from exp_platform.synth.generation import SynthPlan


@dataclass(frozen=True)
class FaultKind:
    """One kind of fault, which changes rows before they are written or files after."""

    own_check: str  # the check that must fire; `unchanged`: none may, and results must equal those of healthy data
    size: float  # the default size, a share of users, rows or files
    rows: RowFault | None = None
    files: FileFault | None = None
    days: Callable[[SynthPlan], tuple[int, ...]] = lambda plan: ()  # the default days; empty: every day
    breaks_contract: bool = False

    @property
    def what(self) -> str:
        """The fault in one sentence: the first line of its function's docstring."""
        return ((self.rows or self.files).__doc__ or "").split("\n")[0]


def _middle_day(plan: SynthPlan) -> tuple[int, ...]:
    return (plan.scenario.days // 2,)


def _two_middle_days(plan: SynthPlan) -> tuple[int, ...]:
    middle = plan.scenario.days // 2
    return tuple(day for day in (middle, middle + 1) if day < plan.scenario.days)


FAULTS: dict[str, FaultKind] = {
    "broken_exposure_logging": FaultKind(
        "exposure_logging", 0.5, fault_rows.broken_exposure_logging, days=_two_middle_days
    ),
    "pre_assignment_exposure": FaultKind("pre_assignment_exposure", 0.2, fault_rows.pre_assignment_exposure),
    "variant_mismatch": FaultKind("variant_mismatch", 0.2, fault_rows.variant_mismatch),
    "multi_variation_exposure": FaultKind("multi_variation_exposure", 0.2, fault_rows.multi_variation_exposure),
    "late_exposure": FaultKind("exposure_outside_window", 0.2, fault_rows.late_exposure),
    "srm": FaultKind("srm", 0.2, fault_rows.srm),
    "duplicate_events": FaultKind("unchanged", 0.2, fault_rows.duplicate_events),
    "missing_day": FaultKind("outcome_volume", 1.0, fault_rows.missing_day, days=_middle_day),
    "bots": FaultKind("outliers", 0.0005, fault_rows.bots),
    "null_user_ids": FaultKind("contract", 0.01, fault_rows.null_user_ids, breaks_contract=True),
    "unknown_variant": FaultKind("contract", 0.01, fault_rows.unknown_variant, breaks_contract=True),
    "schema_drift": FaultKind("contract", 1.0, files=fault_files.schema_drift, breaks_contract=True),
    "schema_drift_type": FaultKind("contract", 1.0, files=fault_files.schema_drift_type, breaks_contract=True),
    "schema_drift_extra": FaultKind("unchanged", 1.0, files=fault_files.schema_drift_extra, breaks_contract=True),
    "out_of_order_timestamps": FaultKind("unchanged", 0.2, fault_rows.out_of_order_timestamps),
    "timezone_shift": FaultKind("pre_assignment_exposure", 0.2, fault_rows.timezone_shift),
    "clock_skew": FaultKind("pre_assignment_exposure", 0.5, fault_rows.clock_skew),
    "empty_dataset": FaultKind("contract", 1.0, files=fault_files.empty_dataset, breaks_contract=True),
    "corrupt_parquet": FaultKind("contract", 0.05, files=fault_files.corrupt_parquet, breaks_contract=True),
    "non_parallel_pre_period": FaultKind("pretrends", 0.5, fault_rows.non_parallel_pre_period),
    "reused_user_ids_across_experiments": FaultKind("unchanged", 0.5, fault_rows.reused_user_ids_across_experiments),
}


def parse_fault(text: str) -> Fault:
    """Parse a fault written as `NAME[:SIZE[:DAYS]]`, for example `missing_day:1.0:10,12-14`."""
    name, *rest = text.split(":")
    if len(rest) > 2:
        raise ConfigError(f"--fault {text}: expected NAME[:SIZE[:DAYS]], for example srm:0.1 or missing_day:1:10,12-14")
    content: dict[str, object] = {"name": _known(name)}
    try:
        if rest and rest[0]:
            content["size"] = float(rest[0])
        if len(rest) == 2:
            content["days"] = _parse_days(rest[1])
    except ValueError:
        raise ConfigError(
            f"--fault {text}: SIZE is a share such as 0.2, DAYS are numbers such as 3,5-7 (0 is the first day)"
        ) from None
    return Fault.model_validate(content)


def _parse_days(text: str) -> tuple[int, ...]:
    days: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        days.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(days))


def _known(name: str) -> str:
    if name not in FAULTS:
        raise ConfigError(f"fault '{name}' not found{suggest(name, FAULTS)}; known: {', '.join(FAULTS)}")
    return name


def resolve_faults(faults: Iterable[Fault], plan: SynthPlan) -> tuple[Fault, ...]:
    """The faults with default sizes and days filled in; a size or day out of range is an error."""
    resolved = []
    for fault in faults:
        kind = FAULTS[_known(fault.name)]
        size = fault.size if "size" in fault.model_fields_set else kind.size
        days = fault.days or kind.days(plan)
        if not 0 <= size <= 1:
            raise ConfigError(f"fault {fault.name}: size: found {size}, must be a share from 0 to 1")
        if any(not 0 <= day < plan.scenario.days for day in days):
            raise ConfigError(f"fault {fault.name}: days: found {list(days)}, must be 0 to {plan.scenario.days - 1}")
        resolved.append(Fault(name=fault.name, size=size, days=days))
    return tuple(resolved)


def apply_to_rows(frames: Frames, plan: SynthPlan) -> Frames:
    """Apply the plan's faults of rows to the frames, in order."""
    for fault in plan.faults:
        change = FAULTS[fault.name].rows
        if change is not None:
            frames = change(frames, fault.size, fault.days, plan)
    return frames


def apply_to_files(folder: Folder, plan: SynthPlan) -> None:
    """Apply the plan's faults of files to the written folder, in order."""
    for fault in plan.faults:
        change = FAULTS[fault.name].files
        if change is not None:
            change(folder, fault.size, fault.days, plan)


def breaks_contract(plan: SynthPlan) -> bool:
    """True when a fault of the plan makes the written data break their contract."""
    return any(FAULTS[fault.name].breaks_contract for fault in plan.faults)
