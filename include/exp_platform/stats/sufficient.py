"""The record that every inference reads: sums over units, mergeable by addition, vectorised over any leading axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SufficientStatistics:
    """Sums over the units of one metric in one arm; with leading axes, of many arms, segments or days at once.

    A scalar statistic has shape `lead`; a covariate vector `lead + (k,)`; a cross-product matrix `lead + (k, k)`.
    For a ratio, `y` is the numerator and `d` the denominator; otherwise `d`, `dd`, `yd`, `dx` are zero and unused.
    Difference-in-differences keeps moments of its own, because it looks at mature units only and its pre-period has
    the length of the metric's window: `v` is (y, pre_y), for a ratio (y, d, pre_y, pre_d).
    """

    n: Array  # units with a value
    n_null: Array  # included units left out of the metric (no value, immature, or window not yet open)
    y: Array  # Σ y
    yy: Array  # Σ y²
    yyy: Array  # Σ y³, for the skewness check
    x: Array  # Σ x_j, lead + (k,)
    xx: Array  # Σ x_i x_j, lead + (k, k)
    xy: Array  # Σ x_j y, lead + (k,)
    d: Array  # Σ d
    dd: Array  # Σ d²
    yd: Array  # Σ y d
    dx: Array  # Σ x_j d, lead + (k,)
    did_n: Array  # mature units with both periods
    did_v: Array  # Σ v_i, lead + (m,)
    did_vv: Array  # Σ v_i v_j, lead + (m, m)

    @classmethod
    def zeros(cls, lead: tuple[int, ...] = (), k: int = 0, m: int = 0) -> SufficientStatistics:
        """No units at all, with room for k covariates and m difference-in-differences variables."""
        trailing = {"x": (k,), "xx": (k, k), "xy": (k,), "dx": (k,), "did_v": (m,), "did_vv": (m, m)}
        return cls(**{f.name: np.zeros(lead + trailing.get(f.name, ())) for f in fields(cls)})

    @classmethod
    def from_units(
        cls,
        y: Any,
        *,
        x: Any | None = None,
        d: Any | None = None,
        v: Any | None = None,
    ) -> SufficientStatistics:
        """Sums of one arm from unit rows: y (n,), x (n, k), d (n,), v (n, m). NaN in y counts as null."""
        y_all = np.asarray(y, dtype=float)
        keep = ~np.isnan(y_all)
        y_ = y_all[keep]
        x_all = np.zeros((len(y_all), 0)) if x is None else np.asarray(x, dtype=float)
        x_ = (x_all[:, None] if x_all.ndim == 1 else x_all)[keep]
        d_ = np.zeros(len(y_)) if d is None else np.asarray(d, dtype=float)[keep]
        v_ = np.zeros((0, 0)) if v is None else np.asarray(v, dtype=float)
        as_array = np.asarray
        return cls(
            n=as_array(float(len(y_))),
            n_null=as_array(float(len(y_all) - len(y_))),
            y=as_array(y_.sum()),
            yy=as_array((y_**2).sum()),
            yyy=as_array((y_**3).sum()),
            x=x_.sum(axis=0),
            xx=x_.T @ x_,
            xy=x_.T @ y_,
            d=as_array(d_.sum()),
            dd=as_array((d_**2).sum()),
            yd=as_array((y_ * d_).sum()),
            dx=x_.T @ d_,
            did_n=as_array(float(len(v_))),
            did_v=v_.sum(axis=0),
            did_vv=v_.T @ v_,
        )

    @classmethod
    def stack(cls, parts: Sequence[SufficientStatistics]) -> SufficientStatistics:
        """Put records of one shape on a new first axis: the arms of an experiment, control first."""
        return cls(**{f.name: np.stack([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    @property
    def k(self) -> int:
        """Number of covariates."""
        return int(self.x.shape[-1])

    @property
    def lead(self) -> tuple[int, ...]:
        """Shape of the leading axes."""
        return self.n.shape

    def __add__(self, other: SufficientStatistics) -> SufficientStatistics:
        return SufficientStatistics(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    def sum(self, axis: int = 0) -> SufficientStatistics:
        """Merge along one of the leading axes (counted from the left)."""
        axis = axis if axis >= 0 else axis + len(self.lead)
        with np.errstate(all="ignore"):  # sums that are infinite merge to null, which the estimators name
            return SufficientStatistics(**{f.name: getattr(self, f.name).sum(axis=axis) for f in fields(self)})

    def sum_with(self, rest: SufficientStatistics, axis: int = 0) -> SufficientStatistics:
        """Merge along a leading axis where `rest` is what rounding took from each sum: each total is rounded once.

        Such a total does not depend on how the units were split: days, cohort dates or one group give one result.
        """
        names = [f.name for f in fields(self)]
        return SufficientStatistics(**{n: merged(getattr(self, n), getattr(rest, n), axis) for n in names})

    def __getitem__(self, index: Any) -> SufficientStatistics:
        """Index the leading axes."""
        return SufficientStatistics(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def select_covariates(self, index: list[int]) -> SufficientStatistics:
        """Keep some of the covariates."""
        return replace(
            self,
            x=self.x[..., index],
            xx=self.xx[..., index, :][..., index],
            xy=self.xy[..., index],
            dx=self.dx[..., index],
        )


def merged(numbers: Array, rest: Array, axis: int) -> Array:
    """Sum along an axis, in two doubles for every total: 106 bits, then rounded once."""
    total = np.zeros(numbers.shape[:axis] + numbers.shape[axis + 1 :])
    left = np.zeros_like(total)
    with np.errstate(all="ignore"):
        for one, low in zip(np.moveaxis(numbers, axis, 0), np.moveaxis(rest, axis, 0), strict=True):
            total, error = two_sum(total, one)
            left = left + (error + low)
        exact = total + left
        return np.where(np.isfinite(exact), exact, numbers.sum(axis=axis))


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The sum of two numbers, and exactly what rounding took from it (Knuth)."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)
