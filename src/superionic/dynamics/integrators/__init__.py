"""Integrators as pure functions of a state: ``step(state, forces, temperature_K) -> state``.

Each integrator is a frozen set of parameters with three methods: ``begin`` adds the integrator's variables to a
state, ``step`` returns the next state, ``conserved_eV`` is what exact integration would keep constant. Only the
:class:`State` passes from one step to the next, so a run may be cut after any step.
"""

from __future__ import annotations

from superionic.dynamics.integrators.base import Chain, Forces, Integrator, State
from superionic.dynamics.integrators.berendsen import Berendsen, BerendsenPressure
from superionic.dynamics.integrators.csvr import StochasticRescaling
from superionic.dynamics.integrators.langevin import Langevin
from superionic.dynamics.integrators.mtk import MartynaTobiasKlein
from superionic.dynamics.integrators.nose_hoover import NoseHooverChain
from superionic.dynamics.integrators.verlet import VelocityVerlet

__all__ = [
    "Berendsen",
    "BerendsenPressure",
    "Chain",
    "Forces",
    "Integrator",
    "Langevin",
    "MartynaTobiasKlein",
    "NoseHooverChain",
    "State",
    "StochasticRescaling",
    "VelocityVerlet",
]
