"""NEP: a neuroevolution potential with compiled loops of our own; the student of this project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superionic.registry import Model


def lammps_lines(symbols: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """Give the lines of a LAMMPS input that choose the potential in ``nep.txt``."""
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
    evaluation_s_per_atom=0.00003,
    trainer=f"{__name__}.trainer",
    from_labels=True,
    methods={"scratch": {}},
    keys=frozenset({"energy_convention", "file", "level_of_theory"}),
    needed=("file", "energy_convention"),
    file="a nep.txt",
    citation=("Z. Fan et al., J. Chem. Phys. 157, 114801 (2022)", "10.1063/5.0106617"),
    lammps=f"{__name__}:lammps_lines",
    in_lammps=True,
)
