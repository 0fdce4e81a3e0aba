"""The tables of the page: training, simulations, transport, comparison, failures."""

from __future__ import annotations

from typing import Final

from superionic.report.comparison import comparisons
from superionic.report.table import Notes, Table, cell, cut
from superionic.report.values import Results, bounds, mapping, numbers, real, text, whole
from superionic.report.words import (
    UNKNOWN,
    formula_text,
    interval,
    number,
    plural,
    sentence,
    whole_text,
    with_error,
)


def selected(results: Results) -> Table | None:
    """Return the orderings that were carried on, and why."""
    names = results.labels_by_id()
    rows = [
        [cell(s, "id"), names.get(text(s, "id"), UNKNOWN), sentence(text(s, "reason"))]
        for s in results.records("select", "selected")
    ]
    return Table("Orderings carried on.", ["Ordering", "Composition", "Why"], rows) if rows else None


def sampling(results: Results) -> Table | None:
    """Return the runs that structures for labels were taken from."""
    rows = [
        [
            cell(r, "id"),
            number(real(r, "temperature_K")),
            number(real(r, "mean_temperature_K")),
            whole_text(real(r, "n_frames")),
            whole_text(real(r, "n_snapshots")),
        ]
        for r in results.records("sample", "runs")
    ]
    columns = ["Ordering", "Temperature set, K", "Mean temperature, K", "Frames", "Structures taken"]
    return (
        Table("Runs that structures for labels were taken from.", columns, rows, frozenset({1, 2, 3, 4}))
        if rows
        else None
    )


_ERRORS: Final = (
    ("energy_meV_per_atom", "Energy", "meV/atom"),
    ("force_meV_per_A", "Force", "meV/Å"),
    ("stress_GPa", "Stress", "GPa"),
)


def errors(results: Results) -> Table | None:
    """Return the errors of the potential before and after training."""
    stage = results.stage("validate")
    before, after = mapping(stage, "before"), mapping(stage, "after")
    rows = []
    for key, name, unit in _ERRORS:
        for statistic in ("mae", "rmse"):
            was, now = real(before, f"{statistic}_{key}"), real(after, f"{statistic}_{key}")
            if was is None and now is None:
                continue
            change = f"{number(100 * (now - was) / was, 2)} %" if was and now is not None else UNKNOWN
            rows.append([f"{name}, {statistic.upper()}", number(was), number(now), unit, change])
    chosen, count = text(stage, "set") or "held-out", whole(stage, "n_structures")
    caption = f"Errors against the reference on the {chosen} set" + (
        f" ({plural(count, 'structure')})." if count is not None else "."
    )
    return (
        Table(caption, ["Quantity", "Before", "After", "Unit", "Change"], rows, frozenset({1, 2, 4})) if rows else None
    )


def element_references(results: Results) -> Table | None:
    """Return the energies by which the labels were brought to the scale of the potential."""
    found = mapping(results.stage("train"), "element_references_eV")
    rows = [
        [symbol, f"{value:+.4f}".replace("-", "−")]
        for symbol, value in sorted(found.items())
        if isinstance(value, int | float)
    ]
    caption = "Energy per element that brings the labels to the scale of the potential."
    return Table(caption, ["Element", "Shift, eV/atom"], rows, frozenset({1})) if rows else None


def simulations(results: Results) -> Table | None:
    """Return the runs of molecular dynamics."""
    rows = [
        [
            cell(r, "run"),
            " ".join(part for part in (text(r, "ensemble").upper(), text(r, "thermostat")) if part) or UNKNOWN,
            number(real(r, "temperature_K")),
            number(real(r, "mean_temperature_K")),
            number(real(r, "length_ps")),
            f"{whole_text(real(r, 'n_atoms'))} ({whole_text(real(r, 'n_mobile'))})",
            number(real(r, "volume_A3_per_atom"), 4),
        ]
        for r in results.records("transport", "runs")
    ]
    columns = ["Run", "Ensemble", "T set, K", "T mean, K", "Length, ps", "Atoms (mobile)", "Volume, Å³/atom"]
    kept, more = cut(rows, "volumes.csv")
    return Table("Runs of molecular dynamics.", columns, kept, frozenset({2, 3, 4, 5, 6}), more) if rows else None


def diffusivities(results: Results) -> Table | None:
    """Return diffusivity and conductivity of each run."""
    names = results.labels_by_id()
    notes = Notes()
    rows = []
    for r in results.records("analyse", "runs"):
        tracer, sigma = mapping(r, "tracer_diffusivity_cm2_per_s"), mapping(r, "nernst_einstein_conductivity_S_per_cm")
        start, end = bounds(r, "window_ps")
        flags = [sentence(str(flag)) for flag in r.get("flags") or []]
        rows.append(
            [
                names.get(text(r, "id"), text(r, "id")),
                number(real(r, "temperature_K")),
                with_error(real(tracer, "value"), real(tracer, "error")),
                interval(*bounds(tracer, "interval95")),
                f"{number(real(sigma, 'value'))} ({interval(*bounds(sigma, 'interval68'))})",
                number(real(mapping(r, "haven_ratio"), "value"), 2),
                f"{number(start, 2)}–{number(end, 2)}" if start is not None and end is not None else UNKNOWN,
                whole_text(real(r, "n_hops")),
                notes.refer(flags),
            ]
        )
    columns = [
        "Composition",
        "T, K",
        "D*, cm²/s",
        "95 % interval",
        "σ, S/cm (68 %)",
        "Haven ratio",
        "Fit, ps",
        "Hops",
        "Remarks",
    ]
    kept, more = cut(rows, "diffusivities.csv")
    return (
        Table(
            "Diffusivities and Nernst–Einstein conductivities.",
            columns,
            kept,
            frozenset({1, 2, 3, 4, 5, 6, 7}),
            more,
            notes.words,
        )
        if rows
        else None
    )


def arrhenius(results: Results) -> Table | None:
    """Return the Arrhenius fits."""
    notes = Notes()
    forms = {"lnD": "ln D against 1/T", "lnSigmaT": "ln(σT) against 1/T"}
    rows = []
    for fit in results.records("analyse", "arrhenius"):
        room = mapping(fit, "sigma_300K_mS_per_cm")
        temperatures = sorted({t for t in numbers(fit, "temperatures_K") if t is not None})
        flags = [sentence(str(flag)) for flag in fit.get("flags") or []]
        rows.append(
            [
                formula_text(text(fit, "formula")),
                cell(fit, "id"),
                forms.get(text(fit, "form"), cell(fit, "form")),
                ", ".join(f"{t:g}" for t in temperatures),
                with_error(real(fit, "Ea_eV"), real(fit, "Ea_error_eV")),
                f"{number(real(room, 'value'), 2)} ({interval(*bounds(room, 'interval68'))})",
                notes.refer(flags),
            ]
        )
    columns = ["Composition", "Ordering", "Form", "Temperatures, K", "Eₐ, eV", "σ (300 K), mS/cm (68 %)", "Remarks"]
    kept, more = cut(rows, "arrhenius.csv")
    return Table("Arrhenius fits.", columns, kept, frozenset({4, 5}), more, notes.words) if rows else None


def comparison(results: Results) -> Table | None:
    """Return our values beside published ones."""
    rows = []
    for item in comparisons(results):
        bound = {"lower": "at least ", "upper": "at most ", "about": "about "}.get(item.bound, "")
        source = item.source + (f" · doi:{item.doi}" if item.doi and item.doi not in item.source else "")
        kind = "measured" if item.experiment else "computed"
        method = f"{kind}: {item.method}" if item.method else kind
        rows.append(
            [
                formula_text(item.formula),
                item.name,
                item.ours.written(),
                bound + item.published.written(),
                item.unit,
                method,
                source,
            ]
        )
    columns = ["Composition", "Quantity", "This work", "Published", "Unit", "How published value was got", "Source"]
    kept, more = cut(rows, "comparison.csv")
    return Table("This work beside published values.", columns, kept, frozenset({2, 3}), more) if rows else None


def rejections(results: Results) -> Table | None:
    """Return everything that failed or was refused, with its reason."""
    rows = [[stage, label, sentence(reason)] for stage, label, reason in rejected(results)]
    kept, more = cut(rows, "rejections.csv")
    return Table("Left out of the results.", ["Stage", "What", "Why"], kept, frozenset(), more) if rows else None


def rejected(results: Results) -> list[tuple[str, str, str]]:
    """Return ``(stage, what, why)`` of everything that failed or was refused."""
    return [
        (
            stage,
            text(item, "label") or text(item, "run") or text(item, "id"),
            text(item, "reason") or "no reason recorded",
        )
        for stage, key in (
            ("rank", "failures"),
            ("sample", "failures"),
            ("label", "rejected"),
            ("distil", "failures"),
            ("transport", "failures"),
        )
        for item in results.records(stage, key)
    ]
