"""Words that every section with molecular dynamics shares."""

from __future__ import annotations

from typing import Literal

BAR_GPA = 1.0e-4
Thermostat = Literal["nose-hoover-chain", "csvr", "langevin", "berendsen"]
MDEngine = Literal["ase", "lammps"]
MD_ENGINE = "Program that integrates: `ase`, or `lammps` (for the student, and potentials of engine `nep` or `pair`)."
