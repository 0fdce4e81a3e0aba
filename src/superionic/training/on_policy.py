"""Is a student right where it goes itself? The gate on frames of its own runs, labelled by the teacher.

What the members of a committee disagree by, and how far they extrapolate, does not show the error that they share: two
students that differed by 20 meV/Å were both off by 63. Some ten labels of the teacher on frames of the students' own
runs do, in cells as large as those of production, since errors in small cells are smaller. They give the bias and
scatter of the energy, the errors of the forces by element, and the difference in pressure, which says more of the
volume than a short run of the teacher.

Pure functions of arrays, and of a potential; they know no tasks and no files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import chemical_symbols

from superionic.dynamics.relax import relax
from superionic.errors import CalculationFailed
from superionic.potentials.base import Potential
from superionic.training.dataset import LabelledSet, Targets
from superionic.training.metrics import ErrorMetrics, errors
from superionic.training.parity import Criterion, rms_force_eV_per_A
from superionic.units import GPA_PER_EV_PER_A3

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OnPolicyLimits:
    """What a student must reach on frames of its own runs.

    Attributes
    ----------
    max_energy_bias_meV_per_atom, max_energy_scatter_meV_per_atom
        Mean and standard deviation of the difference of the energies.
    max_force_error_ratio, max_element_force_error_ratio
        RMSE of the forces over their root mean square: of all atoms, and of those of each element.
    max_stress_rmse_GPa
        Of the components of the stress.
    max_pressure_difference_GPa
        Mean pressure of the student less that of the teacher.
    max_volume_difference_percent
        What that difference makes of the volume.
    """

    max_energy_bias_meV_per_atom: float
    max_energy_scatter_meV_per_atom: float
    max_force_error_ratio: float
    max_element_force_error_ratio: float
    max_stress_rmse_GPa: float
    max_pressure_difference_GPa: float
    max_volume_difference_percent: float


@dataclass(frozen=True)
class ElementForces:
    """Errors of the forces on the atoms of one element.

    Attributes
    ----------
    element
        Symbol.
    rmse_meV_per_A
        Root mean square error of the Cartesian components.
    rms_meV_per_A
        Root mean square of the teacher's.
    """

    element: str
    rmse_meV_per_A: float
    rms_meV_per_A: float

    @property
    def ratio(self) -> float:
        """Error over size; infinite where the teacher's forces are zero and the student's are not."""
        if self.rms_meV_per_A > 0.0:
            return self.rmse_meV_per_A / self.rms_meV_per_A
        return 0.0 if self.rmse_meV_per_A == 0.0 else math.inf


@dataclass(frozen=True)
class OwnFrames:
    """A student against its teacher on frames of one of its own runs.

    Attributes
    ----------
    n_atoms
        Of the cell.
    errors
        Of energies, forces and stresses.
    energy_bias_meV_per_atom, energy_scatter_meV_per_atom
        Mean and standard deviation (n − 1) over the frames of the student's energy less the teacher's.
    rms_force_meV_per_A
        Root mean square of the teacher's force components.
    elements
        Errors of the forces by element, by atomic number.
    pressure_difference_GPa, pressure_error_GPa
        Mean pressure of the student less that of the teacher, and the standard error of that mean as if frames were
        independent of one another; the kinetic part is the same in both.
    teacher_pressure_GPa
        Mean static pressure of the teacher.
    bulk_modulus_GPa
        Of the student, see :func:`bulk_modulus_GPa`; None where it could not be had.
    """

    n_atoms: int
    errors: ErrorMetrics
    energy_bias_meV_per_atom: float
    energy_scatter_meV_per_atom: float
    rms_force_meV_per_A: float
    elements: tuple[ElementForces, ...]
    pressure_difference_GPa: float
    pressure_error_GPa: float
    teacher_pressure_GPa: float
    bulk_modulus_GPa: float | None

    @property
    def force_ratio(self) -> float:
        """RMSE of the force components over their root mean square."""
        return self.errors.rmse_force_meV_per_A / self.rms_force_meV_per_A

    @property
    def volume_difference_percent(self) -> float | None:
        """By how much the student's volume at a given pressure exceeds the teacher's, to first order: 100 Δp/B."""
        if self.bulk_modulus_GPa is None or self.bulk_modulus_GPa <= 0.0:
            return None
        return 100.0 * self.pressure_difference_GPa / self.bulk_modulus_GPa


def compare_own_frames(teacher: LabelledSet, student: Targets, bulk_modulus_GPa: float | None) -> OwnFrames:
    """Compare a student with its teacher on frames of one run.

    Parameters
    ----------
    teacher
        Frames with the teacher's labels, all of one composition and with stresses; two at least.
    student
        What the student says of them.

    Raises
    ------
    ValueError
        If there are fewer than two frames, or cells of different sizes.
    """
    reference = teacher.targets
    if len(teacher) < 2 or len(set(reference.n_atoms.tolist())) != 1:
        raise ValueError("compare two frames at least, of one cell")
    n_atoms = int(reference.n_atoms[0])
    energy = 1.0e3 * (student.energies_eV - reference.energies_eV) / n_atoms
    ours, theirs = np.concatenate(student.forces_eV_per_A), np.concatenate(reference.forces_eV_per_A)
    numbers = np.concatenate([atoms.numbers for atoms in teacher.structures])
    elements = tuple(
        ElementForces(
            chemical_symbols[int(number)],
            _root_mean_square(1.0e3 * (ours - theirs)[numbers == number]),
            _root_mean_square(1.0e3 * theirs[numbers == number]),
        )
        for number in np.unique(numbers)
    )
    pressures = [-GPA_PER_EV_PER_A3 * one.stresses_eV_per_A3[:, :3].mean(axis=1) for one in (student, reference)]
    difference = pressures[0] - pressures[1]
    return OwnFrames(
        n_atoms=n_atoms,
        errors=errors(student, reference),
        energy_bias_meV_per_atom=float(energy.mean()),
        energy_scatter_meV_per_atom=float(energy.std(ddof=1)),
        rms_force_meV_per_A=1.0e3 * rms_force_eV_per_A(reference),
        elements=elements,
        pressure_difference_GPa=float(difference.mean()),
        pressure_error_GPa=float(difference.std(ddof=1)) / math.sqrt(len(difference)),
        teacher_pressure_GPa=float(pressures[1].mean()),
        bulk_modulus_GPa=bulk_modulus_GPa,
    )


def _root_mean_square(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def bulk_modulus_GPa(
    potential: Potential, atoms: Atoms, *, strain: float = 0.01, fmax_eV_per_A: float = 0.02, max_steps: int = 200
) -> float | None:
    """Bulk modulus −V dp/dV of a structure by a central difference, its atoms relaxed at each of two volumes.

    Both relaxations start from the structure relaxed at its own volume, so that they stay in one basin.

    Parameters
    ----------
    potential
        With stress.
    atoms
        The structure, for instance a frame of a run: its volume is that at which B is taken.
    strain
        Relative change of the volume on either side.
    fmax_eV_per_A, max_steps
        Of the relaxations.

    Returns
    -------
    float or None
        In GPa; None where a relaxation fails or B is not positive.
    """
    try:
        start = relax(atoms, potential, cell=False, fmax_eV_per_A=fmax_eV_per_A, max_steps=max_steps).atoms
        pressures = []
        for sign in (-1.0, 1.0):
            scaled = Atoms(start.numbers, positions=start.positions, cell=start.cell, pbc=True)
            scaled.set_cell(start.cell.array * (1.0 + sign * strain) ** (1.0 / 3.0), scale_atoms=True)
            end = relax(scaled, potential, cell=False, fmax_eV_per_A=fmax_eV_per_A, max_steps=max_steps).atoms
            stress = potential.evaluate(Atoms(end.numbers, positions=end.positions, cell=end.cell, pbc=True))
            if stress.stress_eV_per_A3 is None:
                return None
            pressures.append(-GPA_PER_EV_PER_A3 * float(np.mean(stress.stress_eV_per_A3[:3])))
    except CalculationFailed:
        return None
    modulus = (pressures[0] - pressures[1]) / (2.0 * strain)
    return modulus if modulus > 0.0 else None


def on_policy_criteria(runs: Sequence[tuple[str, OwnFrames]], limits: OnPolicyLimits) -> list[Criterion]:
    """Judge students on frames of their own runs: the worst run counts.

    Parameters
    ----------
    runs
        Name of each run, and what was seen on it.
    limits
        What must be reached.

    Returns
    -------
    list of Criterion
        Bias and scatter of the energy, forces, forces by element, stress, pressure, and the volume that follows.
    """
    if not runs:
        return [Criterion("energies and forces on own frames", None, "not tested: no run gave frames with labels")]
    frames = sum(one.errors.n_structures for _, one in runs)
    criteria = []

    def judge(name: str, values: Sequence[tuple[float, str]], limit: float, unit: str, words: str) -> None:
        value, where = max(values, key=lambda pair: abs(pair[0]))
        text = f"{words.format(value=value, where=where)}; the limit is {limit:g} {unit}"
        criteria.append(Criterion(name, abs(value) <= limit, text, value, limit, unit))

    judge(
        "energy bias on own frames",
        [(one.energy_bias_meV_per_atom, name) for name, one in runs],
        limits.max_energy_bias_meV_per_atom,
        "meV/atom",
        f"student less teacher {{value:+.2g}} meV/atom in {{where}}, the worst of {len(runs)} runs ({frames} frames)",
    )
    judge(
        "energy scatter on own frames",
        [(one.energy_scatter_meV_per_atom, name) for name, one in runs],
        limits.max_energy_scatter_meV_per_atom,
        "meV/atom",
        "standard deviation {value:.2g} meV/atom in {where}",
    )
    name, worst = max(runs, key=lambda run: run[1].force_ratio)
    ratio = worst.force_ratio
    criteria.append(
        Criterion(
            "forces on own frames",
            ratio <= limits.max_force_error_ratio,
            f"RMSE {worst.errors.rmse_force_meV_per_A:.3g} meV/Å in {name}, {100.0 * ratio:.2g} % of the RMS force of "
            f"{worst.rms_force_meV_per_A:.3g} meV/Å; the limit is {100.0 * limits.max_force_error_ratio:g} %",
            ratio,
            limits.max_force_error_ratio,
            "RMSE / RMS force",
        )
    )
    name, element = max(
        ((name, element) for name, one in runs for element in one.elements), key=lambda pair: pair[1].ratio
    )
    criteria.append(
        Criterion(
            "forces by element on own frames",
            element.ratio <= limits.max_element_force_error_ratio,
            f"worst on {element.element} in {name}: RMSE {element.rmse_meV_per_A:.3g} of {element.rms_meV_per_A:.3g} "
            f"meV/Å, {100.0 * element.ratio:.2g} %; the limit is {100.0 * limits.max_element_force_error_ratio:g} %",
            element.ratio,
            limits.max_element_force_error_ratio,
            "RMSE / RMS force",
        )
    )
    stresses = [(one.errors.rmse_stress_GPa, name) for name, one in runs if one.errors.rmse_stress_GPa is not None]
    if stresses:
        judge("stress on own frames", stresses, limits.max_stress_rmse_GPa, "GPa", "RMSE {value:.2g} GPa in {where}")
    judge(
        "mean pressure on own frames",
        [(one.pressure_difference_GPa, name) for name, one in runs],
        limits.max_pressure_difference_GPa,
        "GPa",
        "student less teacher {value:+.2g} GPa in {where}",
    )
    volumes = [(one.volume_difference_percent, name) for name, one in runs if one.volume_difference_percent is not None]
    if len(volumes) == len(runs):
        judge(
            "volume that the pressure makes",
            volumes,
            limits.max_volume_difference_percent,
            "%",
            "{value:+.2g} % in {where}, by the bulk modulus of the student",
        )
    else:
        words = "not tested: the bulk modulus of the student could not be had in every run"
        criteria.append(Criterion("volume that the pressure makes", None, words))
    return criteria
