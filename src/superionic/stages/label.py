"""Stage *label*: reference energies, forces and stresses of the snapshots, and the gates that they must pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from superionic.errors import StageError
from superionic.execution.kept_files import keep
from superionic.execution.runner import Failure
from superionic.execution.task import Context, Ref
from superionic.stages.base import Candidate, ChosenPotential, StageResult, Workbench, failures_as_data
from superionic.stages.predictions import predictions

STAGE = "label"
FINISHED = "finished"
_LABEL_VERSION = 1
_GATE_VERSION = 2
_STRUCTURES_VERSION = 1
_IMPORT_VERSION = 1
_WALLTIME_S = 6 * 3600.0
_ENGINES = {"gpaw": "gpaw", "tblite": "tblite", "vasp": "core"}  # VASP is started by a worker of the core


@dataclass(frozen=True)
class _Made:
    """Labels before the gates: candidates with their label tasks, and what did not come so far."""

    candidates: tuple[Candidate, ...] = ()
    failures: tuple[Failure, ...] = ()
    refused: tuple[Mapping[str, str], ...] = ()


def run(
    settings: Mapping[str, Any],
    bench: Workbench,
    snapshots: Sequence[Candidate],
    stand_in: ChosenPotential | None,
    round_label: str,
    baseline_potential: ChosenPotential | None = None,
) -> StageResult:
    """Label snapshots, add finished labels, and pass all of them through the gates.

    Parameters
    ----------
    settings
        The ``label`` section.
    bench
        The workbench.
    snapshots
        Structures to label.
    stand_in
        The potential that stands in for a reference method, or None for the engine that the settings name.
    round_label
        The round of sampling that the snapshots come from. Finished labels join the first round.
    baseline_potential
        The potential that sampled: the gates compare labels with its predictions and are far sharper with it.

    Returns
    -------
    StageResult
        Candidates are the snapshots whose label was accepted; their facts hold the label's task.

    Raises
    ------
    StageError
        If no label was accepted.
    """
    made = _Made() if settings["engine"] == FINISHED else _labelled(settings, bench, snapshots, stand_in, round_label)
    finished = _finished(settings, bench) if round_label in ("", "round 1") else _Made()
    candidates = (*finished.candidates, *made.candidates)
    refused = [*finished.refused, *made.refused]
    if not candidates:
        reasons = [*(failure.reason for failure in made.failures), *(entry["reason"] for entry in refused)]
        raise _nothing_left(reasons[0] if reasons else "there were no snapshots")
    structures = [candidate.structure for candidate in candidates]
    inputs: dict[str, Any] = {
        "atoms": structures,
        "labels": [Ref(candidate.facts["label"]) for candidate in candidates],
    }
    if baseline_potential is not None:
        words = f"predictions for the gates {round_label}".strip()
        inputs["baseline"] = Ref(predictions(bench, STAGE, words, structures, baseline_potential))
    gates = bench.task(
        STAGE,
        f"gates {round_label}".strip(),
        "superionic.stages.label:gates_task",
        _GATE_VERSION,
        {"gates": settings["gates"], "names": [candidate.id for candidate in candidates]},
        inputs,
    )
    verdicts = bench.runner.one(gates)["reasons"]
    judged = list(zip(candidates, verdicts, strict=True))
    accepted = tuple(candidate for candidate, reasons in judged if not reasons)
    rejected = [
        {"label": candidate.id, "reason": "; ".join(reasons), "key": candidate.facts["label"].key}
        for candidate, reasons in judged
        if reasons
    ]
    if not accepted:
        raise _nothing_left(rejected[0]["reason"])
    of_the_set = bench.runner.gather([accepted[0].facts["label"]])[0].value["provenance"]
    summary = {
        "baseline": None if baseline_potential is None else baseline_potential.name,
        "labeller": of_the_set,
        "n_accepted": len(accepted),
        "n_finished": len(finished.candidates),
        "n_requested": len(candidates) + len(made.failures) + len(made.refused),
        "rejected": [*failures_as_data(made.failures), *refused, *rejected],
    }
    return StageResult(summary, accepted, failures=made.failures)


def _labelled(
    settings: Mapping[str, Any],
    bench: Workbench,
    snapshots: Sequence[Candidate],
    stand_in: ChosenPotential | None,
    round_label: str,
) -> _Made:
    """Label the snapshots that are worth it; what is not is refused before anybody pays."""
    if not snapshots:
        return _Made()
    looked_at = bench.task(
        STAGE,
        f"structures {round_label}".strip(),
        "superionic.stages.label:structures_task",
        _STRUCTURES_VERSION,
        {"min_distance_A": settings["gates"]["min_distance_A"]},
        {"atoms": [snapshot.structure for snapshot in snapshots]},
    )
    reasons = bench.runner.one(looked_at)["reasons"]
    refused = tuple(
        {"label": snapshot.id, "reason": reason, "key": looked_at.key}
        for snapshot, reason in zip(snapshots, reasons, strict=True)
        if reason
    )
    worth = [snapshot for snapshot, reason in zip(snapshots, reasons, strict=True) if not reason]
    labeller = settings["engine"] if stand_in is None else f"potential:{stand_in.settings['name']}"
    tasks = [
        bench.task(
            STAGE,
            f"label of {snapshot.id}",
            "superionic.stages.label:label_task",
            _LABEL_VERSION,
            {"labeller": labeller, "labeller_settings": labeller_settings(settings, stand_in)},
            {"atoms": snapshot.structure},
            engine=_ENGINES[labeller] if stand_in is None else stand_in.engine,
            walltime_s=_WALLTIME_S,
        )
        for snapshot in worth
    ]
    outcomes = bench.runner.gather(tasks)
    made = tuple(
        replace(snapshot, facts={**snapshot.facts, "label": task})
        for snapshot, task, outcome in zip(worth, tasks, outcomes, strict=True)
        if outcome.ok
    )
    return _Made(made, tuple(o.failure for o in outcomes if o.failure is not None), refused)


def _finished(settings: Mapping[str, Any], bench: Workbench) -> _Made:
    """Bring in the finished labels of the campaign, by what is in their files and not by where these lie."""
    own = settings.get("finished")
    if not own or not own["files"]:
        return _Made()
    from superionic.labels.imports import find_files

    files = find_files([Path(file) for file in own["files"]])
    task = bench.task(
        STAGE,
        "finished labels",
        "superionic.stages.label:import_task",
        _IMPORT_VERSION,
        {
            "files": [{"kept": keep(file), "name": f"{file.parent.name}/{file.name}"} for file in files],
            **{name: value for name, value in own.items() if name != "files"},
        },
    )
    found = bench.runner.one(task)
    candidates = []
    for index, entry in enumerate(found["entries"]):
        label = bench.task(
            STAGE,
            f"finished label {index + 1}",
            "superionic.stages.label:one_of_task",
            _IMPORT_VERSION,
            {},
            {"label": Ref(task, ("entries", index, "label"))},
        )
        facts = {
            "formula": entry["formula"],
            "label": label,
            "ordering": entry["group"],
            "round": 1,
            "run": entry["group"],
        }
        structure = Ref(task, ("entries", index, "atoms"))
        candidates.append(Candidate(f"finished {index + 1} of {entry['group']}", FINISHED, "", structure, facts))
    bench.runner.gather([candidate.facts["label"] for candidate in candidates])
    refused = tuple({"label": entry["file"], "reason": entry["reason"], "key": task.key} for entry in found["refusals"])
    return _Made(tuple(candidates), refused=refused)


def labeller_settings(settings: Mapping[str, Any], stand_in: ChosenPotential | None) -> dict[str, Any]:
    """Return the settings of the labeller out of the ``label`` section."""
    if stand_in is not None:
        return {"model": stand_in.settings["model"], "options": dict(stand_in.settings["options"])}
    if settings["engine"] == "vasp":
        shared = (
            "functional",
            "ecut_eV",
            "kpoint_spacing_per_A",
            "smearing_eV",
            "energy_tolerance_eV",
            "max_scf_steps",
        )
        return {**{name: settings[name] for name in shared}, **settings["vasp"]}
    if settings["engine"] == "tblite":
        return {**settings["tblite"], "max_scf_steps": settings["max_scf_steps"]}
    apart = ("engine", "finished", "gates", "tblite", "vasp")
    return {name: value for name, value in settings.items() if name not in apart}


def _nothing_left(reason: str) -> StageError:
    return StageError(
        f"no label can be used ({reason})",
        where=STAGE,
        fix="see `superionic status`; loosen the gates or change the label settings",
    )


# ---- task functions -----------------------------------------------------------------------------------------------


def label_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Label one structure."""
    from superionic.execution.codec import canonical_json
    from superionic.labels.base import load_labeller

    token = "labeller:" + canonical_json(settings)
    if token not in context.cache:
        context.cache[token] = load_labeller(settings["labeller"], settings["labeller_settings"])
    label = context.cache[token].label(inputs["atoms"], scratch=context.scratch, progress=context.progress)
    found: dict[str, Any] = label.to_dict()
    return found


def structures_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Look at structures before their labels are paid for; an empty reason lets one pass."""
    from superionic.labels.gates import Gates, check_structure

    gates = Gates(min_distance_A=settings["min_distance_A"])
    return {"reasons": [check_structure(atoms, gates).reason for atoms in inputs["atoms"]]}


def import_task(settings: Mapping[str, Any], _inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Read finished calculations out of kept files."""
    from superionic.labels.imports import import_labels, stated_provenance

    stated = None
    if settings["code"]:
        stated = stated_provenance(
            settings["code"], settings["version"], settings["functional"], settings["energy_convention"]
        )
    found = import_labels(
        [Path(entry["kept"]) for entry in settings["files"]],
        names=[entry["name"] for entry in settings["files"]],
        every=settings["every"],
        kpoint_spacing_per_A=settings["kpoint_spacing_per_A"],
        stated=stated,
    )
    return {
        "entries": [
            {
                "atoms": entry.atoms,
                "formula": entry.atoms.get_chemical_formula(),
                "group": entry.group,
                "label": entry.label.to_dict(),
                "source": dict(entry.source),
            }
            for entry in found.entries
        ],
        "refusals": [{"file": refusal.file, "reason": refusal.reason} for refusal in found.refusals],
    }


def one_of_task(_settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Give one label of many a result of its own, as labels that are made here have."""
    return dict(inputs["label"])


def gates_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Judge labels together; each gets the list of reasons against it (empty: accepted)."""
    from superionic.labels.base import Label
    from superionic.labels.gates import Gates, judge
    from superionic.labels.residuals import Baseline

    labels = [Label.from_dict(label) for label in inputs["labels"]]
    baseline = Baseline.from_dict(inputs["baseline"]) if "baseline" in inputs else None
    return {"reasons": judge(inputs["atoms"], labels, Gates(**settings["gates"]), baseline)}
