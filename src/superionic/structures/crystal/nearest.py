"""Nearest integer vectors under linear equations: the integer program behind integer compositions.

Find the integer vectors c in a box that satisfy A c = b and have the smallest cost Σ_i w_i (c_i − m_i)², best first.
The method, for vectors of any length and equations of any kind:

- The best real vector q in the box comes with one multiplier λ for each equation (Lagrange duality). For any λ, with
  q_i the entry that minimises the cost plus λ·A c by itself, every feasible vector costs at least
  dual(λ) + Σ_i w_i (c_i − q_i)². So a bound R on the cost bounds each entry by itself.
- Dynamic programming from the last entry to the first stores the smallest cost for each partial sum of the equations
  that are still open. A state that cannot be completed within R is dropped, by the same bound for the entries to
  come together with a projection: what they must still contribute to the equations moves them away from q.
- With these exact costs-to-go, a best-first search from the first entry meets no dead ends and yields the vectors in
  the order of their costs, ties in lexicographic order.
- R starts small and grows until there are enough vectors, or nothing is left out.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

UNIT = 1e-10
"""Costs are integer multiples of this, so that sums do not depend on their order and ties are exact."""

MAX_STATES = 500_000
"""Largest number of partial sums in memory; only problems without near solutions come close."""

_CHUNK = 500_000  # sums computed at once
_NEWTON_STEPS = 60
_LARGEST_MULTIPLIER = 1e5  # larger ones belong to problems without solution, and would cost digits


class TooManyStates(Exception):  # noqa: N818 - an outcome that the caller turns into advice
    """The search exceeded its memory before it found or excluded a solution."""


@dataclass(frozen=True, eq=False)
class IntegerProblem:
    """Integer vectors c with A c = b and lower ≤ c ≤ upper, as near to the means as possible.

    Parameters
    ----------
    means, weights
        (n,) m and w of the cost Σ w (c − m)². A weight of 0 marks a slack: it costs nothing, and fills one
        inequality (a coefficient of 1 in one row).
    lower, upper
        (n,) integers.
    coefficients
        (n_rows, n) integers, A.
    totals
        (n_rows,) integers, b.
    """

    means: FloatArray
    weights: FloatArray
    lower: IntArray
    upper: IntArray
    coefficients: IntArray
    totals: IntArray


def nearest_vectors(
    problem: IntegerProblem, limit: int, *, max_states: int = MAX_STATES
) -> list[tuple[float, tuple[int, ...]]]:
    """Return the vectors of smallest cost, best first; ties (to 1e-10) in lexicographic order.

    Parameters
    ----------
    problem
        The equations, bounds and costs.
    limit
        Largest number of vectors returned.
    max_states
        Largest number of partial sums in memory.

    Returns
    -------
    list of (cost, vector)
        Empty if there is none. Fewer than `limit` if there are no more, or the search for worse ones grew too large.

    Raises
    ------
    TooManyStates
        If the search grew too large before it found a vector or excluded one.
    """
    if np.any(problem.lower > problem.upper) or not has_integer_solution(problem.coefficients, problem.totals):
        return []
    relaxed = _relax(problem)
    if not relaxed.solved and not _has_real_solution(problem):
        return []
    extra = float(np.sum(problem.weights)) / 24.0  # half the mean cost of rounding every entry
    vectors: list[tuple[float, tuple[int, ...]]] = []
    for attempt in range(120):
        try:
            vectors, complete = _Search(problem, relaxed, extra, max_states).best(limit)
        except TooManyStates:
            if vectors:
                return vectors
            raise
        if complete or len(vectors) >= limit:
            break
        extra *= 1.25 if attempt < 8 else 2.0  # small steps while a step too far is what costs most
    return vectors


def has_integer_solution(coefficients: IntArray, totals: IntArray) -> bool:
    """Return whether A c = b has a solution in integers of any size (by column operations to echelon form)."""
    columns = [list(map(int, c)) for c in np.unique(coefficients.T, axis=0) if np.any(c)]
    rest = [int(v) for v in totals]
    for row in range(len(rest)):
        pivot: list[int] | None = None
        others = []
        for entry in columns:
            column = entry
            if column[row] == 0:
                others.append(column)
                continue
            if pivot is None:
                pivot = column
                continue
            while column[row] != 0:
                quotient = pivot[row] // column[row]
                pivot = [p - quotient * c for p, c in zip(pivot, column, strict=True)]
                pivot, column = column, pivot
            if any(column):
                others.append(column)
        if pivot is None:
            if rest[row] != 0:
                return False
            continue
        quotient, remainder = divmod(rest[row], pivot[row])
        if remainder != 0:
            return False
        rest = [r - quotient * p for r, p in zip(rest, pivot, strict=True)]
        columns = others
    return True


def _has_real_solution(problem: IntegerProblem) -> bool:
    """Return whether the equations and the box have a common point in real numbers."""
    from scipy.optimize import linprog

    result = linprog(
        np.zeros(len(problem.means)),
        A_eq=problem.coefficients,
        b_eq=problem.totals,
        bounds=np.column_stack([problem.lower, problem.upper]),
        method="highs",
    )
    return int(result.status) != 2  # 2: proven infeasible


@dataclass(frozen=True, eq=False)
class _Relaxed:
    """The real problem in the box: multipliers λ, the entries q that belong to them, and the dual value."""

    multipliers: FloatArray
    entries: FloatArray
    dual: float
    solved: bool


def _relax(problem: IntegerProblem) -> _Relaxed:
    """Solve the problem in real numbers by Newton steps on the dual; any λ bounds the cost, the optimum most tightly.

    Rows with a slack (inequalities) enter only where they would be violated.
    """
    slack = problem.weights == 0.0
    costly = ~slack
    inequality = np.any(problem.coefficients[:, slack] != 0, axis=1)
    matrix = problem.coefficients[:, costly].astype(np.float64)
    half = 0.5 / problem.weights[costly]
    mean = problem.means[costly]
    low, high = problem.lower[costly].astype(np.float64), problem.upper[costly].astype(np.float64)
    active = ~inequality
    multipliers = np.zeros(len(problem.totals))
    solved = False

    def entries_of(values: FloatArray) -> FloatArray:
        entries: FloatArray = np.clip(mean - half * (matrix.T @ values), low, high)
        return entries

    for _ in range(1 + int(inequality.sum())):
        rows = np.flatnonzero(active)
        solved = False
        gap = matrix[rows] @ entries_of(multipliers) - problem.totals[rows]
        for _ in range(_NEWTON_STEPS):
            size = float(np.max(np.abs(gap), initial=0.0))
            if size < 1e-7:
                solved = True
                break
            inner = mean - half * (matrix.T @ multipliers)
            free = (inner > low) & (inner < high)
            hessian = (matrix[rows][:, free] * half[free]) @ matrix[rows][:, free].T
            hessian += 1e-9 * np.eye(len(rows)) * max(1.0, float(np.trace(hessian)))
            step = np.linalg.solve(hessian, gap)
            for scale in (1.0, 0.5, 0.25, 0.1, 0.03, 0.01, 0.001):
                trial = multipliers.copy()
                trial[rows] += scale * step
                new = matrix[rows] @ entries_of(trial) - problem.totals[rows]
                if _dual(problem, trial)[0] > _dual(problem, multipliers)[0] or np.max(np.abs(new)) < 0.9 * size:
                    break
            else:
                break
            multipliers, gap = trial, new
        violated = inequality & ~active & (matrix @ entries_of(multipliers) > problem.totals + 1e-7)
        if not violated.any():
            break
        active = active | violated
    multipliers[inequality] = np.maximum(multipliers[inequality], 0.0)
    dual, entries = _dual(problem, multipliers)
    plain, nearest = _dual(problem, np.zeros(len(multipliers)))
    if not dual > plain or float(np.max(np.abs(multipliers), initial=0.0)) > _LARGEST_MULTIPLIER:
        return _Relaxed(np.zeros(len(multipliers)), nearest, plain, solved)
    return _Relaxed(multipliers, entries, dual, solved)


def _dual(problem: IntegerProblem, multipliers: FloatArray) -> tuple[float, FloatArray]:
    """Return the dual value of multipliers and the entries that attain it."""
    prices = problem.coefficients.T @ multipliers
    costly = problem.weights > 0.0
    best = np.where(prices > 0.0, problem.lower, problem.upper).astype(np.float64)
    best[costly] = np.clip(
        problem.means[costly] - 0.5 * prices[costly] / problem.weights[costly],
        problem.lower[costly],
        problem.upper[costly],
    )
    value = np.sum(problem.weights * (best - problem.means) ** 2 + prices * best) - multipliers @ problem.totals
    return float(value), best


class _Search:
    """Dynamic programming and best-first search below one bound on the cost."""

    def __init__(self, problem: IntegerProblem, relaxed: _Relaxed, extra: float, max_states: int) -> None:
        self.problem = problem
        self.relaxed = relaxed
        self.max_states = max_states
        self.bound = math.ceil((relaxed.dual + extra) / UNIT + 1e-9 * abs(relaxed.dual) / UNIT) + 1000
        self.complete = True
        self.windows = [self._window(i, relaxed.entries, extra) for i in range(len(problem.means))]
        self.costs = [
            np.rint(w * (c - m) ** 2 / UNIT).astype(np.int64)
            for w, c, m in zip(problem.weights, self.windows, problem.means, strict=True)
        ]
        used = problem.coefficients != 0
        n = used.shape[1]
        self.first = np.where(used.any(axis=1), used.argmax(axis=1), n)
        self.last = np.where(used.any(axis=1), n - 1 - used[:, ::-1].argmax(axis=1), -1)

    def _window(self, i: int, centre: FloatArray, extra: float) -> IntArray:
        low, high = int(self.problem.lower[i]), int(self.problem.upper[i])
        weight = float(self.problem.weights[i])
        if weight > 0.0:
            radius = math.sqrt(extra / weight) + 1e-6
            near, far = int(np.ceil(centre[i] - radius)), int(np.floor(centre[i] + radius))
            if near > low or far < high:
                self.complete = False
                low, high = max(low, near), min(high, far)
        return np.arange(low, high + 1, dtype=np.int64)

    def _live(self, i: int) -> IntArray:
        """Return the rows with entries on both sides of the boundary before entry i."""
        return np.flatnonzero((self.first < i) & (self.last >= i))

    def _tables(self) -> list[tuple[IntArray, IntArray]] | None:
        """Return for each boundary the row sums that the entries behind it can attain, with their least costs."""
        problem, n = self.problem, len(self.windows)
        # The least and the most that the entries before a boundary can contribute to each row.
        products = [problem.coefficients[:, [i]] * w[None, :] for i, w in enumerate(self.windows)]
        if any(p.shape[1] == 0 for p in products):
            return None
        zero = np.zeros((1, len(problem.totals)), dtype=np.int64)
        low = np.vstack([zero, np.cumsum([p.min(axis=1) for p in products], axis=0).reshape(n, -1)])
        high = np.vstack([zero, np.cumsum([p.max(axis=1) for p in products], axis=0).reshape(n, -1)])
        tables: list[tuple[IntArray, IntArray]] = [(np.zeros((1, 0), dtype=np.int64), np.zeros(1, dtype=np.int64))]
        live: IntArray = np.zeros(0, dtype=np.int64)
        for i in range(n - 1, -1, -1):
            rows = np.union1d(live, np.flatnonzero(self.last == i))
            states, costs = tables[-1]
            old = np.zeros((len(states), len(rows)), dtype=np.int64)
            old[:, np.searchsorted(rows, live)] = states
            needed = problem.totals[rows]
            least, most = needed - high[i][rows], needed - low[i][rows]
            live = self._live(i)
            open_rows = np.searchsorted(rows, live)
            parts = []
            stride = max(1, _CHUNK // len(self.windows[i]))
            for start in range(0, len(states), stride):
                chunk = slice(start, start + stride)
                total = (costs[chunk, None] + self.costs[i][None, :]).reshape(-1)
                grown = (old[chunk, None, :] + products[i][rows].T[None, :, :]).reshape(len(total), len(rows))
                keep = np.all((grown >= least) & (grown <= most), axis=1)
                grown, total = _least(grown[keep][:, open_rows], total[keep])
                near = total + self._to_come(i, live, grown) <= self.bound
                self.complete &= bool(near.all())
                parts.append((grown[near], total[near]))
                if sum(len(p[0]) for p in parts) > 4 * self.max_states:
                    raise TooManyStates
            grown, total = _least(np.vstack([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))
            if len(grown) == 0:
                return None
            if len(grown) > self.max_states:
                raise TooManyStates
            tables.append((grown, total))
        return tables[::-1]

    def _to_come(self, i: int, live: IntArray, states: IntArray) -> IntArray:
        """Return a lower bound on the cost of the entries before i, for each state of the entries from i on."""
        problem, relaxed = self.problem, self.relaxed
        costly = problem.weights[:i] > 0.0
        rows = np.flatnonzero(self.first < i)
        if len(states) == 0 or len(rows) == 0:
            return np.zeros(len(states), dtype=np.int64)
        matrix = problem.coefficients[rows][:, :i].astype(np.float64)
        entries, prices = relaxed.entries[:i], problem.coefficients[:, :i].T @ relaxed.multipliers
        own = np.sum(problem.weights[:i] * (entries - problem.means[:i]) ** 2 + prices * entries)
        # What the entries before i must contribute to each row, and how far that is from the contribution of q.
        needed = problem.totals[rows][None, :].repeat(len(states), axis=0).astype(np.float64)
        needed[:, np.searchsorted(rows, live)] -= states
        bound = own - needed @ relaxed.multipliers[rows]
        fixed = ~np.any(matrix[:, ~costly] != 0.0, axis=1)
        if fixed.any() and costly.any():
            part = matrix[fixed][:, costly]
            gap = needed[:, fixed] - part @ entries[costly]
            inverse = np.linalg.pinv((part / problem.weights[:i][costly]) @ part.T)
            bound += np.einsum("sa,sa->s", gap @ inverse, gap)
        return np.floor((bound - 1e-9 * (1.0 + abs(own))) / UNIT - 100.0 - 2.0 * i).astype(np.int64)

    def best(self, limit: int) -> tuple[list[tuple[float, tuple[int, ...]]], bool]:
        """Return the best vectors below the bound, and whether no vector of the box was left out."""
        tables = self._tables()
        if tables is None:
            return [], self.complete
        problem, n = self.problem, len(self.windows)
        lookups: list[dict[bytes, int] | None] = [None] * (n + 1)
        lives = [self._live(i) for i in range(n + 1)]
        ends = [np.flatnonzero(self.last == i) for i in range(n)]
        heap: list[tuple[int, tuple[int, ...], int]] = [(int(tables[0][1][0]), (), 0)]
        vectors: list[tuple[float, tuple[int, ...]]] = []
        while heap and len(vectors) < limit:
            estimate, head, spent = heapq.heappop(heap)
            i = len(head)
            if i == n:
                vectors.append((estimate * UNIT, head))
                continue
            table = lookups[i + 1]
            if table is None:
                states, costs = tables[i + 1]
                table = {s.tobytes(): int(c) for s, c in zip(states, costs, strict=True)}
                lookups[i + 1] = table
            left = problem.totals - problem.coefficients[:, :i] @ np.array(head, dtype=np.int64)
            needs = left[None, :] - self.windows[i][:, None] * problem.coefficients[:, i][None, :]
            closed = np.all(needs[:, ends[i]] == 0, axis=1)
            for k, need in enumerate(np.ascontiguousarray(needs[:, lives[i + 1]])):
                rest = table.get(need.tobytes()) if closed[k] else None
                if rest is not None:
                    cost = spent + int(self.costs[i][k])
                    if cost + rest <= self.bound:
                        heapq.heappush(heap, (cost + rest, (*head, int(self.windows[i][k])), cost))
                    else:
                        self.complete = False
        return vectors, self.complete


def _least(states: IntArray, costs: IntArray) -> tuple[IntArray, IntArray]:
    """Keep each state once, with its least cost."""
    if len(states) == 0:
        return states, costs
    if states.shape[1] == 0:
        return states[:1], np.array([costs.min()], dtype=np.int64)
    low = states.min(axis=0)
    spans = states.max(axis=0) - low + 1
    if float(np.prod(spans.astype(np.float64))) < 2.0**62:
        radix = np.concatenate([np.cumprod(spans[::-1])[::-1][1:], [1]]).astype(np.int64)
        keys = (states - low) @ radix
    else:
        keys = np.unique(states, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.lexsort((costs, keys))
    first = np.concatenate([[True], keys[order][1:] != keys[order][:-1]])
    return states[order][first], costs[order][first]
