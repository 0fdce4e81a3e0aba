"""Monitors of molecular dynamics: what stops a run, what is only flagged, and that cutting a run changes neither."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from superionic.dynamics.md import Limits, MDSettings, initial_state, run_segment
from superionic.dynamics.monitors import Monitor, soft_flags
from superionic.errors import CalculationFailed, SuperionicError
from superionic.potentials.base import BasePotential, Prediction, describe_potential, load_potential
from superionic.potentials.committee import Committee
from superionic.potentials.reference import li3ycl6_cell

NVE = MDSettings(temperature_K=600.0, ensemble="nve", save_every=2)
LI = 3


class Free(BasePotential):
    """No forces: ions fly straight, so it is known when each has left its site. The energy may creep."""

    def __init__(self, creep_eV=0.0, breaks_after=None):
        super().__init__(describe_potential("pair"))
        self.creep_eV, self.breaks_after, self.calls = creep_eV, breaks_after, 0

    def evaluate(self, atoms, *, stress=True):
        self.calls += 1
        forces = np.zeros((len(atoms), 3))
        if self.breaks_after is not None and self.calls > self.breaks_after:
            forces[0, 0] = np.nan
        return Prediction(self.creep_eV * self.calls, forces, np.zeros(6) if stress else None)


def flying(speed_A_per_ps=20.0, which=17):
    """A state in which every second ion of one element flies along ±x, so that there is no drift of the whole."""
    from ase.units import fs

    state = initial_state(li3ycl6_cell(), NVE, seed=1)
    selected = np.flatnonzero(state.numbers == which)
    velocities = np.zeros((len(state.numbers), 3))
    velocities[selected[::2], 0], velocities[selected[1::2], 0] = speed_A_per_ps, -speed_A_per_ps
    return replace(state, momenta=velocities * 1e-3 / fs * state.masses_amu[:, None])


def melting(how="stop", **more):
    return Limits(melting=how, mobile_number=LI, temperature_offset_K=1e9, distance_fraction=0.01, **more)


def test_a_framework_that_flies_away_stops_the_run_when_its_ions_are_half_way_to_the_next_site():
    atoms = li3ycl6_cell()
    with pytest.raises(CalculationFailed, match="the framework melts: ") as caught:
        run_segment(flying(), Free(), NVE, 200, limits=melting(), reference=atoms)
    # Cl is 3.2 to 3.9 Å from Cl: at 20 Å/ps half the way takes 80 to 100 steps of 1 fs; the check is every 2nd step.
    assert 75 < caught.value.details["step"] < 105
    share = caught.value.details["share"]
    assert 0.25 <= share <= 18 / 21


def test_mobile_ions_may_go_where_they_like():
    atoms = li3ycl6_cell()
    segment = run_segment(flying(which=LI), Free(), NVE, 200, limits=melting(), reference=atoms)
    assert segment.stopped is None
    assert segment.flags == ()
    everything = replace(melting(), mobile_number=0)
    with pytest.raises(CalculationFailed, match="melts"):
        run_segment(flying(which=LI), Free(), NVE, 200, limits=everything, reference=atoms)


def share_moved(reference, atoms):
    """The largest share that the monitor saw off its sites at one structure."""
    monitor = Monitor(reference.numbers, NVE, melting("warn"), reference.get_volume(), reference)
    monitor.check_framework(atoms, 1)
    return monitor.most_moved


def test_drift_of_the_whole_and_a_cell_that_swells_are_not_melting():
    atoms = li3ycl6_cell()
    other = atoms.copy()
    other.set_cell(np.array(atoms.cell) * 1.15, scale_atoms=True)
    other.positions += [7.0, -3.0, 100.0]
    assert share_moved(atoms, other) == 0.0
    # Two Cl of two octahedra: on places about an Y that is not the one they were bound to.
    chlorine = np.flatnonzero(atoms.numbers == 17)
    yttrium = np.flatnonzero(atoms.numbers == 39)
    owner = atoms.get_all_distances(mic=True)[np.ix_(chlorine, yttrium)].argmin(axis=1)
    first, second = chlorine[owner == 0][0], chlorine[owner == 1][0]
    swapped = atoms.copy()
    swapped.positions[[first, second]] = atoms.positions[[second, first]]
    assert share_moved(atoms, swapped) == pytest.approx(2 / 21)
    lithium = Atoms("Li2", positions=[[0, 0, 0], [2, 0, 0]], cell=[5, 5, 5], pbc=True)
    with pytest.raises(SuperionicError, match="no framework"):
        Monitor(lithium.numbers, NVE, melting(), 125.0, lithium)


def test_ions_that_change_places_about_their_centre_are_not_melting():
    centres = np.array([[0.0, 0, 0], [6, 0, 0], [0, 6, 0], [0, 0, 6]])
    corners = 2.05 / np.sqrt(3.0) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    ligands = (centres[:, None] + corners).reshape(-1, 3)
    atoms = Atoms("P4S16", positions=np.concatenate([centres, ligands]), cell=[12.0] * 3, pbc=True)
    turned = atoms.copy()
    for first in range(4, 20, 4):
        turned.positions[first : first + 3] = atoms.positions[[first + 1, first + 2, first]]
    assert share_moved(atoms, turned) == 0.0
    exchanged = atoms.copy()
    exchanged.positions[[4, 8]] = atoms.positions[[8, 4]]
    assert share_moved(atoms, exchanged) == pytest.approx(2 / 20)
    away = atoms.copy()  # a whole polyanion that leaves has no centre that stays
    away.positions[[0, 4, 5, 6, 7]] += [3.0, 3.0, 0.0]
    assert share_moved(atoms, away) == pytest.approx(5 / 20)


def test_thermal_vibrations_are_not_melting():
    atoms = li3ycl6_cell()
    rng = np.random.default_rng(0)
    for _ in range(200):
        shaken = atoms.copy()
        shaken.positions += rng.normal(scale=0.35, size=(len(atoms), 3))  # a third of an Å in each direction: hot
        assert share_moved(atoms, shaken) < 0.1


@pytest.mark.parametrize("how", ["stop", "warn"])
def test_the_verdict_on_melting_does_not_hang_on_where_the_run_is_cut(how):
    atoms = li3ycl6_cell()
    limits = melting(how, keep_frames=True)
    whole = run_segment(flying(), Free(), NVE, 120, limits=limits, reference=atoms)
    state, parts = flying(), []
    for n_steps in (50, 34, 36):
        part = run_segment(deepcopy(state), Free(), NVE, n_steps, limits=limits, reference=atoms)
        parts.append(part)
        state = part.state
        if part.stopped is not None:
            break
    frames = np.concatenate([part.positions_A for part in parts])
    assert np.array_equal(frames, whole.positions_A)
    assert parts[-1].stopped == whole.stopped
    assert (whole.stopped is not None) == (how == "stop")
    if how == "warn":
        message = [flag for part in parts for flag in part.flags if "melts" in flag]
        assert message
        assert any("the framework melts from" in flag for flag in whole.flags)


def test_melting_without_a_reference_is_refused():
    with pytest.raises(SuperionicError, match="reference positions"):
        run_segment(flying(), Free(), NVE, 2, limits=melting())
    with pytest.raises(SuperionicError, match="melting is 'sometimes'"):
        Limits(melting="sometimes")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "ensemble",
    [
        {"ensemble": "nve"},
        {"thermostat": "nose-hoover-chain"},
        {"thermostat": "csvr"},
        {"thermostat": "langevin"},
        {"thermostat": "berendsen"},
        {"ensemble": "npt", "barostat": "berendsen", "thermostat": "berendsen"},
    ],
)
def test_a_conserved_energy_that_creeps_away_stops_the_run(ensemble):
    settings = MDSettings(temperature_K=600.0, save_every=5, **ensemble)
    state = initial_state(li3ycl6_cell(), settings, seed=1)
    limits = Limits(conserved_eV_per_atom=0.02, check_every=1, distance_fraction=0.01)
    # 0.02 eV per atom are 0.6 eV of the cell: after 60 evaluations of 0.01 eV each.
    with pytest.raises(CalculationFailed, match="the conserved energy drifted by \\+") as caught:
        run_segment(state, Free(creep_eV=0.01), settings, 200, limits=limits)
    assert 58 <= caught.value.details["step"] <= 64
    unwatched = replace(limits, conserved_eV_per_atom=None)
    segment = run_segment(state, Free(creep_eV=0.01), settings, 100, limits=unwatched)
    assert any("the conserved energy drifts by +" in flag for flag in segment.flags)


def test_heating_ramps_are_not_judged_by_drift():
    limits = Limits(conserved_eV_per_atom=1e-9, check_every=1, distance_fraction=0.01)
    settings = MDSettings(temperature_K=600.0, save_every=5, ramp_from_K=300.0, ramp_steps=40)
    state = initial_state(li3ycl6_cell(), settings, seed=1)
    assert run_segment(state, load_potential("pair"), settings, 40, limits=limits).stopped is None


@pytest.mark.parametrize(
    "more",
    [
        {"ensemble": "nve"},
        {},
        {"thermostat": "csvr"},
        {"thermostat": "langevin"},
        {"thermostat": "berendsen"},
        {"ensemble": "npt"},
        {"ensemble": "npt", "barostat": "berendsen", "thermostat": "berendsen"},
    ],
)
def test_a_healthy_run_conserves_its_energy_far_within_the_limit(more):
    settings = MDSettings(temperature_K=600.0, save_every=5, timestep_fs=1.0, **more)
    state = initial_state(li3ycl6_cell(), settings, seed=1)
    segment = run_segment(state, load_potential("pair"), settings, 300)
    assert segment.conserved_eV is not None
    assert np.ptp(segment.conserved_eV) / 30 < 0.1 * Limits().conserved_eV_per_atom
    assert not any("conserved" in flag for flag in segment.flags)


def test_the_drift_that_is_flagged_is_that_of_a_straight_line():
    settings = MDSettings(temperature_K=300.0, ensemble="nve", save_every=10)
    times = np.arange(200) * settings.frame_interval_ps
    cells = np.repeat(np.eye(3)[None] * 10, 200, axis=0)
    wave = 0.004 * np.sin(40 * times)
    assert soft_flags(settings, np.full(200, 300.0), cells, 1000.0, wave) == ()
    flags = soft_flags(settings, np.full(200, 300.0), cells, 1000.0, wave + 0.005 * times)
    assert flags == ("the conserved energy drifts by +4.9 meV/atom per ps",)  # the wave takes a little of the 5.0


def test_frames_before_a_blow_up_are_kept_where_the_limits_say_so():
    settings = MDSettings(temperature_K=300.0, save_every=2)
    state = initial_state(li3ycl6_cell(), settings, seed=1)
    calm = Limits(distance_fraction=0.01)
    with pytest.raises(CalculationFailed):
        run_segment(state, Free(breaks_after=21), settings, 100, limits=calm)
    segment = run_segment(state, Free(breaks_after=21), settings, 100, limits=replace(calm, keep_frames=True))
    assert segment.stopped is not None
    assert "not a finite number" in segment.stopped
    assert list(segment.steps) == list(range(0, 21, 2))
    assert np.isfinite(segment.positions_A).all()


def committee(spread):
    return Committee([load_potential("pair", charge_scale=scale) for scale in (1.0, 1.0 - spread)])


def test_a_committee_that_disagrees_collects_frames_and_stops_the_run():
    settings = MDSettings(temperature_K=800.0, save_every=5)
    state = initial_state(li3ycl6_cell(), settings, seed=2)
    watched = Limits(extrapolation_every=5, collect_extrapolation=0.05, max_extrapolation=50.0, keep_frames=True)
    calm = run_segment(state, committee(1e-6), settings, 60, limits=watched)
    assert calm.stopped is None
    assert len(calm.collected_grades) == 0
    torn = run_segment(state, committee(0.1), settings, 60, limits=watched)
    assert torn.stopped is None
    assert len(torn.collected_grades) > 3
    assert np.all(torn.collected_grades > 0.05)
    # The first member drives: the way is the same whatever the others say.
    assert np.array_equal(torn.positions_A, calm.positions_A)
    limit = float(np.median(torn.collected_grades))
    stopped = run_segment(state, committee(0.1), settings, 60, limits=replace(watched, max_extrapolation=limit))
    assert stopped.stopped is not None
    assert f"the committee disagrees: a force by {stopped.collected_grades[-1]:.2f} eV/Å" in stopped.stopped
