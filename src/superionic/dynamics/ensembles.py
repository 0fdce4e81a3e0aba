"""ASE's integrators with their hidden state made visible, so that a run can be cut and continued exactly.

Each class here wraps one integrator of :mod:`ase.md` and offers the same four things: make a step, set the target
temperature, give all internal variables, and give the conserved quantity if there is one.

Degrees of freedom: the total momentum is zero in all of them, which leaves g = 3n - 3. ASE's Nosé–Hoover chain
and MTK barostat count 3n, which would put a cell of 30 atoms 3.4 % above its target; here their chains are given g
(and the equations of the cell n - 1 where they count atoms, which is the same).

The chains are those of :mod:`superionic.dynamics.nose_hoover`: ASE's own take 1 ms a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms, units
from ase.constraints import FixCom

from superionic.dynamics.nose_hoover import CellChain, ParticleChain
from superionic.dynamics.settings import MDSettings
from superionic.dynamics.state import degrees_of_freedom
from superionic.errors import SuperionicError
from superionic.units import ev_per_A3

Internals = Mapping[str, npt.NDArray[Any]]

_OF_LAMMPS = "lammps_restart"


class Integrator:
    """Base: velocity Verlet in NVE, without any internal variable."""

    def __init__(self, atoms: Atoms, settings: MDSettings, internals: Internals, rng: np.random.Generator) -> None:
        self.atoms = atoms
        self.settings = settings
        self.rng = rng
        self.dt = settings.timestep_fs * units.fs
        self.tau = settings.thermostat_time_fs * units.fs
        self.dynamics: Any = self._build()
        if internals:
            self._restore(internals)

    def step(self) -> None:
        """Advance the atoms by one time step."""
        self.dynamics.step()

    def set_temperature(self, temperature_K: float) -> None:
        """Set the target temperature (it has none in NVE)."""

    def internals(self) -> dict[str, npt.NDArray[Any]]:
        """Everything beyond positions, momenta and cell that the next step depends on."""
        return {}

    def conserved_eV(self) -> float | None:
        """Conserved quantity in eV; ``None`` where there is none."""
        return float(self.atoms.get_potential_energy() + self.atoms.get_kinetic_energy())

    def close(self) -> None:
        """Let go of what the integrator holds."""

    def _build(self) -> Any:
        from ase.md.verlet import VelocityVerlet

        return VelocityVerlet(self.atoms, self.dt)

    def _restore(self, internals: Internals) -> None:
        pass


class NoseHooverChain(Integrator):
    """NVT with a chain of Nosé–Hoover thermostats (Martyna, Klein and Tuckerman, J. Chem. Phys. 97, 2635 (1992))."""

    def _build(self) -> Any:
        from ase.md.nose_hoover_chain import NoseHooverChainNVT

        dynamics = NoseHooverChainNVT(
            self.atoms,
            self.dt,
            temperature_K=self.settings.temperature_K,
            tdamp=self.tau,
            tchain=self.settings.chain_length,
        )
        self._chain = ParticleChain(degrees_of_freedom(len(self.atoms)), self.settings.chain_length, dynamics.masses)
        dynamics._thermostat = self._chain
        return dynamics

    def set_temperature(self, temperature_K: float) -> None:
        """Set the target temperature of the chain."""
        self._chain.set_temperature(units.kB * temperature_K, self.tau)

    def internals(self) -> dict[str, npt.NDArray[Any]]:
        """Positions and momenta of the chain."""
        return {"eta": np.array(self._chain.positions), "p_eta": np.array(self._chain.momenta)}

    def conserved_eV(self) -> float | None:
        """Give the extended energy."""
        return float(self.dynamics.get_conserved_energy())

    def _restore(self, internals: Internals) -> None:
        self._chain.positions = internals["eta"].tolist()
        self._chain.momenta = internals["p_eta"].tolist()


class StochasticRescaling(Integrator):
    """NVT by stochastic velocity rescaling (Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101 (2007))."""

    def _build(self) -> Any:
        from ase.md.bussi import Bussi

        dynamics = Bussi(self.atoms, self.dt, temperature_K=self.settings.temperature_K, taut=self.tau, rng=self.rng)
        dynamics.ndof = max(1, 3 * len(self.atoms) - 3)
        return dynamics

    def set_temperature(self, temperature_K: float) -> None:
        """Set the target kinetic energy."""
        self.dynamics.temp = temperature_K * units.kB
        self.dynamics.target_kinetic_energy = 0.5 * self.dynamics.temp * self.dynamics.ndof

    def internals(self) -> dict[str, npt.NDArray[Any]]:
        """Energy that the thermostat has put in so far."""
        return {"transferred_energy": np.array(self.dynamics.transferred_energy)}

    def conserved_eV(self) -> float | None:
        """Total energy less what the thermostat has put in."""
        return float(
            self.atoms.get_potential_energy() + self.atoms.get_kinetic_energy() - self.dynamics.transferred_energy
        )

    def _restore(self, internals: Internals) -> None:
        self.dynamics.transferred_energy = float(internals["transferred_energy"])


class LangevinThermostat(Integrator):
    """NVT by Langevin dynamics (Vanden-Eijnden and Ciccotti, Chem. Phys. Lett. 429, 310 (2006)), no drift."""

    def _build(self) -> Any:
        from ase.md.langevin import Langevin

        self.atoms.set_constraint(FixCom())
        return Langevin(
            self.atoms,
            self.dt,
            temperature_K=self.settings.temperature_K,
            friction=1.0 / self.tau,
            fixcm=False,
            rng=self.rng,
        )

    def set_temperature(self, temperature_K: float) -> None:
        """Set the temperature of the bath."""
        self.dynamics.set_temperature(temperature_K=temperature_K)

    def conserved_eV(self) -> float | None:
        """Nothing is conserved."""
        return None


class BerendsenThermostat(Integrator):
    """NVT by weak coupling (Berendsen et al., J. Chem. Phys. 81, 3684 (1984)); not canonical, but paper A's."""

    def _build(self) -> Any:
        from ase.md.nvtberendsen import NVTBerendsen

        return NVTBerendsen(self.atoms, self.dt, temperature_K=self.settings.temperature_K, taut=self.tau, fixcm=True)

    def set_temperature(self, temperature_K: float) -> None:
        """Set the target temperature; ASE measures it with 3n degrees of freedom, hence the factor."""
        n = len(self.atoms)
        self.dynamics.set_temperature(temperature_K=temperature_K * max(1, n - 1) / n)

    def conserved_eV(self) -> float | None:
        """Nothing is conserved."""
        return None


class BerendsenBarostat(BerendsenThermostat):
    """NPT by weak coupling of temperature and (isotropic) cell."""

    def _build(self) -> Any:
        from ase.md.nptberendsen import NPTBerendsen

        settings = self.settings
        return NPTBerendsen(
            self.atoms,
            self.dt,
            temperature_K=settings.temperature_K,
            pressure_au=ev_per_A3(settings.pressure_GPa),
            taut=self.tau,
            taup=settings.barostat_time_fs * units.fs,
            compressibility_au=settings.compressibility_per_GPa / ev_per_A3(1.0),
            fixcm=True,
        )


class MartynaTobiasKlein(Integrator):
    """NPT of Martyna, Tobias and Klein (J. Chem. Phys. 101, 4177 (1994)): isotropic, axes or whole cell."""

    def _build(self) -> Any:
        from superionic.dynamics import mtk

        settings = self.settings
        arguments: dict[str, Any] = {
            "temperature_K": settings.temperature_K,
            "pressure_au": ev_per_A3(settings.pressure_GPa),
            "tdamp": self.tau,
            "pdamp": settings.barostat_time_fs * units.fs,
            "tchain": settings.chain_length,
            "pchain": settings.chain_length,
        }
        if settings.cell_motion == "axes":
            arguments["mask"] = (True, True, True)
        classes: dict[str, Any] = {
            "isotropic": mtk.LightIsotropic,
            "axes": mtk.LightAxes,
            "anisotropic": mtk.LightAnisotropic,
        }
        dynamics = classes[settings.cell_motion](self.atoms, self.dt, **arguments)
        self._counted = max(1, len(self.atoms) - 1)
        dynamics._num_atoms_global = self._counted
        self._particles = ParticleChain(
            degrees_of_freedom(len(self.atoms)), self.settings.chain_length, dynamics.masses
        )
        cell_dof = {"isotropic": 1, "axes": 3, "anisotropic": 9}[settings.cell_motion]
        self._cell = CellChain(cell_dof, settings.chain_length)
        dynamics._thermostat, dynamics._barostat = self._particles, self._cell
        return dynamics

    def set_temperature(self, temperature_K: float) -> None:
        """Set the target temperature of both chains and the masses that follow from it."""
        kT = units.kB * temperature_K
        time = self.settings.barostat_time_fs * units.fs
        isotropic = self.settings.cell_motion == "isotropic"
        self.dynamics._temperature_K = temperature_K
        self.dynamics._kT = kT
        self._particles.set_temperature(kT, self.tau)
        self._cell.set_temperature(kT, time, first=9 if isotropic else None)
        self._cell.W = (3 if isotropic else 1) * (self._counted + 1) * kT * time**2

    def internals(self) -> dict[str, npt.NDArray[Any]]:
        """Both chains, and the cell's momentum and reference."""
        dynamics = self.dynamics
        values = {
            "eta": np.array(self._particles.positions),
            "p_eta": np.array(self._particles.momenta),
            "xi": np.array(self._cell.positions),
            "p_xi": np.array(self._cell.momenta),
        }
        if self.settings.cell_motion == "isotropic":
            values |= {
                "eps": np.array(dynamics._eps),
                "p_eps": np.array(dynamics._p_eps),
                "volume0": np.array(dynamics._volume0),
                "cell0": dynamics._cell0,
            }
        elif self.settings.cell_motion == "axes":
            values |= {"p_c": dynamics._p_c, "h0_basis": dynamics._h0_basis}
        else:
            values |= {"p_g": dynamics._p_g}
        return values

    def conserved_eV(self) -> float | None:
        """Give the extended enthalpy."""
        return float(self.dynamics.get_conserved_energy())

    def _restore(self, internals: Internals) -> None:
        dynamics = self.dynamics
        self._particles.positions = internals["eta"].tolist()
        self._particles.momenta = internals["p_eta"].tolist()
        self._cell.positions = internals["xi"].tolist()
        self._cell.momenta = internals["p_xi"].tolist()
        if self.settings.cell_motion == "isotropic":
            # As plain floats, because numpy scalars and 0-d arrays may take another path through exp.
            dynamics._eps = float(internals["eps"])
            dynamics._p_eps = float(internals["p_eps"])
            dynamics._volume0 = float(internals["volume0"])
            dynamics._cell0 = np.array(internals["cell0"])
        elif self.settings.cell_motion == "axes":
            dynamics._p_c = np.array(internals["p_c"])
            dynamics._h0_basis = np.array(internals["h0_basis"])
        else:
            dynamics._p_g = np.array(internals["p_g"])


def build_integrator(
    atoms: Atoms, settings: MDSettings, internals: Internals, rng: np.random.Generator, step: int = 0
) -> Integrator:
    """Give the integrator that the settings ask for, on ``atoms`` (which it moves), with its internals restored.

    Raises
    ------
    SuperionicError
        If the internals are those of the other engine.
    """
    if internals and (_OF_LAMMPS in internals) != (settings.engine == "lammps"):
        raise SuperionicError(
            f"This state is in the middle of a run by another engine than {settings.engine}.",
            fix="Go on with the engine that began it, or start a new phase with continued_state.",
        )
    if settings.engine == "lammps":
        from superionic.dynamics.lammps import LammpsIntegrator

        return LammpsIntegrator(atoms, settings, internals, rng, step)
    if settings.ensemble == "nve":
        return Integrator(atoms, settings, internals, rng)
    if settings.ensemble == "npt":
        barostat = MartynaTobiasKlein if settings.barostat == "mtk" else BerendsenBarostat
        return barostat(atoms, settings, internals, rng)
    thermostats: dict[str, type[Integrator]] = {
        "nose-hoover-chain": NoseHooverChain,
        "csvr": StochasticRescaling,
        "langevin": LangevinThermostat,
        "berendsen": BerendsenThermostat,
    }
    return thermostats[settings.thermostat](atoms, settings, internals, rng)
