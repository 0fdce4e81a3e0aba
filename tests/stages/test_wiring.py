from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from superionic.execution.task import Task
from superionic.stages.base import ChosenPotential, Space, Workbench, derive_seed
from superionic.stages.chains import Phase, average_cell_task, chain, md_settings
from superionic.stages.hull import hull_task
from superionic.stages.select import select_task

IDENTITY = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


@pytest.fixture
def bench() -> Workbench:
    return Workbench(None, 3, "Li", {"Li": 1.0}, {}, lambda engine: {"packages": {engine: "1"}})  # type: ignore[arg-type]


PAIR = ChosenPotential("pair", "core", {"name": "pair", "model": None, "options": {}}, {})
STRUCTURE = Task("enumerate", "x", "m:f", 1)["atoms"]
SETTINGS = {
    "save_every_fs": 10.0,
    "timestep_fs": 2.0,
    "thermostat": "csvr",
    "thermostat_time_fs": 100.0,
    "barostat_time_fs": 1000.0,
    "pressure_GPa": 1e-4,
}


def phases(production_ps: float, npt_ps: float = 0.3) -> tuple[Phase, ...]:
    nvt = md_settings(SETTINGS, 800.0, "nvt")
    return (
        Phase("heating", {**nvt, "ramp_from_K": 100.0}, 0.0, 0.1),
        Phase("npt", md_settings(SETTINGS, 800.0, "npt"), npt_ps, 0.1),
        Phase("production", nvt, production_ps, 0.1, average_cell_of="npt", discard_fraction=0.2),
    )


def test_a_chain_has_segments_of_fixed_boundaries_each_reading_the_one_before(bench):
    built = chain(bench, "transport", "run", STRUCTURE, IDENTITY, PAIR, phases(0.25))
    assert "heating" not in built
    assert [task.settings["n_steps"] for task in built["npt"]] == [50, 50, 50]
    assert [task.settings["n_steps"] for task in built["production"]] == [50, 50, 25]
    flat = [*built["npt"], *built["production"]]
    for before, after in pairwise(flat):
        assert after.inputs["state"].task == before
    assert [task.settings.get("new_phase") for task in flat] == [None, False, False, True, False, False]
    assert built["production"][0].inputs["cell"].task == built["average cell"][0]
    assert "cell" not in built["production"][1].inputs


def test_a_longer_run_keeps_the_segments_that_there_are(bench):
    short = chain(bench, "transport", "run", STRUCTURE, IDENTITY, PAIR, phases(0.2))["production"]
    longer = chain(bench, "transport", "run", STRUCTURE, IDENTITY, PAIR, phases(0.4))["production"]
    assert [task.key for task in longer[:2]] == [task.key for task in short]


def test_the_barostat_brings_its_own_thermostat():
    assert md_settings(SETTINGS, 300.0, "nvt")["thermostat"] == "csvr"
    assert md_settings(SETTINGS, 300.0, "npt")["thermostat"] == "nose-hoover-chain"
    assert md_settings({**SETTINGS, "barostat": "berendsen"}, 300.0, "npt")["thermostat"] == "berendsen"


def test_seeds_are_independent_of_one_another_and_fixed():
    assert derive_seed(1, "a") == derive_seed(1, "a")
    assert len({derive_seed(seed, word) for seed in range(20) for word in ("a", "b")}) == 40
    assert derive_seed(1, "sample", 800.0) < 2**63


def test_a_tuned_potential_changes_keys_and_brings_its_weights(bench):
    weights = Task("train", "weights", "m:f", 1)["weights"]
    plain = bench.task("rank", "x", "m:f", 1, {}, potential=PAIR)
    tuned = bench.task("rank", "x", "m:f", 1, {}, potential=PAIR.tuned(weights))
    assert plain.key != tuned.key
    assert tuned.inputs["weights"] == weights


def test_names_of_spaces_say_crystal_composition_and_supercell():
    assert Space("a", "", {"supercell": IDENTITY}).id == "a"
    assert Space("a", "Br=3", {"supercell": [[1, 0, 0], [0, 1, 0], [0, 0, 2]]}).id == "a Br=3 1x1x2"
    assert Space("a", "", {"supercell": [[1, 1, 0], [0, 1, 0], [0, 0, 2]]}).id == "a [[1,1,0],[0,1,0],[0,0,2]]"


def test_the_average_cell_leaves_out_the_first_part():
    cells = np.stack([np.eye(3) * 9.0] * 20 + [np.eye(3) * 10.0] * 80)
    result = average_cell_task({"discard_fraction": 0.2}, {"cells": [cells[:50], cells[50:]]}, None)  # type: ignore[arg-type]
    assert result["cell"] == pytest.approx(np.eye(3) * 10.0)


def hull_of(energies, **settings):
    names = ["LiCl", "YCl3", "a #0", "a #1"]
    compositions = [{"Li": 4, "Cl": 4}, {"Y": 4, "Cl": 12}, {"Li": 9, "Y": 3, "Cl": 18}, {"Li": 9, "Y": 3, "Cl": 18}]
    return hull_task(
        {
            "end_members": ["LiCl", "YCl3"],
            "energy_convention": "PBE",
            "formula_unit": None,
            "names": names,
            "crystals": ["LiCl", "YCl3", "a", "a"],
            **settings,
        },
        {"compositions": compositions, "energies_eV": energies},
        None,  # type: ignore[arg-type]
    )


def test_the_hull_of_three_phases_is_the_one_worked_out_by_hand():
    # Per formula unit: LiCl −1, YCl3 −4; Li3YCl6 = 3 LiCl + YCl3 has −7 from them.
    result = hull_of([-4.0, -16.0, 3 * -7.5, 3 * -7.2])
    low, high = result["entries"][2:]
    assert low["formation_energy_eV_per_formula_unit"] == pytest.approx(-0.5)
    assert low["formation_energy_eV_per_atom"] == pytest.approx(-0.05)
    assert low["stable"]
    assert high["e_above_hull_eV_per_formula_unit"] == pytest.approx(0.3)
    assert high["e_above_hull_eV_per_atom"] == pytest.approx(0.03)
    unstable = hull_of([-4.0, -16.0, 3 * -6.9, 3 * -6.8])["entries"][2]
    assert unstable["e_above_hull_eV_per_atom"] == pytest.approx(0.01)
    assert sum(unstable["decomposition"].values()) > 0


def test_the_formula_unit_scales_energies_per_unit():
    result = hull_of([-4.0, -16.0, 3 * -7.5, 3 * -7.2], formula_unit="Li3YCl6")
    assert result["entries"][2]["formation_energy_eV_per_formula_unit"] == pytest.approx(-0.5)


def test_the_selection_always_keeps_the_lowest_of_each_composition():
    labels = ["a", "a", "a", "b", "b"]
    picked = select_task(
        {"compositions": labels, "count": 1, "seed": 1, "temperature_K": 800.0},
        {"e_above_hull_eV_per_fu": [0.2, 0.0, 0.1, 0.5, 0.4], "relaxed": []},
        None,  # type: ignore[arg-type]
    )
    assert picked["indices"] == [1, 4]
    assert picked["reasons"] == ["lowest of its composition"] * 2
