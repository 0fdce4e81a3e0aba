"""Arrhenius lines of the directions of a crystal, where these differ in activation energy.

A mean of exponentials has no straight Arrhenius line: on cooling, the direction of the lower activation energy takes
over, and a line through the means of hot runs extrapolates far too low. So the components of the tensor are fitted and
extrapolated one by one, and summed at the temperatures where σ is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.transport.conductivity.arrhenius import (
    HIGHEST_EA_EV,
    TINY_PROBABILITY,
    ArrheniusFit,
    Bounds,
    Prediction,
    bound_log_error,
    weighted_line,
    with_bounds,
)
from superionic.transport.diffusion.tensor import (
    PAIRS,
    TensorEstimate,
    components,
    counted_component,
    one_hop,
    one_shape,
    projections,
)
from superionic.transport.estimate import LEVEL_68, LEVEL_95, Estimate
from superionic.units import BOLTZMANN_EV_PER_K

FloatArray = NDArray[np.float64]

SIGNIFICANT: Final = 0.01
"""Probability of chance below which directions count as different in activation energy."""
SAME_DIRECTION: Final = math.cos(math.radians(10.0))
"""A direction within 10° of an axis of the cell takes the name of that axis."""
_DRAWS: Final = 4000
_HOPS_OF_ONES_OWN: Final = 100.0  # at so many independent hops a shape's errors are half its own, half common
_LEAST_VARIANCE: Final = 0.02  # of any component of a shape, in units of their mean: none is known far better
_TRACE: Final = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]) / 3.0
_SWEEPS: Final = 50
# Orthonormal basis of symmetric tensors without a trace, in the components xx, yy, zz, yz, xz, xy.
_WITHOUT_TRACE: Final = np.array(
    [
        [math.sqrt(0.5), -math.sqrt(0.5), 0.0, 0.0, 0.0, 0.0],
        [math.sqrt(1.0 / 6.0), math.sqrt(1.0 / 6.0), -math.sqrt(2.0 / 3.0), 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, math.sqrt(2.0), 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, math.sqrt(2.0), 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, math.sqrt(2.0)],
    ]
)

_ALONG_THE_FRAME: Final = _WITHOUT_TRACE[:2]


@dataclass(frozen=True, eq=False)
class DirectionLine:
    """The line of ln(σT) along one direction, or across one.

    Attributes
    ----------
    name
        Such as ``along c`` or ``across c``, by the vectors of the simulated cell.
    multiplicity
        Number of the three axes that it represents.
    directions
        (multiplicity, 3) unit vectors, in the frame of :class:`superionic.transport.diffusion.tensor.TensorEstimate`.
    fit
        The line with its own errors; those it shares with the other directions are in `DirectionLines.covariance`.
    points
        σ along it in S/cm at each simulated temperature, in their order.
    """

    name: str
    multiplicity: int
    directions: FloatArray
    fit: ArrheniusFit
    points: tuple[Estimate, ...]


@dataclass(frozen=True, eq=False)
class DirectionLines:
    """Test whether directions differ in activation energy, with their lines where they do.

    Attributes
    ----------
    p_value
        Probability that the shape of the tensor changes with temperature as much as this by chance, if all directions
        have one activation energy.
    significant
        Whether that is below 1 %.
    lines
        The directions; empty unless significant.
    covariance
        Covariance of (ln prefactor, Ea) of all lines, line by line: they come from the same runs, so their errors are
        not independent. None without lines.
    p_straight
        Probability that chance makes the points scatter about all lines as much as they do; 1 where there are no more
        points than parameters.
    temperature_range_K
        Range of the measured values in the fits.
    frame
        ``crystal``: the directions are axes of the cell, along which the tensor is diagonal within its errors;
        ``principal``: they are the tensor's own, common to all temperatures.
    """

    p_value: float
    significant: bool
    lines: tuple[DirectionLine, ...]
    covariance: FloatArray | None
    p_straight: float
    temperature_range_K: tuple[float, float]
    frame: Literal["crystal", "principal"]

    @property
    def form(self) -> Literal["lnSigmaT"]:
        """Form of the line of each direction."""
        return "lnSigmaT"

    @property
    def usable(self) -> bool:
        """Whether σ can be read off the lines: they are there, and the slope of each can be an activation energy."""
        return bool(self.lines) and all(0.0 < each.fit.Ea_eV <= HIGHEST_EA_EV for each in self.lines)

    @property
    def straight(self) -> bool:
        """Whether the lines of all directions are straight within the errors."""
        return self.p_straight >= TINY_PROBABILITY

    @property
    def words(self) -> str:
        """Activation energies in words."""
        energies = [f"{each.fit.Ea_eV:.2f} ± {each.fit.Ea_error_eV or 0.0:.2f} eV {each.name}" for each in self.lines]
        return ", ".join(energies).replace("-", "\N{MINUS SIGN}")

    def predict(self, temperature_K: float) -> Prediction:
        """Sum the directions at a temperature: a third of the trace, with intervals from their joint covariance."""
        if not (math.isfinite(temperature_K) and temperature_K > 0.0):
            raise AnalysisError(f"A temperature must be positive, not {temperature_K!r} K.")
        if self.covariance is None:
            raise AnalysisError("There are no lines of directions to read off.")
        value, drawn = self._drawn(temperature_K, _standard_normal(self.covariance))
        ln = np.log(drawn)
        ends = []
        for level in (LEVEL_68, LEVEL_95):
            low, high = np.quantile(ln, [0.5 - 0.5 * level, 0.5 + 0.5 * level])
            ends.append((min(math.exp(low), value), max(math.exp(high), value)))
        low, high = self.temperature_range_K
        extrapolated = not low * (1.0 - 1e-9) <= temperature_K <= high * (1.0 + 1e-9)
        return Prediction(temperature_K, value, float(np.std(ln)), ends[0], ends[1], extrapolated)

    def samples(self, temperature_K: float, scores: FloatArray) -> FloatArray:
        """Return σ for draws of all parameters, (n, parameters) standard normal."""
        if self.covariance is None:
            raise AnalysisError("There are no lines of directions to draw from.")
        return self._drawn(temperature_K, scores @ _root(self.covariance).T)[1]

    def _drawn(self, temperature_K: float, changes: FloatArray) -> tuple[float, FloatArray]:
        """Return σ at the best parameters, and at these plus each row of changes."""
        gradient = np.array([1.0, -1.0 / (BOLTZMANN_EV_PER_K * temperature_K)])
        value, drawn = 0.0, np.zeros(len(changes))
        for number, line in enumerate(self.lines):
            y = line.fit.ln_prefactor + float(gradient[1]) * line.fit.Ea_eV - math.log(temperature_K)
            share = line.multiplicity / 3.0
            value += share * math.exp(y)
            drawn += share * np.exp(np.clip(y + changes[:, 2 * number : 2 * number + 2] @ gradient, -600.0, 600.0))
        return value, drawn


def direction_lines(
    temperatures_K: Sequence[float], tensors: Sequence[TensorEstimate | None], scalars: Sequence[Estimate]
) -> DirectionLines | None:
    """Test whether directions differ in activation energy, and fit their lines if they do.

    If all directions have one activation energy, the tensor keeps its shape at all temperatures. So the test is of the
    tensor over its trace: a change that is linear in 1/T, against none. It is made twice, and the smaller probability
    of chance is doubled: on all five components at once, which does not depend on a choice of axes (χ² of five degrees
    of freedom), and on those along the axes of the cell, with more power where the tensor is diagonal there (two
    degrees). With few hops the errors of the shape are estimated from all temperatures together, each scaled to the
    error of its scalar: with its own error, a component that is low by chance would weigh too much. Collective motion
    enlarges these errors.

    Lines are then fitted along axes that respect the symmetry of the crystal: axes of the cell where the tensor is
    diagonal along them, otherwise those that come nearest to diagonal at all temperatures together (Cardoso &
    Souloumiac, SIAM J. Matrix Anal. Appl. 17, 161 (1996)). Two directions that do not differ become one, across
    the third, as a threefold, fourfold or sixfold axis requires.

    Parameters
    ----------
    temperatures_K
        (n,) the simulated temperatures.
    tensors
        (n,) tensors of σ in S/cm; None where there is none (upper bounds).
    scalars
        (n,) σ in S/cm, a third of the trace.

    Returns
    -------
    DirectionLines or None
        None if not tested: fewer than two temperatures have a tensor, or the cells differ in shape.
    """
    known = [
        (t, tensor, scalar)
        for t, tensor, scalar in zip(temperatures_K, tensors, scalars, strict=True)
        if tensor is not None and not scalar.is_upper_bound and scalar.value > 0.0
    ]
    if len({t for t, _, _ in known}) < 2 or not one_shape([tensor.cell_A for _, tensor, _ in known]):
        return None
    x = np.array([1.0 / (BOLTZMANN_EV_PER_K * t) for t, _, _ in known])
    shapes, spreads = _shapes([(tensor, scalar) for _, tensor, scalar in known])
    tested = [_chance(x, shapes, spreads, basis) for basis in (_WITHOUT_TRACE, _ALONG_THE_FRAME)]
    p_value = min(1.0, len(tested) * min(tested))
    span = (min(t for t, _, _ in known), max(t for t, _, _ in known))
    same = DirectionLines(p_value, p_value < SIGNIFICANT, (), None, 1.0, span, "crystal")
    if not same.significant:
        return same
    frame, axes = _axes(shapes, spreads, known[0][1].cell_A)
    fits = _fitted(temperatures_K, tensors, scalars, axes)
    return same if fits is None else DirectionLines(p_value, True, *fits, span, frame)


def _shapes(known: Sequence[tuple[TensorEstimate, Estimate]]) -> tuple[FloatArray, FloatArray]:
    """Return shapes (n, 6), which are tensors over a third of their trace, and the covariance (n, 6, 6) of each."""
    shapes, spreads, relative = [], [], []
    for tensor, _ in known:
        parts = components(tensor.value)
        scalar = float(_TRACE @ parts)
        shape = parts / scalar
        change = (np.eye(6) - np.outer(shape, _TRACE)) / scalar
        shapes.append(shape)
        relative.append(float(_TRACE @ tensor.covariance @ _TRACE) / scalar**2)
        spreads.append(change @ tensor.covariance @ change.T)
    v = np.array(relative)[:, None, None]
    common = np.mean(np.array(spreads) / v, axis=0)
    borrowed = 1.0 / (1.0 + 1.0 / (v * _HOPS_OF_ONES_OWN))
    together = max(1.0, float(np.mean([tensor.together for tensor, _ in known])))
    return np.array(shapes), together * ((1.0 - borrowed) * np.array(spreads) + borrowed * v * common)


def _chance(x: FloatArray, shapes: FloatArray, spreads: FloatArray, basis: FloatArray) -> float:
    """Return the probability that shapes, in a basis (parts, 6), change this much with 1/T by chance."""
    n, dof = len(x), len(basis)
    covariances = basis @ spreads @ basis.T
    least = _LEAST_VARIANCE * np.trace(covariances, axis1=1, axis2=2) / dof + 1e-12  # a channel has none
    whitenings = np.linalg.inv(np.linalg.cholesky(covariances + least[:, None, None] * np.eye(dof)))
    data = np.einsum("nab,nb->na", whitenings, shapes @ basis.T).ravel()
    constant = whitenings.reshape(n * dof, dof)
    linear = ((x - x.mean())[:, None, None] * whitenings).reshape(n * dof, dof)

    def left(design: FloatArray) -> float:
        residual = data - design @ np.linalg.lstsq(design, data)[0]
        return float(residual @ residual)

    unexplained = left(np.concatenate([constant, linear], axis=1))
    fall, free = left(constant) - unexplained, dof * (n - 2)
    if free > 0 and float(scipy.special.chdtrc(free, unexplained)) < TINY_PROBABILITY:
        fall /= unexplained / free
    return float(scipy.special.chdtrc(dof, max(fall, 0.0)))


def _axes(
    shapes: FloatArray, spreads: FloatArray, cell_A: FloatArray
) -> tuple[Literal["crystal", "principal"], FloatArray]:
    """Return orthonormal rows: axes of the cell if the tensors are diagonal in them, else those nearest to diagonal."""
    best, best_axes = 0.0, np.eye(3)
    for first in range(3):
        rows = np.array([cell_A[first], cell_A[(first + 1) % 3], cell_A[(first + 2) % 3]])
        q, _ = np.linalg.qr(rows.T)
        axes = q.T
        chance = _diagonal(shapes, spreads, axes)
        if chance > best:
            best, best_axes = chance, axes
    if best > SIGNIFICANT:
        return "crystal", best_axes
    return "principal", _jointly_diagonal(shapes, spreads)


def _diagonal(shapes: FloatArray, spreads: FloatArray, axes: FloatArray) -> float:
    """Return the probability that what is off the diagonal along these axes is noise."""
    rows = np.array(
        [
            [axes[a, i] * axes[b, j] + (axes[a, j] * axes[b, i] if i != j else 0.0) for i, j in PAIRS]
            for a, b in ((1, 2), (0, 2), (0, 1))
        ]
    )
    off = shapes @ rows.T
    chi2 = float(np.einsum("na,nab,nb->", off, np.linalg.pinv(rows @ spreads @ rows.T, hermitian=True), off))
    return float(scipy.special.chdtrc(off.size, chi2))


def _jointly_diagonal(shapes: FloatArray, spreads: FloatArray) -> FloatArray:
    """Return orthonormal rows along which tensors, weighted by their errors, are nearest to diagonal (Jacobi)."""
    matrices = np.zeros((len(shapes), 3, 3))
    for k, (i, j) in enumerate(PAIRS):
        matrices[:, i, j] = matrices[:, j, i] = shapes[:, k] / np.sqrt(np.trace(spreads, axis1=1, axis2=2))
    axes = np.eye(3)
    for _ in range(_SWEEPS):
        turned = 0.0
        for p, q in ((0, 1), (0, 2), (1, 2)):
            turned_frame = axes @ matrices @ axes.T
            h = np.stack([turned_frame[:, p, p] - turned_frame[:, q, q], 2.0 * turned_frame[:, p, q]])
            g = h @ h.T
            angle = 0.25 * math.atan2(2.0 * g[0, 1], g[0, 0] - g[1, 1])
            cosine, sine = math.cos(angle), math.sin(angle)
            axes[[p, q]] = np.array([cosine * axes[p] + sine * axes[q], cosine * axes[q] - sine * axes[p]])
            turned = max(turned, abs(angle))
        if turned < 1e-12:
            break
    return axes


_Fitted = tuple[tuple[DirectionLine, ...], FloatArray, float]


def _fitted(
    temperatures_K: Sequence[float],
    tensors: Sequence[TensorEstimate | None],
    scalars: Sequence[Estimate],
    axes: FloatArray,
) -> _Fitted | None:
    """Fit three lines, or two where two of the directions do not differ; None where a direction has no two values."""
    cell = next(tensor.cell_A for tensor in tensors if tensor is not None)
    axes = axes[sorted(range(3), key=lambda i: _name(axes[i], cell))]
    three = _joint_fit(temperatures_K, tensors, scalars, [axes[i : i + 1] for i in range(3)])
    pairs = []
    for unique in range(3):
        others = [i for i in range(3) if i != unique]
        chance = 0.0 if three is None else _same(three, others)
        pairs.append((chance, unique, others))
    chance, unique, others = max(pairs)
    if three is None:
        # Some direction has too few values: keep the most distinct one, and join the other two.
        unique = _apart(tensors, axes)
        others = [i for i in range(3) if i != unique]
        chance = 1.0
    if chance > SIGNIFICANT:
        fit = _joint_fit(temperatures_K, tensors, scalars, [axes[[unique]], axes[others]])
        if fit is None:
            return None
        name = _name(axes[unique], cell)
        return _with_names(fit, [f"along {name}", f"across {name}"], [axes[[unique]], axes[others]])
    if three is None:
        return None
    names = [f"along {_name(axis, cell)}" for axis in axes]
    return _with_names(three, names, [axes[i : i + 1] for i in range(3)])


@dataclass(frozen=True, eq=False)
class _JointFit:
    parameters: FloatArray
    covariance: FloatArray
    p_straight: float
    points: tuple[tuple[Estimate, ...], ...]
    used: tuple[tuple[bool, ...], ...]
    spans: tuple[tuple[float, float], ...]


def _joint_fit(
    temperatures_K: Sequence[float],
    tensors: Sequence[TensorEstimate | None],
    scalars: Sequence[Estimate],
    groups: Sequence[FloatArray],
) -> _JointFit | None:
    """Fit the lines of all groups of directions together: values at one temperature have joint errors."""
    n = len(groups)
    points: list[list[Estimate]] = [[] for _ in groups]
    rows, y = [], []
    bounded: list[tuple[FloatArray, float, float]] = []
    for temperature, tensor, scalar in zip(temperatures_K, tensors, scalars, strict=True):
        ln_T, gradient = math.log(temperature), [1.0, -1.0 / (BOLTZMANN_EV_PER_K * temperature)]

        def row(group: int, gradient: list[float] = gradient) -> FloatArray:
            full = np.zeros(2 * n)
            full[2 * group : 2 * group + 2] = gradient
            return full

        if tensor is None:  # the mean is an upper bound, and may be due to any one direction alone
            each = [scalar.scaled(3.0 / len(group)) for group in groups]
            correlation = np.eye(n)
        else:
            shares = np.array([np.mean(projections(group), axis=0) for group in groups])
            values, covariance = shares @ components(tensor.value), shares @ tensor.covariance @ shares.T
            sizes = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
            correlation = covariance / np.outer(sizes, sizes)
            hop = one_hop(tensor)
            each = [
                counted_component(float(value), float(size) ** 2, hop / len(group))
                for value, size, group in zip(values, sizes, groups, strict=True)
            ]
        for number, estimate in enumerate(each):
            points[number].append(estimate)
            if not math.isfinite(estimate.log_error) and math.isfinite(estimate.interval95[1]):
                own = bound_log_error(estimate)
                limit = math.log(estimate.interval95[1]) + ln_T
                bounded.append((row(number), limit, math.nan if own is None else own))
        usable = [i for i, estimate in enumerate(each) if math.isfinite(estimate.log_error)]
        if usable:
            errors = np.array([max(each[i].log_error, 1e-9) for i in usable])
            whitening = np.linalg.inv(
                np.linalg.cholesky(
                    np.outer(errors, errors) * (correlation[np.ix_(usable, usable)] + 1e-9 * np.eye(len(usable)))
                )
            )
            rows.append(whitening @ np.array([row(i) for i in usable]))
            y.append(whitening @ np.array([math.log(each[i].value) + ln_T for i in usable]))
    used = tuple(tuple(math.isfinite(e.log_error) for e in of_group) for of_group in points)
    spans = []
    for flags in used:
        measured = [t for t, flag in zip(temperatures_K, flags, strict=True) if flag]
        if len(set(measured)) < 2:
            return None
        spans.append((min(measured), max(measured)))
    design, data = np.concatenate(rows), np.concatenate(y)
    parameters, covariance, chi2 = weighted_line(design, data, np.ones(len(data)))
    free = len(data) - 2 * n
    p_straight = float(scipy.special.chdtrc(free, chi2)) if free > 0 else 1.0
    if p_straight < TINY_PROBABILITY:
        covariance = covariance * chi2 / free
    if bounded:
        designs, limits, log_errors = (np.array(each) for each in zip(*bounded, strict=True))
        parameters, covariance = with_bounds(parameters, covariance, Bounds(designs, limits, log_errors))
    return _JointFit(parameters, covariance, p_straight, tuple(tuple(p) for p in points), used, tuple(spans))


def _same(fit: _JointFit, pair: Sequence[int]) -> float:
    """Return the probability that two lines differ this much by chance, in slope and height."""
    contrast = np.zeros((2, len(fit.parameters)))
    for row in range(2):
        contrast[row, 2 * pair[0] + row], contrast[row, 2 * pair[1] + row] = 1.0, -1.0
    apart = contrast @ fit.parameters
    return float(scipy.special.chdtrc(2, float(apart @ np.linalg.solve(contrast @ fit.covariance @ contrast.T, apart))))


def _apart(tensors: Sequence[TensorEstimate | None], axes: FloatArray) -> int:
    """Return the axis along which the mean shape differs most from the mean of the other two."""
    shapes = [each.along(axes)[0] / float(np.trace(each.value)) for each in tensors if each is not None]
    return int(np.argmax(np.abs(np.mean(shapes, axis=0) - 1.0 / 3.0)))


def _with_names(fit: _JointFit, names: Sequence[str], groups: Sequence[FloatArray]) -> _Fitted:
    lines = []
    for number, (name, group) in enumerate(zip(names, groups, strict=True)):
        own = slice(2 * number, 2 * number + 2)
        covariance = fit.covariance[own, own]
        line = ArrheniusFit(
            form="lnSigmaT",
            Ea_eV=float(fit.parameters[2 * number + 1]),
            Ea_error_eV=math.sqrt(float(covariance[1, 1])),
            ln_prefactor=float(fit.parameters[2 * number]),
            covariance=covariance,
            degrees_of_freedom=math.inf,
            reduced_chi2=None,
            temperature_range_K=fit.spans[number],
            used=fit.used[number],
            flags=(),
        )
        lines.append(DirectionLine(name, len(group), group, line, fit.points[number]))
    return tuple(lines), fit.covariance, fit.p_straight


def _name(direction: FloatArray, cell_A: FloatArray) -> str:
    """Name a direction by the vector of the cell that it is within 10° of, or by its Cartesian parts."""
    reciprocal = np.linalg.inv(cell_A).T
    for names, vectors in ((("a", "b", "c"), cell_A), (("a*", "b*", "c*"), reciprocal)):
        cosines = np.abs(vectors @ direction) / np.linalg.norm(vectors, axis=1)
        nearest = int(np.argmax(cosines))
        if cosines[nearest] >= SAME_DIRECTION:
            return names[nearest]
    # Length of each vector of the cell in it, the largest as one.
    parts = np.linalg.solve(cell_A.T, direction) * np.linalg.norm(cell_A, axis=1)
    parts = parts / parts[int(np.argmax(np.abs(parts)))]
    return " ".join(f"{part:+.1f}{name}" for part, name in zip(parts, "abc", strict=True) if abs(part) >= 0.05)


def _root(covariance: FloatArray) -> FloatArray:
    """Return a matrix whose product with its transpose is the covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _standard_normal(covariance: FloatArray) -> FloatArray:
    """Return changes of the parameters drawn from their covariance: always the same, and symmetric about zero."""
    drawn = np.random.default_rng(0).normal(size=(_DRAWS, len(covariance)))
    return np.concatenate([drawn, -drawn]) @ _root(covariance).T
