"""Settings of a molecular-dynamics run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from superionic.errors import SuperionicError

Ensemble = Literal["nve", "nvt", "npt"]
Thermostat = Literal["nose-hoover-chain", "csvr", "langevin", "berendsen"]
Barostat = Literal["mtk", "berendsen"]
CellMotion = Literal["isotropic", "axes", "anisotropic"]
Engine = Literal["ase", "lammps"]


@dataclass(frozen=True)
class MDSettings:
    """Settings of a run; frozen, and checked when created.

    Attributes
    ----------
    temperature_K
        Target temperature; in NVE that of the initial velocities.
    ensemble
        ``"nve"``, ``"nvt"`` or ``"npt"``.
    thermostat
        Thermostat of NVT: ``"nose-hoover-chain"`` (Martyna, Klein and Tuckerman 1992; paper B), ``"csvr"`` (Bussi,
        Donadio and Parrinello 2007), ``"langevin"``, or ``"berendsen"`` (paper A; it does not sample the canonical
        ensemble: use it to repeat published work). Each barostat of NPT requires the thermostat of its derivation:
        ``"mtk"`` the chain, ``"berendsen"`` Berendsen's; any other is an error.
    barostat
        Barostat of NPT: ``"mtk"`` (Martyna, Tobias and Klein 1994) or ``"berendsen"``.
    cell_motion
        Motion of the cell in NPT: ``"isotropic"``; ``"axes"`` (independent lengths a, b, c at fixed angles; ``"mtk"``
        only); ``"anisotropic"`` (lengths and angles; ``"mtk"`` only).
    pressure_GPa
        Target pressure of NPT (1 bar = 1e-4 GPa).
    timestep_fs
        Time step (papers A and B: 1 fs).
    thermostat_time_fs
        Coupling time of the thermostat (paper B: 100 fs); for Langevin the inverse friction.
    barostat_time_fs
        Coupling time of the barostat (paper B: 1 ps).
    compressibility_per_GPa
        Compressibility for Berendsen's barostat; it sets the rate, not the mean.
    chain_length
        Number of thermostats in the chain.
    save_every
        A frame is saved at each step that is a multiple of this.
    ramp_from_K, ramp_steps
        Linear heating: the target goes from ``ramp_from_K`` to ``temperature_K`` over the first ``ramp_steps`` steps,
        and the velocities start at ``ramp_from_K`` (paper B: from 100 K over 2 ps with the cell fixed). ``None`` and
        0: no ramp.
    engine
        Program that integrates: ``"ase"``, the integrators of :mod:`superionic.dynamics.integrators` on structures of
        ASE, or ``"lammps"`` (its Python module must be importable; see
        :mod:`superionic.dynamics.lammps`). Both follow these settings and give the same observables within errors.
    record_pressure
        Whether pressure is recorded in NVE and NVT too (it costs a stress evaluation a step); NPT always records it.
    """

    temperature_K: float
    ensemble: Ensemble = "nvt"
    thermostat: Thermostat = "nose-hoover-chain"
    barostat: Barostat = "mtk"
    cell_motion: CellMotion = "isotropic"
    pressure_GPa: float = 1.0e-4
    timestep_fs: float = 1.0
    thermostat_time_fs: float = 100.0
    barostat_time_fs: float = 1000.0
    compressibility_per_GPa: float = 0.03
    chain_length: int = 3
    save_every: int = 10
    ramp_from_K: float | None = None
    ramp_steps: int = 0
    record_pressure: bool = False
    engine: Engine = "ase"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("ensemble", Ensemble),
            ("thermostat", Thermostat),
            ("barostat", Barostat),
            ("cell_motion", CellMotion),
            ("engine", Engine),
        ):
            value = getattr(self, name)
            if value not in get_args(allowed):
                raise _wrong(f"{name} is {value!r}", f"choose one of {', '.join(get_args(allowed))}")
        positive = ("temperature_K", "timestep_fs", "thermostat_time_fs", "barostat_time_fs", "compressibility_per_GPa")
        for name in positive:
            if not getattr(self, name) > 0:
                raise _wrong(f"{name} is {getattr(self, name)}", "give a number above zero")
        if self.chain_length < 1 or self.save_every < 1 or self.ramp_steps < 0:
            raise _wrong(
                "chain_length, save_every or ramp_steps is out of range", "give whole numbers of at least 1, 1 and 0"
            )
        if (self.ramp_from_K is None) != (self.ramp_steps == 0):
            raise _wrong("only one of ramp_from_K and ramp_steps is given", "give both or neither")
        if self.ramp_from_K is not None and not self.ramp_from_K > 0:
            raise _wrong(f"ramp_from_K is {self.ramp_from_K}", "give a number above zero")
        if self.ensemble == "npt":
            needed = "nose-hoover-chain" if self.barostat == "mtk" else "berendsen"
            if self.thermostat != needed:
                raise _wrong(
                    f"NPT with the barostat {self.barostat} does not work with the thermostat {self.thermostat}",
                    f"use the thermostat {needed} for NPT",
                )
            if self.barostat == "berendsen" and self.cell_motion != "isotropic":
                raise _wrong("Berendsen's barostat moves the cell isotropically only", "use the barostat mtk")

    def target_temperature_K(self, step: int) -> float:
        """Return the target temperature during step number ``step`` (from 1)."""
        if self.ramp_from_K is None or step >= self.ramp_steps:
            return self.temperature_K
        return self.ramp_from_K + (self.temperature_K - self.ramp_from_K) * (step / self.ramp_steps)

    @property
    def start_temperature_K(self) -> float:
        """Temperature of the starting velocities."""
        return self.temperature_K if self.ramp_from_K is None else self.ramp_from_K

    @property
    def needs_stress(self) -> bool:
        """Whether each step requires the stress."""
        return self.ensemble == "npt" or self.record_pressure

    @property
    def frame_interval_ps(self) -> float:
        """Time between saved frames in ps."""
        return self.save_every * self.timestep_fs * 1.0e-3


def _wrong(what: str, fix: str) -> SuperionicError:
    return SuperionicError(f"Molecular dynamics: {what}.", fix=fix[0].upper() + fix[1:] + ".")
