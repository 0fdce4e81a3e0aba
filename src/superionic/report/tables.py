"""The tables of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from superionic.report.comparison import comparisons
from superionic.report.summary import hull_entry, main_rows, stability_words, verdict
from superionic.report.values import Record, Results, bounds, mapping, numbers, real, records, text, whole
from superionic.report.words import (
    UNKNOWN,
    formula_text,
    interval,
    listing,
    number,
    plural,
    sentence,
    whole_text,
    with_error,
)

_MOST_ROWS: Final = 30


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes
    ----------
    numeric
        Numbers of the columns that are set flush right.
    more
        How many rows were left out, and the file that has them all.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    more: tuple[int, str] | None = None


def _cut(rows: list[list[str]], file: str) -> tuple[list[list[str]], tuple[int, str] | None]:
    return (rows, None) if len(rows) <= _MOST_ROWS else (rows[:_MOST_ROWS], (len(rows) - _MOST_ROWS, file))


def _text(record: Record, key: str) -> str:
    return text(record, key) or UNKNOWN


def main_results(results: Results) -> Table | None:
    """Return one row per composition or ordering with conductivity, activation energy and stability."""
    rows = []
    for fit in main_rows(results):
        room = mapping(fit, "sigma_300K_mS_per_cm")
        low, high = bounds(room, "interval68")
        rows.append(
            [
                formula_text(text(fit, "formula")),
                _text(fit, "crystal"),
                number(real(room, "value"), 2) + ("*" if room.get("extrapolated") else ""),
                interval(low, high),
                interval(*bounds(room, "interval95")),
                with_error(real(fit, "Ea_eV"), real(fit, "Ea_error_eV")),
                stability_words(hull_entry(results, text(fit, "id"))),
                verdict(low, high).words,
            ]
        )
    if not rows:
        return None
    columns = [
        "Composition",
        "Crystal",
        "σ (300 K), mS/cm",
        "68 % interval",
        "95 % interval",
        "Eₐ, eV",
        "Stability",
        "Statistics of σ",
    ]
    kept, more = _cut(rows, "arrhenius.csv")
    return Table(
        "Main results. * extrapolated below the simulated temperatures.", columns, kept, frozenset({2, 3, 4, 5}), more
    )


def workflow(results: Results) -> Table:
    """Return what was done in each stage, in words and counts."""
    rows = [
        [_STAGE_NAMES[stage], words if results.has(stage) else "not run"]
        for stage, words in _workflow_words(results).items()
    ]
    return Table("What was done.", ["Stage", "Result"], rows)


_STAGE_NAMES: Final = {
    "enumerate": "1 Enumerate orderings",
    "rank": "2 Rank by the potential",
    "hull": "3 Convex hull",
    "select": "4 Select",
    "sample": "5 Sample structures",
    "label": "6 Label",
    "train": "7 Train",
    "validate": "8 Validate",
    "transport": "9 Molecular dynamics",
    "analyse": "10 Analyse transport",
}


def _workflow_words(results: Results) -> dict[str, str]:
    spaces = results.records("enumerate", "spaces")
    entries = results.records("rank", "entries")
    potential = mapping(results.stage("rank"), "potential")
    hull = results.records("hull", "entries")
    label = results.stage("label")
    labeller = mapping(label, "labeller")
    train = results.stage("train")
    samples = results.records("sample", "runs")
    runs = results.records("transport", "runs")
    fits = results.records("analyse", "arrhenius")
    raw = sum(whole(space, "raw") or 0 for space in spaces)
    distinct = sum(whole(space, "distinct") or 0 for space in spaces)
    listed = sum(whole(space, "listed") or 0 for space in spaces)
    identity = " ".join(
        part for part in (text(potential, "name"), text(potential, "model"), text(potential, "version")) if part
    )
    duplicates = sum(bool(entry.get("duplicate_of")) for entry in entries)
    failures = len(results.records("rank", "failures"))
    temperature = real(results.stage("select"), "temperature_K")
    code = " ".join(
        part for part in (text(labeller, "code"), text(labeller, "version"), text(labeller, "functional")) if part
    )
    sizes = [
        f"{count} {name}"
        for name in ("train", "validation", "test")
        if (count := whole(train, f"n_{name}")) is not None
    ]
    validated = whole(results.stage("validate"), "n_structures")
    total = sum(real(run, "length_ps") or 0.0 for run in runs)
    at = sorted({t for run in runs if (t := real(run, "temperature_K")) is not None})
    members = [formula_text(str(member)) for member in results.stage("hull").get("end_members") or []]
    stable = sum(bool(entry.get("stable")) for entry in hull)
    return {
        "enumerate": f"{plural(len(spaces), 'space')}; {whole_text(raw)} raw arrangements, {whole_text(distinct)} distinct by symmetry, {whole_text(listed)} listed",
        "rank": f"{plural(len(entries), 'ordering')} with {identity or 'an unnamed potential'}; {plural(duplicates, 'duplicate')} merged, {plural(failures, 'failure')}",
        "hull": f"{plural(len(hull), 'entry', 'entries')}, {stable} on the hull; end members: {listing(members) or UNKNOWN}",
        "select": f"{plural(len(results.records('select', 'selected')), 'ordering')}"
        + (f", Boltzmann weights at {temperature:g} K" if temperature is not None else ""),
        "sample": f"{plural(len(samples), 'run')}, {sum(whole(run, 'n_snapshots') or 0 for run in samples)} structures taken",
        "label": f"{whole(label, 'n_accepted') or 0} of {whole(label, 'n_requested') or 0} labels accepted, by {code or 'an unnamed method'}",
        "train": f"{text(train, 'trainer') or 'training'}: {listing(sizes)} labels; {plural(len(records(train, 'history')), 'epoch')}"
        + (f", weights of epoch {whole(train, 'best_epoch')} kept" if whole(train, "best_epoch") is not None else ""),
        "validate": f"{plural(validated or 0, 'structure')} of the {text(results.stage('validate'), 'set') or 'held-out'} set",
        "transport": f"{plural(len(runs), 'run')}, {number(total)} ps in total, at {listing([f'{t:g}' for t in at])} K",
        "analyse": f"{plural(len(results.records('analyse', 'runs')), 'diffusivity', 'diffusivities')}, {plural(len(fits), 'Arrhenius fit')}",
    }


def spaces(results: Results) -> Table | None:
    """Return one row per space of orderings."""
    rows = [
        [
            formula_text(text(s, "formula")),
            _text(s, "crystal"),
            _text(s, "composition_label"),
            _supercell(s),
            whole_text(real(s, "raw")),
            whole_text(real(s, "distinct")),
            whole_text(real(s, "listed")),
            whole_text(real(s, "group_order")),
            _text(s, "method").replace("_", " "),
        ]
        for s in results.records("enumerate", "spaces")
    ]
    columns = [
        "Composition",
        "Crystal",
        "Label",
        "Supercell",
        "Arrangements",
        "Distinct",
        "Listed",
        "Symmetry operations",
        "Method",
    ]
    kept, more = _cut(rows, "enumeration.csv")
    return Table("Spaces of orderings.", columns, kept, frozenset({4, 5, 6, 7}), more) if rows else None


def _supercell(space: Record) -> str:
    found = space.get("supercell")
    if isinstance(found, list):
        if all(isinstance(row, list) for row in found):
            diagonal = all(v == 0 for i, row in enumerate(found) for j, v in enumerate(row) if i != j)
            return " × ".join(str(row[i]) for i, row in enumerate(found)) if diagonal else str(found)
        return " × ".join(str(value) for value in found)
    return str(found).replace("x", " × ") if found is not None else UNKNOWN


def crystals(results: Results) -> Table | None:
    """Return the crystals that the campaign started from."""
    rows = [
        [_text(c, "name"), formula_text(text(c, "formula")), _text(c, "spacegroup"), _text(c, "source")]
        for c in results.top("crystals")
        if isinstance(c, dict)
    ]
    return Table("Crystals at the start.", ["Name", "Formula", "Space group", "Source"], rows) if rows else None


def ranking(results: Results) -> Table | None:
    """Return the orderings of lowest energy."""
    entries = results.records("rank", "entries")

    def energy(entry: Record) -> float | None:
        relaxed = real(entry, "relaxed_eV_per_atom")
        return relaxed if relaxed is not None else real(entry, "single_point_eV_per_atom")

    lowest: dict[str, float] = {}
    for entry in entries:
        value = energy(entry)
        if value is not None:
            formula = text(entry, "formula")
            lowest[formula] = min(value, lowest.get(formula, value))
    ordered = sorted(entries, key=lambda e: (text(e, "formula"), energy(e) is None, energy(e) or 0.0, text(e, "id")))
    rows = []
    for e in ordered:
        value = energy(e)
        rows.append(
            [
                _text(e, "id"),
                formula_text(text(e, "formula")),
                _text(e, "crystal"),
                whole_text(real(e, "degeneracy")),
                UNKNOWN if value is None else f"{value:.4f}".replace("-", "−"),
                UNKNOWN if value is None else number(1000 * (value - lowest[text(e, "formula")]), 3),
                number(real(e, "volume_A3_per_atom"), 4),
                _state(e),
            ]
        )
    columns = [
        "Ordering",
        "Composition",
        "Crystal",
        "Degeneracy",
        "Energy, eV/atom",
        "Above lowest, meV/atom",
        "Volume, Å³/atom",
        "State",
    ]
    kept, more = _cut(rows, "orderings.csv")
    return Table("Orderings by energy, lowest first.", columns, kept, frozenset({3, 4, 5, 6}), more) if rows else None


def _state(entry: Record) -> str:
    if entry.get("duplicate_of"):
        return f"same as {entry['duplicate_of']}"
    if real(entry, "relaxed_eV_per_atom") is None:
        return "not relaxed"
    steps = whole(entry, "n_steps")
    done = f" in {plural(steps, 'step')}" if steps is not None else ""
    return f"relaxed{done}" if entry.get("converged") is not False else f"not converged{done}"


def hull(results: Results) -> Table | None:
    """Return the energies above the hull, lowest first."""
    entries = sorted(
        results.records("hull", "entries"),
        key=lambda e: (
            real(e, "e_above_hull_eV_per_atom") is None,
            real(e, "e_above_hull_eV_per_atom") or 0.0,
            text(e, "id"),
        ),
    )

    def meV(entry: Record, key: str) -> str:  # noqa: N802 - it is the unit
        value = real(entry, key)
        return UNKNOWN if value is None else number(1000 * value, 3)

    rows = [
        [
            formula_text(text(e, "formula")),
            _text(e, "crystal"),
            _text(e, "id"),
            meV(e, "formation_energy_eV_per_atom"),
            meV(e, "e_above_hull_eV_per_atom"),
            meV(e, "e_above_hull_eV_per_formula_unit"),
            "yes" if e.get("stable") else "no",
        ]
        for e in entries
    ]
    columns = [
        "Composition",
        "Crystal",
        "Ordering",
        "Formation energy, meV/atom",
        "Above hull, meV/atom",
        "Above hull, meV/f.u.",
        "Stable at 0 K",
    ]
    kept, more = _cut(rows, "hull.csv")
    return Table("Stability.", columns, kept, frozenset({3, 4, 5}), more) if rows else None


def polymorphs(results: Results) -> Table | None:
    """Return how far each polymorph lies above the favoured one."""
    rows = []
    for item in results.records("hull", "polymorphs"):
        energies = {k: float(v) for k, v in mapping(item, "crystals").items() if isinstance(v, int | float)}
        lowest = min(energies.values(), default=0.0)
        words = [f"{k}: {number(1000 * (v - lowest), 2)}" for k, v in sorted(energies.items())]
        rows.append([formula_text(text(item, "formula")), _text(item, "lowest"), ", ".join(words)])
    kept, more = _cut(rows, "polymorphs.csv")
    columns = ["Composition", "Favoured", "Above the favoured one, meV/atom"]
    return Table("Polymorphs at equal composition.", columns, kept, frozenset(), more) if rows else None


def selected(results: Results) -> Table | None:
    """Return the orderings that were carried on, and why."""
    names = results.labels_by_id()
    rows = [
        [_text(s, "id"), names.get(text(s, "id"), UNKNOWN), sentence(text(s, "reason"))]
        for s in results.records("select", "selected")
    ]
    return Table("Orderings carried on.", ["Ordering", "Composition", "Why"], rows) if rows else None


def sampling(results: Results) -> Table | None:
    """Return the runs that structures for labels were taken from."""
    rows = [
        [
            _text(r, "id"),
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
            _text(r, "run"),
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
    kept, more = _cut(rows, "volumes.csv")
    return Table("Runs of molecular dynamics.", columns, kept, frozenset({2, 3, 4, 5, 6}), more) if rows else None


def diffusivities(results: Results) -> Table | None:
    """Return diffusivity and conductivity of each run."""
    names = results.labels_by_id()
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
                " ".join(flags) or "none",
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
    kept, more = _cut(rows, "diffusivities.csv")
    return (
        Table(
            "Diffusivities and Nernst–Einstein conductivities.", columns, kept, frozenset({1, 2, 3, 4, 5, 6, 7}), more
        )
        if rows
        else None
    )


def arrhenius(results: Results) -> Table | None:
    """Return the Arrhenius fits."""
    forms = {"lnD": "ln D against 1/T", "lnSigmaT": "ln(σT) against 1/T"}
    rows = []
    for fit in results.records("analyse", "arrhenius"):
        room = mapping(fit, "sigma_300K_mS_per_cm")
        temperatures = sorted({t for t in numbers(fit, "temperatures_K") if t is not None})
        flags = [sentence(str(flag)) for flag in fit.get("flags") or []]
        rows.append(
            [
                formula_text(text(fit, "formula")),
                _text(fit, "id"),
                forms.get(text(fit, "form"), _text(fit, "form")),
                ", ".join(f"{t:g}" for t in temperatures),
                with_error(real(fit, "Ea_eV"), real(fit, "Ea_error_eV")),
                f"{number(real(room, 'value'), 2)} ({interval(*bounds(room, 'interval68'))})",
                " ".join(flags) or "none",
            ]
        )
    columns = ["Composition", "Ordering", "Form", "Temperatures, K", "Eₐ, eV", "σ (300 K), mS/cm (68 %)", "Remarks"]
    kept, more = _cut(rows, "arrhenius.csv")
    return Table("Arrhenius fits.", columns, kept, frozenset({4, 5}), more) if rows else None


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
    kept, more = _cut(rows, "comparison.csv")
    return Table("This work beside published values.", columns, kept, frozenset({2, 3}), more) if rows else None


def rejections(results: Results) -> Table | None:
    """Return everything that failed or was refused, with its reason."""
    rows = [[stage, label, sentence(reason)] for stage, label, reason in rejected(results)]
    kept, more = _cut(rows, "rejections.csv")
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
            ("transport", "failures"),
        )
        for item in results.records(stage, key)
    ]
