"""MACE: universal and own equivariant networks (Batatia et al., 2022), from a user's checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superionic.engine_spec import EngineSpec
from superionic.registry import Model


def lammps_lines(symbols: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """Return the lines of a LAMMPS input that select an exported model."""
    del options
    return [
        "# made by: mace_create_lammps_model FILE --format=mliap  (LAMMPS with ML-IAP, KOKKOS and Python)",
        "# before read_data it needs: atom_modify map yes, and newton on",
        "pair_style mliap unified mace-mliap_lammps.pt 0",
        f"pair_coeff * * {' '.join(symbols)}",
    ]


MODEL = Model(
    name="mace",
    package=__name__,
    potential=f"{__name__}.potential",
    evaluation_s_per_atom=0.0045,
    engine=EngineSpec(
        name="mace",
        requirement="mace-torch==0.3.16",
        module="mace",
        purpose="universal and own potentials MACE, from a user's checkpoint file, and their training",
        licence="MIT (checkpoints have licences of their own)",
        main_packages=("ase", "e3nn", "mace-torch", "matscipy", "numpy", "scipy", "torch"),
        size_GB=1.4,
        proof="superionic.potentials.proof:prove",
        proof_settings={"potential": "mace", "models": ["test"]},
        package=__name__,
    ),
    trainer=f"{__name__}.trainer",
    methods={
        "naive": {"mode": "naive"},
        "frozen": {"mode": "frozen", "freeze": "all-but-readout"},
        "lora": {"mode": "lora"},
        "multihead": {"mode": "multihead", "replay_labels": "foundation"},
        "scratch": {"mode": "scratch"},
    },
    keys=frozenset({"energy_convention", "file", "level_of_theory", "modal", "precision", "trust_sha256"}),
    needed=("file", "energy_convention"),
    file="an .npz made by `superionic engines convert mace FILE.model`, or by benchmarks/stand_in.py, to try without "
    "one (docs/how-to/train-mace.md)",
    citation=(
        "I. Batatia et al., Adv. Neural Inf. Process. Syst. 35, 11423–11436 (2022)",
        "10.48550/arXiv.2206.07697",
    ),
    lammps=f"{__name__}:lammps_lines",
)
