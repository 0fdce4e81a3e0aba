"""Results of the stage *distil*."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from superionic.execution.runner import Failure
from superionic.models.nep.state import Epoch
from superionic.potentials.base import PotentialIdentity
from superionic.results.identity import Ordering
from superionic.training.committee import CommitteeSpread
from superionic.training.metrics import ErrorMetrics
from superionic.training.on_policy import OwnFrames
from superionic.training.parity import MeanVolume, TransferError, Verdict
from superionic.transport.estimate import Estimate


@dataclass(frozen=True)
class PairComparison:
    """Distances between atoms of two elements, in a run of the teacher and in the students' repetitions of it.

    Attributes
    ----------
    pair
        Symbols, e.g. ``"Li-Cl"``.
    overlaps
        Overlap of the distributions of the teacher and of each student (1: equal).
    noise
        Amount by which the overlap of two equivalent runs falls short of 1 by chance; the largest of all students.
    r_A
        Distances, in Å.
    teacher, members
        Radial distribution functions at these distances, of the teacher and of each student.
    """

    pair: str
    overlaps: tuple[float, ...]
    noise: float
    r_A: tuple[float, ...]
    teacher: tuple[float, ...]
    members: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class RunComparison:
    """One run of the teacher and the students' repetitions of it, with the same start, cell, length and temperature.

    Attributes
    ----------
    length_ps, n_atoms
        Length and number of atoms of the runs at constant volume.
    diffusivities_cm2_per_s, hops
        Tracer diffusivities and number of hops: the teacher's, then each student's.
    volumes_A3_per_atom
        Mean volumes at constant pressure, in the same order; empty if there was no such run.
    pairs
        Pair distributions, one entry for each pair of elements with neighbours within range.
    """

    length_ps: float
    n_atoms: int
    diffusivities_cm2_per_s: tuple[Estimate, ...]
    hops: tuple[int, ...]
    volumes_A3_per_atom: tuple[MeanVolume, ...]
    pairs: tuple[PairComparison, ...]


@dataclass(frozen=True)
class EqualRuns:
    """Equivalent runs of the teacher and the students.

    Attributes
    ----------
    key
        Key of the task that compared them.
    """

    ordering: Ordering
    temperature_K: float
    key: str
    comparison: RunComparison

    @property
    def label(self) -> str:
        """Display name, e.g. ``"p-3m1 Br=3 #4 600 K"``."""
        return f"{self.ordering.id} {self.temperature_K:g} K"


@dataclass(frozen=True)
class StudentErrors:
    """Errors against the teacher on frames that no student was trained on.

    Attributes
    ----------
    first, after
        Errors of each student after the first training (empty if there was only one training), and at the end.
    after_mean
        Errors of the mean of the students, at the end.
    rms_force_meV_per_A
        Root mean square of the teacher's force components on these frames.
    """

    first: tuple[ErrorMetrics, ...]
    after: tuple[ErrorMetrics, ...]
    after_mean: ErrorMetrics
    rms_force_meV_per_A: float


@dataclass(frozen=True)
class ParityPoints:
    """Values of one quantity by the teacher and by the mean of the students."""

    teacher: tuple[float, ...]
    student: tuple[float, ...]


@dataclass(frozen=True)
class StudentParity:
    """Energies per atom and force components on the unseen frames, evenly thinned for a figure."""

    energy_eV_per_atom: ParityPoints
    force_eV_per_A: ParityPoints


@dataclass(frozen=True)
class Judgement:
    """The verdict of the gate on the students, and its evidence.

    Attributes
    ----------
    verdict
        The criteria.
    errors, parity
        Errors and predictions on unseen frames.
    committee
        Disagreement of the students on these frames; None for a single student.
    transfer
        Contribution of the step from teacher to student to the error of a conductivity; None if all diffusivities of
        the teacher are upper bounds.
    """

    verdict: Verdict
    errors: StudentErrors
    parity: StudentParity
    committee: CommitteeSpread | None
    transfer: TransferError | None


@dataclass(frozen=True)
class OwnJudgement:
    """What the gate of students made from labels alone says, and what it goes by.

    Attributes
    ----------
    verdict, errors, parity, committee, transfer
        As in :class:`Judgement`. Each student's errors are those on frames of its own runs; the rest is on the frames
        of all students. ``errors`` and ``parity`` are None where no run gave frames with labels, ``transfer`` where the
        students repeated no run of the teacher.
    frames
        Each run, in the order of the runs.
    """

    verdict: Verdict
    errors: StudentErrors | None
    parity: StudentParity | None
    committee: CommitteeSpread | None
    transfer: TransferError | None
    frames: tuple[OwnFrames, ...]


@dataclass(frozen=True)
class OwnRunComparison:
    """A student's own run, whose frames the teacher labelled.

    Attributes
    ----------
    ordering, temperature_K, member
        What ran, how hot, and by which student, from 1.
    key
        Of the task with the last segment of the run.
    frames
        What was seen on its frames.
    """

    ordering: Ordering
    temperature_K: float
    member: int
    key: str
    frames: OwnFrames


@dataclass(frozen=True)
class OnPolicyGate:
    """The gate of students made from labels alone.

    Attributes
    ----------
    runs
        Students' own runs in the production cell.
    labels
        Frames of them that the teacher labelled.
    flags
        What the runs' monitors said, e.g. of melting.
    """

    runs: tuple[OwnRunComparison, ...]
    labels: int
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Exploration:
    """One hot run of a student.

    Attributes
    ----------
    member
        Number, from 1, of the student that drove the run.
    key
        Key of the last segment of the run.
    clean_ps
        Time before it extrapolated too far or failed.
    ended
        Why it ended early; empty if it did not.
    worst_grade
        Largest extrapolation grade; None if none was calculated.
    collected
        Number of frames collected for the teacher.
    temperature_K
        Temperature of the run; None where all runs were at the one temperature of the settings.
    """

    ordering: Ordering
    member: int
    key: str
    clean_ps: float
    ended: str
    worst_grade: float | None
    collected: int
    temperature_K: float | None = None


@dataclass(frozen=True)
class Round:
    """One round of learning and hot runs.

    Attributes
    ----------
    round
        Number of the round, from 0 for the first training.
    structures
        Number of structures in its training.
    explorations
        The hot runs after it.
    labels
        Number of structures labelled by the teacher after these.
    errors
        Of each student on frames drawn at random from its own runs, before it was trained on them; empty where none
        were.
    is_repair
        Whether the runs are those for the gate that went wrong (they ended early, or the student was off by more than
        the limits), and the labels frames of them.
    """

    round: int
    structures: int
    explorations: tuple[Exploration, ...]
    labels: int
    errors: tuple[ErrorMetrics, ...] = ()
    is_repair: bool = False


@dataclass(frozen=True)
class LearnedFrom:
    """Numbers of structures that the students learned from.

    Attributes
    ----------
    snapshots, distorted, contacts, relaxed
        Structures labelled before the first training: frames of the teacher's runs (or of the runs of the seeds),
        distorted structures, structures with a close contact, and steps of relaxations (or relaxed orderings).
    dropped
        Labels left out, e.g. for too large a force.
    total, groups
        Structures in the last training, and groups of common origin.
    held_out
        Frames that no student was trained on.
    notes
        Remarks for the report on the split of the data.
    """

    snapshots: int
    distorted: int
    contacts: int
    relaxed: int
    dropped: int
    total: int
    groups: int
    held_out: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Student:
    """One member of the committee.

    Attributes
    ----------
    key
        Key of the task that gave its weights.
    n_train, n_validation
        Number of structures in the two parts of its data.
    history
        Its training, epoch by epoch.
    """

    key: str
    n_train: int
    n_validation: int
    history: tuple[Epoch, ...]


@dataclass(frozen=True)
class Teacher:
    """The potential that the students learned from: its name in the campaign, and its identity."""

    name: str
    identity: PotentialIdentity


@dataclass(frozen=True)
class DistilResult:
    """The students, and the verdict on them.

    Attributes
    ----------
    key
        Key of the task that judged them.
    teacher
        The potential that they learned from.
    temperatures_K
        Temperatures of the teacher's runs.
    required
        Whether students that fail are refused.
    verdict, errors, parity, committee, transfer
        See :class:`Judgement`.
    compared
        Equivalent runs of teacher and students.
    learned_from
        Numbers of structures.
    rounds
        Rounds of learning and hot runs.
    failures
        Calculations that failed.
    method
        How they were made: by runs of the teacher, or from labels alone.
    on_policy
        The gate on frames of the students' own runs; None for students made by runs of the teacher. ``errors`` and
        ``parity`` are those of this gate where there is one, and None where it has no frame.
    """

    key: str
    teacher: Teacher
    temperatures_K: tuple[float, ...]
    required: bool
    verdict: Verdict
    errors: StudentErrors | None
    parity: StudentParity | None
    committee: CommitteeSpread | None
    transfer: TransferError | None
    compared: tuple[EqualRuns, ...]
    learned_from: LearnedFrom
    rounds: tuple[Round, ...]
    members: tuple[Student, ...]
    failures: tuple[Failure, ...]
    method: Literal["teacher-runs", "on-policy"] = "teacher-runs"
    on_policy: OnPolicyGate | None = None
