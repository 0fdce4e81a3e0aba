"""The section `distil` of the campaign file: a fast student learns from the slow potential, and is put to the test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, Field

from superionic.chemistry import normal_formula
from superionic.settings.base import (
    FINE_TUNED,
    HOTTEST_K,
    STUDENT,
    Count,
    CountOrZero,
    Duration,
    DurationOrZero,
    Formulas,
    Fraction,
    Interval,
    Matrix,
    Number,
    Positive,
    Pressure,
    RelaxationTime,
    StageSection,
    Temperature,
    Temperatures,
    TimeStep,
    each_once,
)
from superionic.settings.inputs import IDENTITY, Potentials
from superionic.settings.md import uneven_interval
from superionic.settings.rules import Problem, Section, did_you_mean, no_such, rule, rule_of_file
from superionic.settings.train import TrainSettings
from superionic.settings.transport import TransportSettings

MOST_STRUCTURES: Final = 1500
_NOT_OPTIONS: Final = ("epochs", "learning_rate")


def _range(value: tuple[float, ...]) -> tuple[float, ...]:
    if len(value) != 2 or not value[0] <= value[1]:
        raise ValueError("give two numbers, the smaller one first")
    return value


Range = Annotated[tuple[Positive, ...], Field(strict=False, min_length=2, max_length=2), AfterValidator(_range)]
"""Two positive numbers [from, to]."""


class DistilData(Section):
    """What the teacher labels at the start; counts are lowered in proportion where they would pass `max_structures`."""

    orderings: Count = Field(
        default=2,
        description="Orderings of lowest energy of *each* crystal and composition that are distorted, so that one "
        "student serves the whole campaign.",
    )
    md_orderings: Count = Field(
        default=4,
        description="Largest number of orderings that the teacher runs molecular dynamics of: the lowest of each "
        "composition, spread evenly over the compositions.",
    )
    snapshots: Count = Field(default=60, description="Frames that are labelled from each of these runs.")
    distorted: CountOrZero = Field(default=60, description="Scaled, strained and rattled structures of each ordering.")
    volumes: Range = Field(default=(0.92, 1.10), description="Factors on the relaxed volume of these, [from, to].")
    max_strain: Annotated[float, Field(ge=0, le=0.2)] = Field(
        default=0.03, description="Largest component of their random strain."
    )
    rattles_A: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)] = Field(
        default=(0.05, 0.15, 0.3), description="Standard deviations of their rattling in Å, taking turns."
    )
    relax_cycles: CountOrZero = Field(
        default=4, description="Rattle–relax–repeat: how often each ordering is rattled and partly relaxed again."
    )
    relax_steps: Count = Field(default=8, description="Steps of each of these relaxations; every one is a label.")
    contacts: CountOrZero = Field(
        default=30, description="Structures of each ordering in which one pair of atoms is pushed together."
    )
    contact_fractions: Range = Field(
        default=(0.45, 0.95), description="To which fractions of the usual shortest distance of its kind, [from, to]."
    )
    max_force_eV_per_A: Positive = Field(
        default=60.0, description="Labels with a larger force are left out: there the teacher itself guesses."
    )
    max_structures: Annotated[int, Field(ge=10, le=MOST_STRUCTURES)] = Field(
        default=1000, description="Most labelled structures in all, those of the rounds of exploration included."
    )


class DistilExplore(Section):
    """The loop: the student runs hot; where it extrapolates the teacher labels, and the student learns on."""

    rounds: CountOrZero = Field(
        default=3, description="Most rounds of collecting and learning on; 0 only looks how long a run stays clean."
    )
    temperature_K: Temperature | None = Field(
        default=None, description="Temperature of these runs; 1.1 times the highest one of the campaign if left out."
    )
    length_ps: Duration = Field(
        default=20.0, description="Length of these runs: one by each student, for each ordering with MD."
    )
    clean_ps: Duration | None = Field(default=None, description="How much of it must run clean; all of it if left out.")
    check_every_fs: Interval = Field(default=40.0, description="Interval at which the extrapolation grade is taken.")
    collect_above: Positive = Field(
        default=1.5,
        description="Extrapolation grade above which a frame is kept for the teacher; the data end at 1.",
    )
    stop_above: Positive = Field(default=10.0, description="Extrapolation grade above which a run is stopped.")
    labels_per_round: Count = Field(default=60, description="Most frames that are labelled after a round.")


def _growing(value: tuple[float, ...]) -> tuple[float, ...]:
    if list(value) != sorted(value):
        raise ValueError("the lengths must not fall from round to round")
    return value


class DistilOnPolicy(Section):
    """Students from labels alone: seeds, rounds of the students' own runs, and the gate on these (`method: on-policy`).

    The teacher labels structures one by one; it runs no molecular dynamics but the short one of the seeds.
    """

    max_labels: Annotated[int, Field(ge=20, le=MOST_STRUCTURES)] = Field(
        default=600, description="Most structures that the teacher labels in all: seeds, rounds and gate."
    )
    seed_labels: Count = Field(default=200, description="Labels of the seeds, from which the first training learns.")
    orderings: Count = Field(
        default=12,
        description="Orderings that seeds and runs start from: the lowest in energy of each crystal and composition, "
        "the same number of each, in all no more than this unless there are more compositions.",
    )
    relax_steps: CountOrZero = Field(
        default=20, description="Steps by which each of them is relaxed in the fixed cell of its crystal."
    )
    volumes: Range = Field(
        default=(0.94, 1.18),
        description="Window of volumes of seeds and runs: from this factor on the smaller to this factor on the larger "
        "one of two volumes, that of the crystal's cell and that of the relaxed ordering. It holds thermal expansion "
        "and its fluctuations; beyond it a student does not know how a cell comes back.",
    )
    max_strain: Annotated[float, Field(ge=0, le=0.2)] = Field(
        default=0.04, description="Largest component of the random strain of the seeds."
    )
    rattles_A: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)] = Field(
        default=(0.03, 0.1, 0.2, 0.3), description="Standard deviations of their rattling in Å, taking turns."
    )
    contacts: CountOrZero = Field(
        default=24,
        description="Seeds in all in which one pair of atoms is pushed together. The kinds of pairs, n(n + 1)/2 of n "
        "elements, take turns: where one is missing, a student has holes.",
    )
    seed_potential: str | None = Field(
        default=None,
        description="Entry of `potentials` that relaxes the seeds and runs their molecular dynamics, such as a cheap "
        "one; the teacher if left out. It labels nothing.",
    )
    seed_runs: CountOrZero = Field(
        default=4, description="Short NVT runs by it, from the lowest to the highest temperature."
    )
    seed_ps: Duration = Field(default=0.4, description="Length of each of them.")
    seed_frames: Count = Field(default=5, description="Frames of each of them that are labelled.")
    rounds: Count = Field(
        default=3, description="Rounds of runs of the students, labels of what they met, and learning on."
    )
    runs: Count = Field(
        default=8,
        description="Runs of each student in a round, at temperatures spread from the lowest of `temperatures_K` to "
        "`explore.temperature_K`: every second one at a constant volume within the window, the others at the pressure.",
    )
    constant_pressure: bool = Field(
        default=True,
        description="Whether every second of these runs is at the pressure; if not, all are at constant volumes within "
        "the window, which is enough for a transport that keeps the cell.",
    )
    run_ps: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1), AfterValidator(_growing)] = Field(
        default=(4.0, 8.0, 15.0), description="Their lengths in ps, by round; the last one holds for further rounds."
    )
    random_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.4,
        description="Share of the labels of a round that are frames drawn at random, which show the error before they "
        "are learned; the others are those on which the students disagree most.",
    )
    final_epochs: Count = Field(
        default=300, description="Epochs of the last training, of all students anew from scratch on all labels."
    )
    gate_frames: Annotated[int, Field(ge=2, le=200)] = Field(
        default=10,
        description="Frames of each student's own run that the teacher labels for the gate, at each end of "
        "`temperatures_K`.",
    )
    gate_orderings: Count = Field(
        default=2, description="Most orderings of these runs: the lowest of each composition, evenly spread."
    )
    gate_supercell: Matrix | None = Field(
        default=None, description="Repetition of the orderings in these runs; that of `transport` if left out."
    )
    gate_npt_ps: DurationOrZero = Field(
        default=4.0, description="Run at constant pressure that gives the cell of each of these runs."
    )
    gate_ps: Duration = Field(default=8.0, description="Their length, in that cell; frames are of the later half.")
    repairs: CountOrZero = Field(
        default=2,
        description="How often at most the students learn from such runs that went wrong, train anew, and run again: "
        "those that ended early, as where two atoms fell into each other, and those on whose frames the student is "
        "off by more than `parity` allows. These are the first runs in large cells, where ions can crowd as in no "
        "small one.",
    )
    repair_frames: Count = Field(
        default=8,
        description="Frames of the end of each run that ended early that the teacher labels, besides `max_labels`.",
    )
    compare_runs: bool = Field(
        default=False,
        description="Whether the teacher also makes runs that the students repeat, as with `method: teacher-runs`, and "
        "structure, volume and diffusivity are compared besides.",
    )


class ParityLimits(Section):
    """What a student must reach before its numbers are results (see docs/how-to/distil.md)."""

    max_energy_rmse_meV_per_atom: Positive = Field(default=5.0, description="On frames that it has not seen.")
    max_force_error_ratio: Positive = Field(
        default=0.2, description="RMSE of the forces on these frames over their root mean square."
    )
    max_stress_rmse_GPa: Positive = Field(default=0.3, description="On these frames.")
    min_overlap: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.95,
        description="Overlap of the distributions of pair distances in equal runs (1: equal), for each pair of "
        "elements; what the halves of a run differ by chance is allowed for.",
    )
    max_volume_difference_percent: Positive = Field(
        default=1.5,
        description="Difference of the mean volumes at constant pressure, at each temperature; on-policy that which "
        "the difference in pressure makes, by the student's bulk modulus.",
    )
    max_energy_bias_meV_per_atom: Positive = Field(
        default=3.0, description="On-policy: mean difference of the energies on frames of the student's own runs."
    )
    max_energy_scatter_meV_per_atom: Positive = Field(
        default=3.0, description="On-policy: standard deviation of this difference."
    )
    max_element_force_error_ratio: Positive = Field(
        default=0.35, description="On-policy: RMSE of the forces on the atoms of each element over their RMS."
    )
    max_pressure_difference_GPa: Positive = Field(
        default=0.15, description="On-policy: mean pressure of the student less that of the teacher, on these frames."
    )


class DistilSettings(StageSection):
    """A fast potential, the student, learns from the last one, the teacher, and is compared with it before use."""

    method: Literal["teacher-runs", "on-policy"] = Field(
        default="teacher-runs",
        description="Where the data and the gate come from: `teacher-runs`, molecular dynamics of the teacher, which "
        "the students repeat; or `on-policy`, labels alone: the students run, and the teacher labels what they meet.",
    )
    teacher: str | None = Field(
        default=None,
        description="`fine-tuned`, or the name of an entry of `potentials`; the last potential of the campaign if left "
        "out.",
    )
    teachers: Annotated[tuple[str, ...], Field(strict=False, min_length=1), AfterValidator(each_once)] | None = Field(
        default=None,
        description="Instead of `teacher`, several of them: each has students of its own, which go through `transport` "
        "as well. The first gives the values that are stated, so put the one there that you trust most; how far the "
        "others differ from it is the line *model form* of the error budget (docs/theory/transport.md).",
    )
    compositions: Formulas = Field(
        default=(),
        description="Compositions that are learned, e.g. [Na3Zr2Si2PO12]; all of the campaign if empty. Name those of "
        "`transport`, where it runs a few of many.",
    )
    supercell: Matrix = Field(
        default=IDENTITY, description="Repetition of the orderings in the teacher's runs and in the student's data."
    )
    temperatures_K: Temperatures | None = Field(
        default=None,
        description="Temperatures of the teacher's runs, two at least; 0.8 and 1 times the highest one of `transport` "
        "if left out. On-policy those between which the students run; the lowest and the highest one of `transport`.",
    )
    npt_ps: DurationOrZero = Field(
        default=2.0, description="The teacher's run at constant pressure, for V(T) and the cell of what follows."
    )
    equilibration_ps: DurationOrZero = Field(default=0.5, description="NVT run that is discarded.")
    production_ps: Duration = Field(
        default=5.0, description="NVT run for data; the student repeats it, and structure and diffusivity are compared."
    )
    held_out_ps: Duration = Field(
        default=1.5, description="A run of its own at the highest temperature, on which errors are measured."
    )
    held_out_frames: Count = Field(default=40, description="Frames of it.")
    timestep_fs: TimeStep | None = Field(default=None, description="Time step; that of `transport` if left out.")
    thermostat: Literal["nose-hoover-chain", "csvr", "langevin", "berendsen"] = Field(
        default="nose-hoover-chain", description="Thermostat of NVT."
    )
    thermostat_time_fs: RelaxationTime = Field(default=100.0, description="Its relaxation time.")
    pressure_GPa: Pressure | None = Field(default=None, description="Pressure; that of `transport` if left out.")
    cell_motion: Literal["isotropic", "axes", "anisotropic"] | None = Field(
        default=None, description="How the cell moves; as in `transport` if left out."
    )
    barostat_time_fs: RelaxationTime | None = Field(
        default=None, description="Relaxation time of the barostat; that of `transport` if left out."
    )
    save_every_fs: Interval = Field(default=20.0, description="Interval of the saved frames.")
    segment_ps: Duration = Field(default=1.0, description="Length of one segment: what a killed run loses at most.")
    data: DistilData = Field(default_factory=DistilData, description="What the teacher labels.")
    students: Count = Field(
        default=2,
        description="Members of the committee: students that differ in their start and in the data they leave out. "
        "The replicas of `transport` take turns with them.",
    )
    validation_fraction: Fraction = Field(
        default=0.1,
        description="Share of the data, of the teacher's runs, by which each student chooses its epoch.",
    )
    epochs: Count = Field(default=200, description="Epochs of the first training.")
    refit_epochs: Count = Field(default=40, description="Further epochs after each round of exploration.")
    epochs_per_segment: Count = Field(default=20, description="Epochs in one segment: what a killed run loses at most.")
    learning_rate: Positive | None = Field(
        default=None, description="Highest learning rate of the first training; the trainer's own if left out."
    )
    refit_rate_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="Highest learning rate after a round of exploration, as a fraction of that."
    )
    options: dict[str, bool | int | Number | str] = Field(
        default_factory=dict,
        description="Further options of the student: form, batch size, weights; see docs/theory/student.md.",
    )
    explore: DistilExplore = Field(default_factory=DistilExplore, description="The loop of exploration.")
    on_policy: DistilOnPolicy = Field(
        default_factory=DistilOnPolicy, description="Students from labels alone, with `method: on-policy`."
    )
    parity: ParityLimits = Field(default_factory=ParityLimits, description="What the student must reach.")
    production_frames: Annotated[int, Field(ge=0)] = Field(
        default=3,
        description="Frames of each run of `transport` by the students that the teacher labels afterwards, so that its "
        "verdict stands beside the runs themselves, by the limits of `parity`; two at least, or none if 0.",
    )
    require_parity: bool = Field(
        default=True,
        description="Whether a student that fails is refused, so that there is no transport by it; otherwise its "
        "numbers come with a warning.",
    )

    @rule
    def _teacher_is_known(self, potentials: Potentials, train: TrainSettings | None) -> Iterator[Problem]:
        if self.teacher == FINE_TUNED and train is None:
            message = f"'{FINE_TUNED}' needs a `train` section, which this campaign leaves out"
            yield Problem(("teacher",), message, "add `train`, or leave out `teacher`")
        elif self.teacher is not None and self.teacher not in {*potentials, FINE_TUNED}:
            yield no_such("potential", self.teacher, [*potentials, FINE_TUNED], ("teacher",))

    @rule
    def _production_frames_have_a_spread(self) -> Iterator[Problem]:
        if self.production_frames == 1:
            message = "one frame has no spread by which to judge a run"
            yield Problem(("production_frames",), message, "take two at least, or 0 for none")

    @rule
    def _teachers_are_known(self, potentials: Potentials, train: TrainSettings | None) -> Iterator[Problem]:
        if self.teachers is None:
            return
        if self.teacher is not None:
            message = "`teacher` and `teachers` are both given"
            yield Problem(("teachers",), message, "leave `teacher` out, and put it first among `teachers`", at_key=True)
        for index, name in enumerate(self.teachers):
            path = ("teachers", index)
            if name == FINE_TUNED and train is None:
                message = f"'{FINE_TUNED}' needs a `train` section, which this campaign leaves out"
                yield Problem(path, message, "add `train`, or name another potential")
            elif name not in {*potentials, FINE_TUNED}:
                yield no_such("potential", name, [*potentials, FINE_TUNED], path)

    @rule
    def _students_of_all_teachers_run(self, transport: TransportSettings | None) -> Iterator[Problem]:
        if len(self.all_teachers) > 1 and transport is not None and transport.potential != STUDENT:
            message = f"`transport` is driven by {transport.potential}, so that students of further teachers do nothing"
            yield Problem(("teachers",), message, f"set `transport.potential: {STUDENT}`, or name one teacher")

    @rule
    def _what_students_run_was_learned(self, transport: TransportSettings | None) -> Iterator[Problem]:
        if not self.compositions or transport is None or transport.potential not in (None, STUDENT):
            return
        learned = {normal_formula(formula) for formula in self.compositions}
        run = {formula: normal_formula(formula) for formula in transport.compositions}
        missing = [formula for formula, normal in run.items() if normal not in learned]
        if missing or not run:
            which = f"also {', '.join(missing)}" if missing else "all compositions"
            hint = "name the same compositions in both, or leave them out here"
            yield Problem(("compositions",), f"`transport` runs {which}", hint, at_key=True)

    @property
    def all_teachers(self) -> tuple[str | None, ...]:
        """Names of the teachers, the one first whose students give the values; None for the last potential."""
        return (self.teacher,) if self.teachers is None else self.teachers

    @rule
    def _diffusivities_are_compared_twice(self) -> Iterator[Problem]:
        if self.temperatures_K is not None and len(self.temperatures_K) == 1:
            message = "the diffusivities of student and teacher are compared at two temperatures at least"
            yield Problem(("temperatures_K",), message, "add one, or leave `temperatures_K` out")

    @property
    def is_on_policy(self) -> bool:
        """Whether students are made from labels alone."""
        return self.method == "on-policy"

    @rule_of_file
    def _settings_are_of_the_method(self, written: Mapping[str, Any]) -> Iterator[Problem]:
        """Find settings of the other method than the one that is used: who wrote them expects an effect."""
        if not self.is_on_policy:
            if "on_policy" in written:
                message = "these settings are those of students from labels alone, and `method` is `teacher-runs`"
                hint = "set `distil.method: on-policy`, or leave them out"
                yield Problem(("on_policy",), message, hint, at_key=True)
            return
        of_data = set(DistilData.model_fields) - {"max_force_eV_per_A", "contact_fractions"}
        of_runs = {"held_out_ps", "held_out_frames"}
        if self.on_policy.compare_runs:
            of_data -= {"md_orderings"}
        else:
            of_runs |= {"npt_ps", "equilibration_ps", "production_ps"}
        of_rounds = {"rounds", "length_ps", "clean_ps", "collect_above", "labels_per_round"}
        for part, ignored in (("data", of_data), ("explore", of_rounds), ("", of_runs)):
            where = written.get(part) if part else written
            for name in sorted(ignored & set(where)) if isinstance(where, Mapping) else ():
                message = f"`{name}` has no effect with `method: on-policy`"
                hint = "leave it out; `distil.on_policy` has the settings of this method"
                yield Problem((part, name) if part else (name,), message, hint, at_key=True)

    @rule
    def _seed_potential_is_known(self, potentials: Potentials) -> Iterator[Problem]:
        name = self.on_policy.seed_potential
        if self.is_on_policy and name is not None and name not in potentials:
            yield no_such("potential", name, potentials, ("on_policy", "seed_potential"))

    @rule
    def _labels_are_left_for_the_rounds(self) -> Iterator[Problem]:
        own = self.on_policy
        left = own.max_labels - own.seed_labels - 2 * own.gate_frames * self.students
        if self.is_on_policy and left < 2 * self.students * own.rounds:
            message = (
                f"{own.max_labels} labels leave {max(left, 0)} for {own.rounds} round(s) after the seeds and the gate"
            )
            hint = "raise `max_labels`, or lower `seed_labels`, `gate_frames` or `rounds`"
            yield Problem(("on_policy", "max_labels"), message, hint)

    @rule
    def _own_runs_save_enough_frames(self) -> Iterator[Problem]:
        """Find runs of the students that save fewer frames than the teacher is to label of them."""
        own, every = self.on_policy, self.save_every_fs
        runs = ("gate_ps", own.gate_ps / 2, "gate_frames", own.gate_frames, "its later half"), (
            "seed_ps", own.seed_ps, "seed_frames", own.seed_frames, "it",
        )  # fmt: skip
        for name, length_ps, count, frames, part in runs if self.is_on_policy else ():
            if 1000.0 * length_ps < frames * every * (1.0 - 1e-9):
                message = f"{part} saves fewer than `{count}` = {frames} frames (every {every:g} fs)"
                yield Problem(("on_policy", name), message, "run longer, or save more often")

    @rule
    def _volumes_are_compared(self, transport_series: tuple[TransportSettings, ...]) -> Iterator[Problem]:
        if self.is_on_policy and not self.on_policy.compare_runs:
            return
        moving = any(series.potential == STUDENT and series.npt_ps > 0.0 for series in transport_series)
        if moving and self.npt_ps == 0.0:
            message = "`transport` runs the student at constant pressure, where it would not have been compared"
            yield Problem(("npt_ps",), message, "set `distil.npt_ps` above 0, or `transport.npt_ps` to 0")

    @rule
    def _frames_are_whole_steps_apart(self) -> Iterator[Problem]:
        if self.timestep_fs is not None:
            yield from uneven_interval(("save_every_fs",), self.save_every_fs, self.timestep_fs)

    @rule
    def _runs_save_some_frames(self) -> Iterator[Problem]:
        for name, length_ps in (("production_ps", self.production_ps), ("held_out_ps", self.held_out_ps)):
            if 1000.0 * length_ps < 4 * self.save_every_fs:
                message = f"the run saves fewer than four frames (every {self.save_every_fs:g} fs)"
                yield Problem((name,), message, "run longer")

    @rule
    def _options_are_those_of_the_student(self) -> Iterator[Problem]:
        if not self.options:
            return
        from dataclasses import fields

        from superionic.models.nep.state import NepOptions

        known = {field.name for field in fields(NepOptions)}
        for name in self.options:
            path = ("options", name)
            if name in _NOT_OPTIONS:
                yield Problem(path, f"`{name}` stands in `distil` itself", at_key=True)
            elif name not in known:
                hint = did_you_mean(name, known) or f"the options are {', '.join(sorted(known - set(_NOT_OPTIONS)))}"
                yield Problem(path, f"the student has no option '{name}'", hint, at_key=True)


class ResolvedExplore(DistilExplore):
    """The loop of exploration without gaps."""

    temperature_K: Temperature
    clean_ps: Duration


class ResolvedOnPolicy(DistilOnPolicy):
    """Students from labels alone, without gaps."""

    gate_supercell: Matrix

    def labels_of_gate(self, students: int, orderings: int) -> int:
        """Return how many labels the gate takes: of each student and ordering at two temperatures."""
        return 2 * self.gate_frames * students * min(orderings, self.gate_orderings)

    def labels_of_round(self, students: int, orderings: int) -> int:
        """Return how many labels each round may have after seeds and gate have had theirs."""
        left = self.max_labels - self.seed_labels - self.labels_of_gate(students, orderings)
        return max(0, left) // self.rounds


class ResolvedDistil(DistilSettings):
    """The section without gaps, as the stage takes it."""

    temperatures_K: Temperatures
    timestep_fs: TimeStep
    pressure_GPa: Pressure
    cell_motion: Literal["isotropic", "axes", "anisotropic"]
    barostat_time_fs: RelaxationTime
    explore: ResolvedExplore
    on_policy: ResolvedOnPolicy


class _OfTransport(NamedTuple):
    """What is taken over from `transport` where `distil` leaves it out; the values are those without `transport`."""

    timestep_fs: float = 1.0
    pressure_GPa: float = 1.0e-4
    cell_motion: Literal["isotropic", "axes", "anisotropic"] = "isotropic"
    barostat_time_fs: float = 1000.0


def resolved(distil: DistilSettings, transport: TransportSettings | None) -> ResolvedDistil:
    """Fill in what the section takes over from `transport`.

    Parameters
    ----------
    distil, transport
        The sections; None for a campaign without transport.
    """
    if transport is None:
        moving, hottest = _OfTransport(), 1000.0
    else:
        moving = _OfTransport(
            transport.timestep_fs, transport.pressure_GPa, transport.cell_motion, transport.barostat_time_fs
        )
        hottest = max(transport.temperatures_K)
    own = dict(distil)
    own |= {name: value for name, value in moving._asdict().items() if own[name] is None}
    low = float(10 * round(0.08 * hottest) or 0.8 * hottest)
    if distil.method == "on-policy" and transport is not None and min(transport.temperatures_K) < hottest:
        low = float(min(transport.temperatures_K))
    temperatures = distil.temperatures_K or (low, float(hottest))
    on_policy = dict(distil.on_policy)
    if distil.on_policy.gate_supercell is None:
        on_policy["gate_supercell"] = distil.supercell if transport is None else transport.supercell
    explore = dict(distil.explore)
    if distil.explore.temperature_K is None:
        hot = max(hottest, *temperatures)
        explore["temperature_K"] = min(float(10 * round(0.11 * hot) or 1.1 * hot), HOTTEST_K)
    if distil.explore.clean_ps is None:
        explore["clean_ps"] = distil.explore.length_ps
    own |= {"explore": ResolvedExplore(**explore), "on_policy": ResolvedOnPolicy(**on_policy)}
    return ResolvedDistil(**(own | {"temperatures_K": temperatures}))
