"""Labels from density-functional theory by VASP, for users with a licence.

Two settings belong to the user and not to the campaign: the command that runs VASP, in the environment variable
``SUPERIONIC_VASP`` (for instance ``mpirun -n 16 vasp_std``), and the folder of pseudopotentials, in
``PMG_VASP_PSP_DIR``, laid out as in pymatgen or as VASP's own archives unpack (``potpaw_PBE.54/Li_sv/POTCAR``).

Inputs are written by pymatgen's classes for INCAR, KPOINTS and POSCAR, every tag stated: the input sets of pymatgen
change with its version, and a label's settings must not. Atoms are sorted by element for VASP and restored to
their original order. Outputs are read by :mod:`superionic.labels.vasprun`, and refused if they do not match the
request: other settings, another version than the campaign states, other atoms or another cell.

POTCARs of paper A (Deng et al. 2025, Methods): Li_sv 10Sep2004, Na_pv 19Sep2006, Y_sv 25May2007, Zr_sv 04Jan2005,
In_d 06Sep2000, Ge_d 03Jul2007, Si 05Jan2001, P 06Sep2000, O 08Apr2002, S 06Sep2000, Cl 06Sep2000, Br 06Sep2000, all of
the release PBE_54. The paper gives dates and valence electrons, from which the names follow; they are those of the
Materials Project. Paper B does not say; for it, and for all other elements, the Materials Project's are used.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from ase import Atoms

from superionic.death_signal import end_with_parent
from superionic.errors import CalculationFailed, CampaignFileError, EngineError, PotentialError
from superionic.labels.base import Label, Labeller, LabellerIdentity, Progress, refuse_unknown
from superionic.labels.gates import same_structure
from superionic.labels.gpaw import kpoint_grid
from superionic.labels.retries import NotConverged, Rung, climb
from superionic.labels.vasprun import Run, functional_name, read_vasprun, reference_settings, vasp_identity

COMMAND_VARIABLE: Final = "SUPERIONIC_VASP"
POTCAR_VARIABLE: Final = "PMG_VASP_PSP_DIR"

DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "functional": "PBE",
        "ecut_eV": 520.0,
        "kpoint_spacing_per_A": 0.2,
        "smearing_eV": 0.05,
        "energy_tolerance_eV": 1.0e-5,
        "max_scf_steps": 100,
        "version": None,
        "potcar_functional": "PBE_54",
        "potcars": {},
        "incar": {},
    }
)
"""Settings and their defaults; ``smearing_eV`` is the width of Fermi–Dirac occupation (ISMEAR = -1)."""

_FUNCTIONAL_TAGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "LDA": {"GGA": "CA"},
    "PBE": {"GGA": "PE"},
    "PBEsol": {"GGA": "PS"},
    # Meta-GGAs: the kinetic energy density is mixed too, and all bands are found at once (VASP's own advice).
    "SCAN": {"METAGGA": "SCAN", "ALGO": "All", "LMIXTAU": True},
    "r2SCAN": {"METAGGA": "R2SCAN", "ALGO": "All", "LMIXTAU": True},
}
PAPER_A_POTCARS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Li": "Li_sv", "O": "O", "Na": "Na_pv", "Si": "Si", "P": "P", "S": "S", "Cl": "Cl", "Ge": "Ge_d", "Br": "Br",
        "Y": "Y_sv", "Zr": "Zr_sv", "In": "In_d",
    }
)  # fmt: skip
"""Names of paper A's pseudopotentials."""
_BY_SIGNAL: Final = 128  # shells and mpirun add this to the number of the signal
_FREE_TAGS: Final = frozenset(
    {"NCORE", "NPAR", "KPAR", "NSIM", "LPLANE", "LSCALAPACK"}
)  # performance only, no effect on results
_OURS: Final = frozenset(
    {"ALGO", "EDIFF", "ENCUT", "GGA", "IBRION", "ISMEAR", "ISTART", "ICHARG", "KSPACING", "KGAMMA", "METAGGA", "NELM"}
    | {"NSW", "SIGMA", "LWAVE", "LCHARG", "ISIF"}
)

LADDER: Final[tuple[Rung, ...]] = (
    Rung("as set"),
    Rung("mixing", {"tags": {"AMIX": 0.1, "BMIX": 0.0001, "MAXMIX": 60}}),
    Rung("eigensolver", {"tags": {"ALGO": "All", "TIME": 0.2}}),
    Rung("smearing", {"tags": {"ALGO": "All", "TIME": 0.2}, "first_smearing_eV": 0.3}),
)
"""Ways to converge, in order; the last one continues from the orbitals of a run with wide smearing (ISTART = 1)."""


class VaspDied(RuntimeError):  # noqa: N818 - it names an event
    """VASP was killed, by hand, for lack of memory or by a crash: that says nothing about the structure yet."""


class VaspLabeller:
    """Labels by VASP in a process of its own, started by the user's command.

    Parameters
    ----------
    settings
        Complete settings from :func:`complete_settings`.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = dict(settings)

    @property
    def identity(self) -> LabellerIdentity:
        """The identity of the labeller, with the stated version (or ``"not stated"``); labels carry the actual one."""
        return _identity(self._settings)

    def label(self, atoms: Atoms, *, scratch: Path | None = None, progress: Progress | None = None) -> Label:
        """Label one structure; see :class:`superionic.labels.base.Labeller`.

        Raises
        ------
        CalculationFailed
            If VASP fails, or its output does not match the request.
        EngineError
            If the command is not set or cannot be started, or another version of VASP ran than the settings state.
        PotentialError
            If there is no POTCAR for an element.
        VaspDied
            If VASP was ended by a signal; a campaign tries it once more.
        """
        import tempfile

        if not np.all(atoms.pbc) or abs(atoms.cell.volume) < 1.0e-6:
            raise CalculationFailed("a plane-wave label needs a cell that is periodic in three directions")
        if scratch is None:
            with tempfile.TemporaryDirectory(prefix="superionic-vasp-") as folder:
                return self._label(atoms, Path(folder), progress)
        return self._label(atoms, scratch, progress)

    def _label(self, atoms: Atoms, scratch: Path, progress: Progress | None) -> Label:
        order = np.argsort(atoms.numbers, kind="stable")  # VASP needs the atoms of an element together
        work = Atoms(
            numbers=atoms.numbers[order], positions=atoms.positions[order], cell=np.array(atoms.cell), pbc=True
        )
        run, attempts = climb(LADDER, lambda rung: self._attempt(work, rung, scratch, progress))
        self._demand_match(run, work)
        label = run.steps[-1][1]
        forces = np.empty_like(label.forces_eV_per_A)
        forces[order] = label.forces_eV_per_A
        more = {"attempts": attempts} if len(attempts) > 1 else {}
        return Label(
            label.energy_eV,
            forces,
            label.stress_eV_per_A3,
            label.provenance,
            {**label.diagnostics, **more},
        )

    def _attempt(self, work: Atoms, rung: Rung, scratch: Path, progress: Progress | None) -> Run:
        folder = scratch / f"vasp-{LADDER.index(rung)}"
        folder.mkdir(exist_ok=True)
        if progress is not None:
            progress(0.05 + 0.2 * LADDER.index(rung), f"VASP, {rung.name}")
        tags = {**incar_tags(self._settings), **rung.options.get("tags", {})}
        write_inputs(folder, work, self._settings, tags)
        first = rung.options.get("first_smearing_eV")
        if first is not None:
            width = max(first, tags["SIGMA"])
            write_inputs(folder, work, self._settings, {**tags, "SIGMA": width, "LWAVE": True})
            self._execute(folder)
            write_inputs(folder, work, self._settings, {**tags, "ISTART": 1})
        self._execute(folder)
        try:
            return _whole(
                read_vasprun(folder / "vasprun.xml", kpoint_spacing_per_A=self._settings["kpoint_spacing_per_A"])
            )
        except CalculationFailed as failure:
            details = {**failure.details, "last_lines": _last_lines(folder / "vasp.out")}
            kind = NotConverged if "did not converge" in failure.reason else CalculationFailed
            raise kind(failure.reason, details) from failure

    def _execute(self, folder: Path) -> None:
        command = os.environ.get(COMMAND_VARIABLE, "")
        if not command.strip():
            raise EngineError(
                "The command that runs VASP is not set.",
                where=f"environment variable {COMMAND_VARIABLE}",
                fix=f'Set it to your command, for instance: export {COMMAND_VARIABLE}="mpirun -n 16 vasp_std"',
            )
        (folder / "vasprun.xml").unlink(missing_ok=True)  # an old output must not be read again
        try:
            with (folder / "vasp.out").open("w") as out:
                done = subprocess.run(
                    shlex.split(command),
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    check=False,
                    preexec_fn=end_with_parent,
                )
        except OSError as error:
            raise EngineError(
                f"VASP cannot be started: {error.strerror}.",
                where=f"{COMMAND_VARIABLE}={command}",
                fix="Correct the command; it runs in a folder of its own, so write absolute paths.",
            ) from error
        if done.returncode < 0 or done.returncode > _BY_SIGNAL:
            number = abs(done.returncode) % _BY_SIGNAL
            raise VaspDied(f"VASP was ended by signal {number}; its last lines: {_last_lines(folder / 'vasp.out')}")
        if done.returncode != 0:
            raise CalculationFailed(
                f"VASP ended with exit code {done.returncode}", {"last_lines": _last_lines(folder / "vasp.out")}
            )

    def _demand_match(self, run: Run, work: Atoms) -> None:
        """Refuse an output that does not match the request."""
        if len(run.steps) != 1:
            raise CalculationFailed(f"one single point was requested, but {len(run.steps)} ionic steps came back")
        atoms, label = run.steps[0]
        wrong = same_structure(atoms, work)
        if wrong:
            raise CalculationFailed(wrong[0].reason)
        stated = self._settings["version"]
        version = run.identity.version
        if stated is not None and version != stated:
            raise EngineError(
                f"VASP {version} ran, but the campaign states {stated}.",
                where="label.vasp.version",
                fix="State the version that runs, or run the stated version.",
            )
        requested = _identity({**self._settings, "version": version})
        if run.identity.settings_hash != requested.settings_hash:
            raise CalculationFailed(
                f"VASP did not run with the requested settings ({_difference(requested, run.identity)})"
            )
        setups = label.provenance["setups"]
        for element in dict.fromkeys(work.get_chemical_symbols()):
            expected = potcar_name(element, self._settings)
            if expected not in str(setups.get(element, "")).split():
                raise CalculationFailed(f"the POTCAR of {element} is {setups.get(element)!r}, not {expected}")


def describe(argument: str, settings: Mapping[str, Any]) -> LabellerIdentity:
    """Describe the labeller without running VASP; state ``version`` to get the hash that its labels will have."""
    del argument
    return _identity(complete_settings(settings))


def load(argument: str, settings: Mapping[str, Any]) -> Labeller:
    """Load the labeller; see :func:`superionic.labels.base.load_labeller`."""
    del argument
    return VaspLabeller(complete_settings(settings))


def complete_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Complete settings with defaults, and check them.

    Raises
    ------
    CampaignFileError
        If a key is unknown or a value impossible.
    """
    refuse_unknown(settings, tuple(DEFAULTS), "VASP labels have")
    complete = {**DEFAULTS, **settings}
    if complete["functional"] not in _FUNCTIONAL_TAGS:
        raise CampaignFileError(
            f"functional of VASP labels cannot be {complete['functional']!r}.",
            where="label.functional",
            fix=f"Choose one of: {', '.join(_FUNCTIONAL_TAGS)}.",
        )
    clash = sorted(_OURS & set(complete["incar"]))
    if clash:
        raise CampaignFileError(
            f"{', '.join(clash)} of the INCAR {'is' if len(clash) == 1 else 'are'} set by superionic.",
            where="label.vasp.incar",
            fix="Use the fields of `label` for the functional, cutoff, k-points, smearing and convergence.",
        )
    return complete


def incar_tags(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return all tags of the INCAR for a single point."""
    return {
        "PREC": "Accurate",
        "ENCUT": float(settings["ecut_eV"]),
        "EDIFF": float(settings["energy_tolerance_eV"]),
        "NELM": int(settings["max_scf_steps"]),
        "ISMEAR": -1 if settings["smearing_eV"] > 0 else 0,
        "SIGMA": float(settings["smearing_eV"]) or 0.01,
        "ISPIN": 1,
        "ISYM": 0,
        "LREAL": False,
        "LASPH": True,
        "ADDGRID": False,
        "ALGO": "Normal",
        "NSW": 0,
        "IBRION": -1,
        "ISIF": 2,
        "LWAVE": False,
        "LCHARG": False,
        **_FUNCTIONAL_TAGS[settings["functional"]],
        **settings["incar"],
    }


def write_inputs(folder: Path, work: Atoms, settings: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
    """Write INCAR, KPOINTS, POSCAR and POTCAR for atoms that are sorted by element.

    Raises
    ------
    PotentialError
        If there is no POTCAR for an element.
    """
    from pymatgen.core import Lattice, Structure
    from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar

    structure = Structure(
        Lattice(np.array(work.cell)), work.get_chemical_symbols(), work.get_scaled_positions(wrap=False)
    )
    grid = kpoint_grid(np.array(work.cell), settings["kpoint_spacing_per_A"])
    texts = {
        "POSCAR": Poscar(structure, comment="superionic").get_str(significant_figures=16),
        "INCAR": str(Incar(dict(tags))),
        "KPOINTS": str(Kpoints.gamma_automatic(grid)),
        "POTCAR": "".join(potcar_text(element, settings) for element in dict.fromkeys(work.get_chemical_symbols())),
    }
    for name, text in texts.items():
        (folder / name).write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")


def potcar_name(element: str, settings: Mapping[str, Any]) -> str:
    """Return the name of the pseudopotential of an element: the campaign's, paper A's, or the Materials Project's."""
    chosen_name = settings["potcars"].get(element) or PAPER_A_POTCARS.get(element)
    if chosen_name is not None:
        return str(chosen_name)
    from pymatgen.io.vasp.sets import MPScanRelaxSet

    names: Mapping[str, str] = MPScanRelaxSet.CONFIG["POTCAR"]
    return str(names.get(element, element))


def potcar_text(element: str, settings: Mapping[str, Any]) -> str:
    """Read the POTCAR of an element from the user's folder.

    Raises
    ------
    PotentialError
        If the folder is not set, or has no such file.
    """
    import gzip

    from pymatgen.io.vasp.inputs import POTCAR_FUNCTIONAL_MAP

    name, release = potcar_name(element, settings), settings["potcar_functional"]
    folder = os.environ.get(POTCAR_VARIABLE, "")
    if not folder:
        raise PotentialError(
            "The folder of the POTCARs is not set.",
            where=f"environment variable {POTCAR_VARIABLE}",
            fix="Set it to the folder of your VASP pseudopotentials.",
        )
    base = Path(folder).expanduser()
    number = release.rpartition("_")[2]
    inside = [POTCAR_FUNCTIONAL_MAP.get(release, release), f"potpaw_PBE.{number}", f"potpaw_PBE_{number}", "."]
    tried: list[Path] = [base / part / file for part in inside for file in (f"POTCAR.{name}", f"{name}/POTCAR")]
    for path in tried:
        if path.is_file():
            return path.read_text(encoding="utf-8", errors="replace")
        packed = path.with_name(path.name + ".gz")
        if packed.is_file():
            return str(gzip.decompress(packed.read_bytes()), "utf-8", errors="replace")
    raise PotentialError(
        f"There is no POTCAR {name} of {release} for {element}.",
        where=str(base),
        fix=f"Put it at {tried[1]}, or name another one in label.vasp.potcars.",
    )


def _identity(settings: Mapping[str, Any]) -> LabellerIdentity:
    tags = incar_tags(settings)
    parameters = {**tags, "ENMAX": tags["ENCUT"]}
    # VASP takes GGA from the POTCAR if the INCAR has none; with a meta-GGA it has no effect.
    family = {"LDA": "PAW"}.get(settings["potcar_functional"].partition("_")[0], "PAW_PBE")
    kpoints = {"spacing_per_A": float(settings["kpoint_spacing_per_A"]), "gamma": True}
    incar = {name: value for name, value in tags.items() if name not in _FREE_TAGS}
    return vasp_identity(
        str(settings["version"] or "not stated"),
        functional_name(parameters, incar, (family,)),
        reference_settings(parameters, incar, kpoints),
        family,
    )


def _whole(run: Run) -> Run:
    """Refuse a file that is cut off after its step: VASP did not end properly."""
    if run.left_out:
        raise CalculationFailed(run.left_out[0])
    return run


def _difference(requested: LabellerIdentity, returned: LabellerIdentity) -> str:
    mine = {**requested.settings, "functional": requested.functional, "potentials": requested.energy_convention}
    theirs = {**returned.settings, "functional": returned.functional, "potentials": returned.energy_convention}
    names = [name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)]
    return "; ".join(f"{name} is {theirs.get(name)}, not {mine.get(name)}" for name in names)


def _last_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [re.sub(r"\s+$", "", line) for line in lines[-12:]]
