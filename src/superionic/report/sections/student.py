"""The student: its training data, its parity with the teacher, and the error that the step to it adds.

The text of the gate's criteria is that of :mod:`superionic.training.parity`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from superionic.models.nep.state import EpochErrors
from superionic.report.composition_axes import material_columns, ordering_cells
from superionic.report.csv_tables import Cells, CsvTable, csv_table, estimate_cells, estimate_columns
from superionic.report.plots import GREY, VERMILION, Dash, Panel, Plot, Series, parity_series, pick
from superionic.report.section import Block, Paragraph, Section, shown
from superionic.report.table import Table, table_of
from superionic.report.words import UNKNOWN, listing, number, plural, sentence, whole_text
from superionic.results.campaign import Results, Statement
from superionic.results.student import (
    DistilResult,
    OnPolicyGate,
    OwnRunComparison,
    ParityPoints,
    Round,
    StudentErrors,
    StudentParity,
)
from superionic.training.metrics import ErrorMetrics
from superionic.training.parity import Criterion, MeanVolume, TransferError
from superionic.transport.estimate import Estimate

_MOST_DISTANCE_PANELS: Final = 6
_MOST_FLAGS: Final = 3
_PASSED: Final = {True: "yes", False: "no", None: "not tested"}


def section(results: Results) -> Section:
    """Describe the training of the students and their comparison with the teacher."""
    distil = results.distil
    if distil is None:
        return Section("student", "Student", [Paragraph("No student potential was distilled.", "missing")])
    blocks: list[Block] = [Paragraph(_lead(distil)), _verdict_table(distil)]
    if distil.errors is not None:
        blocks.append(_errors_table(distil, distil.errors))
    if distil.on_policy is not None and distil.on_policy.runs:
        blocks += [_own_runs_table(distil.on_policy), _own_forces_table(distil.on_policy)]
    if distil.transfer is not None:
        blocks.append(Paragraph(_transfer_words(distil.transfer)))
    if distil.parity is not None:
        blocks.append(_parity_plot(distil, distil.parity))
    blocks.append(_learning_plot(distil))
    if (distances := _distances_plot(distil)) is not None:
        blocks.append(distances)
    if distil.compared or distil.on_policy is None:
        blocks.append(_properties_plot(distil))
    blocks.append(_rounds_table(distil) if distil.on_policy is None else _own_rounds_table(distil))
    tables = [
        _criteria_csv(distil),
        _errors_csv(distil),
        _learning_csv(distil),
        _rounds_csv(results, distil),
        _runs_csv(results, distil),
        _distances_csv(results, distil),
    ]
    if distil.on_policy is not None:
        tables += [_own_runs_csv(results, distil.on_policy), _own_rounds_csv(distil)]
    return Section("student", "Student", shown(*blocks), tables)


def doubts(results: Results) -> Iterator[Statement]:
    """Say what the gate refused, what it could not test, and how precise the comparison was."""
    distil = results.distil
    if distil is None:
        return
    failed = distil.verdict.failed
    if failed:
        named = "; ".join(f"{criterion.name} ({criterion.words})" for criterion in failed)
        if distil.required:
            words = (
                f"The student failed parity with its teacher, and was not used: {named}. "
                f"{_remedy(failed)}, or let the teacher itself drive `transport` (`transport.potential`)."
            )
        else:
            words = (
                f"The student failed parity with its teacher: {named}. Its conductivities are not results until it "
                f"passes. {_remedy(failed)}."
            )
        yield Statement("warning", words)
    for criterion in distil.verdict.criteria:
        if criterion.passed is None:
            yield Statement("caution", f"The student could not be tested for {criterion.name}: {criterion.words}.")
    transfer = distil.transfer
    if distil.on_policy is not None and distil.on_policy.flags:
        flags = listing(distil.on_policy.flags[:_MOST_FLAGS])
        yield Statement("caution", f"Of the students' runs for the gate: {flags}.", "runs of the students are flagged")
    if transfer is None and distil.on_policy is not None:
        yield Statement(
            "caution",
            "Students and teacher were compared in energies, forces and pressure on frames of the students' own runs, "
            "and not in diffusivities: the error of the step to the student is in the error bars only as far as the "
            "students differ from one another. `distil.on_policy.compare_runs: true` compares diffusivities, at the "
            "price of runs of the teacher.",
            "the error that the students share is not in the error bars",
        )
    elif transfer is None:
        yield Statement(
            "caution",
            "All diffusivities of the teacher are upper bounds, so the error of the step to the student is unknown and "
            "not in the error bars; lengthen `distil.production_ps` or raise `distil.temperatures_K`.",
            "the error of the student is unknown",
        )
    else:
        yield Statement(
            "info",
            "Student and teacher were compared in runs of the teacher's length: a difference of less than a factor "
            f"of {_factor(transfer.ln_D_resolution):.2g} in the diffusivity cannot be detected.",
        )
    for note in distil.learned_from.notes:
        yield Statement("info", f"Student: {note}")


def _remedy(failed: Sequence[Criterion]) -> str:
    """Return what to change after a student has failed."""
    names = {criterion.name for criterion in failed}
    if any(name.endswith("on own frames") or name == "volume that the pressure makes" for name in names):
        return (
            "Give more labels (`distil.on_policy.max_labels`), rounds or `final_epochs`, or longer cutoffs "
            "(`distil.options`)"
        )
    if "runs in the production cell" in names:
        return "Give more labels (`distil.on_policy.max_labels`) or rounds, or lower the highest temperature"
    if names & {"a clean run when hot", "runs that repeat the teacher's"}:
        return "Allow more `distil.explore.rounds`, or `labels_per_round`"
    if any(name.startswith("diffusivity") for name in names):
        return "Lengthen `distil.production_ps`, or give more data (`distil.data`)"
    return "Give more data (`distil.data`) or `distil.epochs`"


def _lead(distil: DistilResult) -> str:
    """Summarise the training data of the students and the verdict of the gate."""
    data = distil.learned_from
    alone = distil.method == "on-policy"
    counts = (
        (data.snapshots, "frames of short first runs" if alone else "frames of its runs"),
        (data.distorted, "distorted structures"),
        (data.relaxed, "relaxed orderings" if alone else "steps of relaxations"),
        (data.contacts, "close contacts"),
        (
            sum(one.labels for one in distil.rounds),
            "frames of the students' own runs" if alone else "frames of hot runs of the students",
        ),
    )
    parts = [f"{whole_text(count)} {words}" for count, words in counts if count]
    teacher = "the fine-tuned potential" if distil.teacher.identity.fine_tuned else distil.teacher.name
    passed = "They passed the gate." if distil.verdict.passed else "They did not pass the gate."
    if alone:
        passed = (
            f"For the gate it labelled {whole_text(data.held_out)} frames of the students' own runs besides. {passed}"
        )
    return (
        f"{plural(len(distil.members), 'student')} learned from {whole_text(data.total)} structures labelled by "
        f"{teacher}: {listing(parts)}. {passed}"
    )


def _transfer_words(transfer: TransferError) -> str:
    """Describe the error that the step from teacher to student adds."""
    return (
        f"In runs of equal length the students' diffusivity is {number(_factor(transfer.ln_D_difference))} times the "
        f"teacher's (known to within a factor of {number(_factor(transfer.ln_D_resolution))}); between the students it "
        f"scatters by a factor of {number(_factor(transfer.ln_D_spread))} beyond their statistics. The error of a "
        f"conductivity includes a factor of {number(_factor(transfer.ln_sigma))} for it."
    )


def _factor(logarithm: float) -> float:
    """Return the factor that corresponds to a logarithm, or to the standard deviation of one."""
    return math.exp(min(logarithm, 50.0))


def _verdict_table(distil: DistilResult) -> Table:
    return table_of(
        "Criteria that a student must meet before its numbers count as results.",
        distil.verdict.criteria,
        [
            ("Compared", lambda criterion: sentence(criterion.name).rstrip(".")),
            ("Passed", lambda criterion: _PASSED[criterion.passed]),
            ("Finding", lambda criterion: sentence(criterion.words)),
        ],
    )


def _measured(distil: DistilResult) -> Iterator[tuple[int | None, str, ErrorMetrics]]:
    """Yield member (from 1; None for the mean of all), time and errors of all evaluations on unseen frames."""
    errors = distil.errors
    if errors is None:
        return
    last = "at the end" if distil.on_policy is None else "on its own frames"
    for when, members in (("after the first training", errors.first), (last, errors.after)):
        for member, metrics in enumerate(members, 1):
            yield member, when, metrics
    if len(errors.after) > 1:
        yield None, "at the end" if distil.on_policy is None else "on all of these frames", errors.after_mean


def _errors_table(distil: DistilResult, measured: StudentErrors) -> Table:
    rows = [
        [
            _whose(member, when, distil),
            number(metrics.rmse_energy_meV_per_atom),
            number(metrics.rmse_force_meV_per_A),
            number(metrics.rmse_stress_GPa),
            number(metrics.force_slope),
            number(metrics.mean_error_stress_GPa),
        ]
        for member, when, metrics in _measured(distil)
    ]
    spread = distil.committee
    if spread is not None:
        numbers = (spread.energy_meV_per_atom, spread.force_meV_per_A, spread.stress_GPa)
        rows.append(["disagreement of the students", *(number(value) for value in numbers), UNKNOWN, UNKNOWN])
    unseen = "frames that no student was trained on" if distil.on_policy is None else "frames of the students' own runs"
    caption = (
        f"Root-mean-square errors against the teacher on {unseen} "
        f"(RMS force {number(measured.rms_force_meV_per_A)} meV/Å)."
    )
    columns = ["", "Energy, meV/atom", "Forces, meV/Å", "Stress, GPa", "Slope of forces", "Mean signed stress, GPa"]
    return Table(caption, columns, rows, frozenset(range(1, 6)))


def _whose(member: int | None, when: str, distil: DistilResult) -> str:
    if member is None:
        return "mean of the students" + ("" if distil.on_policy is None else f", {when}")
    return f"student {member}, {when}"


def _own_runs_table(gate: OnPolicyGate) -> Table:
    """Show what each run of a student in the production cell differs by from the teacher."""

    def volume(run: OwnRunComparison) -> str:
        return number(run.frames.volume_difference_percent)

    return table_of(
        "Student less teacher on frames of the students' own runs, in the cell of production. The pressure is given "
        "with its standard error over the frames; the last column is what it makes of the volume.",
        gate.runs,
        [
            ("Run", lambda run: f"{run.ordering.id}, student {run.member}"),
            ("T, K", lambda run: number(run.temperature_K)),
            ("Atoms", lambda run: whole_text(run.frames.n_atoms)),
            ("Frames", lambda run: whole_text(run.frames.errors.n_structures)),
            ("Energy bias, meV/atom", lambda run: number(run.frames.energy_bias_meV_per_atom)),
            ("Scatter", lambda run: number(run.frames.energy_scatter_meV_per_atom)),
            ("Forces, meV/Å", lambda run: number(run.frames.errors.rmse_force_meV_per_A)),
            ("of RMS", lambda run: number(run.frames.rms_force_meV_per_A)),
            ("Stress, GPa", lambda run: number(run.frames.errors.rmse_stress_GPa)),
            ("Pressure, GPa", lambda run: number(run.frames.pressure_difference_GPa)),
            ("±", lambda run: number(run.frames.pressure_error_GPa)),
            ("Bulk modulus, GPa", lambda run: number(run.frames.bulk_modulus_GPa)),
            ("Volume, %", volume),
        ],
        numeric=range(1, 13),
    )


def _own_forces_table(gate: OnPolicyGate) -> Table:
    """Show the errors of the forces by element, the worst run of each element first."""
    rows = [
        [
            f"{run.ordering.id}, student {run.member}",
            number(run.temperature_K),
            *(f"{number(one.rmse_meV_per_A)} of {number(one.rms_meV_per_A)}" for one in run.frames.elements),
        ]
        for run in gate.runs
    ]
    elements = list(dict.fromkeys(one.element for run in gate.runs for one in run.frames.elements))
    if any([one.element for one in run.frames.elements] != elements for run in gate.runs):
        # Compositions differ in their elements: one row an element then.
        rows = [
            [f"{run.ordering.id}, student {run.member}, {one.element}", number(run.temperature_K),
             f"{number(one.rmse_meV_per_A)} of {number(one.rms_meV_per_A)}"]
            for run in gate.runs for one in run.frames.elements
        ]  # fmt: skip
        elements = ["Forces"]
    caption = "Root mean square error of the forces, of their root mean square, by element, in meV/Å."
    return Table(caption, ["Run", "T, K", *elements], rows, frozenset(range(1, 2 + len(elements))))


def _ends(one: Round) -> str:
    words = dict.fromkeys(run.ended for run in one.explorations if run.ended)
    return sentence("; ".join(words)) or "All runs were completed."


def _early_ends(one: Round) -> str:
    early = [run for run in one.explorations if run.ended]
    if not early:
        return "All ran to their ends."
    return sentence(f"{len(early)} of {len(one.explorations)} ended early, the first: {early[0].ended}")


def _own_rounds_table(distil: DistilResult) -> Table:
    """Show labels and errors by round, for students made from labels alone."""

    def errors(one: Round) -> str:
        return " / ".join(number(member.rmse_force_meV_per_A) for member in one.errors) or UNKNOWN

    def energies(one: Round) -> str:
        return " / ".join(number(member.rmse_energy_meV_per_atom) for member in one.errors) or UNKNOWN

    repairs = ", ".join(str(one.round) for one in distil.rounds if one.is_repair)
    return table_of(
        "Rounds: what the students had learned from, how their own runs went, and their errors on frames drawn at "
        "random from these runs, before they learned them. After the last round all students were trained anew."
        + (f" Rounds that are repairs, by frames of runs for the gate that went wrong: {repairs}." if repairs else ""),
        distil.rounds,
        [
            ("Round", lambda one: whole_text(one.round)),
            ("Structures", lambda one: whole_text(one.structures)),
            ("Runs", lambda one: whole_text(len(one.explorations))),
            ("Highest grade", _grade),
            ("Forces, meV/Å", errors),
            ("Energy, meV/atom", energies),
            ("New labels", lambda one: whole_text(one.labels)),
            ("How runs ended", _early_ends),
        ],
        numeric=range(7),
    )


def _grade(one: Round) -> str:
    return number(max((r.worst_grade for r in one.explorations if r.worst_grade is not None), default=None))


def _rounds_table(distil: DistilResult) -> Table:
    return table_of(
        "Rounds of learning and hot runs; a grade above 1 means that a student extrapolates.",
        distil.rounds,
        [
            ("Round", lambda one: whole_text(one.round)),
            ("Structures", lambda one: whole_text(one.structures)),
            ("Shortest clean run, ps", lambda one: number(min((r.clean_ps for r in one.explorations), default=None))),
            ("Highest grade", _grade),
            ("New labels", lambda one: whole_text(one.labels)),
            ("How runs ended", _ends),
        ],
        numeric=range(5),
    )


def _learning_plot(distil: DistilResult) -> Plot:
    rise = "" if distil.on_policy is not None else " Errors rise when frames of an exploration join the data."
    panels = [
        _learning_panel(distil, "RMSE of forces (eV/Å)", lambda errors: errors.rmse_force_eV_per_A),
        _learning_panel(distil, "RMSE of energies (eV/atom)", lambda errors: errors.rmse_energy_eV_per_atom),
    ]
    return Plot(
        "student_learning",
        "Learning curves of the students",
        "Errors against the teacher after each pass over the data, on each student's training data and on the data "
        f"held out for validation.{rise}",
        panels,
        height=300,
    )


def _learning_panel(distil: DistilResult, y_label: str, error_of: Callable[[EpochErrors], float]) -> Panel:
    series = []
    for index, student in enumerate(distil.members):
        epochs = [one.epoch for one in student.history]
        parts: tuple[tuple[str, Dash, list[EpochErrors | None]], ...] = (
            ("training", "dot", [one.train for one in student.history]),
            ("validation", "solid", [one.validation for one in student.history]),
        )
        for name, dash, history in parts:
            # An error of zero, as of a single structure without forces, cannot be drawn on a logarithmic axis.
            values = [None if part is None else error_of(part) or None for part in history]
            if any(value is not None for value in values):
                label = f"student {index + 1}, {name}"
                series.append(Series(epochs, values, label, "line", pick(index), dash=dash))
    return Panel(series, "epoch", y_label, y_log=True)


def _parity_plot(distil: DistilResult, parity: StudentParity) -> Plot:
    panels = [
        _parity_panel(parity.energy_eV_per_atom, "Energy", "eV/atom"),
        _parity_panel(parity.force_eV_per_A, "Force components", "eV/Å"),
    ]
    whose = "a run of the teacher" if distil.on_policy is None else "the students' own runs"
    return Plot(
        "student_parity",
        "Students against their teacher",
        f"Each point is a value on frames of {whose} from which no student has learned.",
        panels,
        height=330,
    )


def _parity_panel(points: ParityPoints, title: str, unit: str) -> Panel:
    series = parity_series(points.teacher, points.student, "mean of the students")
    return Panel([series], f"teacher ({unit})", f"student ({unit})", title, square=True)


def _distances_plot(distil: DistilResult) -> Plot | None:
    hottest = max(distil.compared, key=lambda runs: runs.temperature_K, default=None)
    if hottest is None:
        return None
    panels = []
    for pair in hottest.comparison.pairs[:_MOST_DISTANCE_PANELS]:
        teacher = Series(pair.r_A, pair.teacher, "teacher", "line", GREY, width=3.0)
        members = [
            Series(pair.r_A, g, f"student {index + 1}", "line", pick(index), width=1.3)
            for index, g in enumerate(pair.members)
        ]
        title = f"{pair.pair.replace('-', '–')} (overlap {min(pair.overlaps):.3f})"
        panels.append(Panel([teacher, *members], "distance (Å)", "g(r)", title))
    return Plot(
        "student_distances",
        "Structure in equal runs",
        f"Radial distribution functions of teacher and students in {hottest.label}: same start, cell and length.",
        panels,
        columns=3,
        height=260,
    )


_Point = tuple[float, float, float | None, float | None]
"""Temperature, value, and the ends of its error bar."""


def _properties_plot(distil: DistilResult) -> Plot:
    volumes: dict[int, list[_Point]] = {}
    diffusivities: dict[int, list[_Point]] = {}
    for runs in distil.compared:
        for index, volume in enumerate(runs.comparison.volumes_A3_per_atom):
            volumes.setdefault(index, []).append(_volume_point(runs.temperature_K, volume))
        for index, estimate in enumerate(runs.comparison.diffusivities_cm2_per_s):
            if estimate.value > 0:
                diffusivities.setdefault(index, []).append(_diffusivity_point(runs.temperature_K, estimate))
    x_label = "temperature (K)"
    return Plot(
        "student_properties",
        "Volumes and diffusivities of teacher and students",
        "Bars are 68 % for volumes and 95 % for diffusivities. The runs are as short as the teacher's, so intervals "
        "are wide; the students' long runs are in the sections below. Unbounded ends of bars are not drawn.",
        [
            panel
            for panel in (
                Panel(_side_by_side(volumes), x_label, "volume (Å³/atom)", "Constant pressure"),
                Panel(_side_by_side(diffusivities), x_label, "D* (cm²/s)", "Equal runs", y_log=True),
            )
            if panel.series
        ],
        height=320,
    )


def _volume_point(temperature_K: float, volume: MeanVolume) -> _Point:
    mean, error = volume.A3_per_atom, volume.error
    known = math.isfinite(error)
    return temperature_K, mean, mean - error if known else None, mean + error if known else None


def _diffusivity_point(temperature_K: float, estimate: Estimate) -> _Point:
    low, high = estimate.interval95
    return temperature_K, estimate.value, low if low > 0 else None, high if math.isfinite(high) else None


def _side_by_side(points: Mapping[int, Sequence[_Point]]) -> list[Series]:
    """Return one series for the teacher (0) and each student, side by side at each temperature."""
    series = []
    for index, own in sorted(points.items()):
        label = _driver(index)
        x = [temperature + 4.0 * index for temperature, *_ in own]
        series.append(
            Series(
                x,
                [value for _, value, _, _ in own],
                label,
                colour=VERMILION if index == 0 else pick(2 * (index - 1)),
                low=[low for _, _, low, _ in own],
                high=[high for _, _, _, high in own],
                marker="circle" if index == 0 else "square",
                hover=[f"{label}, {number(temperature)} K: {number(value)}" for temperature, value, _, _ in own],
                size=8,
            )
        )
    return series


def _criteria_csv(distil: DistilResult) -> CsvTable:
    rows = tuple((c.name, c.passed, c.value, c.limit, c.unit, c.words) for c in distil.verdict.criteria)
    return CsvTable("student_criteria.csv", ("criterion", "passed", "value", "limit", "unit", "words"), rows)


def _errors_csv(distil: DistilResult) -> CsvTable:
    return csv_table(
        "student_errors.csv",
        ("potential", "when"),
        [(("mean" if member is None else f"student {member}", when), e) for member, when, e in _measured(distil)],
        [
            ("n_structures", lambda errors: errors.n_structures),
            ("mae_energy_meV_per_atom", lambda errors: errors.mae_energy_meV_per_atom),
            ("rmse_energy_meV_per_atom", lambda errors: errors.rmse_energy_meV_per_atom),
            ("mae_force_meV_per_A", lambda errors: errors.mae_force_meV_per_A),
            ("rmse_force_meV_per_A", lambda errors: errors.rmse_force_meV_per_A),
            ("mae_stress_GPa", lambda errors: errors.mae_stress_GPa),
            ("rmse_stress_GPa", lambda errors: errors.rmse_stress_GPa),
            ("force_slope", lambda errors: errors.force_slope),
            ("mean_error_stress_GPa", lambda errors: errors.mean_error_stress_GPa),
        ],
    )


def _learning_csv(distil: DistilResult) -> CsvTable:
    def errors(part: EpochErrors | None) -> Cells:
        if part is None:
            return (None,) * 4
        return part.loss, part.rmse_energy_eV_per_atom, part.rmse_force_eV_per_A, part.rmse_stress_GPa

    rows = tuple(
        (f"student {member}", one.epoch, one.learning_rate, *errors(one.train), *errors(one.validation))
        for member, student in enumerate(distil.members, 1)
        for one in student.history
    )
    names = ("loss", "rmse_energy_eV_per_atom", "rmse_force_eV_per_A", "rmse_stress_GPa")
    parts = (f"{part}_{name}" for part in ("train", "validation") for name in names)
    return CsvTable("student_learning_curve.csv", ("potential", "epoch", "learning_rate", *parts), rows)


def _rounds_csv(results: Results, distil: DistilResult) -> CsvTable:
    return csv_table(
        "student_explorations.csv",
        ("round", "structures", "labels", *material_columns(results), "ordering"),
        [
            ((one.round, one.structures, one.labels, *ordering_cells(results, run.ordering)), run)
            for one in distil.rounds
            for run in one.explorations
        ],
        [
            ("potential", lambda run: f"student {run.member}"),
            ("temperature_K", lambda run: run.temperature_K),
            ("clean_ps", lambda run: run.clean_ps),
            ("worst_extrapolation_grade", lambda run: run.worst_grade),
            ("frames_collected", lambda run: run.collected),
            ("ended", lambda run: run.ended),
        ],
    )


def _runs_csv(results: Results, distil: DistilResult) -> CsvTable:
    rows: list[Cells] = []
    for runs in distil.compared:
        one = runs.comparison
        identity = (*ordering_cells(results, runs.ordering), runs.temperature_K)
        for index, (estimate, hops) in enumerate(zip(one.diffusivities_cm2_per_s, one.hops, strict=True)):
            volume = one.volumes_A3_per_atom[index] if one.volumes_A3_per_atom else None
            mean: Cells = (None, None) if volume is None else (volume.A3_per_atom, volume.error)
            of_run = (_driver(index), one.length_ps, one.n_atoms)
            rows.append((*identity, *of_run, *estimate_cells(estimate), hops, *mean))
    columns = (
        *material_columns(results), "ordering", "temperature_K", "potential", "length_ps", "n_atoms",
        *estimate_columns("tracer_diffusivity_cm2_per_s"), "n_hops", "volume_A3_per_atom", "volume_A3_per_atom_error",
    )  # fmt: skip
    return CsvTable("student_runs.csv", columns, tuple(rows))


def _distances_csv(results: Results, distil: DistilResult) -> CsvTable:
    rows = tuple(
        (*ordering_cells(results, runs.ordering), runs.temperature_K, _driver(index), pair.pair, distance, value)
        for runs in distil.compared
        for pair in runs.comparison.pairs
        for index, g in enumerate((pair.teacher, *pair.members))
        for distance, value in zip(pair.r_A, g, strict=True)
    )
    columns = (*material_columns(results), "ordering", "temperature_K", "potential", "pair", "distance_A", "g")
    return CsvTable("student_distances.csv", columns, rows)


def _own_runs_csv(results: Results, gate: OnPolicyGate) -> CsvTable:
    return csv_table(
        "student_own_frames.csv",
        (*material_columns(results), "ordering", "temperature_K", "potential", "element"),
        [
            (
                (*ordering_cells(results, run.ordering), run.temperature_K, f"student {run.member}", one.element),
                (run.frames, one),
            )
            for run in gate.runs
            for one in run.frames.elements
        ],
        [
            ("n_atoms", lambda row: row[0].n_atoms),
            ("n_frames", lambda row: row[0].errors.n_structures),
            ("energy_bias_meV_per_atom", lambda row: row[0].energy_bias_meV_per_atom),
            ("energy_scatter_meV_per_atom", lambda row: row[0].energy_scatter_meV_per_atom),
            ("rmse_force_meV_per_A", lambda row: row[0].errors.rmse_force_meV_per_A),
            ("rms_force_meV_per_A", lambda row: row[0].rms_force_meV_per_A),
            ("force_slope", lambda row: row[0].errors.force_slope),
            ("element_rmse_force_meV_per_A", lambda row: row[1].rmse_meV_per_A),
            ("element_rms_force_meV_per_A", lambda row: row[1].rms_meV_per_A),
            ("rmse_stress_GPa", lambda row: row[0].errors.rmse_stress_GPa),
            ("pressure_difference_GPa", lambda row: row[0].pressure_difference_GPa),
            ("pressure_difference_error_GPa", lambda row: row[0].pressure_error_GPa),
            ("teacher_static_pressure_GPa", lambda row: row[0].teacher_pressure_GPa),
            ("bulk_modulus_GPa", lambda row: row[0].bulk_modulus_GPa),
            ("volume_difference_percent", lambda row: row[0].volume_difference_percent),
        ],
    )


def _own_rounds_csv(distil: DistilResult) -> CsvTable:
    return csv_table(
        "student_rounds.csv",
        ("round", "structures", "labels", "potential"),
        [
            ((one.round, one.structures, one.labels, f"student {member}"), metrics)
            for one in distil.rounds
            for member, metrics in enumerate(one.errors, 1)
        ],
        [
            ("n_random_frames", lambda errors: errors.n_structures),
            ("rmse_energy_meV_per_atom", lambda errors: errors.rmse_energy_meV_per_atom),
            ("rmse_force_meV_per_A", lambda errors: errors.rmse_force_meV_per_A),
            ("rmse_stress_GPa", lambda errors: errors.rmse_stress_GPa),
            ("force_slope", lambda errors: errors.force_slope),
        ],
    )


def _driver(index: int) -> str:
    return "teacher" if index == 0 else f"student {index}"
