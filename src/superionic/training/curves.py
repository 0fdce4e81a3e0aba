"""Learning curves: how an error falls with the number of labels, how many are enough, and what more would gain.

Over the range of a few hundred labels, errors of a potential fall as a power of the number of labels N, or level off
where the model or the labels themselves set a floor (Cortes et al., Adv. Neural Inf. Process. Syst. 6 (1993); Hestness
et al., arXiv:1712.00409). Here ln ε = ln a - b ln N is fitted to the measured points by least squares. The exponent b
gives the gain of each doubling of the labels, 1 - 2^(-b); *enough* always refers to a stated gain, and every statement
includes the uncertainty of b.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from superionic.errors import StageError


def nested_subsets(groups: Sequence[str], sizes: Sequence[int], seed: int) -> list[tuple[int, ...]]:
    """Select nested training subsets of given sizes, spread over all runs.

    Runs are shuffled by the seed, and so are the structures within each; runs then contribute one structure each in
    turn. A small subset thus spans as many runs as possible, as if fewer snapshots of each had been labelled.

    Parameters
    ----------
    groups
        Run of each structure of the training set.
    sizes
        Sizes of the subsets.

    Returns
    -------
    list of tuple of int
        Indices into ``groups``, ascending, one tuple for each size.

    Raises
    ------
    StageError
        If a size is below 1 or above the number of structures.
    """
    if not sizes or min(sizes) < 1 or max(sizes) > len(groups):
        raise StageError(
            f"the sizes of a learning curve lie between 1 and {len(groups)}, the number of labels in the training set",
            fix="give such sizes, or leave them out",
        )
    rng = np.random.default_rng(seed)
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    queues = [[int(i) for i in rng.permutation(of_run)] for of_run in members.values()]
    queues = [queues[int(i)] for i in rng.permutation(len(queues))]
    order: list[int] = []
    while any(queues):
        order += [queue.pop(0) for queue in queues if queue]
    return [tuple(sorted(order[:size])) for size in sizes]


def nested_groups(
    groups: Sequence[str], sizes: Sequence[int], seed: int, elements: Sequence[Collection[str]]
) -> list[tuple[int, ...]]:
    """Select nested training subsets of given sizes group by group, as if fewer runs had been labelled.

    Whole groups follow one another in one order, shuffled by the seed; of the last group of a subset only its first
    structures are taken, so that the size is exact. A group with an element that none before it has is moved to the
    front: without a label of an element, no energy of a cell that has it means anything.

    Parameters
    ----------
    groups
        Group of each structure of the training set; the order within a group is the order in time.
    sizes
        Sizes of the subsets, from 0 to the number of structures.
    elements
        Elements of each structure.

    Returns
    -------
    list of tuple of int
        Indices into ``groups``, ascending, one tuple for each size.
    """
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    names = list(members)
    shuffled = [names[int(i)] for i in np.random.default_rng(seed).permutation(len(names))]
    covered: set[str] = set()
    front: list[str] = []
    for name in shuffled:
        of_group = {element for index in members[name] for element in elements[index]}
        if not of_group <= covered:
            front.append(name)
            covered |= of_group
    order = [index for name in dict.fromkeys((*front, *shuffled)) for index in members[name]]
    return [tuple(sorted(order[:size])) for size in sizes]


def default_sizes(n: int, points: int = 5, *, smallest: int = 4) -> list[int]:
    """Return sizes that halve from all n labels downwards, in ascending order; at most ``points`` of them."""
    sizes: list[int] = []
    size = float(n)
    while len(sizes) < points and round(size) >= min(smallest, n):
        sizes.append(round(size))
        size /= 2.0
    return sorted(set(sizes))


@dataclass(frozen=True)
class PowerLaw:
    """Fit of ln ε = ln a - b ln N.

    Attributes
    ----------
    quantity
        Name of ε, e.g. ``"mae_force_meV_per_A"``.
    ln_a, b
        Intercept and exponent.
    covariance
        Covariance of (ln a, b), shape (2, 2), scaled by the scatter of the points about the line; None for two sizes
        or fewer, which do not determine the scatter.
    n_points, n_sizes
        Numbers of points and of different sizes in the fit.
    largest
        Largest size in the fit.
    rms_residual
        Root-mean-square scatter of ln ε about the line.
    """

    quantity: str
    ln_a: float
    b: float
    covariance: tuple[tuple[float, float], tuple[float, float]] | None
    n_points: int
    n_sizes: int
    largest: int
    rms_residual: float

    @property
    def b_error(self) -> float | None:
        """Standard error of the exponent."""
        return None if self.covariance is None else math.sqrt(max(self.covariance[1][1], 0.0))

    def error_at(self, n: float) -> float:
        """Return the error expected with n labels."""
        return math.exp(self.ln_a - self.b * math.log(n))

    def interval_at(self, n: float) -> tuple[float, float] | None:
        """Return the 95 % interval (Student's t) of the error expected with n labels; None if it is unknown."""
        if self.covariance is None:
            return None
        gradient = np.array([1.0, -math.log(n)])
        spread = _t95(self.n_points - 2) * math.sqrt(max(float(gradient @ np.array(self.covariance) @ gradient), 0.0))
        spread = min(spread, 50.0)
        middle = self.error_at(n)
        return middle * math.exp(-spread), middle * math.exp(spread)

    def gain_per_doubling(self) -> float:
        """Return the fraction by which the error falls when the labels are doubled."""
        return float(1.0 - 2.0**-self.b)

    def gain_interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of :meth:`gain_per_doubling`; None if it is unknown."""
        if self.b_error is None:
            return None
        spread = _t95(self.n_points - 2) * self.b_error
        return 1.0 - 2.0 ** -(self.b - spread), 1.0 - 2.0 ** -(self.b + spread)


def fit_power_law(sizes: Sequence[float], errors: Sequence[float], quantity: str = "error") -> PowerLaw:
    """Fit a power law to measured errors.

    Parameters
    ----------
    sizes, errors
        Number of labels and error of each training; repeated trainings of one size (seeds) are separate points.
    quantity
        Name of the errors.

    Raises
    ------
    StageError
        If there are fewer than two different sizes.
    ValueError
        If an error is not a positive number.
    """
    n, e = np.asarray(sizes, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if len(n) != len(e) or not (np.isfinite(e) & (e > 0.0)).all():
        raise ValueError("give one error above 0 for each size")
    distinct = np.unique(n)
    if len(distinct) < 2:
        raise StageError("a learning curve needs at least two sizes", fix="give more --sizes")
    design = np.stack([np.ones(len(n)), -np.log(n)], axis=1)
    solution, *_ = np.linalg.lstsq(design, np.log(e), rcond=None)
    residual = np.log(e) - design @ solution
    covariance = None
    if len(distinct) > 2:
        scaled = np.linalg.inv(design.T @ design) * float(residual @ residual) / (len(n) - 2)
        covariance = ((float(scaled[0, 0]), float(scaled[0, 1])), (float(scaled[1, 0]), float(scaled[1, 1])))
    return PowerLaw(
        quantity=quantity,
        ln_a=float(solution[0]),
        b=float(solution[1]),
        covariance=covariance,
        n_points=len(n),
        n_sizes=len(distinct),
        largest=int(n.max()),
        rms_residual=float(np.sqrt(np.mean(residual**2))),
    )


@dataclass(frozen=True)
class Enough:
    """Whether there are enough labels, given the gain that makes a doubling worthwhile.

    Attributes
    ----------
    verdict
        ``"not falling"``: the error rises with the labels, so something other than their number determines it (a test
        set outside the range of training, too short a training, chance); ``"enough"``: the gain of a doubling is below
        ``worth``, even at the upper end of its interval; ``"more labels help"``: the gain is above it, even at the
        lower end; ``"undecided"`` otherwise.
    worth
        Fraction by which a doubling must lower the error to be worthwhile.
    gain, interval
        Expected gain of a doubling, and its 95 % interval.
    words
        The same as a sentence.
    """

    verdict: str
    worth: float
    gain: float
    interval: tuple[float, float] | None
    words: str


def enough(law: PowerLaw, worth: float = 0.1) -> Enough:
    """Judge whether the largest set of a curve is enough: a doubling would lower the error by less than ``worth``.

    A power law never ends, so *enough* cannot mean that the error stops falling. It means that the next doubling is not
    worth its price, and that is for the user to state.
    """
    gain, interval = law.gain_per_doubling(), law.gain_interval()
    low, high = (-math.inf, math.inf) if interval is None else interval
    verdict = (
        "not falling"
        if gain <= 0.0
        else "enough"
        if high < worth
        else "more labels help"
        if low > worth
        else "undecided"
    )
    between = "" if interval is None else f" (95 %: {100 * low:.0f} to {100 * high:.0f} %)"
    if verdict == "not falling":
        words = f"{law.quantity} does not fall with the number of labels here{between}: something else determines it"
        return Enough(verdict, worth, gain, interval, words)
    words = f"doubling the {law.largest} labels is expected to lower {law.quantity} by {100 * gain:.0f} %{between}"
    return Enough(verdict, worth, gain, interval, f"{words}: {verdict} if {100 * worth:.0f} % is worth a doubling")


@dataclass(frozen=True)
class BudgetRow:
    """The expected gain of a number of further labels.

    Attributes
    ----------
    further, n
        Numbers of further labels, and of labels in all.
    expected, low, high
        Error with them, and its 95 % interval; None if that is unknown.
    change
        Fractional change of the error from that expected at the largest size.
    hours
        Cost of the further labels; None if it is unknown.
    extrapolated
        Ratio of n to the largest size measured; beyond 4 the power law is a mere hope.
    """

    further: int
    n: int
    expected: float
    low: float | None
    high: float | None
    change: float
    hours: float | None
    extrapolated: float


def budget(law: PowerLaw, further: Sequence[int], *, cost_per_label_h: float | None = None) -> tuple[BudgetRow, ...]:
    """Estimate the gain of further labels.

    Parameters
    ----------
    law
        Fit to the curve so far.
    further
        Numbers of further labels.
    cost_per_label_h
        Cost of one label in hours, if known.
    """
    now = law.error_at(law.largest)
    rows = []
    for number in further:
        n = law.largest + number
        interval = law.interval_at(n)
        low, high = (None, None) if interval is None else interval
        rows.append(
            BudgetRow(
                further=number,
                n=n,
                expected=law.error_at(n),
                low=low,
                high=high,
                change=law.error_at(n) / now - 1.0,
                hours=None if cost_per_label_h is None else number * cost_per_label_h,
                extrapolated=n / law.largest,
            )
        )
    return tuple(rows)


def fit_all(table: Sequence[Mapping[str, Any]], *, size: str = "n") -> dict[str, PowerLaw]:
    """Fit a power law to each numerical column of a table: errors, or any other measure by which a potential is judged.

    Parameters
    ----------
    table
        Rows with the number of labels under ``size`` and other columns, such as errors, the deviation of an activation
        energy or of ln σ from that of the largest set, or the number of swaps in the order on a hull. Constant columns
        are left out, and so are those with a value that is missing, not a number or not above 0.
    """
    laws = {}
    for name in table[0] if table else ():
        values = [row.get(name) for row in table]
        if name == size or not all(_is_positive(value) for value in values) or len(set(values)) < 2:
            continue
        numbers = [float(value) for value in values if value is not None]
        laws[name] = fit_power_law([row[size] for row in table], numbers, name)
    return laws


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0.0


def _t95(degrees: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, max(1, degrees)))
