"""Fits used in the literature, for comparison with ours.

He, Zhu, Epstein & Mo, npj Comput. Mater. 4, 18 (2018): the window and the error bound that paper B follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from superionic.transport.diffusion.msd import MeanSquaredDisplacement
from superionic.units import A2_PER_PS_TO_CM2_PER_S

HE2018_SLOPE = 3.43
HE2018_OFFSET = 0.04
PAPER_B_LONGEST_LAG_PS = 500.0


@dataclass(frozen=True)
class LiteratureFit:
    """A straight line through the MSD: D in Å²/ps, the error of He 2018, the range of lags and N_eff."""

    value_A2_per_ps: float
    error_A2_per_ps: float
    window_ps: tuple[float, float]
    effective_hops: float

    @property
    def value_cm2_per_s(self) -> float:
        """D in cm²/s."""
        return self.value_A2_per_ps * A2_PER_PS_TO_CM2_PER_S

    @property
    def error_cm2_per_s(self) -> float:
        """The error of He 2018 in cm²/s."""
        return self.error_A2_per_ps * A2_PER_PS_TO_CM2_PER_S


def he2018_fit(
    msd: MeanSquaredDisplacement, n_ions: int, *, hop_length_A: float, duration_ps: float, longest_fraction: float = 0.7
) -> LiteratureFit | None:
    """Fit a line from MSD = 0.5 a² to ``longest_fraction`` of the run; RSD = 3.43/√N_eff + 0.04, N_eff = N·max MSD/a².

    Returns None where the MSD does not reach 0.5 a² in time, so that the method does not apply.
    """
    return _line(msd, n_ions, hop_length_A, longest_fraction * duration_ps)


def paper_b_fit(
    msd: MeanSquaredDisplacement, n_ions: int, *, hop_length_A: float, duration_ps: float
) -> LiteratureFit | None:
    """Fit the same line by paper B, eq. 2: only to 500 ps of its 2 ns, so to at most a quarter of a shorter run."""
    return _line(msd, n_ions, hop_length_A, min(PAPER_B_LONGEST_LAG_PS, 0.25 * duration_ps))


def _line(msd: MeanSquaredDisplacement, n_ions: int, hop_length_A: float, longest_ps: float) -> LiteratureFit | None:
    reached = np.flatnonzero(msd.msd_A2 >= 0.5 * hop_length_A**2)
    last = int(np.searchsorted(msd.lags_ps, longest_ps * (1.0 + 1e-12), side="right")) - 1
    if len(reached) == 0 or last - int(reached[0]) < 2:
        return None
    used = slice(int(reached[0]), last + 1)
    lags, values = msd.lags_ps[used], msd.msd_A2[used]
    if not np.allclose(np.diff(lags), lags[1] - lags[0]):  # a ladder of lags: give all times equal weight
        even = np.linspace(lags[0], lags[-1], 500)
        lags, values = even, np.interp(even, lags, values)
    centred = lags - lags.mean()
    slope = float(centred @ values) / float(centred @ centred)
    diffusivity = slope / (2.0 * msd.dimensions)
    effective = n_ions * float(values.max()) / hop_length_A**2
    relative = HE2018_SLOPE / math.sqrt(effective) + HE2018_OFFSET
    return LiteratureFit(diffusivity, abs(diffusivity) * relative, (float(lags[0]), float(lags[-1])), effective)
