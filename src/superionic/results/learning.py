"""Results of sampling, labelling, training and validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from superionic.execution.runner import Failure
from superionic.labels.base import Reference
from superionic.results.identity import Run
from superionic.shown import Shown
from superionic.training.dataset import ElementReferences
from superionic.training.metrics import EpochRecord, ErrorMetrics
from superionic.training.preflight import Finding

# ---- sampling -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exploration:
    """The disagreement of a committee in one run.

    Attributes
    ----------
    looked_at
        Number of frames evaluated by all members.
    worst_eV_per_A
        Largest disagreement about a force; None if no frame was evaluated.
    above
        Number of frames whose disagreement was above the threshold for a label.
    """

    length_ps: float
    looked_at: int
    worst_eV_per_A: float | None
    above: int


@dataclass(frozen=True)
class SampledRun:
    """One sampling run.

    Attributes
    ----------
    run
        Identity of the run.
    formula
        Reduced formula of its ordering.
    chosen_by
        Number of snapshots by the method that chose them.
    explored
        Disagreement of the committee; None in plain sampling.
    flags
        Cautions, in sentences.
    mean_temperature_K
        Mean over its production; None if that has no frame.
    n_frames, n_snapshots
        Number of frames of its production, and of snapshots chosen from them.
    stopped
        Why the monitors ended it early; None if they did not.
    key
        Key of the task that chose the snapshots.
    """

    run: Run
    formula: str
    chosen_by: Mapping[str, int]
    explored: Exploration | None
    flags: tuple[str, ...]
    mean_temperature_K: float | None
    n_frames: int
    n_snapshots: int
    stopped: str | None
    key: str


@dataclass(frozen=True, repr=False)
class SampleResult(Shown):
    """The sampling runs of one round at one temperature.

    Attributes
    ----------
    round
        Number of the round, from 1.
    potential
        Name of the potential that drove them.
    runs, failures
        Runs that gave snapshots (or an exploration), and runs that failed.
    """

    round: int
    temperature_K: float
    potential: str
    runs: tuple[SampledRun, ...]
    failures: tuple[Failure, ...]


# ---- the active loop ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExplorationRound:
    """The exploration of one round, over all its runs.

    Attributes
    ----------
    round
        Number of the round, from 2: the first round is plain sampling.
    agrees
        Whether the committee agreed, which ends the loop.
    labels
        Number of labels accepted after it.
    length_ps, looked_at, above, worst_eV_per_A
        As in :class:`Exploration`, for all runs together; the worst is 0 if no frame was evaluated.
    share_above
        ``above`` over ``looked_at``; 1 if no frame was evaluated.
    stopped
        Number of runs that failed or were stopped.
    """

    round: int
    agrees: bool
    labels: int
    length_ps: float
    looked_at: int
    above: int
    share_above: float
    stopped: int
    worst_eV_per_A: float


@dataclass(frozen=True)
class LearningResult:
    """The course of the active loop.

    Attributes
    ----------
    ended
        Why it ended.
    agrees
        Whether the committee agreed at its end.
    """

    ended: str
    agrees: bool
    rounds: tuple[ExplorationRound, ...]


# ---- the ladder -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelledTestSet:
    """A set of labels on which several potentials of the campaign are compared, and none is trained.

    Attributes
    ----------
    name
        What it holds: labels held out of training, orderings, or snapshots of test runs.
    n_structures
        Number of labels.
    formulas
        Reduced formulas in it.
    temperatures_K
        Temperatures of the runs; empty for orderings.
    """

    name: str
    n_structures: int
    formulas: tuple[str, ...]
    temperatures_K: tuple[float, ...]


@dataclass(frozen=True)
class RungErrors:
    """Errors of the potential of one rung on one test set.

    Attributes
    ----------
    round
        Number of the rung's round, from 1; 0 for the pretrained potential.
    temperature_K
        Temperature of the rung; None for the pretrained potential.
    set
        Name of the test set.
    errors
        Errors against labels at the rung's own zero of energy.
    """

    round: int
    temperature_K: float | None
    set: str
    errors: ErrorMetrics


@dataclass(frozen=True)
class SetEnergies:
    """Energies of one test set by the labels and by each rung.

    Attributes
    ----------
    set
        Name of the test set.
    formulas
        Reduced formula of each structure.
    labels_eV_per_atom
        Energies of the labels, in the order of `formulas`.
    predicted_eV_per_atom
        For each rung, in the order of rounds from 0, the energies of the same structures, brought to the zero of the
        labels; None where the rung has seen no label with one of the elements.
    """

    set: str
    formulas: tuple[str, ...]
    labels_eV_per_atom: tuple[float, ...]
    predicted_eV_per_atom: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, repr=False)
class RungComparison(Shown):
    """The potentials of all rungs on the same test sets.

    Attributes
    ----------
    sets
        The test sets.
    errors
        Errors of each rung on each set.
    energies
        Energies of each set by the labels and by each rung.
    best
        Round of the rung with the smallest errors over all sets; None if nothing could be compared.
    goes_on
        Round of the rung whose potential goes on to the later stages.
    key
        Key of the task that calculated the errors.
    failures, rejected
        Test runs and labels that failed, and labels that are not used.
    """

    sets: tuple[LabelledTestSet, ...]
    errors: tuple[RungErrors, ...]
    energies: tuple[SetEnergies, ...]
    best: int | None
    goes_on: int
    key: str
    failures: tuple[Failure, ...] = ()
    rejected: tuple[Rejection, ...] = ()


# ---- labels ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rejection:
    """A structure whose label is not used, and why.

    Attributes
    ----------
    label
        Name of the structure or of its calculation.
    reason
        Why the label is not used.
    key
        Key of the task that rejected it or failed.
    """

    label: str
    reason: str
    key: str


@dataclass(frozen=True)
class ConvergenceCheck:
    """One structure labelled anew with more plane waves or more k-points: the new label less the one used.

    Attributes
    ----------
    label, formula
        Name of the structure, and its formula.
    raised, to
        What there is more of, and its value in words.
    energy_meV_per_atom
        Difference of the energy. By the cutoff, most of it is the same for all structures of a composition; by k-points
        for all of a cell.
    mae_force_meV_per_A, max_force_meV_per_A
        Mean and largest absolute difference of a component of the forces.
    stress_GPa
        Mean difference of the normal components of the stress, tension positive; None without stress.
    """

    label: str
    formula: str
    raised: Literal["cutoff", "k-points"]
    to: str
    energy_meV_per_atom: float
    mae_force_meV_per_A: float
    max_force_meV_per_A: float
    stress_GPa: float | None


@dataclass(frozen=True, repr=False)
class LabelResult(Shown):
    """The labels of one round.

    Attributes
    ----------
    round
        Number of the round, from 1.
    reference
        Reference method of the labels.
    baseline
        Name of the potential whose predictions the gates compared with the labels; None if there was none.
    n_requested, n_finished, n_accepted
        Number of labels requested, of finished labels imported, and of labels that passed the gates.
    rejected
        Structures not worth a label, files without labels, and labels refused by the gates.
    failures
        Calculations that gave no label.
    convergence
        Structures labelled anew with more plane waves or k-points, in the first round.
    convergence_cautions
        How far these are above the limits of the settings, and which of them could not be made, in words.
    """

    round: int
    reference: Reference
    baseline: str | None
    n_requested: int
    n_finished: int
    n_accepted: int
    rejected: tuple[Rejection, ...]
    failures: tuple[Failure, ...]
    convergence: tuple[ConvergenceCheck, ...] = ()
    convergence_cautions: tuple[str, ...] = ()


# ---- training and validation ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CommitteeMember:
    """A further member of a committee: its number, from 2, its best epoch, and the key of its task."""

    member: int
    best_epoch: int
    key: str


@dataclass(frozen=True, repr=False)
class TrainResult(Shown):
    """The training that ended one round.

    Attributes
    ----------
    round
        Number of the round, from 1.
    trainer
        Name of the trainer.
    key
        Key of the task that gave the weights.
    best_epoch
        Epoch of the lowest validation loss, whose weights are used; 0 is the untrained start.
    history
        Errors after each epoch.
    members
        Further members of a committee.
    element_references
        Shifts that bring the labels to the potential's zero of energy.
    n_train, n_validation, n_test
        Number of labels in each part.
    n_replay
        Number of replay structures of a multi-head training; None without them.
    split_by
        What the split never divided: ``"run"``, ``"ordering"`` or ``"composition"``.
    notes
        Remarks on split and training, in sentences.
    preflight
        Problems of the labels detected before training.
    """

    round: int
    trainer: str
    key: str
    best_epoch: int
    history: tuple[EpochRecord, ...]
    members: tuple[CommitteeMember, ...]
    element_references: ElementReferences
    n_train: int
    n_validation: int
    n_test: int
    n_replay: int | None
    split_by: str
    notes: tuple[str, ...]
    preflight: tuple[Finding, ...]


@dataclass(frozen=True)
class ErrorsApart:
    """Errors of the structures of one kind, before and after training.

    Attributes
    ----------
    by, value
        How structures are grouped (``"composition"``, ``"phase"``, ``"temperature_K"``), and the value of this group.
    before, after
        Errors of the pretrained and of the trained potential; where nothing was trained, ``before`` is None and
        ``after`` are those of the potential as it is.
    """

    by: str
    value: str | float
    before: ErrorMetrics | None
    after: ErrorMetrics


@dataclass(frozen=True)
class ParityPoints:
    """Reference values, and the predictions before and after training in the same order; None before: not trained."""

    reference: tuple[float, ...]
    before: tuple[float, ...] | None
    after: tuple[float, ...]


@dataclass(frozen=True)
class Parity:
    """Predictions beside reference values; stresses of structures without one are left out.

    Attributes
    ----------
    energy_eV_per_atom, force_eV_per_A, stress_GPa
        Energies per atom, components of all forces, the six components of the stresses.
    """

    energy_eV_per_atom: ParityPoints
    force_eV_per_A: ParityPoints
    stress_GPa: ParityPoints


@dataclass(frozen=True)
class HeldOutErrors:
    """Errors of a potential on labels not used in training, and of the pretrained one that it was before.

    Attributes
    ----------
    set
        The set of labels: ``"test"``, or ``"validation"`` or ``"train"`` if that is empty; ``"all"`` where nothing was
        trained.
    before, after
        Errors of the pretrained and of the trained potential; where nothing was trained, ``before`` is None and
        ``after`` are those of the potential as it is.
    by
        The same by composition, phase and temperature.
    parity
        Predictions beside reference values.
    """

    set: str
    n_structures: int
    before: ErrorMetrics | None
    after: ErrorMetrics
    by: tuple[ErrorsApart, ...]
    parity: Parity

    @property
    def pretrained(self) -> ErrorMetrics:
        """Errors of the pretrained potential.

        Raises
        ------
        ValueError
            If nothing was trained.
        """
        if self.before is None:
            raise ValueError("nothing was trained")
        return self.before


@dataclass(frozen=True)
class ValidateResult:
    """The validation of a potential on labels: of the trained one, or of one as it is.

    Attributes
    ----------
    potential
        Its name in the campaign file; ``fine-tuned`` for the trained one.
    errors
        Its errors, and those of the pretrained potential.
    cautions
        Limits of the campaign that the errors exceed, in sentences.
    key
        Key of the task that calculated them.
    """

    potential: str
    errors: HeldOutErrors
    cautions: tuple[str, ...]
    key: str
