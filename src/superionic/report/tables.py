"""The tables of the page: main results, workflow, orderings and stability."""

from __future__ import annotations

from typing import Final

from superionic.report.summary import main_rows, stability_words, verdict
from superionic.report.table import Table, cell, cut
from superionic.report.values import Record, Results, bounds, mapping, real, records, text, whole
from superionic.report.words import (
    UNKNOWN,
    formula_text,
    interval,
    listing,
    milli,
    number,
    plural,
    whole_text,
    with_error,
)


def main_results(results: Results) -> Table | None:
    """Return one row per composition or ordering with conductivity, activation energy and stability."""
    rows = []
    for fit in main_rows(results):
        room = mapping(fit, "sigma_300K_mS_per_cm")
        low, high = bounds(room, "interval68")
        rows.append(
            [
                formula_text(text(fit, "formula")),
                cell(fit, "crystal"),
                number(real(room, "value"), 2) + ("*" if room.get("extrapolated") else ""),
                interval(low, high),
                interval(*bounds(room, "interval95")),
                with_error(real(fit, "Ea_eV"), real(fit, "Ea_error_eV")),
                stability_words(results, text(fit, "id")),
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
    kept, more = cut(rows, "arrhenius.csv")
    return Table(
        (
            "Main results. * extrapolated below the simulated temperatures. Factor: upper over lower "
            "end of the 68 % interval."
        ),
        columns,
        kept,
        frozenset({2, 3, 4, 5}),
        more,
    )


def workflow(results: Results) -> Table:
    """Return what was done in each stage, in words and counts."""
    rows = [
        [_STAGE_NAMES[stage], words if results.has(stage) else "not run"]
        for stage, words in _workflow_words(results).items()
    ]
    return Table("The workflow, stage by stage.", ["Stage", "Result"], rows)


_STAGE_NAMES: Final = {
    "enumerate": "1 Enumerate orderings",
    "rank": "2 Rank by the potential",
    "hull": "3 Convex hull",
    "select": "4 Select",
    "sample": "5 Sample structures",
    "label": "6 Label",
    "train": "7 Train",
    "validate": "8 Validate",
    "distil": "9 Distil a student",
    "transport": "10 Molecular dynamics",
    "analyse": "11 Analyse transport",
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
    model, version = text(potential, "model"), text(potential, "version")
    identity = " ".join(part for part in (text(potential, "name"), model) if part) + (
        f" (version {version})" if version else ""
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
        "enumerate": (
            f"{plural(len(spaces), 'space')}; {whole_text(raw)} raw arrangements, "
            f"{whole_text(distinct)} distinct by symmetry, {whole_text(listed)} listed"
        ),
        "rank": (
            f"{plural(len(entries), 'ordering')} with {identity or 'an unnamed potential'}; "
            f"{plural(duplicates, 'duplicate')} merged, {plural(failures, 'failure')}"
        ),
        "hull": (
            f"{plural(len(hull), 'entry', 'entries')}, {stable} on the hull; end members: {listing(members) or UNKNOWN}"
        )
        + ("" if len(members) > 1 else " (one composition: the lowest ordering is the hull)"),
        "select": f"{plural(len(results.records('select', 'selected')), 'ordering')}"
        + (f", Boltzmann weights at {temperature:g} K" if temperature is not None else ""),
        "sample": (
            f"{plural(len(samples), 'run')}, {sum(whole(run, 'n_snapshots') or 0 for run in samples)} structures taken"
        ),
        "label": (
            f"{whole(label, 'n_accepted') or 0} of {whole(label, 'n_requested') or 0} labels "
            f"accepted, by {code or 'an unnamed method'}"
        ),
        "train": (
            f"{text(train, 'trainer') or 'training'}: {listing(sizes)} labels; "
            f"{plural(len(records(train, 'history')), 'epoch')}"
        )
        + (f", weights of epoch {whole(train, 'best_epoch')} kept" if whole(train, "best_epoch") is not None else ""),
        "validate": (
            f"{plural(validated or 0, 'structure')} of the {text(results.stage('validate'), 'set') or 'held-out'} set"
        ),
        "distil": _distilled(results),
        "transport": f"{plural(len(runs), 'run')}, {number(total)} ps in total, at {listing([f'{t:g}' for t in at])} K",
        "analyse": (
            f"{plural(len(results.records('analyse', 'runs')), 'diffusivity', 'diffusivities')}, "
            f"{plural(len(fits), 'Arrhenius fit')}"
        ),
    }


def _distilled(results: Results) -> str:
    stage = results.stage("distil")
    passed = mapping(stage, "verdict").get("passed")
    told = "not judged" if passed is None else f"parity with the teacher {'passed' if passed else 'failed'}"
    learned = whole(mapping(stage, "data"), "total") or 0
    return f"{plural(len(records(stage, 'members')), 'student')}, {plural(learned, 'structure')}; {told}"


def spaces(results: Results) -> Table | None:
    """Return one row per space of orderings."""
    rows = [
        [
            formula_text(text(s, "formula")),
            cell(s, "crystal"),
            cell(s, "composition_label"),
            _supercell(s),
            whole_text(real(s, "raw")),
            whole_text(real(s, "distinct")),
            whole_text(real(s, "listed")),
            whole_text(real(s, "group_order")),
            cell(s, "method").replace("_", " "),
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
    kept, more = cut(rows, "enumeration.csv")
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
        [cell(c, "name"), formula_text(text(c, "formula")), cell(c, "spacegroup"), cell(c, "source")]
        for c in results.top("crystals")
        if isinstance(c, dict)
    ]
    return Table("Crystals at the start.", ["Name", "Formula", "Space group", "Source"], rows) if rows else None


def ranking(results: Results) -> Table | None:
    """Return the orderings of lowest energy."""
    entries = results.records("rank", "entries")

    lowest: dict[tuple[str, str], float] = {}
    for entry in entries:
        for key in ("relaxed_eV_per_atom", "single_point_eV_per_atom"):
            value = real(entry, key)
            if value is not None:
                place = (text(entry, "formula"), key)
                lowest[place] = min(value, lowest.get(place, value))

    def above(entry: Record, key: str) -> float | None:
        value = real(entry, key)
        return None if value is None else value - lowest[text(entry, "formula"), key]

    def order(entry: Record) -> tuple[str, bool, float, float, str]:
        relaxed, single = above(entry, "relaxed_eV_per_atom"), above(entry, "single_point_eV_per_atom")
        return (text(entry, "formula"), relaxed is None, relaxed or 0.0, single or 0.0, text(entry, "id"))

    rows = []
    for e in sorted(entries, key=order):
        value = real(e, "relaxed_eV_per_atom")
        rows.append(
            [
                cell(e, "id"),
                formula_text(text(e, "formula")),
                cell(e, "crystal"),
                whole_text(real(e, "degeneracy")),
                milli(above(e, "single_point_eV_per_atom")),
                milli(above(e, "relaxed_eV_per_atom")),
                UNKNOWN if value is None else f"{value:.4f}".replace("-", "−"),
                number(real(e, "volume_A3_per_atom"), 4),
                _state(e),
            ]
        )
    columns = [
        "Ordering",
        "Composition",
        "Crystal",
        "Degeneracy",
        "Unrelaxed, above lowest, meV/atom",
        "Relaxed, above lowest, meV/atom",
        "Relaxed energy, eV/atom",
        "Volume, Å³/atom",
        "State",
    ]
    kept, more = cut(rows, "orderings.csv")
    caption = "Orderings by energy, lowest first; energies above the lowest of the same composition."
    return Table(caption, columns, kept, frozenset({3, 4, 5, 6, 7}), more) if rows else None


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

    def meV(entry: Record, key: str) -> str:
        return milli(real(entry, key))

    rows = [
        [
            formula_text(text(e, "formula")),
            cell(e, "crystal"),
            cell(e, "id"),
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
    kept, more = cut(rows, "hull.csv")
    return Table("Energies against the hull.", columns, kept, frozenset({3, 4, 5}), more) if rows else None


def polymorphs(results: Results) -> Table | None:
    """Return how far each polymorph lies above the favoured one."""
    rows = []
    for item in results.records("hull", "polymorphs"):
        energies = {k: float(v) for k, v in mapping(item, "crystals").items() if isinstance(v, int | float)}
        lowest = min(energies.values(), default=0.0)
        words = [f"{k}: {milli(v - lowest, 2)}" for k, v in sorted(energies.items())]
        rows.append([formula_text(text(item, "formula")), cell(item, "lowest"), ", ".join(words)])
    kept, more = cut(rows, "polymorphs.csv")
    columns = ["Composition", "Favoured", "Above the favoured one, meV/atom"]
    return Table("Polymorphs at equal composition.", columns, kept, frozenset(), more) if rows else None
