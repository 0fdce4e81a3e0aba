"""A potential that a campaign trained, as a file that other campaigns take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superionic.errors import PotentialError, StageError, storage_error
from superionic.execution.codec import plain_json, to_tree
from superionic.execution.engines import resolve_engine
from superionic.execution.kept_files import stored_path
from superionic.execution.task import ref_of
from superionic.execution.worker import call_once
from superionic.potentials.base import weights_sha256
from superionic.potentials.exported import Exported, write_exported
from superionic.registry import models
from superionic.settings.base import FINE_TUNED, STUDENT
from superionic.version import __version__

if TYPE_CHECKING:
    from superionic.campaign.file.schema import CampaignFile
    from superionic.campaign.flow import Flow
    from superionic.results.learning import TrainResult
    from superionic.results.student import DistilResult
    from superionic.stages.base import ChosenPotential, Weights

_PROVE = "superionic.potentials.proof:prove_file"


@dataclass(frozen=True)
class ExportedModel:
    """A file with a trained potential.

    Attributes
    ----------
    path
        The file.
    name
        Name of the potential in its campaign.
    exported
        What the file says of it.
    """

    path: Path
    name: str
    exported: Exported

    @property
    def engine(self) -> str:
        """Engine that a campaign names beside the file."""
        return str(self.exported.identity["name"])


@dataclass(frozen=True)
class _Trained:
    """A potential that the campaign made, and what it was made from; plain values."""

    potential: ChosenPotential
    provenance: Mapping[str, Any]

    @property
    def weights(self) -> Weights:
        """Its weights, as a part of the result of its training.

        Raises
        ------
        TypeError
            If it has none: training always gives some.
        """
        if self.potential.weights is None:
            raise TypeError(f"{self.potential.name} has no weights of its own")
        return self.potential.weights


def export_model(file: CampaignFile, flow: Flow, name: str, out: Path) -> ExportedModel:
    """Write a trained potential into a file, with its provenance and with values that prove it elsewhere.

    Parameters
    ----------
    file, flow
        The campaign, and a walk through its stages.
    name
        ``fine-tuned`` for the potential that went on, ``fine-tuned@N`` for that of N labels, ``round-N`` for that of a
        round or rung, ``student-N``, or ``student-N-of-TEACHER`` where there are several teachers.
    out
        The file.

    Raises
    ------
    PotentialError
        If the campaign made no potential of this name.
    StageError
        If it has made none yet.
    EngineError
        If the engine that evaluates it is not installed here.
    StorageError
        If the file cannot be written.
    """
    made = dict(_made(file, flow))
    if not made:
        raise StageError(
            "This campaign has made no potential yet.",
            where="train, distil",
            fix="Add `train` or `distil` to it, or run it: superionic run CAMPAIGN",
        )
    chosen = made.get(name) or (made.get(f"{STUDENT}-1") if name == STUDENT else None)
    if chosen is None:
        raise PotentialError(
            f"The campaign made no potential {name!r}.", where=name, fix=f"Choose one of: {', '.join(made)}."
        )
    potential = chosen.potential
    weights = flow.bench.runner.value_of(chosen.weights)
    stored = potential.options.get("file")
    base = None if stored is None else stored_path(stored)
    engine = resolve_engine(potential.engine)
    exported = Exported(
        identity={
            **asdict(potential.identity),
            "model": f"{name} of {file.name}",
            "checkpoint_sha256": weights_sha256(weights),
            "elements": _elements_of(potential, weights),
            "fine_tuned": True,
        },
        model=_model_of(potential),
        options={key: value for key, value in potential.options.items() if key != "file"},
        trained_on={
            "superionic": __version__,
            "campaign": file.name,
            "potential": name,
            "task": ref_of(chosen.weights).task.key,
            "engine": _plain(engine.identity),
            **chosen.provenance,
        },
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_exported(out, exported, weights, base)
        exported = replace(exported, proof=_proof(engine.python, potential.identity.name, out))
        write_exported(out, exported, weights, base)
    except OSError as error:
        raise storage_error(error, where=out, doing="write the potential") from error
    return ExportedModel(out, name, exported)


def _elements_of(potential: ChosenPotential, weights: Mapping[str, Any]) -> list[str]:
    """Return the elements that the weights know: of a student those that it learned, not all of its teacher's."""
    if not models()[potential.identity.name].from_labels:
        return list(potential.identity.elements)
    from ase.data import chemical_symbols

    return [chemical_symbols[number] for number in sorted(weights["numbers"].tolist())]


def _model_of(potential: ChosenPotential) -> str | None:
    """Return the model of the engine that the weights are for; one made from labels alone has none."""
    of_labels = models()[potential.identity.name].from_labels
    return None if of_labels else potential.model


def _proof(python: Path, engine: str, file: Path) -> dict[str, Any]:
    """Evaluate the stored cell by the file just written."""
    proof = call_once(python, _PROVE, {"potential": engine, "model": None, "options": {"file": str(file.absolute())}})
    arrays = {name: proof[name].tolist() for name in ("forces_eV_per_A", "stress_eV_per_A3")}
    return {"energy_eV": proof["energy_eV"], **arrays}


def _made(file: CampaignFile, flow: Flow) -> Iterator[tuple[str, _Trained]]:
    """Yield the potentials that the campaign made, by their names, those that go on first."""
    outputs = flow.outputs
    goes_on = outputs.rungs[-1].goes_on if outputs.rungs else len(outputs.trained)
    rounds = {
        number: _Trained(potential, _of_training(file, flow, trained.result, goes_on=number == goes_on))
        for number, (potential, trained) in enumerate(zip(outputs.trained, outputs.train, strict=True), 1)
    }
    if goes_on in rounds:
        yield FINE_TUNED, rounds[goes_on]
    for number, trained in rounds.items():
        yield f"round-{number}", trained
    for model in outputs.sizes[-1].models if outputs.sizes and goes_on in rounds else ():
        if model.n_labels and model.potential in outputs.sized:
            errors = [
                {"set": one.set, "n_structures": one.errors.n_structures, "after": one.errors} for one in model.errors
            ]
            of_size: dict[str, Any] = {"n_train": model.n_labels, "best_epoch": model.best_epoch}
            of_size |= {"errors_of_best_epoch": None, "errors": errors[0] if errors else None}
            made = {**rounds[goes_on].provenance, **_plain(of_size)}
            yield model.potential, _Trained(outputs.sized[model.potential], made)
    for number, student in enumerate(outputs.students, 1):
        yield f"{STUDENT}-{number}", _Trained(student, _of_distillation(outputs.distil[-1].result))
    of_teacher = {further.name: further.distil for further in outputs.teachers}
    for teacher, students in outputs.further_students.items():
        for number, student in enumerate(students, 1):
            yield f"{STUDENT}-{number}-of-{teacher}", _Trained(student, _of_distillation(of_teacher[teacher]))


def _of_training(file: CampaignFile, flow: Flow, result: TrainResult, *, goes_on: bool) -> dict[str, Any]:
    outputs = flow.outputs
    sampler = None if file.sample is None else file.sample.potential
    start = flow.potential(sampler or file.rank.potential)
    best = next((epoch for epoch in result.history if epoch.epoch == result.best_epoch), None)
    provenance = {
        "trainer": result.trainer,
        "started_from": asdict(start.identity),
        "labels": outputs.label[-1].result.reference if outputs.label else None,
        "n_train": result.n_train,
        "n_validation": result.n_validation,
        "n_test": result.n_test,
        "best_epoch": result.best_epoch,
        "errors_of_best_epoch": best,
    }
    if goes_on and outputs.validate:
        errors = outputs.validate[-1].errors
        provenance["errors"] = {
            "set": errors.set, "n_structures": errors.n_structures, "before": errors.before, "after": errors.after,
        }  # fmt: skip
    return _plain(provenance)


def _of_distillation(result: DistilResult) -> dict[str, Any]:
    errors = result.errors
    return _plain(
        {
            "trainer": "nep",
            "teacher": {"name": result.teacher.name, **asdict(result.teacher.identity)},
            "labels": result.learned_from.total,
            "passed": result.verdict.passed,
            "verdict": result.verdict,
            "errors": None if errors is None else {"set": "labels of the gate", "after": errors.after_mean},
        }
    )


def _plain(provenance: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = plain_json(to_tree(provenance))
    return plain
