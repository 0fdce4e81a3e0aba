"""Stage *dft*: the lowest orderings by a reference method, relaxed and as the potential relaxed them.

Reading a campaign file imports this package for its section, and no more than that: what it does is in ``relaxing``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from superionic.stages.base import Earlier, Estimate, Workbench
    from superionic.stages.dft.result import DftResult
    from superionic.stages.dft.settings import DftSettings


def run(settings: DftSettings, bench: Workbench, earlier: Earlier) -> DftResult:
    """Run the stage; see :func:`superionic.stages.dft.relaxing.run`."""
    from superionic.stages.dft import relaxing

    return relaxing.run(settings, bench, earlier)


def plan(settings: DftSettings, n_relaxed: Sequence[int], n_atoms: float) -> Estimate:
    """Estimate its work; see :func:`superionic.stages.dft.relaxing.plan`."""
    from superionic.stages.dft import relaxing

    return relaxing.plan(settings, n_relaxed, n_atoms)
