"""SevenNet: universal equivariant networks (Park et al., 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superionic.engine_spec import EngineSpec
from superionic.registry import MeasuredModel, Model


def lammps_lines(symbols: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """Return the lines of a LAMMPS input that select a deployed model."""
    del options
    return [
        "# made by: sevenn get_model MODEL  (needs a LAMMPS patched by sevenn)",
        "pair_style e3gnn",
        f"pair_coeff * * deployed_serial.pt {' '.join(symbols)}",
    ]


MODEL = Model(
    name="sevennet",
    package=__name__,
    potential=f"{__name__}.potential",
    evaluation_s_per_atom=0.0065,
    engine=EngineSpec(
        name="sevennet",
        requirement="sevenn==0.13.0",
        module="sevenn",
        purpose="universal potential SevenNet",
        licence="MIT",
        main_packages=("ase", "e3nn", "matscipy", "numpy", "scipy", "sevenn", "torch"),
        size_GB=1.6,
        proof="superionic.potentials.proof:prove",
        proof_settings={"potential": "sevennet"},
        package=__name__,
    ),
    trainer=f"{__name__}.trainer",
    methods={"naive": {}, "frozen": {"freeze": "all-but-readout"}, "scratch": {"initial": "random"}},
    keys=frozenset({"energy_convention", "file", "level_of_theory", "modal"}),
    file="a checkpoint .pth",
    citation=("Y. Park et al., J. Chem. Theory Comput. 20, 4857–4868 (2024)", "10.1021/acs.jctc.4c00190"),
    lammps=f"{__name__}:lammps_lines",
    measured=(MeasuredModel("7net-l3i5", 40.6, evaluation_s_per_atom=0.01), MeasuredModel("7net-0", 60.0)),
)
