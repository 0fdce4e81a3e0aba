"""LAMMPS as the integrator of any potential, behind the same contract as our own integrators.

The potential is called from LAMMPS' ``fix external``: forces, energy and virial come from Python, and everything that
moves atoms and cell (``fix nve``, ``nvt``, ``npt``, ``temp/berendsen``, ``press/berendsen``) is LAMMPS'.

Exact restart. LAMMPS carries rounding from step to step that its restart files do not contain: a Nosé–Hoover chain
scales a temperature instead of summing it anew, and wrapping in an oblique cell goes through fractional coordinates.
So every step is a ``run`` of its own, which with a chain or a barostat computes all such things from the state; atoms
are never wrapped (there are no neighbour lists to need it); and the restart file, which holds the variables of
thermostat and barostat, is stored together with the exact positions and velocities. Segments then equal one run bit for
bit, in every ensemble.

The two stochastic thermostats draw from the random generator of the state, on top of LAMMPS' ``fix nve``. LAMMPS' own
cannot be restarted exactly (``fix temp/csvr`` forgets the second of each pair of normal numbers, ``fix langevin``
all of its generator), and its Langevin corrects the total momentum by equal forces, which heats mixtures of light and
heavy ions; here the noise is projected onto zero total momentum by mass.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from math import exp, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms, units

from superionic.dynamics.evaluation import Evaluation
from superionic.dynamics.lammps.library import Frame, box_of, create_atoms, start_lammps
from superionic.dynamics.settings import MDSettings
from superionic.dynamics.state import degrees_of_freedom, pack_rng
from superionic.errors import CalculationFailed, SuperionicError
from superionic.units import BAR_PER_GPA, BOLTZMANN_EV_PER_K

FloatArray = npt.NDArray[np.float64]

_PS = 1.0e3 * units.fs
"""1 ps in ASE's unit of time."""


class LammpsIntegrator:
    """One instance of LAMMPS that moves ``atoms``, whose calculator must be an :class:`Evaluation`.

    Raises
    ------
    SuperionicError
        If the settings require what LAMMPS lacks: Berendsen's barostat or motion of the axes in an oblique cell.
    """

    def __init__(
        self,
        atoms: Atoms,
        settings: MDSettings,
        internals: Mapping[str, npt.NDArray[Any]],
        rng: np.random.Generator,
        step: int,
    ) -> None:
        self.atoms = atoms
        self.settings = settings
        self.rng = rng
        self._evaluation: Evaluation = atoms.calc
        self._step = step
        self._masses: FloatArray = atoms.get_masses()[:, None]
        self._to_momenta: FloatArray = self._masses / _PS
        self._bath_K = settings.temperature_K
        self._friction: FloatArray | None = None
        self._transferred_eV = 0.0
        self._failure: BaseException | None = None
        self._setting_up = False
        # Where the state after a step is more than positions, velocities and forces, each step begins from the state.
        self._anew = settings.ensemble == "npt" or (
            settings.ensemble == "nvt" and settings.thermostat == "nose-hoover-chain"
        )
        self._instance: Any = None
        if internals:
            self._frame = Frame(np.array(internals["lammps_turn"]))
            if "friction" in internals:
                self._friction = np.array(internals["friction"])
            self._transferred_eV = float(internals.get("transferred_energy", 0.0))
            self._read(internals)
        else:
            self._frame = Frame.of(atoms.cell.array)
            self._create()

    def step(self) -> None:
        """Advance the atoms by one time step."""
        ramp_steps = self.settings.ramp_steps
        if self._ramping and self._step >= ramp_steps:
            # LAMMPS has no target temperature that rises and then stays constant, so a ramp is followed by a new
            # instance.
            state = self.internals()
            self.close()
            self._read(state)
        ramp = f" start 0 stop {ramp_steps}" if self._ramping else ""
        if self._anew:
            self._begin_from(self._x)
        self._command(f"run 1 {'' if self._anew else 'pre no '}post no{ramp}")
        self._step += 1
        if self._thermostat == "csvr":
            self._rescale()
        self._hand_over()

    def set_temperature(self, temperature_K: float) -> None:
        """Set the temperature of a stochastic bath (LAMMPS itself follows the ramp of the settings)."""
        self._bath_K = temperature_K

    def internals(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that the next step depends on beyond positions, momenta and cell; the last use of the instance."""
        internals: dict[str, npt.NDArray[Any]] = {
            "lammps_turn": self._frame.turn,
            "lammps_velocities": self._v.copy(),
            "lammps_positions": self._x.copy(),
        }
        if self._friction is not None:
            internals["friction"] = self._friction
        if self._thermostat == "csvr":
            internals["transferred_energy"] = np.array(self._transferred_eV)
        self._into_the_box()
        with tempfile.TemporaryDirectory(prefix="superionic-") as folder:
            file = Path(folder) / "restart"
            self._command(f"write_restart {file}")
            internals["lammps_restart"] = np.frombuffer(file.read_bytes(), dtype=np.uint8)
        return internals

    def random(self) -> npt.NDArray[np.uint64]:
        """Return the state of the random generator, as :attr:`superionic.dynamics.state.MDState.rng`."""
        return pack_rng(self.rng.bit_generator.state)

    def conserved_eV(self) -> float | None:
        """Return the conserved quantity in eV; ``None`` for Langevin and Berendsen."""
        energy = float(self.atoms.get_potential_energy() + self.atoms.get_kinetic_energy())
        settings = self.settings
        if settings.ensemble == "nve":
            return energy
        if settings.ensemble == "npt":
            return energy + self._barostat_energy_eV() if settings.barostat == "mtk" else None
        if settings.thermostat == "nose-hoover-chain":
            return energy + self._scalar("md")
        return energy - self._transferred_eV if settings.thermostat == "csvr" else None

    def close(self) -> None:
        """End the instance."""
        if self._instance is not None:
            self._instance.close()
            self._instance = None

    # ---- making the instance -----------------------------------------------------------------------------------------

    def _create(self) -> None:
        atoms = self.atoms
        kinds, types = np.unique(
            np.column_stack([atoms.numbers.astype(np.float64), self._masses[:, 0]]), axis=0, return_inverse=True
        )
        positions = self._frame.theirs(atoms.positions)
        velocities = self._frame.theirs(atoms.get_momenta() / self._to_momenta)
        cell = self._frame.cell(atoms.cell.array)
        settings = self.settings
        oblique = bool(np.tril(cell, -1).any())
        if settings.ensemble == "npt" and oblique:
            if settings.barostat == "berendsen":
                raise _not_in_lammps("Berendsen's barostat for oblique cells", "Use the barostat mtk")
            if settings.cell_motion == "axes":
                raise _not_in_lammps(
                    "motion of the axes at fixed angles for oblique cells", "Use the motion isotropic or anisotropic"
                )
        oblique = oblique or (settings.ensemble == "npt" and settings.cell_motion == "anisotropic")
        self._instance = start_lammps()
        create_atoms(self._instance, cell, types.ravel() + 1, kinds[:, 1], oblique=oblique)
        self._instance.command(f"reset_timestep {self._step}")
        self._set_up(positions, velocities)

    def _read(self, internals: Mapping[str, npt.NDArray[Any]]) -> None:
        with tempfile.TemporaryDirectory(prefix="superionic-") as folder:
            file = Path(folder) / "restart"
            self._instance = start_lammps()
            file.write_bytes(np.asarray(internals["lammps_restart"], dtype=np.uint8).tobytes())
            self._instance.command("box tilt large")
            self._command(f"read_restart {file}")
        self._set_up(np.asarray(internals["lammps_positions"]), np.asarray(internals["lammps_velocities"]))

    def _set_up(self, positions: FloatArray, velocities: FloatArray) -> None:
        instance = self._instance
        self._ramping = self._step < self.settings.ramp_steps
        instance.commands_list(
            [
                "comm_modify cutoff 0.1",
                "neigh_modify every 1000000000 delay 1000000000 check no",
                "thermo_style custom step",
                "thermo 0",
                f"timestep {self.settings.timestep_fs * 1.0e-3!r}",
                "fix potential all external pf/callback 1 1",
                "fix_modify potential energy yes virial yes",
                *self._fixes(),  # after the potential, whose virial a barostat requires during its setup
            ]
        )
        instance.set_fix_external_callback("potential", self._called, None)
        self._x = instance.numpy.extract_atom("x")[: len(self.atoms)]
        self._v = instance.numpy.extract_atom("v")[: len(self.atoms)]
        self._v[:] = velocities
        self._image = instance.numpy.extract_atom("image")[: len(self.atoms)]
        self._home = instance.encode_image_flags(0, 0, 0)
        self._origin, self._cell = box_of(instance)
        self._begin_from(positions)
        self._command("run 0 post no")
        tags = instance.numpy.extract_atom("id")[: len(self.atoms)]
        if not np.array_equal(tags, np.arange(1, len(self.atoms) + 1)):
            raise CalculationFailed("LAMMPS changed the order of the atoms")
        self._x = instance.numpy.extract_atom("x")[: len(self.atoms)]
        self._v = instance.numpy.extract_atom("v")[: len(self.atoms)]

    def _begin_from(self, positions: FloatArray) -> None:
        """Start the next run from these positions, which the callback sets once LAMMPS has set the run up."""
        self._start = positions.copy()
        self._setting_up = True
        self._into_the_box()

    def _into_the_box(self) -> None:
        # When it sets up a run or writes a restart file, LAMMPS wraps atoms by at most one cell, and loses those
        # further out. So they are moved to the middle of the cell for that time.
        self._x[:] = self._origin + 0.5 * self._cell.sum(axis=0)
        self._image[:] = self._home

    @property
    def _thermostat(self) -> str | None:
        return self.settings.thermostat if self.settings.ensemble == "nvt" else None

    def _fixes(self) -> list[str]:
        settings = self.settings
        # LAMMPS uses an older Boltzmann constant; the target is scaled so that k_B T is ours.
        factor = BOLTZMANN_EV_PER_K / float(self._instance.extract_global("boltz"))
        start = settings.start_temperature_K if self._ramping else settings.temperature_K
        temperatures = f"{start * factor!r} {settings.temperature_K * factor!r}"
        tau = repr(settings.thermostat_time_fs * 1.0e-3)
        if settings.ensemble == "nve":
            return ["fix md all nve"]
        if settings.ensemble == "nvt":
            return {
                "nose-hoover-chain": [f"fix md all nvt temp {temperatures} {tau} tchain {settings.chain_length}"],
                "csvr": ["fix md all nve"],
                "langevin": ["fix md all nve"],
                "berendsen": ["fix md all nve", f"fix bath all temp/berendsen {temperatures} {tau}"],
            }[settings.thermostat]
        pressure = repr(settings.pressure_GPa * BAR_PER_GPA)
        pressures = f"{pressure} {pressure} {settings.barostat_time_fs * 1.0e-3!r}"
        if settings.barostat == "berendsen":
            modulus = repr(BAR_PER_GPA / settings.compressibility_per_GPa)
            return [
                "fix md all nve",
                f"fix bath all temp/berendsen {temperatures} {tau}",
                f"fix piston all press/berendsen iso {pressures} modulus {modulus}",
            ]
        coupling = {"isotropic": "iso", "axes": "aniso", "anisotropic": "tri"}[settings.cell_motion]
        # flip no: a flipped cell is the same crystal, but its vectors jump, which makes averages over them meaningless.
        flip = " flip no" if coupling == "tri" else ""
        # The origin stays where it is; LAMMPS would keep a centre that it computes anew after each restart.
        more = f"tchain {settings.chain_length} pchain {settings.chain_length} fixedpoint 0 0 0{flip}"
        return [f"fix md all npt temp {temperatures} {tau} {coupling} {pressures} {more}"]

    # ---- while it runs -----------------------------------------------------------------------------------------------

    def _command(self, text: str) -> None:
        try:
            self._instance.command(text)
        except Exception as error:
            if self._failure is None:
                reason = str(error).partition("\n")[0].removeprefix("ERROR: ")
                raise CalculationFailed(f"LAMMPS stopped: {reason}", {"command": text.partition("/")[0]}) from error
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _called(self, _caller: Any, _step: int, n: int, _tags: Any, x: FloatArray, f: FloatArray) -> None:
        """Set the forces of the atoms at ``x`` (LAMMPS' callback)."""
        f[:] = 0.0
        if self._failure is not None:
            return
        try:
            repeat, self._setting_up = self._setting_up, False
            if repeat:
                x[:] = self._start
            instance, atoms = self._instance, self.atoms
            if self.settings.ensemble == "npt":
                self._origin, self._cell = box_of(instance)
                atoms.cell.array[:] = self._frame.ours(self._cell)
            atoms.arrays["positions"][:] = self._frame.ours(x - self._origin)
            prediction = self._evaluation.predict(atoms)
            f[:] = self._frame.theirs(prediction.forces_eV_per_A)
            instance.fix_external_set_energy_global("potential", prediction.energy_eV)
            if prediction.stress_eV_per_A3 is not None:
                virial = self._frame.virial(prediction.stress_eV_per_A3, float(atoms.get_volume()))
                instance.fix_external_set_virial_global("potential", virial)
            if self._thermostat == "langevin":
                f += self._langevin_force(repeat=repeat)
        except BaseException as failure:  # noqa: BLE001 - nothing may travel through LAMMPS; raised after the command
            f[:] = 0.0
            self._failure = failure

    def _langevin_force(self, *, repeat: bool) -> FloatArray:
        """Return friction and noise of this step, in eV/Å, in LAMMPS' frame.

        v(t + dt/2) = c v(t - dt/2) + F dt/m + noise, with c = exp(-dt/tau) and <noise²> = 2 k_B T (1 - c)/m, for which
        the kinetic energy at full steps is exactly canonical (Brünger, Brooks and Karplus, Chem. Phys. Lett. 105, 495
        (1984), with the full exponential instead of its first two terms).
        """
        if repeat and self._friction is not None:
            return self._friction  # a segment begins with the force of the last step of the one before
        lost = 1.0 - exp(-self.settings.timestep_fs / self.settings.thermostat_time_fs)
        width = np.sqrt(2.0 * BOLTZMANN_EV_PER_K * self._bath_K * lost * self._masses)
        kick = width * self.rng.standard_normal((len(self.atoms), 3))
        kick -= self._masses * (kick.sum(axis=0) / self._masses.sum())
        kick -= lost * (self._v * self._to_momenta)
        self._friction = kick / (self.settings.timestep_fs * units.fs)
        return self._friction

    def _rescale(self) -> None:
        """Rescale velocities (Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101 (2007), eq. A7, g = 3n - 3)."""
        dof = degrees_of_freedom(len(self.atoms))
        kinetic = float(0.5 * np.sum((self._v * self._v) * (self._to_momenta / _PS)))
        decay = exp(-self.settings.timestep_fs / self.settings.thermostat_time_fs)
        share = (1.0 - decay) * 0.5 * BOLTZMANN_EV_PER_K * self._bath_K / kinetic
        first = float(self.rng.standard_normal())
        others = 2.0 * float(self.rng.standard_gamma(0.5 * (dof - 1)))
        factor = decay + share * (others + first * first) + 2.0 * first * sqrt(decay * share)
        self._v *= sqrt(factor)
        self._transferred_eV += (factor - 1.0) * kinetic

    def _hand_over(self) -> None:
        """Copy positions, momenta and cell to the atoms."""
        atoms = self.atoms
        if self.settings.ensemble == "npt":
            self._origin, self._cell = box_of(self._instance)
            atoms.cell.array[:] = self._frame.ours(self._cell)
        atoms.arrays["positions"][:] = self._frame.ours(self._x - self._origin)
        atoms.arrays["momenta"][:] = self._frame.ours(self._v) * self._to_momenta

    def _scalar(self, fix: str) -> float:
        return float(self._instance.extract_fix(fix, 0, 0))

    def _barostat_energy_eV(self) -> float:
        energy = self._scalar("md")
        if self.settings.cell_motion == "isotropic":
            # LAMMPS' chain on an isotropic cell acts on one degree of freedom, but its energy counts three: 2 k_B T
            # times the position of the first link too much. It drifts by 0.1 eV in 0.4 ps for 8 ions; without
            # the surplus, by 4e-5 eV.
            links = self.settings.chain_length
            energy -= 2.0 * float(self._instance.extract_fix("md", 0, 1, nrow=6 * links + 4))
        return energy


def _not_in_lammps(what: str, fix: str) -> SuperionicError:
    return SuperionicError(f"LAMMPS has no {what}.", fix=f"{fix}, or the engine ase.")
