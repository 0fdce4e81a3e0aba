"""The tensor of D, or of σ, with the joint errors of its components, in a frame fixed to the crystal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from superionic.transport.estimate import Estimate, PooledEstimate, count_like_estimate

if TYPE_CHECKING:
    from superionic.transport.diffusion.diffusivity import TracerDiffusivity

FloatArray = NDArray[np.float64]

PAIRS: Final = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Order of the six components in a covariance."""
SAME_LENGTHS: Final = 0.05
"""Relative difference of lengths, over the cube root of the volume, below which two cells have one shape."""
SAME_ANGLES: Final = 0.05
"""Difference of the cosines of angles below which two cells have one shape."""
_FEWEST_INCREMENTS: Final = 8
_MOST_INCREMENTS: Final = 400
_FEW_HOPS: Final = 5.0
_KNOWN: Final = 1e-3  # of the largest variance: smaller ones are not inverted
_TRACE: Final = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]) / 3.0


@dataclass(frozen=True, eq=False)
class TensorEstimate:
    """A symmetric tensor with its errors, in the unit named by the attribute that holds it.

    The frame is fixed to the cell, whatever its orientation in space: the first axis along **a**, the second in the
    plane of **a** and **b**, the third normal to it (along **c***).

    Attributes
    ----------
    value
        (3, 3) the tensor; a third of its trace is the scalar.
    covariance
        (6, 6) covariance of xx, yy, zz, yz, xz, xy. The variance of a third of the trace is that of the scalar.
    cell_A
        (3, 3) mean cell of the runs, rows in this frame.
    together
        Scatter in time of the sum over ions relative to that of independent ions, in units of the covariance: one on
        average, more where ions move together.
    """

    value: FloatArray
    covariance: FloatArray
    cell_A: FloatArray
    together: float

    def scaled(self, factor: float) -> TensorEstimate:
        """Return the tensor in another unit, or multiplied by an exactly known factor."""
        return TensorEstimate(self.value * factor, self.covariance * factor**2, self.cell_A, self.together)

    def along(self, directions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the components along unit vectors (n, 3), and their covariance (n, n)."""
        rows = projections(directions)
        return rows @ components(self.value), rows @ self.covariance @ rows.T

    def mean_along(self, directions: FloatArray) -> Estimate:
        """Return the mean of the components along orthogonal unit vectors (n, 3): n = 2 is a plane."""
        share = np.mean(projections(directions), axis=0)
        return counted_component(
            float(share @ components(self.value)),
            max(float(share @ self.covariance @ share), 0.0),
            one_hop(self) / len(directions),
        )


def one_hop(tensor: TensorEstimate) -> float:
    """Return what one independent hop along an axis adds to the component along it."""
    return 3.0 * float(_TRACE @ tensor.covariance @ _TRACE) / float(_TRACE @ components(tensor.value))


def counted_component(value: float, variance: float, one_hop: float) -> Estimate:
    """Estimate D or σ along a direction, which may have had few hops or none while others had many.

    Parameters
    ----------
    value, variance
        Value and variance of the component, or of the mean of two.
    one_hop
        What one independent hop adds to it; for few hops the variance is at least that of a Poisson number of them.
    """
    if value < 0.5 * one_hop:
        return count_like_estimate(value, variance, bound_per_hop=one_hop)
    return count_like_estimate(value, max(variance, value * one_hop) if value < _FEW_HOPS * one_hop else variance)


def components(tensor: FloatArray) -> FloatArray:
    """Return xx, yy, zz, yz, xz, xy of a tensor (3, 3)."""
    return np.array([0.5 * (tensor[i, j] + tensor[j, i]) for i, j in PAIRS])


def projections(directions: FloatArray) -> FloatArray:
    """Return the rows (n, 6) that project six components onto unit vectors (n, 3)."""
    return np.stack([directions[:, i] * directions[:, j] * (1.0 if i == j else 2.0) for i, j in PAIRS], axis=1)


def crystal_frame(cell_A: FloatArray) -> FloatArray:
    """Return orthonormal rows: along **a**, across it in the plane of **a** and **b**, and normal to that plane."""
    first = cell_A[0] / np.linalg.norm(cell_A[0])
    normal = np.cross(cell_A[0], cell_A[1])
    normal /= np.linalg.norm(normal)
    return np.array([first, np.cross(normal, first), normal])


def one_shape(cells_A: Sequence[FloatArray]) -> bool:
    """Return whether cells have one shape, so that their axes correspond."""

    def shape(cell: FloatArray) -> tuple[FloatArray, FloatArray]:
        lengths = np.linalg.norm(cell, axis=1)
        cosines = (cell @ cell.T / np.outer(lengths, lengths))[[1, 0, 0], [2, 2, 1]]
        return lengths / abs(float(np.linalg.det(cell))) ** (1.0 / 3.0), cosines

    first_lengths, first_cosines = shape(cells_A[0])
    for lengths, cosines in map(shape, cells_A[1:]):
        if np.any(np.abs(lengths / first_lengths - 1.0) > SAME_LENGTHS):
            return False
        if np.any(np.abs(cosines - first_cosines) > SAME_ANGLES):
            return False
    return True


def tensor_of_run(
    positions_A: FloatArray, frame_interval_ps: float, cell_A: FloatArray, tracer: TracerDiffusivity
) -> TensorEstimate | None:
    """Return the tensor of D* in cm²/s in the frame of the crystal, with the joint errors of its components.

    The value is that of the tracer's fit. Correlations between the errors of components (hops along different
    axes scatter independently, hops along both do not) come from the contributions of each ion to each component in
    spans of time; the errors are scaled so that the mean over the axes has exactly the error of D*.

    Parameters
    ----------
    positions_A
        (n_frames, n_ions, 3) unwrapped positions of the mobile ions, framework drift removed.
    frame_interval_ps
        Time between frames.
    cell_A
        (3, 3) mean cell.
    tracer
        D* of these ions over all three axes.

    Returns
    -------
    TensorEstimate or None
        None where there is no motion, or no error, to divide between axes.
    """
    scalar = tracer.cm2_per_s
    tensor = tracer.tensor_cm2_per_s
    trace = float(np.trace(tensor)) / 3.0
    if not (scalar.value > 0.0 and 0.0 < scalar.error < math.inf and trace > 0.0):
        return None
    frame = crystal_frame(cell_A)
    lag = max(round(tracer.window_ps[0] / frame_interval_ps), len(positions_A) // _MOST_INCREMENTS)
    frames = max(1, min(lag, len(positions_A) // (_FEWEST_INCREMENTS + 1)))
    whole = len(positions_A) // frames
    blocks = positions_A[: whole * frames].reshape(whole, frames, -1, 3).mean(axis=1, dtype=np.float64)
    steps = np.diff(blocks, axis=0) @ frame.T
    # Block averages make neighbouring steps correlate; including these cancels vibration (c₀ + 2c₁ = 2Dτ).
    around = steps.copy()
    around[1:] += steps[:-1]
    around[:-1] += steps[1:]
    added = np.stack([0.5 * (steps[..., i] * around[..., j] + steps[..., j] * around[..., i]) for i, j in PAIRS], -1)
    n = len(added)
    spans = min(max(n // 12, 4), 16, n)
    if spans < 2:
        return None
    owner = np.arange(n) * spans // n
    sums = np.zeros((spans, *added.shape[1:]))
    np.add.at(sums, owner, added)
    share = np.bincount(owner, minlength=spans) / n
    deviation = sums - share[:, None, None] * added.sum(axis=0)
    deviations, whole_spans = deviation.reshape(-1, 6), deviation.sum(axis=1)
    covariance = deviations.T @ deviations
    size = float(_TRACE @ covariance @ _TRACE)
    if size <= 0.0:
        return None
    value = frame @ (0.5 * (tensor + tensor.T)) @ frame.T * (scalar.value / trace)
    inverse = np.linalg.pinv(covariance, rcond=_KNOWN, hermitian=True)
    together = float(np.trace(inverse @ whole_spans.T @ whole_spans)) / 6.0
    return TensorEstimate(value, covariance * (scalar.error**2 / size), cell_A @ frame.T, together)


def pool_tensors(
    tensors: Sequence[TensorEstimate | None], orderings: Sequence[str], pooled: PooledEstimate
) -> TensorEstimate | None:
    """Average tensors over replicas of each ordering and then over orderings, as their scalar was averaged.

    Errors are never smaller than those of the scalar's average, nor than the scatter between the runs. A run without
    a tensor (no motion) counts as zero.

    Returns
    -------
    TensorEstimate or None
        None where no run has a tensor, the average is an upper bound, or the cells differ in shape.
    """
    known = [each for each in tensors if each is not None]
    scalar = pooled.estimate
    if not known or scalar.is_upper_bound or not scalar.value > 0.0 or not one_shape([each.cell_A for each in known]):
        return None
    if len(tensors) == 1:
        return known[0]
    counts = {name: list(orderings).count(name) for name in set(orderings)}
    weights = np.array([1.0 / (len(counts) * counts[name]) for name in orderings])
    values = np.array([np.zeros(6) if each is None else components(each.value) for each in tensors])
    mean = weights @ values
    covariance = sum(
        (w**2 * each.covariance for w, each in zip(weights, tensors, strict=True) if each is not None),
        start=np.zeros((6, 6)),
    )
    deviation = (values - mean) * weights[:, None]
    between = deviation.T @ deviation / (1.0 - float(weights @ weights))
    scatter = float(np.trace(np.linalg.pinv(covariance, hermitian=True) @ between)) / 6.0
    size = float(_TRACE @ covariance @ _TRACE)
    factor = max(1.0, scatter, scalar.error**2 / size if size > 0.0 else 1.0)
    tensor = np.zeros((3, 3))
    for component, (i, j) in zip(mean, PAIRS, strict=True):
        tensor[i, j] = tensor[j, i] = component
    trace = float(np.trace(tensor)) / 3.0
    scale = scalar.value / trace if trace > 0.0 else 1.0
    return TensorEstimate(
        tensor * scale, covariance * factor * scale**2, known[0].cell_A, max(each.together for each in known)
    )
