"""What sampling, labelling, training and validation give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
    """What a committee said of a run.

    Attributes
    ----------
    length_ps
        How far the run came.
    looked_at
        Frames about which all members were asked.
    worst_eV_per_A
        Their largest disagreement about a force; None if none was looked at.
    above
        Frames on which they disagreed by more than is worth a label.
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
        Which one.
    formula
        Reduced formula of what moved.
    chosen_by
        Snapshots by the method that chose them.
    explored
        What the committee said of it; None in plain sampling.
    flags
        What a reader should know of the run.
    mean_temperature_K
        Over its production; None if no frame of it was kept.
    n_frames, n_snapshots
        Frames of its production, and snapshots of them.
    stopped
        Why the monitors ended it early; None if they did not.
    key
        Of the task that chose the snapshots.
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
        From 1.
    temperature_K
        Of the runs.
    potential
        Name of what drove them.
    runs, failures
        Those that gave snapshots (or an exploration), and those that did not.
    """

    round: int
    temperature_K: float
    potential: str
    runs: tuple[SampledRun, ...]
    failures: tuple[Failure, ...]


# ---- the active loop ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExplorationRound:
    """What the exploration of one round showed, over all its runs.

    Attributes
    ----------
    round
        From 2: the first round is plain sampling.
    agrees
        Whether the committee agreed, which ends the loop.
    labels
        Labels that were accepted after it.
    length_ps, looked_at, above, worst_eV_per_A
        As :class:`Exploration` has them, of all runs together; the worst is 0 if no frame was looked at.
    share_above
        ``above`` over ``looked_at``; 1 if no frame was looked at.
    stopped
        Runs that failed or were stopped.
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
    """How the active loop went.

    Attributes
    ----------
    ended
        Why it ended, in words.
    agrees
        Whether the committee agreed at its end.
    rounds
        Its explorations.
    """

    ended: str
    agrees: bool
    rounds: tuple[ExplorationRound, ...]


# ---- labels ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rejection:
    """A structure whose label is not used, and why.

    Attributes
    ----------
    label
        Name of the structure or of its calculation.
    reason
        In words.
    key
        Of the task that decided it or failed.
    """

    label: str
    reason: str
    key: str


@dataclass(frozen=True, repr=False)
class LabelResult(Shown):
    """The labels of one round.

    Attributes
    ----------
    round
        From 1.
    reference
        The method that the labels are of.
    baseline
        Name of the potential whose predictions the gates compared labels with; None if there was none.
    n_requested, n_finished, n_accepted
        Structures that a label was asked for, finished labels that were brought in, labels that passed the gates.
    rejected
        What is not used: structures that were not worth a label, files that gave none, labels that the gates refused.
    failures
        Calculations that gave no label.
    """

    round: int
    reference: Reference
    baseline: str | None
    n_requested: int
    n_finished: int
    n_accepted: int
    rejected: tuple[Rejection, ...]
    failures: tuple[Failure, ...]


# ---- training and validation ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CommitteeMember:
    """A further member of a committee: its number, from 2, the epoch that it kept, and the key of its task."""

    member: int
    best_epoch: int
    key: str


@dataclass(frozen=True, repr=False)
class TrainResult(Shown):
    """The training that ended one round.

    Attributes
    ----------
    round
        From 1.
    trainer
        Name of the trainer.
    key
        Of the task that gave the weights.
    best_epoch
        Epoch of the lowest validation loss, whose weights are kept; 0 is the untouched start.
    history
        All epochs.
    members
        Further members of a committee.
    element_references
        Shifts that bring the labels to the potential's zero of energy.
    n_train, n_validation, n_test
        Labels in each part.
    n_replay
        Replay data of a multi-head training; None without.
    split_by
        What was never parted: ``"run"``, ``"ordering"`` or ``"composition"``.
    notes
        What a reader has to know of split and training, in sentences.
    preflight
        What was noticed about the labels before.
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
        What structures are sorted by (``"composition"``, ``"phase"``, ``"temperature_K"``), and which ones these are.
    before, after
        Errors of the pretrained and of the trained potential.
    """

    by: str
    value: str | float
    before: ErrorMetrics
    after: ErrorMetrics


@dataclass(frozen=True)
class ParityPoints:
    """Reference values with what the potential said before and after training; one place for each value."""

    reference: tuple[float, ...]
    before: tuple[float, ...]
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
    """Errors of the trained and of the pretrained potential on labels that training has not seen.

    Attributes
    ----------
    set
        Which part they are over: ``"test"``, or where that is empty ``"validation"`` or ``"train"``.
    n_structures
        Structures in it.
    before, after
        Errors of the pretrained and of the trained potential.
    by
        The same apart by composition, phase and temperature.
    parity
        Predictions beside reference values.
    """

    set: str
    n_structures: int
    before: ErrorMetrics
    after: ErrorMetrics
    by: tuple[ErrorsApart, ...]
    parity: Parity


@dataclass(frozen=True)
class ValidateResult:
    """What validation says of the trained potential.

    Attributes
    ----------
    errors
        Its errors, and those of the pretrained one.
    cautions
        Limits of the campaign that they are above, in words.
    key
        Of the task that compared.
    """

    errors: HeldOutErrors
    cautions: tuple[str, ...]
    key: str
