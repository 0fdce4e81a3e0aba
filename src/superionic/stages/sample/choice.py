"""Which frames of a run are labelled. A part of the stage *sample*; its functions run in tasks.

Methods that go by features look at frames spread evenly over the run, since each costs an evaluation. Those of a
mixture take turns, and none takes what another has taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from superionic.training.distillation import evenly, pick_by_grade

if TYPE_CHECKING:
    from ase import Atoms

    from superionic.potentials.base import Potential

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

BEFORE_THE_STOP = "before the stop"
_ORDER = ("committee", "cur", "descriptors", "farthest-point", "random")
_LAST_FRAMES_FS = 20.0


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of one run.

    Attributes
    ----------
    numbers
        (n_atoms,) atomic numbers.
    positions_A
        (n, n_atoms, 3), unwrapped.
    cells_A
        (n, 3, 3).
    """

    numbers: IntArray
    positions_A: FloatArray
    cells_A: FloatArray

    def __len__(self) -> int:
        return len(self.positions_A)

    def atoms(self, index: int) -> Atoms:
        """Give one frame as a structure, its positions unwrapped."""
        from ase import Atoms

        return Atoms(numbers=self.numbers, positions=self.positions_A[index], cell=self.cells_A[index], pbc=True)


def needs_potential(method: str, mixture: Mapping[str, float]) -> bool:
    """Whether frames are chosen by what a potential says of them."""
    return bool({"descriptors", "cur", "committee"} & ({method} if method != "mixture" else set(mixture)))


def needs_committee(method: str, mixture: Mapping[str, float]) -> bool:
    """Whether frames are chosen by the disagreement of a committee."""
    return method == "committee" or (method == "mixture" and "committee" in mixture)


def choose(
    frames: Frames,
    count: int,
    method: str,
    mixture: Mapping[str, float],
    *,
    rng: np.random.Generator,
    candidate_frames: int,
    potential: Potential | None,
    taken: Sequence[int] = (),
    progress: Callable[[float, str], None] | None = None,
) -> list[tuple[int, str]]:
    """Choose frames of one run.

    Parameters
    ----------
    frames
        The run.
    count
        How many at most, those taken not counted.
    method, mixture
        Of the campaign file: ``sample.snapshot_method`` and ``sample.snapshot_mixture``.
    rng
        Source of randomness.
    candidate_frames
        Frames that methods by features look at.
    potential
        Gives descriptors, and the disagreement if it is a committee; None where no method needs it.
    taken
        Frames that are chosen already.
    progress
        Called now and then with the fraction done and a message.

    Returns
    -------
    list of (int, str)
        Frame and the method that chose it.
    """
    from superionic.thermodynamics.selection_diverse import shares

    count = min(count, len(frames) - len(set(taken)))
    budgets = shares(count, mixture) if method == "mixture" else {method: count}
    if "committee" in budgets and not hasattr(potential, "force_deviations"):
        # Before the first training there is no committee to ask.
        moved = budgets.pop("committee")
        budgets["descriptors"] = budgets.get("descriptors", 0) + moved
    pool = _Pool(frames, candidate_frames, potential, progress)
    chosen: list[tuple[int, str]] = []
    for name in _ORDER:
        gone = [*taken, *(frame for frame, _ in chosen)]
        if budgets.get(name, 0) > 0:
            chosen += [(frame, name) for frame in _by(name, frames, pool, budgets[name], gone, rng)]
    missing = count - len(chosen)
    if missing > 0 and needs_potential(method, mixture):
        # Methods by features pass over copies and look at part of the run only: chance fills what they left.
        gone = [*taken, *(frame for frame, _ in chosen)]
        chosen += [(frame, "random") for frame in _by("random", frames, pool, missing, gone, rng)]
    return chosen


def last_frames(n_frames: int, count: int, interval_fs: float) -> list[int]:
    """Return the last frames of a run in order of time, 20 fs apart or more: nearer ones say the same."""
    stride = max(1, round(_LAST_FRAMES_FS / interval_fs))
    return sorted(range(n_frames - 1, -1, -stride)[:count])


def _by(name: str, frames: Frames, pool: _Pool, count: int, gone: Sequence[int], rng: np.random.Generator) -> list[int]:
    from superionic.thermodynamics.selection import farthest_point_sampling, random_snapshots
    from superionic.thermodynamics.selection_diverse import cur_rows, farthest_points

    free = sorted(set(range(len(frames))) - set(gone))
    count = min(count, len(free))
    if count == 0:
        return []
    if name == "random":
        return [free[index] for index in random_snapshots(len(free), count, rng)]
    if name == "farthest-point":
        found = farthest_point_sampling(frames.positions_A, frames.cells_A[0], count, taken=gone)
        return [int(frame) for frame in found]
    if name == "committee":
        looked_at = [frame for frame in pool.indices if frame not in set(gone)]
        grades = pool.deviations(looked_at)
        return [looked_at[index] for index in pick_by_grade(grades, count)]
    rows = pool.features(gone)
    local = {frame: row for row, frame in enumerate(pool.described)}
    away = [local[frame] for frame in gone]
    picked = farthest_points(rows, count, taken=away) if name == "descriptors" else cur_rows(rows, count, taken=away)
    return [pool.described[row] for row in picked]


class _Pool:
    """Frames that are looked at by a potential, and what it said of them."""

    def __init__(
        self, frames: Frames, count: int, potential: Potential | None, progress: Callable[[float, str], None] | None
    ) -> None:
        self._frames = frames
        self._potential: Any = potential
        self._progress = progress
        self.indices = evenly(len(frames), count)
        self._features: dict[int, FloatArray] = {}
        self.described: list[int] = []

    def deviations(self, indices: Sequence[int]) -> list[float]:
        """Largest disagreement about a force in each of these frames, in eV/Å."""
        found = []
        for done, frame in enumerate(indices):
            self._tell(done, len(indices))
            found.append(float(np.max(self._potential.force_deviations(self._frames.atoms(frame)))))
        return found

    def features(self, further: Sequence[int]) -> FloatArray:
        """Features of the frames of the pool and of further ones; ``described`` names the rows."""
        from superionic.potentials.descriptors import atomic_descriptors, structure_features

        numbers = sorted({int(number) for number in self._frames.numbers})
        self.described = sorted({*self.indices, *further})
        for done, frame in enumerate(self.described):
            if frame in self._features:
                continue
            self._tell(done, len(self.described))
            atoms = self._frames.atoms(frame)
            atoms.wrap()
            found = atomic_descriptors(self._potential, atoms, numbers)
            self._features[frame] = structure_features(found, self._frames.numbers, numbers)
        return np.array([self._features[frame] for frame in self.described])

    def _tell(self, done: int, total: int) -> None:
        if self._progress is not None and done % 20 == 0:
            self._progress(done / max(1, total), f"frame {done} of {total}")
