"""The published value and the sources of the published values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from superionic.references.compositions import Composition, exactly
from superionic.references.spacegroups import spacegroup_number

Quantity = Literal[
    "activation_energy",
    "conductivity",
    "volume_per_atom",
    "formation_energy",
    "energy_above_hull",
    "energy_above_polymorph",
    "transition_temperature",
    "mae_energy",
    "mae_force",
    "mae_stress",
    "rmse_energy",
    "rmse_force",
    "rmse_stress",
    "max_error_energy",
]
"""`mae_…`, `rmse_…` and `max_error_…` are errors of a potential relative to the DFT of its training set, for structures
absent from it. A transition is between two phases of one composition."""

Kind = Literal["measured", "calculated"]
Approach = Literal["measured", "dft", "universal", "fine-tuned"]
"""Measured; by DFT (static or AIMD); by a universal potential as published; by one fine-tuned on the system."""

Bound = Literal["lower", "upper", "about"]

UNITS: dict[Quantity, str] = {
    "activation_energy": "eV",
    "conductivity": "mS/cm",
    "volume_per_atom": "A3/atom",
    "formation_energy": "meV/atom",
    "energy_above_hull": "meV/atom",
    "energy_above_polymorph": "meV/atom",
    "transition_temperature": "K",
    "mae_energy": "meV/atom",
    "mae_force": "meV/A",
    "mae_stress": "MPa",
    "rmse_energy": "meV/atom",
    "rmse_force": "meV/A",
    "rmse_stress": "MPa",
    "max_error_energy": "meV/atom",
}
"""The unit in which each quantity is stored."""


@dataclass(frozen=True)
class Source:
    """A publication: its citation, and its DOI where it was looked up (None otherwise, never guessed)."""

    citation: str
    doi: str | None


@dataclass(frozen=True)
class PublishedValue:
    """One value from the literature.

    Attributes
    ----------
    composition
        The composition, or family of compositions, for which it holds.
    quantity, unit
        See `Quantity` and `UNITS`. Conductivities published in S/cm are given in mS/cm.
    value
        The number, in `unit`.
    error
        The stated error in `unit`, or None.
    temperature_K
        The temperature at which it holds; 300 for "room temperature"; 0 for relaxed structures; None for activation
        energies and other values of no single temperature.
    temperature_range_K
        The temperatures over which an activation energy was fitted, or a test set was drawn, where stated.
    pressure_GPa
        The pressure at which the cell was equilibrated, where stated; None means ambient or not stated.
    approach
        The kind of method, as far as it decides which results it compares with.
    model
        Family of the potential ("CHGNet", "MACE", "SevenNet"); None for measurements and DFT.
    method
        The method, in words.
    bound
        "lower" or "upper" if the value is an end of a published range or a limit; "about" if it was published as
        approximate; None otherwise.
    polymorph
        Phase or space group as the source names it, "" where it names none.
    spacegroup
        Number of the space group of that polymorph (of the disordered parent crystal where orderings of it were
        simulated); None where the source names none.
    relative_to
        Formulas of the phases to which an energy is relative: the end members of a hull or of a formation energy.
    other_spacegroup
        Space group of the phases in `relative_to`; of the polymorph to which an energy above a polymorph is relative;
        of the phase to which a transition leads.
    source, doi
        Citation and DOI of the original work.
    reported_in
        DOI of the paper from whose table or text the number was read.
    note
        Anything else needed for a comparison.
    """

    composition: Composition
    quantity: Quantity
    value: float
    unit: str
    error: float | None
    temperature_K: float | None
    temperature_range_K: tuple[float, float] | None
    pressure_GPa: float | None
    approach: Approach
    model: str | None
    method: str
    bound: Bound | None
    polymorph: str
    spacegroup: int | None
    relative_to: tuple[str, ...]
    other_spacegroup: int | None
    source: str
    doi: str | None
    reported_in: str
    note: str

    @property
    def formula(self) -> str:
        """The composition as usually written."""
        return self.composition.written

    @property
    def kind(self) -> Kind:
        """Whether it was measured or calculated."""
        return "measured" if self.approach == "measured" else "calculated"


PAPER_A_DOI = "10.1039/d5ta05321h"
PAPER_B_DOI = "10.48550/arXiv.2510.09861"

DENG_2025 = Source(
    "Y. Deng, Y. Li, G. Sai Gautam, B. Zhu, Z. Deng, J. Mater. Chem. A (2025), Accelerating the discovery of "
    "disordered multi-component solid-state electrolytes using machine learning interatomic potentials",
    PAPER_A_DOI,
)
BOEHM_2025 = Source(
    "J. Böhm, A. Champagne, arXiv:2510.09861 (2025), Predicting Crystal Structures and Ionic Conductivities in "
    "Li3YCl6-xBrx Halide Solid Electrolytes Using a Fine-Tuned Machine Learning Interatomic Potential",
    PAPER_B_DOI,
)
SCHLEM_2021 = Source("R. Schlem, A. Banik, S. Ohno, E. Suard, W. G. Zeier, Chem. Mater. 33, 327–337 (2021)", None)
LIU_2024 = Source("Z. Liu et al., Nat. Chem. 16, 1584–1591 (2024)", "10.1038/s41557-024-01634-6")
ASANO_2018 = Source("T. Asano et al., Adv. Mater. 30, 1803075 (2018)", "10.1002/adma.201803075")
VAN_DER_MAAS_2023 = Source("E. van der Maas et al., J. Phys. Chem. C 127, 125–132 (2023)", None)
WANG_2019 = Source("S. Wang et al., Angew. Chem. Int. Ed. 58, 8039–8043 (2019)", "10.1002/anie.201901938")
PARK_2020 = Source("D. Park et al., ACS Appl. Mater. Interfaces 12, 34806–34814 (2020)", "10.1021/acsami.0c07003")
LI_2024 = Source("Y. Li, Z. Deng, C. Chen, Chem. Mater. 36, 7877–7886 (2024)", None)
LI_2020 = Source("X. Li et al., Energy Environ. Sci. 13, 1429–1461 (2020)", None)
YAHYA_2025 = Source("S. B. Yahya et al., RSC Adv. 15, 9295–9304 (2025)", None)
LI3INCL6_MEASURED = Source("refs. 55–59 of Deng et al. 2025 (among them X. Li et al., EES 12, 2665, 2019)", None)
LI3INBR6_MEASURED = Source(
    "refs. 51–53 of Deng et al. 2025 (Y. Tomita et al. 1998 and 2008; K. Yamada et al. 2006)", None
)
LI3PS4_MEASURED = Source(
    "refs. 66 and 67 of Deng et al. 2025 (J.-S. Kim et al. 2018; N. J. de Klerk et al. 2018)", None
)
LI3PS4_PHASES = Source(
    "refs. 66, 67 and 70–73 of Deng et al. 2025 (among them K. Homma et al., Solid State Ionics 182, 53–58, 2011)", None
)


def published_value(
    composition: str | Composition,
    quantity: Quantity,
    value: float,
    *,
    source: Source,
    reported_in: str,
    approach: Approach,
    method: str,
    model: str | None = None,
    error: float | None = None,
    temperature_K: float | None = None,
    temperature_range_K: tuple[float, float] | None = None,
    pressure_GPa: float | None = None,
    bound: Bound | None = None,
    polymorph: str = "",
    spacegroup: int | None = None,
    relative_to: tuple[str, ...] = (),
    other_spacegroup: int | None = None,
    note: str = "",
) -> PublishedValue:
    """Build a value in the unit of its quantity, with citation and DOI of its source.

    A `polymorph` that is not the symbol of a space group ("alpha") needs its `spacegroup` as well.
    """
    if spacegroup is None and polymorph:
        spacegroup = spacegroup_number(polymorph)
    return PublishedValue(
        composition=exactly(composition) if isinstance(composition, str) else composition,
        quantity=quantity,
        value=value,
        unit=UNITS[quantity],
        error=error,
        temperature_K=temperature_K,
        temperature_range_K=temperature_range_K,
        pressure_GPa=pressure_GPa,
        approach=approach,
        model=model,
        method=method,
        bound=bound,
        polymorph=polymorph,
        spacegroup=spacegroup,
        relative_to=relative_to,
        other_spacegroup=other_spacegroup,
        source=source.citation,
        doi=source.doi,
        reported_in=reported_in,
        note=note,
    )
