"""Monitor how far a run extrapolates from its potential's training set, and collect structures to learn from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.dynamics.monitors import Limits
from superionic.errors import PotentialError
from superionic.potentials.base import Potential

FloatArray = npt.NDArray[np.float64]


class Extrapolation:
    """Extrapolation grades along one segment, and the structures of high grade.

    Raises
    ------
    PotentialError
        If the limits require grades and the potential has none.
    """

    def __init__(self, potential: Potential, limits: Limits) -> None:
        self._limits = limits
        self._limit_text: str = getattr(
            potential, "grade_limit_text", "the potential extrapolates: grade {grade:.1f} is above {limit:g}"
        )
        self._grade_of: Callable[[Atoms], FloatArray] = getattr(potential, "extrapolation_grade", _no_grade)
        if limits.extrapolation_every > 0 and self._grade_of is _no_grade:
            raise PotentialError(
                f"The potential {potential.identity.name} cannot tell whether it extrapolates.",
                fix="Set extrapolation_every to 0, or use a student (nep) with its active set, or a committee.",
            )
        self.steps: list[int] = []
        self.grades: list[float] = []
        self._collected: list[tuple[float, FloatArray, FloatArray]] = []
        self._stride, self._passed = 1, 0

    def is_due(self, step: int) -> bool:
        """Return whether the grade is evaluated after this step."""
        every = self._limits.extrapolation_every
        return every > 0 and step % every == 0

    def look(self, atoms: Atoms, step: int) -> str | None:
        """Record the grade; collect the structure if it is high; return the reason if the run must end."""
        grade = float(np.max(self._grade_of(atoms)))
        self.steps.append(step)
        self.grades.append(grade)
        ends = not grade <= self._limits.max_extrapolation  # written so that a grade of NaN ends the run, too
        if ends or grade > self._limits.collect_extrapolation:
            self._collect(grade, atoms, always=ends)
        if not ends:
            return None
        return self._limit_text.format(grade=grade, limit=self._limits.max_extrapolation)

    def collected(self, n_atoms: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return positions (n, n_atoms, 3), cells (n, 3, 3) and grades (n,) of the collected structures."""
        positions = np.array([each[1] for each in self._collected], dtype=np.float64).reshape(-1, n_atoms, 3)
        cells = np.array([each[2] for each in self._collected], dtype=np.float64).reshape(-1, 3, 3)
        return positions, cells, np.array([each[0] for each in self._collected], dtype=np.float64)

    def _collect(self, grade: float, atoms: Atoms, *, always: bool) -> None:
        most = self._limits.max_collected
        if most == 0:
            return
        # One excursion gives many nearly identical structures. Once the limit is reached, every second one is
        # dropped and every second one to come is skipped, so that the rest is spread evenly over the segment.
        on_stride = self._passed % self._stride == 0
        self._passed += 1
        if not (on_stride or always):
            return
        if len(self._collected) == most:
            if always:
                self._collected.pop()
            else:
                self._collected = self._collected[::2]
                self._stride *= 2
                if (self._passed - 1) % self._stride or len(self._collected) == most:
                    return
        self._collected.append((grade, atoms.get_positions(), np.array(atoms.cell.array)))


def _no_grade(atoms: Atoms) -> FloatArray:
    raise NotImplementedError(f"no extrapolation grade for {atoms}")
