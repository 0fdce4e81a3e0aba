"""CHGNet: a universal graph network with charges (Deng et al., 2023)."""

from __future__ import annotations

from superionic.engine_spec import EngineSpec, NativeBuild
from superionic.registry import MeasuredModel, Model

MODEL = Model(
    name="chgnet",
    package=__name__,
    potential=f"{__name__}.potential",
    evaluation_s_per_atom=0.001,
    engine=EngineSpec(
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
        package=__name__,
    ),
    trainer=f"{__name__}.trainer",
    methods={"naive": {}, "frozen": {"freeze": "all-but-readout"}, "scratch": {"initial": "random"}},
    keys=frozenset({"precision"}),
    citation=("B. Deng et al., Nat. Mach. Intell. 5, 1031–1041 (2023)", "10.1038/s42256-023-00716-3"),
    measured=(MeasuredModel("0.3.0", 111.0),),
)
