"""Stage *label*: reference energies, forces and stresses of the snapshots, and the gates that they must pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from superionic.conventions import dispersion_in
from superionic.errors import StageError
from superionic.execution.kept_files import keep
from superionic.execution.runner import Failure
from superionic.execution.task import Context, ref_of, task
from superionic.labels.base import Label, Reference
from superionic.labels.gates import Gates, Verdict
from superionic.labels.imports import Imported
from superionic.results.learning import ConvergenceCheck, LabelResult, Rejection
from superionic.stages.base import ChosenPotential, Snapshot, WithSnapshots, Workbench, failures_of
from superionic.stages.convergence import better_labels, compared, convergence_cautions
from superionic.stages.fitting import Data
from superionic.stages.labelling import ChosenLabeller, dispersion_task
from superionic.stages.predictions import predictions
from superionic.training.dataset import Targets

if TYPE_CHECKING:
    from superionic.settings.label import LabelSettings


@dataclass(frozen=True)
class Judged:
    """The verdicts of the gates, one for each structure."""

    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class KeptFile:
    """A file of the user: the name of its stored copy (``kept``; its path inside a task), and its own name."""

    kept: str
    name: str


@dataclass(frozen=True)
class _Made:
    """Labels before the gates, with the failures and refusals so far."""

    snapshots: tuple[Snapshot, ...] = ()
    failures: tuple[Failure, ...] = ()
    refused: tuple[Rejection, ...] = ()
    checks: tuple[ConvergenceCheck, ...] = ()
    unchecked: tuple[str, ...] = ()


def run(
    settings: LabelSettings,
    bench: Workbench,
    snapshots: Sequence[Snapshot],
    stand_in: ChosenPotential | None,
    round_label: str,
    baseline_potential: ChosenPotential | None = None,
    *,
    number: int = 1,
) -> WithSnapshots[LabelResult]:
    """Label snapshots, add finished labels, and pass all of them through the gates.

    Parameters
    ----------
    settings
        The ``label`` section.
    snapshots
        Structures to label.
    stand_in
        The potential that stands in for a reference method, or None for the engine that the settings name.
    round_label
        The round of sampling that the snapshots come from.
    baseline_potential
        The potential that sampled; the gates compare labels with its predictions, which makes them far sharper.
    number
        Number of the round. Finished labels join the first one.

    Raises
    ------
    StageError
        If no label was accepted.
    """
    from superionic.settings.inputs import chosen_dispersion

    bench = bench.at("label")
    labeller = None if settings.is_finished else ChosenLabeller.of(settings, stand_in)
    made = _Made() if labeller is None else _labelled(settings, bench, snapshots, labeller, round_label, number)
    finished = _finished(settings, bench) if number == 1 else _Made()
    labelled = (*finished.snapshots, *made.snapshots)
    refused = (*finished.refused, *made.refused)
    term, failures = chosen_dispersion(settings.dispersion), made.failures
    # The gates compare labels with predictions: both with dispersion, or both without.
    first = baseline_potential is not None and dispersion_in(baseline_potential.identity.energy_convention) is not None
    if term is not None and first:
        labelled, failed = _dispersed(bench, labelled, term)
        failures = (*failures, *failed)
    if not labelled:
        reasons = [*(failure.reason for failure in made.failures), *(entry.reason for entry in refused)]
        raise _nothing_left(reasons[0] if reasons else "there were no snapshots")
    data = Data.of(labelled)
    baseline: Targets | None = None
    if baseline_potential is not None:
        words = f"predictions for the gates {round_label}".strip()
        baseline = predictions(bench, words, data.atoms, baseline_potential).result
    gates = bench.task(
        f"gates {round_label}".strip(),
        gates_task.of(
            gates=Gates(**settings.gates.model_dump()),
            data=data,
            baseline=baseline,
            groups=[snapshot.run for snapshot in labelled],
        ),
    )
    verdicts = bench.runner.one(gates).verdicts
    accepted = tuple(snapshot for snapshot, verdict in zip(labelled, verdicts, strict=True) if verdict.passed)
    rejected = tuple(
        Rejection(snapshot.id, verdict.reason, ref_of(snapshot.label).task.key)
        for snapshot, verdict in zip(labelled, verdicts, strict=True)
        if not verdict.passed
    )
    if term is not None and not first:
        accepted, failed = _dispersed(bench, accepted, term)
        failures = (*failures, *failed)
    if not accepted or accepted[0].label is None:
        raise _nothing_left(rejected[0].reason if rejected else failures[-1].reason)
    result = LabelResult(
        round=number,
        reference=Reference.of(bench.runner.value_of(accepted[0].label)),
        baseline=None if baseline_potential is None else baseline_potential.name,
        n_requested=len(labelled) + len(made.failures) + len(made.refused),
        n_finished=len(finished.snapshots),
        n_accepted=len(accepted),
        rejected=(*refused, *rejected),
        failures=failures,
        convergence=made.checks,
        convergence_cautions=(*convergence_cautions(settings, made.checks), *made.unchecked),
    )
    return WithSnapshots(result, accepted)


def _dispersed(
    bench: Workbench, labelled: Sequence[Snapshot], term: Mapping[str, Any]
) -> tuple[tuple[Snapshot, ...], tuple[Failure, ...]]:
    """Add dispersion to labels, each by a task of its own: what they cost before is not paid again."""
    tasks = [
        bench.task(
            f"dispersion of {snapshot.id}",
            dispersion_task.of(label=snapshot.label, atoms=snapshot.structure, dispersion=term),
        )
        for snapshot in labelled
        if snapshot.label is not None
    ]
    outcomes = bench.runner.gather(tasks)
    with_term = tuple(
        replace(snapshot, label=outcome.task.result)
        for snapshot, outcome in zip(labelled, outcomes, strict=True)
        if outcome.ok
    )
    return with_term, failures_of(outcomes)


def _labelled(
    settings: LabelSettings,
    bench: Workbench,
    snapshots: Sequence[Snapshot],
    labeller: ChosenLabeller,
    round_label: str,
    number: int,
) -> _Made:
    """Label snapshots; structures that are not worth a label are refused before the cost arises.

    In the first round a few are labelled with more plane waves and k-points too.
    """
    if not snapshots:
        return _Made()
    checking = bench.task(
        f"structures {round_label}".strip(),
        structures_task.of(
            min_distance_A=settings.gates.min_distance_A, atoms=[snapshot.structure for snapshot in snapshots]
        ),
    )
    judged = list(zip(snapshots, bench.runner.one(checking).verdicts, strict=True))
    refused = tuple(
        Rejection(snapshot.id, verdict.reason, checking.key) for snapshot, verdict in judged if not verdict.passed
    )
    worth = [snapshot for snapshot, verdict in judged if verdict.passed]
    tasks = [labeller.label(bench, f"label of {snapshot.id}", snapshot.structure) for snapshot in worth]
    better = list(better_labels(settings, bench, worth)) if number == 1 else []
    outcomes = bench.runner.gather([*tasks, *(each.task for each in better)])
    labelled = tuple(
        replace(snapshot, label=outcome.task.result)
        for snapshot, outcome in zip(worth, outcomes[: len(worth)], strict=True)
        if outcome.ok
    )
    used = {one.id: bench.runner.value_of(one.label) for one in labelled if one.label is not None}
    checks = tuple(
        compared(each, used[each.snapshot.id], bench.runner.value_of(outcome.task.result))
        for each, outcome in zip(better, outcomes[len(worth) :], strict=True)
        if outcome.ok and each.snapshot.id in used
    )
    unchecked = tuple(
        f"{failure.label} could not be made ({failure.reason}), so the {each.raised} are not checked by it"
        for each, outcome in zip(better, outcomes[len(worth) :], strict=True)
        for failure in failures_of([outcome])
    )
    return _Made(labelled, failures_of(outcomes[: len(worth)]), refused, checks, unchecked)


def _finished(settings: LabelSettings, bench: Workbench) -> _Made:
    """Import the finished labels of the campaign; keys depend on the content of their files, not on the paths."""
    own = settings.finished
    if not own.files:
        return _Made()
    from superionic.labels.imports import find_files, names_of

    files = find_files([Path(file) for file in own.files])
    names = names_of(files)  # as short as is unique, since a campaign may be moved and renamed
    importing = bench.task(
        "finished labels",
        import_task.of(
            files=[KeptFile(keep(file), name) for file, name in zip(files, names, strict=True)],
            every=own.every,
            kpoint_spacing_per_A=own.kpoint_spacing_per_A,
            code=own.code,
            version=own.version,
            functional=own.functional,
            energy_convention=own.energy_convention,
        ),
    )
    imported = bench.runner.one(importing)
    labels = [
        bench.task(f"finished label {index + 1}", one_of_task.of(label=importing.result.entries[index].label))
        for index in range(len(imported.entries))
    ]
    bench.runner.gather(labels)
    snapshots = tuple(
        Snapshot(
            id=f"finished {index + 1} of {entry.group}",
            structure=importing.result.entries[index].atoms,
            formula=entry.atoms.get_chemical_formula(),
            run=entry.group,
            label=label.result,
        )
        for index, (entry, label) in enumerate(zip(imported.entries, labels, strict=True))
    )
    refused = tuple(Rejection(refusal.file, refusal.reason, importing.key) for refusal in imported.refusals)
    return _Made(snapshots, refused=refused)


def _nothing_left(reason: str) -> StageError:
    return StageError(
        f"no label can be used ({reason})",
        where="label",
        fix="see `superionic status`; loosen the gates or change the label settings",
    )


# ---- task functions -------------------------------------------------------------------------------------------------


@task(version=2)
def structures_task(_context: Context, *, min_distance_A: float | None, atoms: Sequence[Atoms]) -> Judged:
    """Check structures before they are labelled."""
    from superionic.labels.gates import check_structure

    gates = Gates(min_distance_A=min_distance_A)
    return Judged(tuple(check_structure(structure, gates) for structure in atoms))


@task(version=4)
def import_task(
    _context: Context,
    *,
    files: Sequence[KeptFile],
    every: int,
    kpoint_spacing_per_A: float | None,
    code: str | None,
    version: str | None,
    functional: str | None,
    energy_convention: str | None,
) -> Imported:
    """Read finished calculations from stored files."""
    from superionic.labels.imports import import_labels, stated_provenance

    stated = None
    if code is not None:
        stated = stated_provenance(code, version or "", functional or "", energy_convention)
    return import_labels(
        [Path(file.kept) for file in files],
        names=[file.name for file in files],
        every=every,
        kpoint_spacing_per_A=kpoint_spacing_per_A,
        stated=stated,
    )


@task(version=1)
def one_of_task(_context: Context, *, label: Label) -> Label:
    """Return one of many labels as a result of its own, as each label calculated here has."""
    return label


@task(version=5)
def gates_task(
    _context: Context, *, gates: Gates, data: Data, baseline: Targets | None, groups: Sequence[str]
) -> Judged:
    """Pass all labels through the gates together."""
    from superionic.labels.gates import check_labels
    from superionic.labels.residuals import Baseline

    compared = None
    if baseline is not None:
        compared = Baseline(baseline.energies_eV, baseline.forces_eV_per_A, baseline.stresses_eV_per_A3)
    return Judged(tuple(check_labels(data.atoms, data.labels, gates, baseline=compared, groups=groups)))
