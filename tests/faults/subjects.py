"""The campaigns that faults are tried on: small, real, with every kind of process that a run has.

``whole`` goes from a disordered crystal to conductivities by the pair potential, ``pair`` is its part up to the runs of
transport, and ``vasp`` labels with a stand-in for VASP below one for mpirun, so that a worker has children, one of them
in a session of its own.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
NAMES: Final = ("pair", "vasp")
WHOLE: Final = "whole"
_HEAD: Final = """\
superionic: 1
name: small
seed: 7
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals:
  - {name: P-3m1, file: li3ycl6_p-3m1.cif}
references:
  - {name: LiCl, file: licl.cif}
  - {name: YCl3, file: ycl3.cif}
potentials:
  pair: {engine: pair}
enumerate: {ewald_keep: 3}
rank: {relax_top: 2, fmax_eV_per_A: 0.5, max_steps: 20, method: single-points}
select: {count: 1}
"""
_SAMPLE: Final = """\
sample:
  {temperatures_K: [800], timestep_fs: 2, equilibration_ps: 0.02, production_ps: 0.04, segment_ps: 0.02, snapshots: 2}
"""
_TRANSPORT: Final = """\
transport:
  supercell: 1x1x1
  temperatures_K: [800, 1000]
  timestep_fs: 2
  heating_ps: 0.02
  nvt_before_npt_ps: 0
  npt_ps: 0.04
  production_ps: 0.08
  segment_ps: 0.02
"""
_TAILS: Final = {
    "whole": _SAMPLE + 'label: {engine: "potential:pair"}\n' + _TRANSPORT + "analyse: {density_grid_A: 1.5}\n",
    "pair": _TRANSPORT + "analyse: null\n",
    "vasp": _SAMPLE
    + """\
label: {engine: vasp, functional: PBE, kpoint_spacing_per_A: 0.8, vasp: {version: 6.3.2}}
transport: null
analyse: null
""",
}
BEGUN: Final = ("enumerate", "rank", "hull", "select")
"""Stages that are done where a campaign is not tried from its beginning."""
_POTCARS: Final = {
    "Li_sv": "PAW_PBE Li_sv 10Sep2004",
    "Y_sv": "PAW_PBE Y_sv 25May2007",
    "Cl": "PAW_PBE Cl 06Sep2000",
}
# A daemon of mpirun has a session of its own and would outlive its parents. What VASP once answered it answers again.
_MPIRUN: Final = """\
import hashlib, os, pathlib, shutil, subprocess, sys, time
apart = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
asked = hashlib.sha256(b"".join(pathlib.Path(n).read_bytes() for n in ("POSCAR", "INCAR", "KPOINTS"))).hexdigest()
known = pathlib.Path(__file__).with_name(f"vasprun-{asked}.xml")
if known.exists():
    code = subprocess.run([sys.executable, "-S", "-c", "import time; time.sleep(0.1)"]).returncode
    if code == 0:
        shutil.copy(known, "vasprun.xml")
else:
    code = subprocess.run([sys.executable, FAKE]).returncode
    shutil.copy("vasprun.xml", known)
apart.kill()
apart.wait()
sys.exit(code if code >= 0 else 128 - code)
""".replace("FAKE", repr(str(ROOT / "tests" / "labels" / "fake_vasp.py")))


def write(name: str, folder: Path) -> Path:
    """Write a campaign into a folder, with the crystals that it names, and return its file."""
    folder.mkdir(parents=True)
    for crystal in ("li3ycl6_p-3m1.cif", "licl.cif", "ycl3.cif"):
        shutil.copy(ROOT / "examples" / "li3ycl6" / crystal, folder / crystal)
    path = folder / "campaign.yaml"
    path.write_text(_HEAD + _TAILS[name])
    return path


def environment(folder: Path) -> dict[str, str]:
    """Make what the stand-in for VASP needs, and return the variables of a process that runs these campaigns."""
    for name, title in _POTCARS.items():
        potcar = folder / "psp" / "POT_GGA_PAW_PBE_54" / name / "POTCAR"
        potcar.parent.mkdir(parents=True, exist_ok=True)
        potcar.write_text(f"  {title}\n 3.0\n End of Dataset\n")
    mpirun = folder / "mpirun.py"
    mpirun.write_text(_MPIRUN)
    return {
        **os.environ,
        "PMG_VASP_PSP_DIR": str(folder / "psp"),
        "SUPERIONIC_VASP": f"{sys.executable} {mpirun}",
        "SUPERIONIC_HOME": str(folder / "home"),
        "PYTHONWARNINGS": "ignore",
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    }
