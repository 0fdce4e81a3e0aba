"""States of integrators: values that are not written to, and kept by name in a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from superionic.dynamics.conformance import ENSEMBLES
from superionic.dynamics.ensembles import integrator_of
from superionic.dynamics.integrators import State
from superionic.dynamics.md import MDSettings, continued_state, initial_state, run_segment
from superionic.errors import CalculationFailed, SuperionicError
from superionic.potentials.base import BasePotential, Prediction, describe_potential, load_potential
from superionic.potentials.reference import li3ycl6_cell

HOT = {"temperature_K": 600.0, "record_pressure": True}


def arrays(state):
    return [np.array(value) for value in (*state[:3], *state.chain, *state.cell_chain, state.cell_momentum)]


@pytest.mark.parametrize("ensemble", ENSEMBLES.values(), ids=ENSEMBLES)
def test_a_step_is_a_function_of_its_state(ensemble):
    settings, potential, atoms = MDSettings(**HOT, **ensemble), load_potential("pair"), li3ycl6_cell()
    start = initial_state(atoms, settings, seed=3)

    def forces(positions_A, cell_A):
        atoms.positions, atoms.cell = positions_A, cell_A
        return potential.evaluate(atoms)

    integrator = integrator_of(settings, start.masses_amu)
    state = integrator.begin(State(start.positions_A, start.momenta, start.cell_A, 0, np.random.PCG64(5).state))
    state = integrator.step(state, forces, 600.0)
    before = arrays(state)
    after = integrator.step(state, forces, 600.0)
    integrator.step(after, forces, 600.0)
    again = integrator_of(settings, start.masses_amu).step(state, forces, 600.0)
    assert all(np.array_equal(one, other) for one, other in zip(before, arrays(state), strict=True))
    assert all(np.array_equal(one, other) for one, other in zip(arrays(after), arrays(again), strict=True))
    assert (after.step, after.heat_eV, after.random) == (2, again.heat_eV, again.random)
    assert (after.random != state.random) == (settings.thermostat in ("csvr", "langevin"))


@pytest.mark.parametrize(
    ("internals", "words"),
    [
        ({}, "earlier version"),
        ({"eta": np.zeros(3), "p_eta": np.zeros(3)}, "earlier version"),
        ({"transferred_energy": np.array(0.1)}, "earlier version"),
        ({"integrator": np.frombuffer(b"nvt csvr", dtype=np.uint8), "heat_eV": np.array(0.1)}, "nvt csvr"),
    ],
)
def test_variables_of_another_integrator_are_refused(internals, words):
    settings = MDSettings(**HOT)
    state = replace(initial_state(li3ycl6_cell(), settings, 0), step=7, internals=internals)
    with pytest.raises(SuperionicError, match=words) as caught:
        run_segment(state, load_potential("pair"), settings, 1)
    assert "continued_state" in caught.value.fix
    # What the words advise works.
    assert run_segment(continued_state(state), load_potential("pair"), settings, 1).state.step == 1


@pytest.mark.parametrize("cell_motion", ["isotropic", "anisotropic"])
def test_a_cell_that_runs_away_is_a_failed_calculation(cell_motion):
    class Bursting(BasePotential):
        def evaluate(self, atoms, *, stress=True):
            return Prediction(0.0, np.zeros((len(atoms), 3)), np.array([-1e9, -1e9, -1e9, 0.0, 0.0, 0.0]))

    settings = MDSettings(**HOT, ensemble="npt", cell_motion=cell_motion)
    with pytest.raises(CalculationFailed, match="the thermostat or the cell ran away"):
        run_segment(initial_state(li3ycl6_cell(), settings, 0), Bursting(describe_potential("pair")), settings, 5)
