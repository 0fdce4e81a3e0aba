"""The tables of the student: verdict, errors, rounds; and the budget of errors that it is a part of."""

from __future__ import annotations

import math

from superionic.report.table import Table, cell
from superionic.report.values import Record, Results, mapping, real, records, text, whole
from superionic.report.words import UNKNOWN, formula_text, listing, number, plural, sentence, whole_text


def verdict(results: Results) -> Table | None:
    """Return the criteria of the gate."""
    rows = [
        [
            sentence(text(item, "name")).rstrip("."),
            _passed(item),
            sentence(text(item, "words")),
        ]
        for item in records(mapping(results.stage("distil"), "verdict"), "criteria")
    ]
    caption = "What a student must do as its teacher does before its numbers are results."
    return Table(caption, ["Compared", "Passed", "Finding"], rows) if rows else None


def _passed(item: Record) -> str:
    found = item.get("passed")
    return "not tested" if found is None else "yes" if found else "no"


def errors(results: Results) -> Table | None:
    """Return the errors of each student on unseen frames, after the first training and at the end."""
    found = mapping(results.stage("distil"), "errors")
    rows = []
    for key, when in (("first", "after the first training"), ("after", "at the end")):
        for index, item in enumerate(records(found, key)):
            rows.append(
                [
                    f"student {index + 1}, {when}",
                    number(real(item, "rmse_energy_meV_per_atom")),
                    number(real(item, "rmse_force_meV_per_A")),
                    number(real(item, "rmse_stress_GPa")),
                ]
            )
    mean = mapping(found, "after_mean")
    if len(records(found, "after")) > 1 and mean:
        rows.append(
            [
                "mean of the students",
                number(real(mean, "rmse_energy_meV_per_atom")),
                number(real(mean, "rmse_force_meV_per_A")),
                number(real(mean, "rmse_stress_GPa")),
            ]
        )
    spread = mapping(results.stage("distil"), "committee")
    if spread:
        rows.append(
            [
                "what they disagree by",
                number(real(spread, "energy_meV_per_atom")),
                number(real(spread, "force_meV_per_A")),
                number(real(spread, "stress_GPa")),
            ]
        )
    rms = real(found, "rms_force_meV_per_A")
    caption = "Root mean square errors against the teacher on frames that no student has seen" + (
        f" (RMS force {number(rms)} meV/Å)." if rms is not None else "."
    )
    columns = ["", "Energy, meV/atom", "Forces, meV/Å", "Stress, GPa"]
    return Table(caption, columns, rows, frozenset({1, 2, 3})) if rows else None


def rounds(results: Results) -> Table | None:
    """Return what each round of exploration showed."""
    rows = []
    for item in results.records("distil", "rounds"):
        runs = records(item, "explorations")
        clean = [length for run in runs if (length := real(run, "clean_ps")) is not None]
        grades = [grade for run in runs if (grade := real(run, "worst_grade")) is not None]
        ended = list(dict.fromkeys(text(run, "ended") for run in runs if text(run, "ended")))
        rows.append(
            [
                whole_text(real(item, "round")),
                whole_text(real(item, "structures")),
                number(min(clean)) if clean else UNKNOWN,
                number(max(grades)) if grades else UNKNOWN,
                whole_text(real(item, "labels")),
                sentence("; ".join(ended)) or "all ran to their ends.",
            ]
        )
    columns = ["Round", "Structures", "Shortest clean run, ps", "Highest grade", "New labels", "How runs ended"]
    caption = "Rounds of learning and hot runs; a grade above 1 says that a student extrapolates."
    return Table(caption, columns, rows, frozenset({0, 1, 2, 3, 4})) if rows else None


def budget(results: Results) -> Table | None:
    """Return the parts of the errors of activation energies and conductivities."""
    rows = []
    for fit in results.records("analyse", "arrhenius"):
        for part in records(fit, "budget"):
            factors = [
                f"{at} K: {number(_factor(value), 3)}"
                for at, value in mapping(part, "ln_sigma").items()
                if isinstance(value, int | float)
            ]
            energy = real(part, "Ea_eV")
            rows.append(
                [
                    formula_text(text(fit, "formula")),
                    cell(fit, "id"),
                    sentence(text(part, "source")),
                    number(energy, 2) if energy is not None else UNKNOWN,
                    listing(factors) or UNKNOWN,
                ]
            )
    caption = (
        "Budget of errors: standard deviations of the activation energy, and factors on the conductivity "
        "(one standard deviation). The intervals above hold both parts in quadrature; those of single runs hold "
        "statistics only."
    )
    columns = ["Composition", "Ordering", "Part", "Eₐ, eV", "Factor on σ"]
    return Table(caption, columns, rows, frozenset({3})) if rows else None


def _factor(ln_error: float) -> float:
    """Return the factor that a standard deviation of a logarithm stands for."""
    return math.exp(min(ln_error, 50.0))


def lead(results: Results) -> str:
    """Say in a sentence or two from what the students learned, and what the gate says."""
    stage = results.stage("distil")
    if not stage:
        return ""
    data, teacher = mapping(stage, "data"), mapping(stage, "teacher")
    name = text(teacher, "called") or text(teacher, "name") or "the potential"
    parts = [
        f"{whole_text(real(data, key))} {words}"
        for key, words in (
            ("snapshots", "frames of its runs"),
            ("distorted", "distorted structures"),
            ("relaxed", "steps of relaxations"),
            ("contacts", "close contacts"),
        )
        if real(data, key)
    ]
    explored = sum(whole(item, "labels") or 0 for item in results.records("distil", "rounds"))
    if explored:
        parts.append(f"{whole_text(explored)} frames of hot runs of the students")
    members = plural(len(records(stage, "members")), "student")
    verdicts = {"yes": "They passed the gate.", "no": "They did not pass the gate."}
    said = verdicts.get(_passed(mapping(stage, "verdict")), "")
    total = whole_text(real(data, "total"))
    return f"{members} learned from {total} structures labelled by {name}: {listing(parts)}. {said}".strip()


def transfer(results: Results) -> str:
    """Say in a sentence what the step from teacher to student adds to the errors."""
    found = mapping(results.stage("distil"), "transfer")
    difference, resolution = real(found, "ln_D_difference"), real(found, "ln_D_resolution")
    spread, term = real(found, "ln_D_spread"), real(found, "ln_sigma")
    if difference is None or resolution is None or spread is None or term is None:
        return ""
    return (
        f"In runs of equal length the students' diffusivity is {number(_factor(difference), 3)} times the teacher's "
        f"(known to a factor of {number(_factor(resolution), 3)}); between the students it scatters by a factor of "
        f"{number(_factor(spread), 3)} beyond their statistics. Conductivities carry a factor of "
        f"{number(_factor(term), 3)} for it."
    )
