from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from superionic.errors import StageError
from superionic.execution.codec import to_tree
from superionic.execution.task import Context, ref_of, task
from superionic.labels.base import Label, load_labeller
from superionic.labels.packages import Entry, write_package
from superionic.potentials.dispersion import Dispersion
from superionic.potentials.reference import li3ycl6_cell
from superionic.results.identity import Material, OrderedCell, Ordering
from superionic.settings.label import ConvergenceCheckSettings, LabelSettings
from superionic.stages import label
from superionic.stages.base import Snapshot, Workbench
from superionic.stages.labelling import ChosenLabeller
from superionic.stages.replay import Structures


def rattled(n: int, seed: int = 3) -> list[Any]:
    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(n):
        atoms = li3ycl6_cell()
        atoms.positions += rng.normal(0.0, 0.08, atoms.positions.shape)
        cells.append(atoms)
    return cells


@task(version=1)
def one_by_one(_context: Context, *, n: int) -> Structures:
    """Stand for the run that structures are from; the store is given what it found."""
    raise NotImplementedError(n)


def snapshots(bench: Workbench, structures: list[Any]) -> list[Snapshot]:
    sampled = bench.at("sample").task("a run", one_by_one.of(n=len(structures)))
    bench.runner.store.commit(sampled.key, {}, to_tree(Structures(tuple(structures))))
    ordering = Ordering(OrderedCell(Material("a")), 0)
    return [
        Snapshot(
            f"snapshot {n}", sampled.result.atoms[n], structures[n].get_chemical_formula(), "a run", ordering, 300.0
        )
        for n in range(len(structures))
    ]


def settings(**changes: Any) -> LabelSettings:
    return LabelSettings(**{"engine": "potential:pair", **changes})


def test_what_is_not_worth_a_label_is_refused_before_it_is_paid_for(workbench: Callable[..., Workbench]) -> None:
    bench = workbench()
    structures = rattled(8)
    structures[2].positions[1] = structures[2].positions[0] + [0.2, 0.0, 0.0]
    result = label.run(settings(), bench, snapshots(bench, structures), bench.potentials["pair"], "").result
    assert (result.n_accepted, result.n_requested) == (7, 8)
    (rejected,) = result.rejected
    assert rejected.label == "snapshot 2"
    assert "apart" in rejected.reason
    assert not any("label of snapshot 2" in task.label for task in bench.runner.used.values())


def test_the_potential_that_sampled_makes_the_gates_sharp(workbench: Callable[..., Workbench]) -> None:
    bench = workbench("one", softer={"contact_force_ratio": 0.195, "softness_A": 0.32})
    structures = rattled(12)
    teacher, sampler = bench.potentials["pair"], bench.potentials["softer"]
    sound = label.run(settings(), bench, snapshots(bench, structures), teacher, "", sampler)
    assert sound.result.n_accepted == 12
    assert sound.result.baseline == "softer"
    assert sound.result.reference.code == "potential:pair"
    assert sound.result.reference.stand_in
    assert [task.label for task in bench.runner.used.values()].count("predictions for the gates") == 1

    # The same labels with the stress of one turned around, put in the place of what the labeller gave.
    bench = workbench("two", softer={"contact_force_ratio": 0.195, "softness_A": 0.32})
    asked = snapshots(bench, structures)
    labeller = load_labeller("potential:pair", {})
    for number, (snapshot, atoms) in enumerate(zip(sound.snapshots, structures, strict=True)):
        value = labeller.label(atoms)
        if number == 4:
            value = replace(value, stress_eV_per_A3=-value.stress_eV_per_A3)
        bench.runner.store.commit(ref_of(snapshot.label).task.key, {}, to_tree(value))
    poisoned = label.run(settings(), bench, asked, teacher, "", sampler).result
    assert [entry.label for entry in poisoned.rejected] == ["snapshot 4"]
    assert "sign is wrong" in poisoned.rejected[0].reason
    blind = label.run(settings(), bench, asked, teacher, "").result
    assert blind.rejected == ()
    assert blind.baseline is None


def package(folder: Path, structures: list[Any], *, version: str = "1") -> Path:
    labeller = load_labeller("potential:pair", {})
    entries = []
    for number, atoms in enumerate(structures):
        made = labeller.label(atoms)
        provenance = dict(made.provenance)
        if version != "1":
            provenance |= {"version": version, "settings_hash": version * 16}
        given = Label(made.energy_eV, made.forces_eV_per_A, made.stress_eV_per_A3, provenance, made.diagnostics)
        entries.append(Entry(atoms, given, f"run {number % 3}"))
    folder.mkdir(exist_ok=True)
    path = folder / "labels.extxyz"
    write_package(path, entries)
    return path


def test_a_campaign_trains_on_finished_labels(
    workbench: Callable[..., Workbench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "home"))
    bench = workbench(softer={"contact_force_ratio": 0.195, "softness_A": 0.32})
    structures = rattled(9)
    path = package(tmp_path / "one", structures)
    only = settings(engine="finished", finished={"files": [str(path)]})
    made = label.run(only, bench, [], None, "", bench.potentials["softer"])
    assert made.result.n_accepted == made.result.n_finished == 9
    assert made.result.reference.code == "potential:pair"
    first = made.snapshots[0]
    value = bench.runner.value_of(first.label)
    assert value.energy_eV == load_labeller("potential:pair", {}).label(structures[0]).energy_eV
    assert (first.run, first.phase, first.ordering, first.temperature_K) == ("run 0", "finished", None, None)
    # By content: the same file elsewhere gives the same tasks, another content other ones.
    moved = tmp_path / "two" / "one"
    moved.parent.mkdir()
    path.parent.rename(moved)
    again = label.run(
        settings(engine="finished", finished={"files": [str(moved)]}), bench, [], None, "", bench.potentials["softer"]
    )
    keys = [[ref_of(snapshot.label).task.key for snapshot in one.snapshots] for one in (again, made)]
    assert keys[0] == keys[1]
    # They join the first round only.
    with pytest.raises(StageError, match="no label can be used"):
        label.run(settings(engine="finished", finished={"files": [str(moved)]}), bench, [], None, "", number=2)


def test_finished_labels_and_new_ones_share_a_set_only_if_of_one_reference(
    workbench: Callable[..., Workbench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "home"))
    bench = workbench()
    asked = snapshots(bench, rattled(8, seed=1))
    pair = bench.potentials["pair"]
    same = settings(finished={"files": [str(package(tmp_path / "same", rattled(3, seed=2)))]})
    assert label.run(same, bench, asked, pair, "round 1").result.n_accepted == 11
    other = settings(finished={"files": [str(package(tmp_path / "other", rattled(3, seed=2), version="9"))]})
    result = label.run(other, bench, asked, pair, "round 1").result
    assert result.n_accepted == 8
    assert {entry.reason.split(" (")[0] for entry in result.rejected} == {"the label has another reference"}


def test_settings_of_each_engine_are_those_that_its_labeller_knows() -> None:
    for engine, kind in (("gpaw", "gpaw"), ("vasp", "vasp")):
        chosen = settings(engine=engine)
        load = ChosenLabeller.of(chosen, None).settings
        assert load["functional"] == "PBE"
        if kind == "vasp":
            load_labeller(kind, load)
        else:
            from superionic.labels.base import describe_labeller

            describe_labeller(kind, load)


def test_tblite_takes_its_own_settings_and_the_others_do_not() -> None:
    from superionic.labels.base import describe_labeller

    found = ChosenLabeller.of(settings(engine="tblite", tblite={"method": "GFN2-xTB"}), None).settings
    assert describe_labeller("tblite", found).functional == "GFN2-xTB"
    assert "ecut_eV" not in found
    assert "tblite" not in ChosenLabeller.of(settings(engine="gpaw"), None).settings


def test_labels_that_fail_are_counted_with_their_reason(workbench: Callable[..., Workbench]) -> None:
    bench = workbench()
    structures = rattled(7)
    flat = structures[5]
    flat.pbc = [True, True, False]
    result = label.run(settings(), bench, snapshots(bench, structures), bench.potentials["pair"], "").result
    assert result.n_accepted == 6
    assert "not periodic" in result.rejected[0].reason


def test_dispersion_is_added_to_accepted_labels_without_making_them_anew(workbench: Callable[..., Workbench]) -> None:
    bench, term = workbench(), {"functional": "PBE"}
    structures = rattled(6)
    asked, teacher = snapshots(bench, structures), bench.potentials["pair"]
    plain = label.run(settings(), bench, asked, teacher, "")
    made = {task.key for task in bench.runner.used.values() if task.label.startswith("label of")}
    added = label.run(settings(dispersion=term), bench, asked, teacher, "")
    assert {task.key for task in bench.runner.used.values() if task.label.startswith("label of")} == made
    assert added.result.n_accepted == plain.result.n_accepted == 6
    steps = [task.label for task in bench.runner.used.values()]
    assert steps.index("gates") < steps.index("dispersion of snapshot 0")  # as they came from the reference method
    assert added.result.reference.functional.endswith(" + D3(BJ, PBE)")
    assert added.result.reference.settings_hash != plain.result.reference.settings_hash
    for atoms, before, after in zip(structures, plain.snapshots, added.snapshots, strict=True):
        one, other = (bench.runner.value_of(snapshot.label) for snapshot in (before, after))
        energy, forces, stress = Dispersion("PBE").evaluate(atoms)
        assert other.energy_eV == one.energy_eV + energy
        np.testing.assert_array_equal(other.forces_eV_per_A, one.forces_eV_per_A + forces)
        np.testing.assert_array_equal(other.stress_eV_per_A3, one.stress_eV_per_A3 + stress)


def test_the_gates_compare_labels_with_dispersion_with_a_potential_that_has_learned_it(
    workbench: Callable[..., Workbench],
) -> None:
    term = {"dispersion": {"method": "d3bj", "functional": "PBE"}}
    bench = workbench("one", dispersed=term)
    dispersed = bench.potentials["dispersed"]
    named = replace(dispersed.identity, energy_convention="pair potential + D3(BJ, PBE)")
    dispersed = replace(dispersed, identity=named)
    asked, teacher = snapshots(bench, rattled(6)), bench.potentials["pair"]
    result = label.run(settings(dispersion=term["dispersion"]), bench, asked, teacher, "", dispersed).result
    assert result.n_accepted == 6
    steps = [task.label for task in bench.runner.used.values()]
    assert steps.index("dispersion of snapshot 0") < steps.index("gates")
    assert dispersed.bare.options == {}
    assert dispersed.bare.identity.energy_convention == "pair potential"
    assert teacher.bare is teacher


@pytest.mark.parametrize(("mode", "stress_GPa"), [("", 0.0), ("pulay", -0.9)])
def test_a_cutoff_that_is_too_low_is_seen_at_a_higher_one(
    workbench: Callable[..., Workbench], fake_vasp: pytest.MonkeyPatch, mode: str, stress_GPa: float
) -> None:
    fake_vasp.setenv("FAKE_VASP", mode)
    bench = workbench()
    chosen = settings(engine="vasp", ecut_eV=300, kpoint_spacing_per_A=0.8, vasp={"version": "6.3.2"})
    structures = rattled(3)
    del structures[0][[atom.index for atom in structures[0] if atom.symbol == "Y"]]
    result = label.run(chosen, bench, snapshots(bench, structures), None, "").result
    check, by_kpoints = result.convergence  # the second structure alone has all three elements
    assert (check.label, check.raised, check.to) == ("snapshot 1", "cutoff", "390 eV")
    assert check.stress_GPa == pytest.approx(stress_GPa, abs=1e-6)
    assert check.mae_force_meV_per_A == pytest.approx(0.0, abs=1e-6)
    assert [words.partition(",")[0] for words in result.convergence_cautions] == ["The cutoff of the labels"] * bool(
        mode
    )
    assert (by_kpoints.label, by_kpoints.to) == ("snapshot 0", "2x2x2 in place of 1x1x2")
    assert by_kpoints.energy_meV_per_atom == by_kpoints.mae_force_meV_per_A == pytest.approx(0.0, abs=1e-6)
    off = label.run(
        chosen.model_copy(update={"convergence_check": None}), bench, snapshots(bench, structures), None, ""
    )
    assert off.result.convergence == ()


def test_too_few_kpoints_are_seen_in_cells_of_different_size(
    workbench: Callable[..., Workbench], fake_vasp: pytest.MonkeyPatch
) -> None:
    fake_vasp.setenv("FAKE_VASP", "kpoints")
    bench = workbench()
    chosen = settings(
        engine="vasp",
        kpoint_spacing_per_A=0.8,
        vasp={"version": "6.3.2"},
        convergence_check={"ecut_factor": None},
    )
    small = rattled(2)
    large = [atoms.repeat((1, 1, 2)) for atoms in small]
    large[1].set_cell(1.02 * np.array(large[1].cell), scale_atoms=True)  # a strained cell is of the same kind
    result = label.run(chosen, bench, snapshots(bench, [*small, *large]), None, "").result
    energies = {check.label: check.energy_meV_per_atom for check in result.convergence}
    # 30 meV/atom over the number of k-points: 2 and 8 of them in the small cell, 1 and 4 in the large one.
    assert energies == pytest.approx({"snapshot 0": 30 / 2 - 30 / 8, "snapshot 2": 30 - 30 / 4}, abs=1e-6)
    (words,) = result.convergence_cautions
    assert "(Cl36Li18Y6) by +22.5 (limit of the difference 3)" in words
    fake_vasp.setenv("FAKE_VASP", "converges:ENCUT=520.0")
    failing = chosen.model_copy(update={"convergence_check": ConvergenceCheckSettings(kpoints=False)})
    result = label.run(failing, bench, snapshots(bench, rattled(1, seed=4)), None, "").result
    assert (result.n_accepted, result.failures, result.convergence) == (1, (), ())
    (words,) = result.convergence_cautions
    assert words.startswith("label of snapshot 0 at 676 eV could not be made (")
    fake_vasp.setenv("FAKE_VASP", "kpoints")
    alone = label.run(chosen, bench, snapshots(bench, small), None, "").result
    assert len(alone.convergence) == 1  # in one kind of cell the same shift of all energies is no error
    assert alone.convergence_cautions == ()
