"""The section ``label`` of the campaign file: the reference method and the gates.

Defaults are the values of the papers where they give one: paper A is Deng et al. 2025 (doi 10.1039/d5ta05321h), paper B
the study of Li3YCl6-xBrx with a fine-tuned CHGNet.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from superionic.campaign.schema_base import Count, NotNegative, Positive, Section, StageSection


class GateSettings(Section):
    """What a label must pass before it is used for training; null switches a gate off."""

    max_force_eV_per_A: Positive | None = Field(default=30.0, description="Largest force on an atom.")
    max_net_force_eV_per_A: Positive | None = Field(default=0.5, description="Largest net force on the cell.")
    max_stress_GPa: Positive | None = Field(default=50.0, description="Largest absolute component of the stress.")
    min_distance_A: Positive | None = Field(default=0.8, description="Shortest distance between two atoms.")
    max_smearing_energy_eV_per_atom: Positive | None = Field(
        default=0.01, description="Largest energy of smearing: more tells of a metal or of a broken electronic state."
    )
    energy_outlier_sigma: Positive | None = Field(
        default=6.0, description="Largest robust deviation of the energy from that of the other labels."
    )
    duplicate_distance_A: Positive | None = Field(
        default=1.0e-3, description="Two structures are the same if no atom and no cell vector differs by more."
    )


class LabelSettings(StageSection):
    """Reference energies, forces and stresses of the snapshots."""

    engine: str = Field(
        default="gpaw",
        description="`gpaw`, or `potential:<name>` for an entry of `potentials` as a named stand-in for DFT.",
    )
    functional: Literal["PBE", "PBEsol", "LDA", "SCAN", "r2SCAN"] = Field(
        default="PBE", description="Exchange–correlation functional (paper A: SCAN; paper B: PBE)."
    )
    ecut_eV: Positive = Field(default=520.0, description="Plane-wave cutoff (paper A: 520; paper B: 350).")
    kpoint_spacing_per_A: Positive = Field(
        default=0.2,
        description="Largest spacing of k-points along each reciprocal axis, whose length is 2π/L, as VASP's KSPACING "
        "has it (paper A: 0.2).",
    )
    kpoint_offset: Literal["gamma", "offset"] = Field(
        default="gamma",
        description="Γ-centred k-points (papers A and B), or a grid shifted by a quarter step, whose points and their "
        "time-reversal partners together have the spacing: fewer points for the same accuracy.",
    )
    smearing_eV: NotNegative = Field(default=0.05, description="Width of the Fermi–Dirac occupation of the bands.")
    energy_tolerance_eV: Positive = Field(
        default=1.0e-5,
        description="Change of the energy of the cell that ends the electronic minimisation (paper A: 1e-5).",
    )
    density_tolerance: Positive = Field(
        default=1.0e-4,
        description="Change of the density, in electrons per valence electron, that ends the minimisation.",
    )
    eigenstates_tolerance: Positive = Field(
        default=4.0e-8, description="Residual of the bands, in eV² per valence electron, that ends the minimisation."
    )
    max_scf_steps: Count = Field(default=100, description="Electronic steps after which a label is given up.")
    gates: GateSettings = Field(default_factory=GateSettings, description="What a label must pass.")
