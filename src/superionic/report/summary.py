"""The first screen of the report: the main results, and how far they can be trusted, in plain words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from superionic.report.tables_ranking import ranking_doubts
from superionic.report.values import Record, Results, bounds, mapping, numbers, real, text, whole
from superionic.report.words import formula_text, interval, listing, milli, number, plural, sentence, with_error

Severity = Literal["info", "caution", "warning"]

_FIRM_FACTOR: Final = 1.5
_FAIR_FACTOR: Final = 3.0
_FEW_HOPS: Final = 30
_FEW_LABELS: Final = 50
_SHORT_PS: Final = 100.0
_SEVERITIES: Final[dict[str, int]] = {"warning": 0, "caution": 1, "info": 2}
MISSING_STAGES: Final = {
    "enumerate": "Orderings were not enumerated.",
    "rank": "Orderings were not ranked with a potential.",
    "hull": "Stability was not computed.",
    "select": "No orderings were selected.",
    "sample": "No structures were sampled for labels.",
    "label": "No reference labels were computed.",
    "train": "The potential was not trained; it was used as published.",
    "validate": "The potential was not validated against reference labels in this campaign.",
    "distil": "No student potential was distilled.",
    "transport": "No molecular dynamics was run.",
    "analyse": "Transport was not analysed: there is no diffusivity, conductivity or activation energy.",
}


@dataclass(frozen=True)
class Statement:
    """Something that a reader has to know before using the numbers."""

    severity: Severity
    words: str


@dataclass(frozen=True)
class Card:
    """One number of the first screen."""

    name: str
    value: str
    detail: str
    severity: Severity = "info"


@dataclass(frozen=True)
class Verdict:
    """How well statistics pin a positive number down.

    Attributes
    ----------
    factor
        Upper over lower end of its 68 % interval; None if that is not bounded.
    """

    factor: float | None

    @property
    def words(self) -> str:
        """The verdict in a few words."""
        if self.factor is None:
            return "thin: one-sided"
        if self.factor < _FIRM_FACTOR:
            return f"firm: factor {number(self.factor, 2)}"
        grade = "fair" if self.factor < _FAIR_FACTOR else "thin"
        return f"{grade}: factor {number(self.factor, 2)}"

    @property
    def severity(self) -> Severity:
        """How loudly it has to be said."""
        if self.factor is None or self.factor >= _FAIR_FACTOR:
            return "warning"
        return "caution" if self.factor >= _FIRM_FACTOR else "info"


def verdict(low: float | None, high: float | None) -> Verdict:
    """Judge the 68 % interval of a positive number."""
    if low is None or high is None or low <= 0 or high <= 0:
        return Verdict(None)
    return Verdict(high / low)


def lead_sentence(results: Results) -> str:
    """Say in one or two sentences what the campaign did."""
    parts = []
    spaces = results.records("enumerate", "spaces")
    if spaces:
        distinct = sum(whole(space, "distinct") or 0 for space in spaces)
        formulas = list(dict.fromkeys(formula_text(text(space, "formula")) for space in spaces))
        shown = listing(formulas) if len(formulas) <= 3 else plural(len(formulas), "composition")
        parts.append(f"found {plural(distinct, 'symmetry-distinct ordering')} of {shown}")
    entries = results.records("rank", "entries")
    if entries:
        potential = mapping(results.stage("rank"), "potential")
        name = text(potential, "name") or "a potential"
        parts.append(f"ranked {plural(len(entries), 'ordering')} with {name}")
    accepted = whole(results.stage("label"), "n_accepted")
    if accepted is not None:
        code = text(mapping(results.stage("label"), "labeller"), "code") or "a reference method"
        parts.append(f"computed {plural(accepted, 'label')} with {code}")
    if results.has("train"):
        parts.append("fine-tuned the potential")
    students = len(results.records("distil", "members"))
    if students:
        parts.append(f"distilled {plural(students, 'student')}")
    placed = results.records("hull", "entries")
    if placed and not entries:
        parts.append(f"placed {plural(len(placed), 'ordering')} on a convex hull")
    runs = results.records("transport", "runs")
    fits = results.records("analyse", "arrhenius")
    if fits and not runs:
        parts.append(f"fitted {plural(len(fits), 'Arrhenius line')}")
    if runs:
        length = sum(real(run, "length_ps") or 0.0 for run in runs)
        parts.append(f"ran {plural(len(runs), 'molecular-dynamics run')} of {number(length)} ps in total")
    return f"This campaign {listing(parts)}." if parts else "This campaign has no results yet."


def main_rows(results: Results) -> list[Record]:
    """Return the Arrhenius results, the best conductor at 300 K first."""

    def key(fit: Record) -> tuple[float, str]:
        sigma = real(mapping(fit, "sigma_300K_mS_per_cm"), "value")
        return (-sigma if sigma is not None else math.inf, text(fit, "id"))

    return sorted(results.records("analyse", "arrhenius"), key=key)


def hull_entry(results: Results, identity: str) -> Record | None:
    """Return the entry of one ordering on the hull."""
    return next((e for e in results.records("hull", "entries") if text(e, "id") == identity), None)


def one_composition(results: Results) -> bool:
    """Whether the hull has a single end member, so that it only compares orderings of one composition."""
    return len(results.stage("hull").get("end_members") or []) <= 1


def stability_words(results: Results, identity: str) -> str:
    """Say how stable an ordering is, and against what."""
    entry = hull_entry(results, identity)
    above = real(entry, "e_above_hull_eV_per_atom")
    if entry is None or above is None:
        return "not computed"
    if one_composition(results):
        return (
            "lowest ordering found" if entry.get("stable") else f"{milli(above, 2)} meV/atom above the lowest ordering"
        )
    if entry.get("stable"):
        return "on the hull"
    return f"{milli(above, 2)} meV/atom above"


def cards(results: Results) -> list[Card]:
    """Return the numbers of the first screen."""
    found = _transport_cards(results)
    entry = _headline_stability(results)
    if entry is not None:
        above = f"{milli(real(entry, 'e_above_hull_eV_per_atom'), 2)} meV/atom"
        name = f"{formula_text(text(entry, 'formula'))} {text(entry, 'crystal')}".strip()
        if one_composition(results):
            compared = len(results.records("hull", "entries"))
            detail = (
                f"{name}; of {plural(compared, 'ordering')} compared. No rival compounds: this is no test of stability"
            )
            found.append(Card("Above the lowest ordering", above, detail))
        else:
            members = [formula_text(str(member)) for member in results.stage("hull").get("end_members") or []]
            found.append(Card("Energy above hull", above, f"{name}, against {listing(members)}"))
    after = mapping(results.stage("validate"), "after")
    before = mapping(results.stage("validate"), "before")
    force = real(after, "mae_force_meV_per_A")
    if force is not None:
        count = whole(results.stage("validate"), "n_structures")
        was = real(before, "mae_force_meV_per_A")
        change = f"before training {number(was)} meV/Å; " if was is not None else ""
        chosen = text(results.stage("validate"), "set") or "held-out"
        detail = (
            f"{change}mean absolute error, "
            f"{plural(count, 'structure') if count is not None else 'unknown number'} of the {chosen} "
            "set"
        )
        found.append(Card("Force error of the potential", f"{number(force)} meV/Å", detail))
    return found


def _headline_stability(results: Results) -> Record | None:
    rows = main_rows(results)
    if rows:
        return hull_entry(results, text(rows[0], "id"))
    entries = [e for e in results.records("hull", "entries") if real(e, "e_above_hull_eV_per_atom") is not None]
    # The campaign is about its own crystals: reference phases lie on the hull by definition.
    own = {text(space, "crystal") for space in results.records("enumerate", "spaces")}
    entries = [e for e in entries if text(e, "crystal") in own] or entries
    return min(entries, key=lambda e: (real(e, "e_above_hull_eV_per_atom") or 0.0, text(e, "id"))) if entries else None


def _transport_cards(results: Results) -> list[Card]:
    rows = main_rows(results)
    names = results.labels_by_id()
    if rows:
        best = rows[0]
        name = names.get(text(best, "id"), text(best, "id"))
        first = f"{name}, the highest of {len(rows)}" if len(rows) > 1 else name
        sigma = mapping(best, "sigma_300K_mS_per_cm")
        low, high = bounds(sigma, "interval68")
        how = "extrapolated" if sigma.get("extrapolated") else "interpolated"
        detail = f"{first}; 68 %: {interval(low, high)} mS/cm; {how}"
        found = [
            Card(
                "Conductivity at 300 K", f"{number(real(sigma, 'value'), 2)} mS/cm", detail, verdict(low, high).severity
            )
        ]
        temperatures = [t for t in numbers(best, "temperatures_K") if t is not None]
        span = f"{min(temperatures):g}–{max(temperatures):g} K" if temperatures else "unknown temperatures"
        energy = with_error(real(best, "Ea_eV"), real(best, "Ea_error_eV"), "eV")
        found.append(
            Card("Activation energy", energy, f"{name}; {plural(len(set(temperatures)), 'temperature')}, {span}")
        )
        return found
    runs = results.records("analyse", "runs")
    with_sigma = [r for r in runs if real(mapping(r, "nernst_einstein_conductivity_S_per_cm"), "value") is not None]
    if not with_sigma:
        return []
    run = max(with_sigma, key=lambda r: real(mapping(r, "nernst_einstein_conductivity_S_per_cm"), "value") or 0.0)
    sigma = mapping(run, "nernst_einstein_conductivity_S_per_cm")
    low, high = bounds(sigma, "interval68")
    name = names.get(text(run, "id"), text(run, "id"))
    detail = f"{name}; 68 %: {interval(low, high)} S/cm; no value at 300 K without an Arrhenius fit"
    title = f"Conductivity at {real(run, 'temperature_K') or 0:g} K"
    return [Card(title, f"{number(real(sigma, 'value'), 2)} S/cm", detail, verdict(low, high).severity)]


def statements(results: Results) -> list[Statement]:
    """Return what a reader has to know, the gravest first; those of the campaign itself and those read off here."""
    found = [Statement("warning", sentence(str(words))) for words in results.top("warnings") if isinstance(words, str)]
    found += [
        Statement(_severity(text(item, "severity", "info")), sentence(text(item, "statement")))
        for item in results.top("quality")
        if isinstance(item, dict)
    ]
    found += (
        _transport_statements(results)
        + _model_statements(results)
        + _stability_statements(results)
        + _failure_statements(results)
        + [Statement(_severity(level), words) for level, words in ranking_doubts(results)]
    )
    unique = {statement.words: statement for statement in reversed(found) if statement.words}
    ordered = [unique[words] for words in dict.fromkeys(s.words for s in found) if words in unique]
    return sorted(ordered, key=lambda statement: _SEVERITIES[statement.severity])


def _severity(level: str) -> Severity:
    return "warning" if level == "warning" else "caution" if level == "caution" else "info"


def _transport_statements(results: Results) -> list[Statement]:
    found = []
    runs = results.records("analyse", "runs")
    names = results.labels_by_id()
    if runs:
        hops = [whole(run, "n_hops") for run in runs]
        few = [run for run, count in zip(runs, hops, strict=True) if count is not None and count < _FEW_HOPS]
        if few:
            least = min(whole(run, "n_hops") or 0 for run in few)
            found.append(
                Statement(
                    "warning",
                    f"{len(few)} of {plural(len(runs), 'run')} saw fewer than {_FEW_HOPS} hops of "
                    "the mobile ion (the fewest: "
                    f"{least}). Their diffusivities rest on a handful of events; read their "
                    "intervals, not their values.",
                )
            )
    lengths = [length for run in results.records("transport", "runs") if (length := real(run, "length_ps")) is not None]
    if lengths and min(lengths) < _SHORT_PS:
        shortest, longest = min(lengths), max(lengths)
        span = f"are {shortest:g} ps long" if shortest == longest else f"are {shortest:g} to {longest:g} ps long"
        words = f"The runs {span}. Published diffusivities of this kind rest on hundreds to thousands of picoseconds."
        found.append(Statement("caution", words))
    found += _arrhenius_statements(results, names)
    if runs and all(run.get("haven_ratio") is None for run in runs):
        words = "Conductivities are Nernst–Einstein values: they take the ions to move independently of one another."
        found.append(Statement("info", words))
    return found


def _some(fits: list[Record], names: dict[str, str]) -> str:
    """Name the first of these results, and count the others."""
    shown = [names.get(text(fit, "id"), text(fit, "id")) for fit in fits]
    return listing(shown if len(shown) <= 4 else [*shown[:3], plural(len(shown) - 3, "other")])


def _is_thin(room: Record) -> bool:
    return real(room, "value") is not None and verdict(*bounds(room, "interval68")).severity == "warning"


def _arrhenius_statements(results: Results, names: dict[str, str]) -> list[Statement]:
    found = []
    fits = main_rows(results)
    two = [fit for fit in fits if len({t for t in numbers(fit, "temperatures_K") if t is not None}) == 2]
    if two:
        who = _some(two, names)
        words = f"Two temperatures fix an Arrhenius line but cannot show whether it is straight ({who})."
        found.append(Statement("caution", words))
    outside = [fit for fit in fits if mapping(fit, "sigma_300K_mS_per_cm").get("extrapolated")]
    if outside:
        known = [t for fit in outside for t in numbers(fit, "temperatures_K") if t is not None]
        coldest = min(known, default=math.inf)
        at = f" {coldest:g} K" if math.isfinite(coldest) else ""
        words = (
            f"Conductivities at 300 K are extrapolated from{at} and above. They hold only if the "
            "mechanism of conduction "
            "does not change on the way; the error bars do not contain that risk."
        )
        found.append(Statement("caution", words))
    thin = [fit for fit in fits if _is_thin(mapping(fit, "sigma_300K_mS_per_cm"))]
    if thin:
        subject = "conductivity" if len(thin) == 1 else "conductivities"
        verb = "is" if len(thin) == 1 else "are"
        factors = [verdict(*bounds(mapping(fit, "sigma_300K_mS_per_cm"), "interval68")).factor for fit in thin]
        worst = max((factor for factor in factors if factor is not None), default=None)
        size = "at least one end of the 68 % interval is open"
        if worst is not None and None not in factors:
            size = f"the 68 % interval spans a factor of {'up to ' if len(thin) > 1 else ''}{number(worst, 2)}"
        words = f"The {subject} at 300 K of {_some(thin, names)} {verb} statistically thin: {size}."
        found.append(Statement("warning", words))
    if results.has("analyse") and not fits and results.records("analyse", "runs"):
        words = "No activation energy: an Arrhenius fit needs diffusivities at two temperatures or more."
        found.append(Statement("caution", words))
    return found


def _model_statements(results: Results) -> list[Statement]:
    found = []
    code = text(mapping(results.stage("label"), "labeller"), "code")
    if code.startswith("potential:"):
        words = (
            f"The labels come from a stand-in potential ({code.removeprefix('potential:')}), not from "
            "a DFT code: they test the workflow, not the material."
        )
        found.append(Statement("warning", words))
    n_train = whole(results.stage("train"), "n_train")
    if n_train is not None and n_train < _FEW_LABELS:
        words = (
            f"The potential was fine-tuned on {plural(n_train, 'label')}. That mends offsets and "
            "softness of the potential, but it is far from the hundreds to thousands of labels of a "
            "production model."
        )
        found.append(Statement("caution", words))
    count = whole(results.stage("validate"), "n_structures")
    if count is not None and count < 20:
        words = (
            f"The errors of the potential are measured on {plural(count, 'structure')}; they are "
            "estimates with a large error of their own."
        )
        found.append(Statement("caution", words))
    before = real(mapping(results.stage("validate"), "before"), "rmse_force_meV_per_A")
    after = real(mapping(results.stage("validate"), "after"), "rmse_force_meV_per_A")
    if before is not None and after is not None and after > before:
        words = f"Training made the forces worse on the held-out set ({number(before)} to {number(after)} meV/Å RMSE)."
        found.append(Statement("warning", words))
    return found


def _stability_statements(results: Results) -> list[Statement]:
    if not results.has("hull"):
        return []
    if one_composition(results):
        words = "Stability was not tested: with one composition the hull only says which ordering is lowest."
        return [Statement("info", words)]
    words = "Stability is at 0 K, without vibrations or configurational entropy, and against the end members only."
    return [Statement("info", words)]


def _failure_statements(results: Results) -> list[Statement]:
    found = []
    for stage, key, one in (
        ("rank", "failures", "relaxation"),
        ("sample", "failures", "sampling run"),
        ("label", "rejected", "label"),
        ("distil", "failures", "run of teacher or student"),
        ("transport", "failures", "transport run"),
    ):
        count = len(results.records(stage, key))
        if count:
            words = f"{plural(count, one)} failed or was refused and left out; see “Failures and rejections”."
            found.append(Statement("caution", words.replace(" was refused", " were refused") if count > 1 else words))
    entries = results.records("rank", "entries")
    loose = sum(entry.get("converged") is False for entry in entries)
    if loose:
        words = (
            f"{loose} of {plural(len(entries), 'relaxation')} did not reach the force criterion; "
            "their energies are upper bounds."
        )
        found.append(Statement("caution", words))
    return found
