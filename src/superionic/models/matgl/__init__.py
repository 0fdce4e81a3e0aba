"""M3GNet and TensorNet of matgl, from a user's model folder.

The pins are for the generation of 2025 (matgl 2.0.6 with DGL). In May 2026 upstream deleted the DGL models of that
generation as faulty, and later versions of matgl silently give wrong energies with their files; here they agree with
values on record, and are offered with a caution.
"""

from __future__ import annotations

from superionic.engine_spec import EngineSpec
from superionic.registry import Model

MEMBERS = ("model.json", "state.pt")
"""The files of a model folder that are read."""

MODEL = Model(
    name="matgl",
    package=__name__,
    potential=f"{__name__}.potential",
    evaluation_s_per_atom=0.003,
    engine=EngineSpec(
        name="matgl",
        requirement="matgl==2.0.6",
        module="matgl",
        purpose="universal potentials M3GNet and TensorNet, from a user's model folder",
        licence="BSD-3-Clause (DGL: Apache-2.0)",
        main_packages=("ase", "dgl", "matgl", "numpy", "pymatgen-core", "scipy", "torch", "torch-geometric"),
        size_GB=1.5,
        proof="superionic.potentials.proof:prove",
        proof_settings={"potential": "matgl", "models": ["test-m3gnet", "test-tensornet"]},
        as_pinned=True,
        last_python=(3, 11),  # for DGL 1.1.3
        package=__name__,
    ),
    trainer=f"{__name__}.trainer",
    methods={"naive": {}, "frozen": {"freeze": "all-but-readout"}, "scratch": {"initial": "random"}},
    keys=frozenset({"energy_convention", "file", "level_of_theory", "precision"}),
    needed=("file",),
    file="the folder with model.json and state.pt",
    members=MEMBERS,
    caution="upstream has deleted the generation of models that this version of matgl serves (DGL, 2025) as faulty; "
    "files on record reproduce the values on record here; check any other against labels before you trust it",
)
