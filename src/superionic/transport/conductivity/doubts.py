"""How far a conductivity at a temperature can be trusted: typed doubts with their criteria, and the gravest of them.

A line through the logarithms of a few noisy values always gives a number at 300 K. The criteria by
which that number is a result or not are stated here, in one place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from superionic.transport.conductivity.arrhenius import HIGHEST_EA_EV, ArrheniusFit
from superionic.transport.conductivity.line import ConductivityAt
from superionic.transport.conductivity.slope_break import SlopeBreak
from superionic.transport.precision import two_digits

if TYPE_CHECKING:
    from superionic.transport.conductivity.budget import BudgetTerm
    from superionic.transport.conductivity.direction_lines import DirectionLines
    from superionic.transport.conductivity.model_form import ModelForm
    from superionic.transport.conductivity.vogel import VogelFit

Severity = Literal["info", "caution", "warning"]
DoubtKind = Literal[
    "no line",
    "unphysical",
    "upper bound",
    "statistically thin",
    "insignificant",
    "two regimes",
    "directions differ",
    "teachers differ",
    "curved",
    "extrapolated",
    "two temperatures",
]
"""In order of gravity, the gravest first, among doubts of one severity."""
VerdictKind = DoubtKind | Literal["sound"]

SIGNIFICANT_ERRORS = 2.0
"""An activation energy that is fewer standard errors than this from zero is not significant (about 95 %)."""
_SEVERITIES: tuple[Severity, ...] = ("warning", "caution", "info")
_KINDS: tuple[DoubtKind, ...] = get_args(DoubtKind)


@dataclass(frozen=True)
class Doubt:
    """One reason not to take σ(T) at face value.

    Attributes
    ----------
    kind
        Criterion that is met.
    severity
        ``warning``: not to be omitted where the number is quoted; ``caution``: worth knowing; ``info``: for
        completeness.
    words
        Sentences for the reader, with the temperatures and numbers in them.
    temperatures_K
        Report temperatures that it concerns; empty where it concerns the line as a whole.
    """

    kind: DoubtKind
    severity: Severity
    words: str
    temperatures_K: tuple[float, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """How far σ at one temperature can be trusted.

    Attributes
    ----------
    kind, severity, words
        Those of the gravest doubt; without one, ``sound``, with ``caution`` for an interval that is only fair.
    """

    temperature_K: float
    kind: VerdictKind
    severity: Severity
    words: str


def energy_is_unphysical(Ea_eV: float, Ea_error_eV: float | None) -> bool:
    """Return whether an activation energy is unphysical: negative by more than two errors, or above 2 eV."""
    return Ea_eV < -SIGNIFICANT_ERRORS * (Ea_error_eV or 0.0) or Ea_eV > HIGHEST_EA_EV


def without_line(reason: str, withheld_K: Sequence[float]) -> Doubt:
    """Return the doubt that σ is not known except at the simulated temperatures.

    Parameters
    ----------
    reason
        Sentences that say why there is no line.
    withheld_K
        Report temperatures at which no conductivity can be stated.
    """
    if not withheld_K:
        return Doubt("no line", "caution", f"No Arrhenius line. {reason}")
    return Doubt("no line", "warning", f"No Arrhenius line, and no {sigma_at(withheld_K, 'or')}. {reason}")


def about_line(
    line: ArrheniusFit, Ea_eV: float, Ea_error_eV: float | None, broken: SlopeBreak | None, withheld_K: Sequence[float]
) -> tuple[Doubt, ...]:
    """Return the doubts about the line as a whole.

    Parameters
    ----------
    line
        The line that σ is read off.
    Ea_eV, Ea_error_eV
        Activation energy with its error from all sources.
    broken
        Result of the test for two regimes.
    withheld_K
        Report temperatures at which no conductivity can be stated, since Ea is unphysical or not above zero.
    """
    doubts = []
    energy = energy_words(Ea_eV, Ea_error_eV)
    low, high = line.temperature_range_K
    if energy_is_unphysical(Ea_eV, Ea_error_eV):
        if Ea_eV < 0.0:
            why = (
                f"conduction falls on heating from {low:g} to {high:g} K ({energy}), and no thermally activated motion "
                "does so"
            )
        else:
            why = (
                f"{energy} is more than the {HIGHEST_EA_EV:g} eV above which hops are too rare for molecular dynamics "
                f"to see: the values at {low:g} to {high:g} K are noise, or of different states (such as a melt)"
            )
        left = f" No {sigma_at(withheld_K, 'or')} can be extrapolated along it." if withheld_K else ""
        doubts.append(Doubt("unphysical", "warning", f"The Arrhenius line is unphysical: {why}.{left}"))
    elif Ea_error_eV is not None and abs(Ea_eV) < SIGNIFICANT_ERRORS * Ea_error_eV:
        words = (
            f"The activation energy is not significant: {energy} is within two errors of zero, and how σ changes with "
            "temperature is not known from these runs."
        )
        if withheld_K:
            words += f" No {sigma_at(withheld_K, 'or')} can be extrapolated along a line that does not fall on cooling."
        doubts.append(Doubt("insignificant", "warning" if withheld_K else "caution", words))
    if broken is not None and broken.flag is not None:
        doubts.append(Doubt("two regimes", "caution", broken.flag))
    if sum(line.used) == 2:
        words = f"Two temperatures ({low:g} and {high:g} K) fix a line but cannot show whether it is straight."
        doubts.append(Doubt("two temperatures", "caution", words))
    return tuple(doubts)


def about_directions(
    directions: DirectionLines, line: ArrheniusFit, values: Sequence[ConductivityAt]
) -> tuple[Doubt, ...]:
    """Return the doubt that directions differ in activation energy, with its effect on σ.

    Parameters
    ----------
    line
        Line of the mean.
    values
        Stated values of σ.
    """
    if not directions.significant:
        return ()
    chance = f"by chance in {100.0 * directions.p_value:.2g} % of cases"
    if not directions.lines:
        words = (
            f"The directions of the crystal differ in activation energy ({chance}), but some have too few values for a "
            "line of their own: σ is read off the line of their mean, which is not straight and extrapolates too low."
        )
        return (Doubt("directions differ", "warning", words),)
    head = f"Directions differ in activation energy: {directions.words} ({chance})."
    if not directions.usable:
        words = (
            f"{head} Not all of these can be activation energies, so σ is read off the line of the mean, which is not "
            "straight and extrapolates too low."
        )
        return (Doubt("directions differ", "warning", words),)
    summed = [value for value in values if value.origin == "directions"]
    beyond = [value for value in summed if value.extrapolated]
    words = f"{head} Their mean has no straight Arrhenius line: its slope, given as Ea, is that between the simulated "
    words += "temperatures only. "
    words += "σ is the sum of the directions, each along its own line"
    if beyond:
        each = "; ".join(
            f"{sigma_at([v.temperature_K])} = {two_digits(v.value_S_per_cm)} S/cm, where the line of the mean would "
            f"give {two_digits(line.predict(v.temperature_K).value)}"
            for v in beyond
        )
        words += f": {each}"
    where = tuple(value.temperature_K for value in summed)
    return (Doubt("directions differ", "caution" if beyond else "info", f"{words}.", where),)


def about_teachers(
    model_form: ModelForm, values: Sequence[ConductivityAt], budget: Sequence[BudgetTerm]
) -> tuple[Doubt, ...]:
    """Return the doubt that most of the error is that of the model: students of other teachers give another σ.

    Parameters
    ----------
    model_form
        Lines of the students of several teachers.
    values
        Stated values of σ.
    budget
        Contributions to the errors.
    """
    own = next((dict(term.ln_sigma) for term in budget if term.source == "model form"), {})
    ruled = [value for value in values if 2.0 * own.get(value.temperature_K, 0.0) ** 2 > value.log_error**2]
    if not ruled:
        return ()
    each = "; ".join(
        f"{sigma_at([value.temperature_K])} = "
        + ", ".join(
            f"{two_digits(math.exp(line.ln_sigma(value.temperature_K)))} S/cm ({line.teacher})"
            for line in model_form.teachers
        )
        for value in ruled
    )
    words = f"Most of the error is that of the model: students of different teachers give {each}."
    if len(model_form.teachers) == 2:
        words += (
            " Two teachers say little of the far ends: with a third the 95 % interval is about three times narrower."
        )
    return (Doubt("teachers differ", "caution", words, tuple(value.temperature_K for value in ruled)),)


def about_curvature(curved: VogelFit, values: Sequence[ConductivityAt]) -> tuple[Doubt, ...]:
    """Return the doubt that the Arrhenius plot bends down on cooling, with its effect on extrapolated σ.

    Parameters
    ----------
    curved
        The law of Vogel, Tammann and Fulcher, with its test.
    values
        Stated values of σ.
    """
    if not curved.significant:
        return ()
    words = (
        f"The Arrhenius plot is curved (by chance in {100.0 * curved.p_value:.2g} % of cases): it is steeper where it "
        f"is colder. The law of Vogel, Tammann and Fulcher, σT = A·exp(−B/(T − T₀)), describes it with {curved.words} "
        "(A in S·K/cm). σ is given along the straight line all the same"
    )
    beyond = []
    for value in values:
        if value.extrapolated:
            at = curved.value_at(value.temperature_K)
            law = "none, being below T₀" if at is None else f"{two_digits(at / value.temperature_K)} S/cm"
            on_the_line = f"{sigma_at([value.temperature_K])} = {two_digits(value.value_S_per_cm)} S/cm"
            beyond.append(f"{on_the_line}, where the law would give {law}")
    return (Doubt("curved", "caution", f"{words}{': ' if beyond else ''}{'; '.join(beyond)}."),)


def about_values(values: Sequence[ConductivityAt], line: ArrheniusFit | None) -> tuple[Doubt, ...]:
    """Return the doubts about conductivities at given temperatures, one sentence for each kind.

    Parameters
    ----------
    values
        Stated values of σ.
    line
        The line from which values of the origin ``line`` were read off.
    """
    doubts = []
    bounds = [v for v in values if v.is_upper_bound]
    if bounds:
        each = "; ".join(
            f"{sigma_at([v.temperature_K])} is below {two_digits(v.interval95_S_per_cm[1])} S/cm" for v in bounds
        )
        words = f"Only an upper bound: {each} (95 %)."
        doubts.append(Doubt("upper bound", "warning", words, tuple(v.temperature_K for v in bounds)))
    thin = [v for v in values if not v.is_upper_bound and v.precision.grade == "thin"]
    if thin:
        factors = [v.precision.factor for v in thin]
        size = "at least one end of the 68 % interval is open"
        known = [factor for factor in factors if factor is not None]
        if len(known) == len(factors):
            size = f"the 68 % interval spans a factor of {'up to ' if len(thin) > 1 else ''}{two_digits(max(known))}"
        where = tuple(v.temperature_K for v in thin)
        words = f"{sigma_at(where)} {'is' if len(thin) == 1 else 'are'} statistically thin: {size}."
        doubts.append(Doubt("statistically thin", "warning", words, where))
    outside = tuple(v.temperature_K for v in values if v.extrapolated)
    if outside and line is not None:
        low, high = line.temperature_range_K
        verb, subject, its = ("is", "It holds", "its") if len(outside) == 1 else ("are", "They hold", "their")
        words = (
            f"{sigma_at(outside)} {verb} extrapolated from {low:g}–{high:g} K. {subject} only if the mechanism of "
            f"conduction does not change on the way; {its} error bars do not contain that risk."
        )
        doubts.append(Doubt("extrapolated", "caution", words, outside))
    return tuple(doubts)


def by_gravity(doubts: Sequence[Doubt]) -> tuple[Doubt, ...]:
    """Sort doubts, the gravest first."""
    return tuple(sorted(doubts, key=lambda doubt: (_SEVERITIES.index(doubt.severity), _KINDS.index(doubt.kind))))


def judge(temperature_K: float, value: ConductivityAt | None, doubts: Sequence[Doubt]) -> Verdict:
    """Summarise the doubts about σ at one temperature.

    Parameters
    ----------
    value
        σ at this temperature; None where it cannot be stated.
    doubts
        Doubts about the line and about this value; at least one where there is no value.
    """
    if doubts:
        gravest = by_gravity(doubts)[0]
        return Verdict(temperature_K, gravest.kind, gravest.severity, gravest.words)
    if value is None:
        return Verdict(temperature_K, "no line", "warning", f"There is no {sigma_at([temperature_K])}.")
    precision = value.precision
    factor = "" if precision.factor is None else two_digits(precision.factor)
    words = f"{sigma_at([temperature_K])} is {precision.grade}: its 68 % interval spans a factor of {factor}."
    return Verdict(temperature_K, "sound", "info" if precision.grade == "firm" else "caution", words)


def sigma_at(temperatures_K: Sequence[float], conjunction: str = "and") -> str:
    """Write ``σ(300 K), σ(350 K) and σ(400 K)``."""
    each = [f"σ({temperature:g} K)" for temperature in temperatures_K]
    return each[0] if len(each) == 1 else f"{', '.join(each[:-1])} {conjunction} {each[-1]}"


def energy_words(Ea_eV: float, Ea_error_eV: float | None) -> str:
    """Write ``Ea = −0.64 ± 0.11 eV``."""
    error = "" if Ea_error_eV is None else f" ± {Ea_error_eV:.2f}"
    return f"Ea = {Ea_eV:.2f}{error} eV".replace("-", "\N{MINUS SIGN}")
