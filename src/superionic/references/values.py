"""What a published value is, and where the published values come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Quantity = Literal[
    "activation_energy",
    "conductivity",
    "volume_per_atom",
    "formation_energy",
    "energy_above_hull",
    "energy_above_polymorph",
]

Kind = Literal["measured", "calculated"]
Bound = Literal["lower", "upper", "about"]

UNITS: dict[Quantity, str] = {
    "activation_energy": "eV",
    "conductivity": "mS/cm",
    "volume_per_atom": "A3/atom",
    "formation_energy": "meV/atom",
    "energy_above_hull": "meV/atom",
    "energy_above_polymorph": "meV/atom",
}
"""The one unit in which each quantity is kept."""


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
    formula
        The composition, as usually written.
    quantity, unit
        What it is, see `Quantity` and `UNITS`. Conductivities published in S/cm are given in mS/cm.
    value
        The number, in `unit`.
    error
        The stated error in `unit`, or None.
    temperature_K
        The temperature it holds for; 300 for "room temperature"; None for activation energies.
    pressure_GPa
        The pressure at which the cell was equilibrated, where that is stated.
    kind
        "measured" or "calculated".
    method
        How it was got.
    bound
        "lower" or "upper" where the value is an end of a published range or a limit; "about" where it was published
        as approximate; None otherwise.
    polymorph
        Phase or space group where the source names one, "" otherwise.
    source, doi
        Citation and DOI of the work that the value is from.
    reported_in
        DOI of the paper whose table or text the number was read from.
    note
        What else has to be known to compare with it.
    """

    formula: str
    quantity: Quantity
    value: float
    unit: str
    error: float | None
    temperature_K: float | None
    pressure_GPa: float | None
    kind: Kind
    method: str
    bound: Bound | None
    polymorph: str
    source: str
    doi: str | None
    reported_in: str
    note: str


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


def published_value(
    formula: str,
    quantity: Quantity,
    value: float,
    *,
    source: Source,
    reported_in: str,
    kind: Kind,
    method: str,
    error: float | None = None,
    temperature_K: float | None = None,
    pressure_GPa: float | None = None,
    bound: Bound | None = None,
    polymorph: str = "",
    note: str = "",
) -> PublishedValue:
    """Build a value in the unit of its quantity, with citation and DOI of its source."""
    return PublishedValue(
        formula=formula,
        quantity=quantity,
        value=value,
        unit=UNITS[quantity],
        error=error,
        temperature_K=temperature_K,
        pressure_GPa=pressure_GPa,
        kind=kind,
        method=method,
        bound=bound,
        polymorph=polymorph,
        source=source.citation,
        doi=source.doi,
        reported_in=reported_in,
        note=note,
    )
