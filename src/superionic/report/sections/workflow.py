"""The starting crystals of a campaign, and the outcome of each stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from superionic.labels.base import Reference
from superionic.potentials.base import PotentialIdentity
from superionic.report.own_results import is_fine_tuned
from superionic.report.section import Paragraph, Section
from superionic.report.sections import crystals
from superionic.report.sections.further import row
from superionic.report.table import Table
from superionic.report.words import formula_text, listing, number, plural, whole_text
from superionic.results.campaign import Results, Statement
from superionic.results.identity import Ordering
from superionic.results.learning import LabelResult, SampleResult, TrainResult, ValidateResult
from superionic.results.orderings import EnumerateResult
from superionic.results.ranking import RankResult
from superionic.results.stability import HullResult, SelectResult
from superionic.results.student import DistilResult
from superionic.results.transport import AnalyseResult, TransportResult
from superionic.settings.stages import STAGES

T = TypeVar("T")


def section(results: Results) -> Section:
    """Describe the workflow, stage by stage, and the crystals at its start."""

    def words(value: T | None, words_of: Callable[[T], str]) -> str:
        return words_of(value) if value else ""

    outcomes = {
        "enumerate": ("Enumerate orderings", words(results.enumerate, _enumerated)),
        "rank": ("Rank by the potential", words(results.rank, _ranked)),
        "hull": ("Convex hull", words(results.hull, _hull)),
        "select": ("Select", words(results.select, _selected)),
        "sample": ("Sample structures", words(results.sample, _sampled)),
        "label": ("Label", words(results.label, _labelled)),
        "train": ("Train", words(results.train, _trained)),
        "validate": ("Validate", words(results.validate, _validated)),
        "distil": ("Distil a student", words(results.distil, _distilled)),
        "transport": ("Molecular dynamics", words(results.transport, _simulated)),
        "analyse": ("Analyse transport", words(results.analyse, _analysed)),
    }
    further = {each.name: row(each, results) for each in STAGES if each.is_one_folder and each.name in results.settings}
    shown = [(outcomes | further)[each.name] for each in STAGES if each.name in outcomes or each.name in further]
    rows = [[f"{number} {title}", outcome or "not run"] for number, (title, outcome) in enumerate(shown, 1)]
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
            Paragraph(_lead(results)),
            Table("The workflow, stage by stage.", ["Stage", "Result"], rows),
            *crystals.blocks(results),
            Table("Composition axes.", ["Substitution", "Formula unit", "Points"], axes),
        ],
        [*crystals.files(results)],
    )


def doubts(results: Results) -> Iterator[Statement]:
    """Say whether the campaign is complete, and whether its potential was trained for it."""
    for words in results.warnings:
        yield Statement("warning", words, "unfinished")
    if "train" not in results.settings:
        whose = "a student of the pretrained potential" if results.distil is not None else "the pretrained potential"
        yield Statement("info", f"No fine-tuning in this campaign: all dynamics are by {whose}.")


def _lead(results: Results) -> str:
    """Summarise the campaign in one sentence."""
    parts = list(_parts(results))
    return f"This campaign {listing(parts)}." if parts else "This campaign has no results yet."


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
        yield "fine-tuned the potential" if is_fine_tuned(results) else "trained the potential from scratch"
    if results.distil is not None:
        yield f"distilled {plural(len(results.distil.members), 'student')}"
    if results.transport is not None:
        length = sum(run.length_ps for run in results.transport.runs)
        yield f"ran {plural(len(results.transport.runs), 'molecular-dynamics run')} of {number(length)} ps in total"


def _enumerated(result: EnumerateResult) -> str:
    counts = [space.counted.count for space in result.spaces]
    return (
        f"{plural(len(counts), 'space')}; {whole_text(sum(count.raw for count in counts))} raw arrangements, "
        f"{whole_text(sum(count.distinct for count in counts))} distinct by symmetry, "
        f"{whole_text(sum(space.listed for space in result.spaces))} listed"
    )


def _potential_words(potential: PotentialIdentity) -> str:
    """Return the name of a potential with its model and the version of its code."""
    named = " ".join(part for part in (potential.name, potential.model) if part)
    return f"{named} (version {potential.version})" if potential.version else named


def _ranked(rankings: Sequence[RankResult]) -> str:
    first = rankings[0]
    duplicates = sum(entry.duplicate_of is not None for entry in first.entries)
    again = f"; ranked again with {_potential_words(rankings[-1].potential)}" if len(rankings) > 1 else ""
    return (
        f"{plural(len(first.entries), 'structure')} with {_potential_words(first.potential)}; "
        f"{plural(duplicates, 'duplicate')} merged, {plural(len(first.failures), 'failure')}{again}"
    )


def _hull(hulls: Sequence[HullResult]) -> str:
    hull = hulls[-1]
    stable = sum(entry.stable for entry in hull.entries)
    members = listing([formula_text(member) for member in hull.end_members])
    one = " (one composition: the hull is its lowest ordering)" if hull.one_composition else ""
    return f"{plural(len(hull.entries), 'entry', 'entries')}, {stable} on the hull; end members: {members}{one}"


def _selected(result: SelectResult) -> str:
    return f"{plural(len(result.selected), 'ordering')}, Boltzmann weights at {result.temperature_K:g} K"


def _sampled(rounds: Sequence[SampleResult]) -> str:
    runs = [run for sampled in rounds for run in sampled.runs]
    return f"{plural(len(runs), 'run')}, {sum(run.n_snapshots for run in runs)} structures taken"


def _labelled(rounds: Sequence[LabelResult]) -> str:
    accepted, requested = sum(one.n_accepted for one in rounds), sum(one.n_requested for one in rounds)
    return f"{accepted} of {requested} labels accepted, by {method_words(rounds[-1].reference)}"


def method_words(reference: Reference) -> str:
    """Return code, version and functional of labels."""
    words = (reference.code, reference.version, reference.functional)
    return " ".join(word for word in words if word) or "an unnamed method"


def _trained(rounds: Sequence[TrainResult]) -> str:
    train = rounds[-1]
    sizes = [f"{train.n_train} train", f"{train.n_validation} validation", f"{train.n_test} test"]
    return (
        f"{train.trainer}: {listing(sizes)} labels; {plural(len(train.history), 'epoch')}, "
        f"weights of epoch {train.best_epoch} used"
    )


def _validated(result: ValidateResult) -> str:
    structures = plural(result.errors.n_structures, "structure")
    if result.errors.before is None:
        return f"{result.potential} as it is, on {structures}"
    return f"{structures} of the {result.errors.set} set"


def _distilled(result: DistilResult) -> str:
    parity = "passed" if result.verdict.passed else "failed"
    return (
        f"{plural(len(result.members), 'student')}, {plural(result.learned_from.total, 'structure')}; "
        f"parity with the teacher {parity}"
    )


def _simulated(result: TransportResult) -> str:
    temperatures = sorted({run.run.temperature_K for run in result.runs})
    total = number(sum(run.length_ps for run in result.runs))
    return f"{plural(len(result.runs), 'run')}, {total} ps in total, at {listing([f'{t:g}' for t in temperatures])} K"


def _analysed(result: AnalyseResult) -> str:
    fits = sum(material.dependence.line is not None for material in result.arrhenius)
    return f"{plural(len(result.runs), 'diffusivity', 'diffusivities')}, {plural(fits, 'Arrhenius fit')}"
