"""Nequix: small universal equivariant networks in JAX (Koker, Kotak and Smidt, 2025)."""

from __future__ import annotations

from superionic.engine_spec import EngineSpec
from superionic.registry import MeasuredModel, Model

MODEL = Model(
    name="nequix",
    package=__name__,
    potential=f"{__name__}.potential",
    evaluation_s_per_atom=0.0045,
    engine=EngineSpec(
        name="nequix",
        requirement="nequix==0.4.5",
        module="nequix",
        purpose="universal potentials Nequix, by name or by a user's file",
        licence="MIT",
        main_packages=("ase", "e3nn-jax", "equinox", "jax", "jaxlib", "matscipy", "nequix", "numpy", "scipy"),
        size_GB=0.9,
        proof="superionic.potentials.proof:prove",
        proof_settings={"potential": "nequix", "models": ["test"]},
        as_pinned=True,  # by its own requirements nequix would bring CUDA
        package=__name__,
    ),
    keys=frozenset({"energy_convention", "file", "level_of_theory"}),
    file="an .nqx of the Nequix project",
    citation=("T. Koker, M. Kotak and T. Smidt, arXiv:2508.16067 (2025)", "10.48550/arXiv.2508.16067"),
    measured=(MeasuredModel("nequix-omat-1", 18.6, file="~/.cache/nequix/models/nequix-omat-1.nqx"),),
)
