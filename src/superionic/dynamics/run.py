"""Molecular dynamics in one call, for notebooks, with the frames in memory for analysis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.chemistry import reduced_formula
from superionic.dynamics.md import Segment, initial_state, run_segment
from superionic.dynamics.monitors import Limits
from superionic.dynamics.settings import Barostat, CellMotion, Ensemble, MDSettings, Thermostat
from superionic.errors import SuperionicError
from superionic.potentials.base import Potential
from superionic.shown import Shown
from superionic.trajectories.reading.base import FRAMES_PER_BLOCK, Block, FilePosition, ReadWarning


@dataclass(frozen=True, eq=False, repr=False)
class MDRun(Shown):
    """A run of molecular dynamics: its settings, its frames, and the state at its end.

    It is a :class:`.TrajectoryReader`, so ``superionic.analyse(run)`` accepts it.

    Attributes
    ----------
    name
        Formula and temperature.
    potential
        Name and model of the potential.
    segment
        Frames (unwrapped), temperatures, energies, pressures; ``segment.state`` is where the run ended.
    notices, place
        Warnings and position of a reader of the trajectory.
    """

    name: str
    settings: MDSettings
    potential: str
    segment: Segment
    notices: list[ReadWarning] = field(default_factory=list)
    place: FilePosition = field(default_factory=dict)

    format = "run"
    unwrapped = True
    counts_steps = True

    @property
    def atoms(self) -> Atoms:
        """The structure at the end, with momenta; positions are unwrapped."""
        return self.segment.state.to_atoms()

    @property
    def symbols(self) -> tuple[str, ...]:
        """(n_atoms,) element symbols."""
        return tuple(self.atoms.get_chemical_symbols())

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.segment.steps)

    @property
    def step_ps(self) -> float:
        """Time step in ps, in which frames are numbered."""
        return self.settings.timestep_fs * 1.0e-3

    @property
    def temperature_K(self) -> float | None:
        """Target temperature of the run; None in NVE."""
        return None if self.settings.ensemble == "nve" else self.settings.temperature_K

    def blocks(self, frames_per_block: int = FRAMES_PER_BLOCK, start: FilePosition | None = None) -> Iterator[Block]:
        """Yield the frames in order."""
        first = 0 if start is None else int(start["frame"])
        frames = self.segment
        for begin in range(first, self.n_frames, frames_per_block):
            part = slice(begin, begin + frames_per_block)
            self.place["frame"] = min(begin + frames_per_block, self.n_frames)
            cells = frames.cells_A[part]
            yield Block(frames.steps[part], frames.positions_A[part] @ np.linalg.inv(cells), cells)

    def _facts(self) -> Iterator[tuple[str, str]]:
        frames, settings = self.segment, self.settings
        bath = "" if settings.ensemble == "nve" else f", {settings.thermostat}"
        yield self.name, f"{settings.ensemble.upper()}{bath}, by {self.potential}"
        if self.n_frames:
            yield "length", f"{frames.times_ps[-1] - frames.times_ps[0]:g} ps, {self.n_frames} frames"
            yield "mean temperature", f"{frames.temperatures_K.mean():.1f} K"
            yield "mean potential energy", f"{frames.potential_energies_eV.mean():.4f} eV"
            volumes = np.abs(np.linalg.det(frames.cells_A))
            yield "mean volume", f"{volumes.mean():.2f} Å³"
        for flag in (*frames.flags, *([frames.stopped] if frames.stopped else [])):
            yield "note:", flag

    def _records(self) -> Iterator[dict[str, Any]]:
        frames = self.segment
        columns: dict[str, npt.NDArray[Any] | None] = {
            "step": frames.steps,
            "time_ps": frames.times_ps,
            "temperature_K": frames.temperatures_K,
            "potential_energy_eV": frames.potential_energies_eV,
            "kinetic_energy_eV": frames.kinetic_energies_eV,
            "pressure_GPa": frames.pressures_GPa,
            "conserved_eV": frames.conserved_eV,
            "volume_A3": np.abs(np.linalg.det(frames.cells_A)),
        }
        known = {name: column.tolist() for name, column in columns.items() if column is not None}
        for row in zip(*known.values(), strict=True):
            yield dict(zip(known, row, strict=True))


def run_md(
    atoms: Atoms | MDRun,
    model: Potential,
    *,
    temperature_K: float | None = None,
    ps: float,
    ensemble: Ensemble | None = None,
    thermostat: Thermostat | None = None,
    barostat: Barostat | None = None,
    cell_motion: CellMotion | None = None,
    pressure_GPa: float | None = None,
    timestep_fs: float | None = None,
    save_every: int | None = None,
    seed: int | None = None,
    settings: MDSettings | None = None,
    limits: Limits | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> MDRun:
    """Run molecular dynamics and keep the frames in memory.

    Parameters
    ----------
    atoms
        Starting point, not modified: a structure (velocities are drawn at the temperature), or an earlier run, which
        continues with its settings exactly as if it had never stopped.
    model
        The potential; see :func:`superionic.load_model`.
    temperature_K
        Target temperature; in NVE that of the initial velocities.
    ps
        Length of the run in ps.
    ensemble, thermostat, barostat, cell_motion, pressure_GPa, timestep_fs, save_every
        See :class:`superionic.dynamics.settings.MDSettings`, whose defaults apply where None; with Berendsen's
        barostat the default is Berendsen's thermostat.
    seed
        Seed of velocities and stochastic thermostats; the same seed gives the same run. 0 if None.
    settings
        All settings in one object, instead of the keywords, including those without a keyword here.
    limits
        Limits at which the run is stopped.
    progress
        Called now and then with the fraction done and a message.

    Returns
    -------
    MDRun
        ``superionic.analyse(run)`` gives diffusivities and conductivities.

    Raises
    ------
    SuperionicError
        If a setting is wrong or would have no effect, or the temperature is missing.
    CalculationFailed
        If the run fails.
    PotentialError
        If the potential does not cover an element.
    """
    keywords: dict[str, Any] = {
        "temperature_K": temperature_K, "ensemble": ensemble, "thermostat": thermostat, "barostat": barostat,
        "cell_motion": cell_motion, "pressure_GPa": pressure_GPa, "timestep_fs": timestep_fs, "save_every": save_every,
    }  # fmt: skip
    keywords_set = {name: value for name, value in keywords.items() if value is not None}
    if isinstance(atoms, MDRun):
        options = {"settings": settings, "seed": seed}
        _demand_none(
            [*keywords_set, *(name for name, value in options.items() if value is not None)], "a run that goes on"
        )
        md_settings, state = atoms.settings, atoms.segment.state
    else:
        if settings is not None:
            _demand_none(keywords_set, "settings")
        md_settings = _settings(keywords_set) if settings is None else settings
        state = initial_state(atoms, md_settings, 0 if seed is None else seed)
    n_steps = round(ps * 1000.0 / md_settings.timestep_fs)
    if n_steps < 1:
        raise SuperionicError(
            f"Molecular dynamics: {ps:g} ps are less than a step of {md_settings.timestep_fs:g} fs.",
            fix="Give a longer time.",
        )
    segment = run_segment(state, model, md_settings, n_steps, progress=progress, limits=limits)
    identity = model.identity
    formula = reduced_formula(Counter(segment.state.to_atoms().get_chemical_symbols()))
    name = f"{formula}, {md_settings.temperature_K:g} K"
    return MDRun(name, md_settings, f"{identity.name} {identity.model}", segment)


def _settings(keywords_set: dict[str, Any]) -> MDSettings:
    if "temperature_K" not in keywords_set:
        raise SuperionicError("Molecular dynamics: the temperature is missing.", fix="Give it, e.g. temperature_K=700.")
    # Berendsen's barostat requires Berendsen's thermostat; all else has its default.
    berendsen = keywords_set.get("ensemble") == "npt" and keywords_set.get("barostat") == "berendsen"
    return MDSettings(**(({"thermostat": "berendsen"} if berendsen else {}) | keywords_set))


def _demand_none(names: Iterable[str], beside: str) -> None:
    listed = ", ".join(names)
    if listed:
        raise SuperionicError(
            f"Molecular dynamics: {listed} would have no effect together with {beside}, which sets everything.",
            fix="Leave it out; to continue with other settings, start from run.atoms.",
        )
