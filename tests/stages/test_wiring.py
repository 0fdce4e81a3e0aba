"""How stages wire tasks: chains of segments, potentials in keys, and the tasks of hull and selection by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from ase import Atoms

from superionic.execution.task import Context, ref_of, task
from superionic.potentials.base import describe_potential
from superionic.results.identity import Material, OrderedCell, Ordering, ReferencePhase
from superionic.settings.sample import SampleSettings
from superionic.stages.base import ChosenPotential, Workbench, derive_seed
from superionic.stages.chains import Phase, average_cell_task, chain, md_settings
from superionic.stages.phase_diagram import hull_task
from superionic.stages.predictions import predict_task
from superionic.stages.replay import Structures
from superionic.stages.select import select_task

IDENTITY = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
SETTINGS = SampleSettings(save_every_fs=10.0, timestep_fs=2.0, thermostat="csvr")


@task(version=1)
def structure_task(_context: Context) -> Structures:
    """Stand for where structures come from; never done here."""
    raise NotImplementedError


@task(version=1)
def two_task(_context: Context, *, first: ChosenPotential, second: ChosenPotential) -> Structures:
    """Stand for a task that should have been two; never done here."""
    raise NotImplementedError


@pytest.fixture
def bench() -> Workbench:
    return Workbench(None, 3, "Li", {"Li": 1.0}, {}, lambda engine: {"packages": {engine: "1"}})  # type: ignore[arg-type]


PAIR = ChosenPotential("pair", describe_potential("pair"))


def structure(bench: Workbench) -> Atoms:
    return bench.at("enumerate").task("x", structure_task.of()).result.atoms[0]


def phases(production_ps: float, npt_ps: float = 0.3) -> tuple[Phase, ...]:
    nvt = md_settings(SETTINGS, 800.0, "nvt")
    return (
        Phase("heating", nvt, 0.0, 0.1, ramp_from_K=100.0),
        Phase("npt", md_settings(SETTINGS, 800.0, "npt"), npt_ps, 0.1),
        Phase("production", nvt, production_ps, 0.1, average_cell_of="npt", discard_fraction=0.2),
    )


def test_a_chain_has_segments_of_fixed_boundaries_each_reading_the_one_before(bench):
    built = chain(bench.at("transport"), "run", structure(bench), IDENTITY, PAIR, phases(0.25))
    assert list(built.phases) == ["npt", "production"]
    assert built.segments("heating") == ()
    npt, production = built.segments("npt"), built.segments("production")
    assert [task.settings["n_steps"] for task in npt] == [50, 50, 50]
    assert [task.settings["n_steps"] for task in production] == [50, 50, 25]
    flat = built.segments("npt", "production")
    assert flat == (*npt, *production)
    for before, after in pairwise(flat):
        assert after.inputs["state"].task == before
    assert [task.settings.get("new_phase") for task in flat] == [None, False, False, True, False, False]
    assert production[0].inputs["cell"].task == built.average_cell
    assert "cell" not in production[1].inputs


def test_a_longer_run_keeps_the_segments_that_there_are(bench):
    short = chain(bench.at("transport"), "run", structure(bench), IDENTITY, PAIR, phases(0.2)).segments("production")
    longer = chain(bench.at("transport"), "run", structure(bench), IDENTITY, PAIR, phases(0.4)).segments("production")
    assert [task.key for task in longer[:2]] == [task.key for task in short]


def test_a_ramp_rises_over_the_whole_phase(bench):
    heating = Phase("heating", md_settings(SETTINGS, 800.0, "nvt"), 0.2, 0.1, ramp_from_K=100.0)
    built = chain(bench.at("transport"), "run", structure(bench), IDENTITY, PAIR, [heating])
    for segment in built.segments("heating"):
        md = segment.settings["md"]
        assert (md["ramp_from_K"], md["ramp_steps"], md["temperature_K"]) == (100.0, 100, 800.0)


def test_the_barostat_brings_its_own_thermostat():
    assert md_settings(SETTINGS, 300.0, "nvt").thermostat == "csvr"
    assert md_settings(SETTINGS, 300.0, "npt").thermostat == "nose-hoover-chain"
    assert md_settings(SETTINGS, 300.0, "npt").cell_motion == "anisotropic"
    of_paper_a = md_settings(SETTINGS, 300.0, "npt", barostat="berendsen", cell_motion="isotropic")
    assert of_paper_a.thermostat == "berendsen"


def test_seeds_are_independent_of_one_another_and_fixed():
    assert derive_seed(1, "a") == derive_seed(1, "a")
    assert len({derive_seed(seed, word) for seed in range(20) for word in ("a", "b")}) == 40
    assert derive_seed(1, "sample", 800.0) < 2**63


def test_a_tuned_potential_changes_keys_and_brings_its_weights(bench):
    weights = bench.at("train").task("weights", structure_task.of()).result.atoms
    atoms = [structure(bench)]
    plain = bench.at("rank").task("x", predict_task.of(potential=PAIR, atoms=atoms))
    tuned = bench.at("rank").task("x", predict_task.of(potential=PAIR.tuned(weights), atoms=atoms))
    assert plain.key != tuned.key
    assert tuned.inputs["weights"] == ref_of(weights)


def test_a_task_has_one_potential_since_one_engine_runs_it(bench):
    with pytest.raises(TypeError, match="second has the place of another argument: potential"):
        bench.at("rank").task("x", two_task.of(first=PAIR, second=PAIR))


def test_names_of_cells_say_crystal_composition_and_supercell():
    assert OrderedCell(Material("a")).id == "a"
    assert OrderedCell(Material("a"), ((1, 0, 0), (0, 1, 0), (0, 0, 2))).id == "a 1x1x2"
    assert OrderedCell(Material("a"), ((1, 1, 0), (0, 1, 0), (0, 0, 2))).id == "a [[1,1,0],[0,1,0],[0,0,2]]"


def test_the_average_cell_leaves_out_the_first_part():
    cells = np.stack([np.eye(3) * 9.0] * 20 + [np.eye(3) * 10.0] * 80)
    result = average_cell_task(None, discard_fraction=0.2, cells=[cells[:50], cells[50:]], stopped=None)  # type: ignore[arg-type]
    assert result.cell == pytest.approx(np.eye(3) * 10.0)
    assert result.n_frames == 100


def ordering(crystal: str, index: int) -> Ordering:
    return Ordering(OrderedCell(Material(crystal)), index)


def hull_of(energies, formula_unit=None):
    return hull_task(
        None,  # type: ignore[arg-type]
        end_members=["LiCl", "YCl3"],
        energy_convention="PBE",
        formula_unit=formula_unit,
        replacements=[],
        mobile_ion="Li",
        identities=[ReferencePhase("LiCl"), ReferencePhase("YCl3"), ordering("a", 0), ordering("a", 1)],
        compositions=[{"Li": 4, "Cl": 4}, {"Y": 4, "Cl": 12}, *[{"Li": 9, "Y": 3, "Cl": 18}] * 2],
        energies_eV=energies,
    ).entries


def test_the_hull_of_three_phases_is_the_one_worked_out_by_hand():
    # Per formula unit: LiCl −1, YCl3 −4; Li3YCl6 = 3 LiCl + YCl3 has −7 from them.
    low, high = hull_of([-4.0, -16.0, 3 * -7.5, 3 * -7.2])[2:]
    assert low.formation_energy_eV_per_formula_unit == pytest.approx(-0.5)
    assert low.formation_energy_eV_per_atom == pytest.approx(-0.05)
    assert low.stable
    assert high.e_above_hull_eV_per_formula_unit == pytest.approx(0.3)
    assert high.e_above_hull_eV_per_atom == pytest.approx(0.03)
    unstable = hull_of([-4.0, -16.0, 3 * -6.9, 3 * -6.8])[2]
    assert unstable.e_above_hull_eV_per_atom == pytest.approx(0.01)
    assert sum(share.fraction for share in unstable.decomposition) > 0


def test_the_formula_unit_scales_energies_per_unit():
    entry = hull_of([-4.0, -16.0, 3 * -7.5, 3 * -7.2], "Li3YCl6")[2]
    assert entry.formation_energy_eV_per_formula_unit == pytest.approx(-0.5)


def test_the_selection_always_keeps_the_lowest_of_each_composition():
    picked = select_task(
        None,  # type: ignore[arg-type]
        materials=[Material(name) for name in "aaabb"],
        formulas=["Li3YCl6"] * 5,
        count=1,
        seed=1,
        temperature_K=800.0,
        e_above_hull_eV_per_fu=[0.2, 0.0, 0.1, 0.5, 0.4],
    )
    assert list(picked.indices) == [1, 4]
    assert list(picked.reasons) == ["lowest of its composition"] * 2
