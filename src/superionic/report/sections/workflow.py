"""What a campaign started from, and what was done in each stage."""

from __future__ import annotations

from collections.abc import Iterator

from superionic.labels.base import Reference
from superionic.potentials.base import PotentialIdentity
from superionic.report.csv_tables import CsvTable
from superionic.report.section import Paragraph, Section
from superionic.report.table import Table
from superionic.report.words import formula_text, listing, number, plural, whole_text
from superionic.results.campaign import Results, Statement
from superionic.results.identity import Ordering


def section(results: Results) -> Section:
    """Return the workflow, stage by stage, and the crystals at its start."""
    stages = [
        ("1 Enumerate orderings", _enumerated(results)),
        ("2 Rank by the potential", _ranked(results)),
        ("3 Convex hull", _hull(results)),
        ("4 Select", _selected(results)),
        ("5 Sample structures", _sampled(results)),
        ("6 Label", _labelled(results)),
        ("7 Train", _trained(results)),
        ("8 Validate", _validated(results)),
        ("9 Distil a student", _distilled(results)),
        ("10 Molecular dynamics", _simulated(results)),
        ("11 Analyse transport", _analysed(results)),
    ]
    rows = [[name, words or "not run"] for name, words in stages]
    crystals = [[c.name, formula_text(c.formula), c.spacegroup, c.source] for c in results.crystals]
    axes = [
        [
            f"{axis.axis} for {axis.replace}",
            formula_text(axis.formula_unit) if axis.formula_unit else "as refined",
            ", ".join(f"{value:g}" for value in axis.values),
        ]
        for axis in results.axes
    ]
    return Section(
        "done",
        "What was done",
        [
            Paragraph(lead_sentence(results)),
            Table("The workflow, stage by stage.", ["Stage", "Result"], rows),
            Table("Crystals at the start.", ["Name", "Formula", "Space group", "Source"], crystals),
            Table("Composition axes.", ["Substitution", "Formula unit", "Points"], axes),
        ],
        [
            CsvTable(
                "crystals.csv",
                ("crystal", "formula", "spacegroup", "spacegroup_number", "source"),
                tuple((c.name, c.formula, c.spacegroup, c.spacegroup_number, c.source) for c in results.crystals),
            )
        ],
    )


def doubts(results: Results) -> Iterator[Statement]:
    """Say whether the campaign is whole, and whether its potential was trained for it."""
    for words in results.warnings:
        yield Statement("warning", words, "unfinished")
    if "train" not in results.settings:
        whose = "a student of the pretrained potential" if results.distil is not None else "the pretrained potential"
        yield Statement("info", f"No fine-tuning in this campaign: all dynamics are by {whose}.")


def lead_sentence(results: Results) -> str:
    """Say in one sentence what the campaign did."""
    return (
        f"This campaign {listing(parts)}." if (parts := list(_parts(results))) else "This campaign has no results yet."
    )


def _parts(results: Results) -> Iterator[str]:
    spaces = results.enumerate.spaces if results.enumerate is not None else ()
    if spaces:
        distinct = sum(space.counted.count.distinct for space in spaces)
        formulas = list(dict.fromkeys(formula_text(space.counted.formula) for space in spaces))
        shown = listing(formulas) if len(formulas) <= 3 else plural(len(formulas), "composition")
        yield f"counted {plural(distinct, 'symmetry-distinct ordering')} of {shown}"
    if results.rank:
        ranked = results.rank[0]
        orderings = sum(isinstance(entry.identity, Ordering) for entry in ranked.entries)
        yield f"ranked {plural(orderings, 'ordering')} with {ranked.potential.name}"
    if results.label:
        accepted = sum(labels.n_accepted for labels in results.label)
        yield f"computed {plural(accepted, 'label')} with {results.label[-1].reference.code or 'a reference method'}"
    if results.train:
        yield "fine-tuned the potential"
    if results.distil is not None:
        yield f"distilled {plural(len(results.distil.members), 'student')}"
    if results.transport is not None:
        length = sum(run.length_ps for run in results.transport.runs)
        yield f"ran {plural(len(results.transport.runs), 'molecular-dynamics run')} of {number(length)} ps in total"


def _enumerated(results: Results) -> str:
    if results.enumerate is None:
        return ""
    spaces = results.enumerate.spaces
    raw, distinct = sum(each.counted.count.raw for each in spaces), sum(each.counted.count.distinct for each in spaces)
    listed = sum(space.listed for space in spaces)
    return (
        f"{plural(len(spaces), 'space')}; {whole_text(raw)} raw arrangements, "
        f"{whole_text(distinct)} distinct by symmetry, {whole_text(listed)} listed"
    )


def potential_words(potential: PotentialIdentity) -> str:
    """Name a potential, its model and the version of its code."""
    named = " ".join(part for part in (potential.name, potential.model) if part)
    return f"{named} (version {potential.version})" if potential.version else named


def _ranked(results: Results) -> str:
    if not results.rank:
        return ""
    ranked = results.rank[0]
    duplicates = sum(entry.duplicate_of is not None for entry in ranked.entries)
    again = f"; ranked again with {potential_words(results.rank[-1].potential)}" if len(results.rank) > 1 else ""
    return (
        f"{plural(len(ranked.entries), 'structure')} with {potential_words(ranked.potential)}; "
        f"{plural(duplicates, 'duplicate')} merged, {plural(len(ranked.failures), 'failure')}{again}"
    )


def _hull(results: Results) -> str:
    if not results.hull:
        return ""
    hull = results.hull[-1]
    stable = sum(entry.stable for entry in hull.entries)
    members = listing([formula_text(member) for member in hull.end_members])
    one = " (one composition: the lowest ordering is the hull)" if hull.one_composition else ""
    return f"{plural(len(hull.entries), 'entry', 'entries')}, {stable} on the hull; end members: {members}{one}"


def _selected(results: Results) -> str:
    if results.select is None:
        return ""
    return (
        f"{plural(len(results.select.selected), 'ordering')}, Boltzmann weights at {results.select.temperature_K:g} K"
    )


def _sampled(results: Results) -> str:
    runs = [run for sampled in results.sample for run in sampled.runs]
    if not results.sample:
        return ""
    return f"{plural(len(runs), 'run')}, {sum(run.n_snapshots for run in runs)} structures taken"


def _labelled(results: Results) -> str:
    if not results.label:
        return ""
    accepted, requested = (
        sum(each.n_accepted for each in results.label),
        sum(each.n_requested for each in results.label),
    )
    return f"{accepted} of {requested} labels accepted, by {method_words(results.label[-1].reference)}"


def method_words(reference: Reference) -> str:
    """Name code, version and functional of labels."""
    words = (reference.code, reference.version, reference.functional)
    return " ".join(word for word in words if word) or "an unnamed method"


def _trained(results: Results) -> str:
    if not results.train:
        return ""
    train = results.train[-1]
    sizes = [f"{train.n_train} train", f"{train.n_validation} validation", f"{train.n_test} test"]
    return (
        f"{train.trainer}: {listing(sizes)} labels; {plural(len(train.history), 'epoch')}, "
        f"weights of epoch {train.best_epoch} kept"
    )


def _validated(results: Results) -> str:
    if results.validate is None:
        return ""
    errors = results.validate.errors
    return f"{plural(errors.n_structures, 'structure')} of the {errors.set} set"


def _distilled(results: Results) -> str:
    if results.distil is None:
        return ""
    parity = "passed" if results.distil.verdict.passed else "failed"
    return (
        f"{plural(len(results.distil.members), 'student')}, "
        f"{plural(results.distil.learned_from.total, 'structure')}; parity with the teacher {parity}"
    )


def _simulated(results: Results) -> str:
    if results.transport is None:
        return ""
    runs = results.transport.runs
    temperatures = sorted({run.run.temperature_K for run in runs})
    total = sum(run.length_ps for run in runs)
    return f"{plural(len(runs), 'run')}, {number(total)} ps in total, at {listing([f'{t:g}' for t in temperatures])} K"


def _analysed(results: Results) -> str:
    if results.analyse is None:
        return ""
    fits = sum(material.dependence.line is not None for material in results.analyse.arrhenius)
    return f"{plural(len(results.analyse.runs), 'diffusivity', 'diffusivities')}, {plural(fits, 'Arrhenius fit')}"
