"""The presets against what the papers state, number by number, and what follows from the choice of supercells."""

from __future__ import annotations

from math import comb
from pathlib import Path

import numpy as np
import pytest

from superionic.campaign.file.load import load_campaign, parse_campaign
from superionic.campaign.file.presets import complete, presets
from superionic.campaign.file.yaml_text import parse_yaml
from superionic.campaign.plan import estimate_plan
from superionic.campaign.spaces import fitting_spaces
from superionic.enumeration.chosen import list_lowest
from superionic.enumeration.counted import counted_spaces
from superionic.errors import CampaignFileError, CompositionError
from superionic.execution.codec import to_tree
from superionic.results.identity import Material, OrderedCell
from superionic.settings.train import TrainSettings
from superionic.stages.enumerate.pooled import lowest_of_all_cells
from superionic.stages.enumerate.spaces import OrderingProblem
from superionic.structures.crystal.supercells import Supercell
from superionic.structures.io.files import read_crystal

ROOT = Path(__file__).resolve().parents[2]
LYB = ROOT / "examples" / "li3ycl6-xbrx" / "li3ybr6_c2m.cif"
CHARGES = {"Li": 1, "Y": 3, "Br": -1}

# Deng et al. 2025, doi 10.1039/d5ta05321h: "Results", "Exploring LIYBC system" and "Methodology".
PAPER_A = {
    "crystals.supercell": [1, 1, 1],
    "crystals.further_supercells": [[1, 1, 2], [1, 2, 2]],
    "enumerate.ewald_keep": 2000,  # "2000 symmetrically distinct enumerations based on Ewald energies"
    "hull.repeat_with_fine_tuned": True,  # "then determined using the fine-tuned model"
    "select.temperature_K": 800.0,
    "sample.temperatures_K": [800.0],
    "sample.timestep_fs": 1.0,
    "sample.heating_ps": None,  # "NVT ensemble at 800 K for 15 ps"
    "sample.nvt_before_npt_ps": None,
    "sample.npt_ps": 0.0,
    "sample.equilibration_ps": 5.0,
    "sample.production_ps": 10.0,
    "sample.snapshots": 30,
    "sample.snapshot_method": "random",
    "sample.max_strain": 0.03,
    "label.functional": "SCAN",
    "label.ecut_eV": 520.0,
    "label.energy_tolerance_eV": 1.0e-5,
    "label.vasp": {"version": "6.3.2", "potcar_functional": "PBE_54"},
    "learn.strategy": "one-shot",
    "train.trainer": "mace",
    "train.options": {"mode": "multihead"},
    "train.epochs": 500,
    "train.patience": 20,
    "train.learning_rate": 0.01,
    "transport.supercell": [2, 2, 2],
    "transport.thermostat": "berendsen",
    "transport.npt_ps": 0.0,
    "transport.nvt_equilibration_ps": 100.0,
    "transport.production_ps": 400.0,
    "transport.long_runs": {"below_K": 800.0, "nvt_equilibration_ps": 200.0, "production_ps": 800.0},
    "analyse.arrhenius_form": "lnD",
}
# What that paper leaves open; docs/campaign-file.md says why each was taken.
CHOSEN_A = {
    "crystals.coupling": "coupled",
    "enumerate.method": "auto",  # the lowest, exactly where they can be listed
    "rank.method": "single-points",  # "static lattice energies"
    "rank.relax_top": 20,
    "rank.fmax_eV_per_A": 0.01,
    "rank.optimizer": "FIRE",
    "select.count": 83,  # × 30 = "around 2500 structures"
    "label.kpoint_spacing_per_A": 0.2,  # "∼0.2 Å⁻¹", with VASP's 2π
    "train.replay": "foundation",
    "transport.temperatures_K": [800.0, 900.0, 1000.0, 1100.0],  # "ranging from 800 to 1100 K"
    "transport.timestep_fs": 1.0,  # stated for sampling
    "transport.heating_ps": 0.0,
    "transport.nvt_before_npt_ps": 0.0,
    "analyse.axes": ["x", "y", "z"],  # figure S11 has planes
}
# The study of Li3YCl6-xBrx: "Computational Methods", sections 2.1 to 2.5, and 5.2 to 5.4.
PAPER_B = {
    "rank.method": "relax-all",  # "predicting total energies of the optimized structures"
    "rank.relax_top": 20,
    "rank.optimizer": "FIRE",
    "rank.fmax_eV_per_A": 0.01,
    "hull.repeat_with_fine_tuned": True,  # table 3: "comparable trends are reproduced using CHGNet_600K", figure S4
    "dft.relax": 20,  # "the 20 most stable ones. These are subsequently relaxed using DFT"
    "dft.functional": "PBE",
    "dft.ecut_eV": 520.0,
    "dft.kpoint_spacing_per_A": 0.2,
    "dft.optimizer": "FIRE",
    "dft.fmax_eV_per_A": 0.01,
    "learn.strategy": "ladder",
    "learn.tests": {
        "orderings": 3,
        "temperatures_K": [300.0, 350.0, 400.0, 450.0, 500.0, 550.0, 600.0, 650.0, 700.0],  # "each 50 K"
        "snapshots": 50,
        "mixtures": 3,  # x = 1.5, 3.0, 4.5
        "driver_K": 600.0,  # "using CHGNet_600K"
    },
    "sample.temperatures_K": [200.0, 400.0, 600.0, 800.0],
    "sample.timestep_fs": 1.0,
    "sample.thermostat": "nose-hoover-chain",
    "sample.thermostat_time_fs": 100.0,
    "sample.barostat_time_fs": 1000.0,
    "sample.pressure_GPa": 1.0e-4,
    "sample.heating_from_K": 100.0,
    "sample.heating_ps": 2.0,
    "sample.nvt_before_npt_ps": 50.0,
    "sample.npt_ps": 140.0,
    "sample.production_ps": 1000.0,  # 1,000,000 steps
    "sample.save_every_fs": 10.0,
    "sample.snapshot_method": "farthest-point",
    "label.functional": "PBE",
    "label.ecut_eV": 350.0,
    "validate.max_energy_mae_meV_per_atom": 3.5,
    "validate.max_force_mae_meV_per_A": 50.0,
    "validate.max_stress_mae_GPa": 0.085,
    "volumes.temperatures_K": [200.0, 300.0, 400.0, 600.0],  # tables 1 and 2, beside 0 K
    "volumes.pressure_GPa": 1.0e-4,
    "volumes.npt_ps": 140.0,
    "volumes.npt_discard_fraction": 0.2,
    "transport.timestep_fs": 1.0,
    "transport.thermostat": "nose-hoover-chain",
    "transport.thermostat_time_fs": 100.0,
    "transport.barostat_time_fs": 1000.0,
    "transport.pressure_GPa": 1.0e-4,
    "transport.heating_from_K": 100.0,
    "transport.heating_ps": 2.0,
    "transport.nvt_before_npt_ps": 50.0,
    "transport.npt_ps": 140.0,
    "transport.npt_discard_fraction": 0.2,  # the last 112 of 140 ps
    "transport.production_ps": 2000.0,
    "analyse.report_temperatures_K": [300.0],
    "analyse.arrhenius_form": "lnD",
}
CHOSEN_B = {
    "crystals.coupling": "coupled",  # enumlib pools a species over all its sites
    "enumerate.ewald_keep": 10000,  # "all symmetrically distinct orderings", "thousands of configurations"
    "learn.production_rung": "best",  # the paper went on with 600 K
    "select.count": 1,  # at least the lowest of each compound
    "sample.equilibration_ps": 0.0,
    "sample.snapshots": 75,  # of each run: four make 300 ("150-300 structures")
    "sample.max_strain": 0.0,
    "label.kpoint_spacing_per_A": 0.2,  # stated for relaxations
    "transport.temperatures_K": [400.0, 450.0, 500.0, 550.0, 600.0, 650.0, 700.0, 750.0],  # "from 400 to 750 K"
    "transport.nvt_equilibration_ps": 0.0,
    "transport.save_every_fs": 10.0,  # stated for sampling
}


@pytest.mark.parametrize(
    ("name", "table"),
    [("paper-a", PAPER_A), ("paper-a", CHOSEN_A), ("paper-b", PAPER_B), ("paper-b", CHOSEN_B)],
    ids=["A, stated", "A, chosen", "B, stated", "B, chosen"],
)
def test_every_number_that_a_paper_states_is_that_of_its_preset(name, table):
    preset = presets()[name]
    assert {path: preset[path.split(".")[0]].get(path.split(".")[1]) for path in table} == table


@pytest.mark.parametrize(("name", "tables"), [("paper-a", (PAPER_A, CHOSEN_A)), ("paper-b", (PAPER_B, CHOSEN_B))])
def test_every_number_of_a_preset_is_stated_or_chosen(name, tables):
    set_by = {f"{stage}.{key}" for stage, values in presets()[name].items() for key in values}
    left = {path for path in set_by - tables[0].keys() - tables[1].keys() if not path.startswith("volumes.")}
    assert left <= {"sample.segment_ps"}  # which changes no number; the rest of `volumes` is as in `transport`
    assert not tables[0].keys() & tables[1].keys()
    assert tables[1].keys() <= set_by


def test_the_files_of_the_papers_report_what_their_figures_show():
    def value_of(name, *keys):
        value = parse_yaml((ROOT / "examples" / name / "paper.yaml").read_text(encoding="utf-8")).value
        for key in keys:
            value = value[key]
        return value

    assert value_of("liybc", "analyse", "report_temperatures_K") == [800]  # figure 4b
    assert value_of("nasicon", "analyse", "report_temperatures_K") == [573, 800]  # figure 2d, "at 300 °C"; figure S2
    assert value_of("nasicon", "transport", "draws", "supercell") == "4x4x4"
    assert value_of("lpgso", "composition_axes", 0, "values") == [number / 8 for number in range(9)]  # "Δx = 0.125"
    series = value_of("li3ycl6-xbrx", "transport")
    assert [each["pressure_GPa"] for each in series[:2]] == [1.0, 0.0001]  # 10 kbar, as figure 5 has it; 1 bar


@pytest.mark.parametrize("preset", sorted(presets()))
def test_no_preset_trains_chgnet_at_the_rate_of_mace(preset):
    own = {"superionic": 1, "preset": preset, "crystals": [], "potentials": {"chgnet": {"engine": "chgnet"}}}
    train = complete({**own, "train": {"trainer": "chgnet", "epochs": 30}})["train"]
    assert "learning_rate" not in train
    assert not {"replay", "options"} & set(train)
    assert train["epochs"] == 30
    by_preset = complete(own)["train"]
    assert by_preset.get("learning_rate") is None or by_preset["trainer"] == "mace"  # and that refuses CHGNet, below


def test_the_training_of_paper_a_begins_from_a_checkpoint_of_mace_or_says_what_is_missing():
    with pytest.raises(CampaignFileError) as refused:
        campaign(further="", engine="chgnet")
    message = str(refused.value)
    assert message.count("train.trainer") == 1
    for words in ("no entry of `potentials` is a checkpoint", "engines convert mace", "stand_in.py", "trainer: chgnet"):
        assert words in message
    by_chgnet = campaign(further="train: {trainer: chgnet}", engine="chgnet").train
    plain = TrainSettings()
    assert (by_chgnet.learning_rate, by_chgnet.epochs, by_chgnet.replay) == (None, plain.epochs, None)
    assert by_chgnet.options == {}


TEXT = """\
superionic: 1
name: cells
mobile_ion: Li
oxidation_states: {{Li: 1, Y: 3, In: 3, Br: -1, Cl: -1}}
preset: paper-{preset}
crystals: [{{name: c2m, file: "{file}"{more}}}]
composition_axes:
  - {{replace: Y, by: In, formula_unit: Li3YBr6, values: [0, 0.25, 0.5]}}
potentials:
  {engine}: {{engine: {engine}}}
{further}
"""


def campaign(preset="a", more="", further="train: null", engine="pair"):
    text = TEXT.format(file=LYB, preset=preset, more=more, further=further, engine=engine)
    return parse_campaign(text, Path("campaign.yaml"))


def test_a_preset_fills_every_crystal_but_no_cells_beside_those_of_the_file():
    (crystal,) = campaign().crystals
    assert crystal.coupling == "coupled"
    assert [str(Supercell(matrix)) for matrix in crystal.all_supercells] == ["1x1x1", "1x1x2", "1x2x2"]
    (own,) = campaign(more=", supercell: 2x1x1, coupling: per-orbit").crystals
    assert (own.coupling, [str(Supercell(m)) for m in own.all_supercells]) == ("per-orbit", ["2x1x1"])
    (primitive,) = campaign(more=", supercell: primitive").crystals
    assert (primitive.primitive, len(primitive.all_supercells)) == (True, 1)
    with pytest.raises(CampaignFileError, match="a supercell is"):
        campaign(more=", supercell: primitive, primitive: false")
    raw = complete({"preset": "paper-a", "crystals": [{"supercell": "primitive"}, {"name": "b"}, 3]})
    assert complete(raw) == raw


def test_a_cell_that_cannot_hold_a_grid_point_is_left_out_with_a_word():
    crystal = read_crystal(LYB)
    spaces, left_out = fitting_spaces(campaign(), {"c2m": crystal})
    # A cell of the crystal has two Y: a quarter of In on each of them fits from the second cell on.
    cells = [(space.material.point[0].value, str(Supercell(space.settings.supercell))) for space in spaces]
    assert cells == [
        (x, cell) for x in (0, 0.25, 0.5) for cell in ("1x1x1", "1x1x2", "1x2x2") if (x, cell) != (0.25, "1x1x1")
    ]
    assert [each.cell.supercell for each in left_out] == [((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert "supercell" in left_out[0].reason
    # Where no cell holds it, nothing is left out: the error stays.
    spaces, left_out = fitting_spaces(campaign(more=", supercell: 1x1x1"), {"c2m": crystal})
    assert (len(spaces), left_out) == (3, ())
    with pytest.raises(CompositionError):
        counted_spaces(
            spaces[1].settings.substituted(crystal),
            "1x1x1",
            {**CHARGES, "In": 3},
            exact_species=("In", "Y"),
            coupling="coupled",
        )


def test_supercells_may_be_those_of_the_primitive_cell():
    matrix = [[1, 0, 0], [0, 1, 0], [0, 0, 2]]
    file = campaign(more=f", primitive: true, supercell: {matrix}")
    crystal = read_crystal(LYB)
    assert len(crystal.primitive().sites) == len(crystal.sites) / 2  # C centring
    (space, *_), _ = fitting_spaces(file, {"c2m": crystal.primitive()})
    (counted,) = space.settings.counted(crystal.primitive(), max_deviation=0.1, min_distance_A=1.5, max_listed=10**6)
    assert counted.composition.totals == {"Li": 6, "Y": 2, "Br": 12}
    assert counted.count.raw == comb(8, 6)
    # What was right before keeps its key: the field enters only where it is used.
    assert to_tree(space.settings)["primitive"] is True
    (old, *_), _ = fitting_spaces(campaign(more=", supercell: 1x1x1"), {"c2m": crystal})
    assert "primitive" not in to_tree(old.settings)


@pytest.mark.parametrize(("coupling", "raw"), [("per-orbit", comb(4, 2) * comb(4, 4)), ("coupled", comb(8, 6))])
def test_only_coupled_orbits_hold_the_ground_state_of_paper_a(coupling, raw):
    (space,) = counted_spaces(read_crystal(LYB), "1x1x1", CHARGES, coupling=coupling)
    assert space.count.raw == raw
    orderings = list_lowest(space.space, CHARGES, 100).atoms(space.space)
    # 4g lies at z = 0 and 4h at z = 1/2: 4g full and 4h half are 4 of 6 Li at z = 0.
    on_4g = [
        sum(round(2 * z) % 2 == 0 for z in each.get_scaled_positions()[each.numbers == 3, 2]) for each in orderings
    ]
    assert (4 in on_4g) == (coupling == "coupled")


def test_the_lowest_of_all_cells_are_exact_and_each_is_there_once():
    crystal, kept, energies = read_crystal(LYB), {}, []
    for name in ("1x1x1", "1x1x2"):
        (space,) = counted_spaces(crystal, name, CHARGES, coupling="coupled")
        lowest = list_lowest(space.space, CHARGES, 40)
        problem = OrderingProblem(None, space.summary)
        kept[OrderedCell(Material("c"), Supercell.parse(name).matrix)] = problem.retained(
            crystal, space.space, lowest, 40
        )
        energies = np.asarray(lowest.energies_eV) / sum(space.composition.totals.values())
    chosen = lowest_of_all_cells(kept, 25)
    small, large = chosen.values()
    per_atom = [o.ewald_eV / o.n_atoms for _, o in (*small, *large)]
    # Every ordering of one cell is one of the doubled cell as well, whose 40 lowest are therefore the truth.
    assert np.sort(per_atom) == pytest.approx(energies[:25], abs=1e-8)
    assert len(small) >= 1
    assert all(orderings == tuple(sorted(orderings, key=lambda pair: pair[0])) for orderings in chosen.values())
    assert [len(each) for each in lowest_of_all_cells(kept, None).values()] == [10, 40]


def test_a_plan_counts_labels_of_the_selected_compositions_alone():
    file = campaign(
        "b",
        ", supercell: 1x1x2",
        "select: {compositions: [Li3YBr6, Li6YInBr12], count: 2}",
        engine="chgnet",
    )
    plan = estimate_plan(file, {"c2m": read_crystal(LYB)}, {}, Path())
    lines = {line.stage: line for line in plan.lines}
    assert lines["select"].work == "up to 2 orderings"  # of three compositions
    relaxed = int(lines["rank"].work.split()[0])
    assert f"by the fine-tuned potential {relaxed} single points and 60 relaxations" in lines["rank"].work  # 20 of each
    # Test sets: all three compositions at nine temperatures, 50 snapshots each, and three orderings of each.
    tests = 3 * 9 * 50 + 3 * 3
    assert lines["label"].work.startswith(f"{2 * 4 * 75 + tests} labels")
    assert f"{tests} of them for test sets" in lines["label"].work
    assert "8 runs of 1192 ps, and 27 test runs" in lines["sample"].work  # 2 + 50 + 140 + 1000 ps


@pytest.mark.parametrize(
    ("name", "points", "cells", "sizes"),
    [
        ("liybc", 11, ["1x1x1", "1x1x2", "1x2x2"], ()),  # 20, 40 and 80 atoms
        ("nasicon", 13, ["1x1x1", "1x1x2"], (0, 250, 500, 1000)),  # steps of 1/2 and of 1/4
        ("lpgso", 9, ["1x1x2"], ()),
    ],
)
def test_the_files_of_paper_a_hold_every_composition_of_the_paper(name, points, cells, sizes, tmp_path):
    folder = ROOT / "examples" / name
    for file in (*folder.glob("*.cif"), folder / "paper.yaml"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "mace-mp-0a.npz").write_bytes(b"")  # the user's own, of which nothing is read here
    file = load_campaign(tmp_path / "paper.yaml")
    (entry,) = file.crystals
    crystal = read_crystal(entry.file)
    spaces, _ = fitting_spaces(file, {entry.name: crystal.primitive() if entry.primitive else crystal})
    assert len({space.material for space in spaces}) == points
    assert sorted({str(Supercell(space.settings.supercell)) for space in spaces}) == cells
    assert (file.train.trainer, file.train.learning_rate, file.train.options) == ("mace", 0.01, {"mode": "multihead"})
    assert (file.learn.sizes, file.enumerate.ewald_keep) == (sizes, 2000)
