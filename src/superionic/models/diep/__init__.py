"""DIEP: a universal potential trained on MatPES r2SCAN, with its weights in its wheel (Tawfik et al., 2024)."""

from __future__ import annotations

from superionic.engine_spec import EngineSpec
from superionic.registry import Model

MODEL = Model(
    name="diep",
    package=__name__,
    potential=f"{__name__}.potential",
    evaluation_s_per_atom=0.0035,
    engine=EngineSpec(
        name="diep",
        requirement="diep==2.0.0",
        module="diep",
        purpose="universal potential DIEP, trained on MatPES r2SCAN",
        licence="BSD-3-Clause",
        main_packages=("ase", "diep", "numpy", "pymatgen-core", "scipy", "torch", "torch-geometric"),
        size_GB=1.4,
        proof="superionic.potentials.proof:prove",
        proof_settings={"potential": "diep"},
        as_pinned=True,  # what it needs for training only (lightning, torchmetrics) is left out
        package=__name__,
    ),
    citation=("S. A. Tawfik et al., Digital Discovery (2024)", "10.1039/d4dd00246f"),
)
