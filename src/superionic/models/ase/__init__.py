"""Any ASE calculator that an installed package registers."""

from __future__ import annotations

from superionic.registry import Model

MODEL = Model(
    name="ase",
    package=__name__,
    potential=f"{__name__}.potential",
    evaluation_s_per_atom=0.001,
    keys=frozenset({"calculator", "elements", "energy_convention", "level_of_theory"}),
    needed=("calculator", "elements", "energy_convention"),
)
