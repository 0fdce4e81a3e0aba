"""NEP: a neuroevolution potential with compiled loops of our own; the student of this project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superionic.engine_spec import DataSpec
from superionic.registry import Model

_NEP89_ELEMENTS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb "
    "Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au "
    "Hg Tl Pb Bi Ac Th Pa U Np Pu"
)

NEP89 = DataSpec(
    name="nep89",
    engine="nep",
    requirement="neptrainkit==3.1.5",
    # Those for Windows hold the same file with other ends of lines; of what runs on Linux there is no wheel.
    wheel=("--platform", "macosx_15_0_arm64", "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"),
    member="NepTrainKit/Config/nep89.txt",
    sha256="75168ece02e840e4a32644f982b78d43cba697f5b64b4c8134ab66c7a8c28be1",
    purpose="universal potential NEP89 for the engine nep: a first look at the speed of a student",
    licence="GPL-3.0-or-later (the file; it stays outside superionic)",
    energy_convention="own: NEP89",
    level_of_theory="several data sets of density-functional theory, some with dispersion (NEP89)",
    elements=tuple(_NEP89_ELEMENTS.split()),
    caution="NEP89 is for a first look in cells of known size: its pressure is wrong by gigapascals (2.7 GPa on "
    "Li3YCl6, which it would make 9 % too dense), its forces by 118 meV/Å, and it is too soft (slope 0.87), so that "
    "its conductivities are too high by decades",
    rigid_cell=True,
)


def lammps_lines(symbols: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """Return the lines of a LAMMPS input that choose the potential in ``nep.txt``."""
    del options
    return [
        "# LAMMPS with USER-NEP of NEP_CPU; before 2024 it was: pair_style nep nep.txt, and pair_coeff * *",
        "pair_style nep",
        f"pair_coeff * * nep.txt {' '.join(symbols)}",
    ]


MODEL = Model(
    name="nep",
    package=__name__,
    potential=f"{__name__}.potential",
    evaluation_s_per_atom=0.00001,
    trainer=f"{__name__}.trainer",
    from_labels=True,
    methods={"scratch": {}},
    keys=frozenset({"energy_convention", "file", "level_of_theory"}),
    needed=("file", "energy_convention"),
    file="a nep.txt",
    data=(NEP89,),
    citation=("Z. Fan et al., J. Chem. Phys. 157, 114801 (2022)", "10.1063/5.0106617"),
    lammps=f"{__name__}:lammps_lines",
    in_lammps=True,
)
