from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from superionic.settings.label import LabelSettings
from superionic.errors import StageError
from superionic.execution.task import Ref, Task
from superionic.labels.base import Label, load_labeller
from superionic.labels.packages import Entry, write_package
from superionic.potentials.reference import li3ycl6_cell
from superionic.stages import label
from superionic.stages.base import Candidate, Workbench


def rattled(n: int, seed: int = 3) -> list[Any]:
    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(n):
        atoms = li3ycl6_cell()
        atoms.positions += rng.normal(0.0, 0.08, atoms.positions.shape)
        cells.append(atoms)
    return cells


def snapshots(bench: Workbench, structures: list[Any]) -> list[Candidate]:
    task = Task("sample", "a run", "made:up", 1, {"n": len(structures)})
    bench.runner.store.commit(task.key, {}, {"snapshots": structures})
    facts = {"formula": "Li9Y3Cl18", "ordering": "a", "run": "a run", "temperature_K": 300.0}
    return [Candidate(f"snapshot {n}", "a", "", Ref(task, ("snapshots", n)), {**facts}) for n in range(len(structures))]


def settings(**changes: Any) -> dict[str, Any]:
    found = LabelSettings(**{"engine": "potential:pair", **changes}).model_dump(mode="json")
    return {name: value for name, value in found.items() if name != "preset"}


def test_what_is_not_worth_a_label_is_refused_before_it_is_paid_for(workbench: Callable[..., Workbench]) -> None:
    bench = workbench()
    structures = rattled(8)
    structures[2].positions[1] = structures[2].positions[0] + [0.2, 0.0, 0.0]
    result = label.run(settings(), bench, snapshots(bench, structures), bench.potentials["pair"], "")
    assert result.summary["n_accepted"] == 7
    assert result.summary["n_requested"] == 8
    (rejected,) = result.summary["rejected"]
    assert rejected["label"] == "snapshot 2"
    assert "apart" in rejected["reason"]
    assert not any("label of snapshot 2" in task.label for task in bench.runner.used.values())


def test_the_potential_that_sampled_makes_the_gates_sharp(workbench: Callable[..., Workbench]) -> None:
    bench = workbench("one", softer={"contact_force_ratio": 0.195, "softness_A": 0.32})
    structures = rattled(12)
    teacher, sampler = bench.potentials["pair"], bench.potentials["softer"]
    sound = label.run(settings(), bench, snapshots(bench, structures), teacher, "", sampler)
    assert sound.summary["n_accepted"] == 12
    assert sound.summary["baseline"] == "softer"
    assert [task.label for task in bench.runner.used.values()].count("predictions for the gates") == 1

    # The same labels with the stress of one turned around, put in the place of what the labeller gave.
    bench = workbench("two", softer={"contact_force_ratio": 0.195, "softness_A": 0.32})
    asked = snapshots(bench, structures)
    tasks = [candidate.facts["label"] for candidate in sound.candidates]
    labeller = load_labeller("potential:pair", {})
    for number, (task, atoms) in enumerate(zip(tasks, structures, strict=True)):
        value = labeller.label(atoms).to_dict()
        if number == 4:
            value["stress_eV_per_A3"] = -value["stress_eV_per_A3"]
        bench.runner.store.commit(task.key, {}, value)
    poisoned = label.run(settings(), bench, asked, teacher, "", sampler)
    assert [entry["label"] for entry in poisoned.summary["rejected"]] == ["snapshot 4"]
    assert "sign is turned" in poisoned.summary["rejected"][0]["reason"]
    blind = label.run(settings(), bench, asked, teacher, "")
    assert blind.summary["rejected"] == []
    assert blind.summary["baseline"] is None


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
    result = label.run(only, bench, [], None, "", bench.potentials["softer"])
    assert result.summary["n_accepted"] == result.summary["n_finished"] == 9
    assert result.summary["labeller"]["code"] == "potential:pair"
    first = result.candidates[0]
    value = bench.runner.one(first.facts["label"])
    assert value["energy_eV"] == load_labeller("potential:pair", {}).label(structures[0]).energy_eV
    assert first.facts["run"] == "run 0"
    # By content: the same file elsewhere gives the same tasks, another content other ones.
    moved = tmp_path / "two" / "one"
    moved.parent.mkdir()
    path.parent.rename(moved)
    again = label.run(
        settings(engine="finished", finished={"files": [str(moved)]}), bench, [], None, "", bench.potentials["softer"]
    )
    assert [c.facts["label"].key for c in again.candidates] == [c.facts["label"].key for c in result.candidates]
    # They join the first round only.
    with pytest.raises(StageError, match="no label can be used"):
        label.run(settings(engine="finished", finished={"files": [str(moved)]}), bench, [], None, "round 2")


def test_finished_labels_and_new_ones_share_a_set_only_if_of_one_reference(
    workbench: Callable[..., Workbench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "home"))
    bench = workbench()
    asked = snapshots(bench, rattled(8, seed=1))
    pair = bench.potentials["pair"]
    same = settings(finished={"files": [str(package(tmp_path / "same", rattled(3, seed=2)))]})
    assert label.run(same, bench, asked, pair, "round 1").summary["n_accepted"] == 11
    other = settings(finished={"files": [str(package(tmp_path / "other", rattled(3, seed=2), version="9"))]})
    result = label.run(other, bench, asked, pair, "round 1")
    assert result.summary["n_accepted"] == 8
    assert {entry["reason"].split(" (")[0] for entry in result.summary["rejected"]} == {
        "the label is of another reference"
    }


def test_settings_of_each_engine_are_those_that_its_labeller_knows() -> None:
    for engine, kind in (("gpaw", "gpaw"), ("vasp", "vasp")):
        chosen = settings(engine=engine)
        load = label.labeller_settings(chosen, None)
        assert load["functional"] == "PBE"
        if kind == "vasp":
            load_labeller(kind, load)
        else:
            from superionic.labels.base import describe_labeller

            describe_labeller(kind, load)


def test_tblite_takes_its_own_settings_and_the_others_do_not() -> None:
    from superionic.labels.base import describe_labeller

    found = label.labeller_settings(settings(engine="tblite", tblite={"method": "GFN2-xTB"}), None)
    assert describe_labeller("tblite", found).functional == "GFN2-xTB"
    assert "ecut_eV" not in found
    assert "tblite" not in label.labeller_settings(settings(engine="gpaw"), None)


def test_labels_that_fail_are_counted_with_their_reason(workbench: Callable[..., Workbench]) -> None:
    bench = workbench()
    structures = rattled(7)
    flat = structures[5]
    flat.pbc = [True, True, False]
    result = label.run(settings(), bench, snapshots(bench, structures), bench.potentials["pair"], "")
    assert result.summary["n_accepted"] == 6
    assert "not periodic" in result.summary["rejected"][0]["reason"]
