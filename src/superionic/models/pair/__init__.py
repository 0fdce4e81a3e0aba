"""A pair potential for ionic crystals: fast and smooth, for tests and as an explicit placeholder."""

from __future__ import annotations

from superionic.registry import Model

MODEL = Model(
    name="pair",
    package=__name__,
    potential=f"{__name__}.potential",
    evaluation_s_per_atom=0.0001,
    lammps=f"{__name__}.lammps:lammps_lines",
    in_lammps=True,
)
