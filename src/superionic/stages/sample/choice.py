"""The choice of frames of a run for labelling. Part of the stage *sample*; its functions run in tasks.

Methods based on features consider frames spread evenly over the run, since each costs an evaluation. The methods of a
mixture take turns, and none chooses a frame that another has chosen.
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
        """Return one frame as a structure, with unwrapped positions."""
        from ase import Atoms

        return Atoms(numbers=self.numbers, positions=self.positions_A[index], cell=self.cells_A[index], pbc=True)


def needs_potential(method: str, mixture: Mapping[str, float]) -> bool:
    """Return whether frames are chosen by evaluating a potential."""
    return bool({"descriptors", "cur", "committee"} & ({method} if method != "mixture" else set(mixture)))


def needs_committee(method: str, mixture: Mapping[str, float]) -> bool:
    """Return whether frames are chosen by the disagreement of a committee."""
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
    count
        Largest number of frames, in addition to those taken.
    method, mixture
        ``sample.snapshot_method`` and ``sample.snapshot_mixture`` of the campaign file.
    candidate_frames
        Number of frames that methods based on features consider.
    potential
        Potential for descriptors, and for the disagreement if it is a committee; None if no method needs it.
    taken
        Frames that are already chosen.
    progress
        Called occasionally with the fraction done and a message.

    Returns
    -------
    list of (int, str)
        Chosen frames, each with the method that chose it.
    """
    from superionic.training.diverse import shares

    count = min(count, len(frames) - len(set(taken)))
    budgets = shares(count, mixture) if method == "mixture" else {method: count}
    if "committee" in budgets and not hasattr(potential, "force_deviations"):
        # Before the first training there is no committee to ask.
        budget = budgets.pop("committee")
        budgets["descriptors"] = budgets.get("descriptors", 0) + budget
    pool = _Pool(frames, candidate_frames, potential, progress)
    picked: list[tuple[int, str]] = []
    for name in _ORDER:
        excluded = [*taken, *(frame for frame, _ in picked)]
        if budgets.get(name, 0) > 0:
            picked += [(frame, name) for frame in _by(name, frames, pool, budgets[name], excluded, rng)]
    missing = count - len(picked)
    if missing > 0 and needs_potential(method, mixture):
        # Methods based on features skip duplicates and consider only part of the run: random frames fill the gap.
        excluded = [*taken, *(frame for frame, _ in picked)]
        picked += [(frame, "random") for frame in _by("random", frames, pool, missing, excluded, rng)]
    return picked


def last_frames(n_frames: int, count: int, interval_fs: float) -> list[int]:
    """Return the last frames of a run in order of time, at least 20 fs apart, since closer ones add nothing."""
    stride = max(1, round(_LAST_FRAMES_FS / interval_fs))
    return sorted(range(n_frames - 1, -1, -stride)[:count])


def _by(
    name: str, frames: Frames, pool: _Pool, count: int, excluded: Sequence[int], rng: np.random.Generator
) -> list[int]:
    from superionic.training.diverse import cur_rows, farthest_points
    from superionic.training.snapshots import farthest_point_sampling, random_snapshots

    free = sorted(set(range(len(frames))) - set(excluded))
    count = min(count, len(free))
    if count == 0:
        return []
    if name == "random":
        return [free[index] for index in random_snapshots(len(free), count, rng)]
    if name == "farthest-point":
        farthest = farthest_point_sampling(frames.positions_A, frames.cells_A[0], count, taken=excluded)
        return [int(frame) for frame in farthest]
    if name == "committee":
        available = [frame for frame in pool.indices if frame not in set(excluded)]
        grades = pool.deviations(available)
        return [available[index] for index in pick_by_grade(grades, count)]
    rows = pool.features(excluded)
    row_of = {frame: row for row, frame in enumerate(pool.described)}
    taken = [row_of[frame] for frame in excluded]
    picked = farthest_points(rows, count, taken=taken) if name == "descriptors" else cur_rows(rows, count, taken=taken)
    return [pool.described[row] for row in picked]


class _Pool:
    """Frames considered by methods that need a potential, with its evaluations."""

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
        """Return the largest disagreement about a force in each of these frames, in eV/Å."""
        largest = []
        for done, frame in enumerate(indices):
            self._report(done, len(indices))
            largest.append(float(np.max(self._potential.force_deviations(self._frames.atoms(frame)))))
        return largest

    def features(self, further: Sequence[int]) -> FloatArray:
        """Return features of the frames of the pool and of further ones; ``described`` lists the frames of the rows."""
        from superionic.potentials.descriptors import atomic_descriptors, structure_features

        numbers = sorted({int(number) for number in self._frames.numbers})
        self.described = sorted({*self.indices, *further})
        for done, frame in enumerate(self.described):
            if frame in self._features:
                continue
            self._report(done, len(self.described))
            atoms = self._frames.atoms(frame)
            atoms.wrap()
            descriptors = atomic_descriptors(self._potential, atoms, numbers)
            self._features[frame] = structure_features(descriptors, self._frames.numbers, numbers)
        return np.array([self._features[frame] for frame in self.described])

    def _report(self, done: int, total: int) -> None:
        if self._progress is not None and done % 20 == 0:
            self._progress(done / max(1, total), f"frame {done} of {total}")
