"""Values of paper A (Deng et al. 2025, doi:10.1039/d5ta05321h), from its text and figure captions, as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from superionic.references.values import (
    DENG_2025,
    LI3INBR6_MEASURED,
    LI3INCL6_MEASURED,
    LI3PS4_MEASURED,
    LI_2020,
    LI_2024,
    PAPER_A_DOI,
    PARK_2020,
    YAHYA_2025,
    Kind,
    PublishedValue,
    Source,
    published_value,
)

_MACE = "MACE-MP-0a fine-tuned (SCAN labels)"
_MACE_NVT = f"{_MACE}, NVT molecular dynamics"
_ROOM_TEMPERATURE_K = 300.0

_mace = partial(
    published_value, source=DENG_2025, reported_in=PAPER_A_DOI, kind="calculated", method=_MACE_NVT, bound="about"
)

# Conductivity in mS/cm at 800 K (published in S/cm), molecular dynamics at 800–1100 K.
_HALIDES_800K: Mapping[str, float] = {
    "Li3In0.5Y0.5Br3Cl3": 620.0,
    "Li3InCl6": 570.0,
    "Li3In0.5Y0.5Br6": 540.0,
    "Li3InBr3Cl3": 510.0,
}

_HALIDES_ENERGY_EV: Mapping[str, float] = {"Li3YBr6": 0.29, "Li3InCl6": 0.24, "Li3In0.5Y0.5Br3Cl3": 0.28}

_STABLE_HALIDES = ("Li3InBr6", "Li3YBr6", "Li3InCl6", "Li3In0.5Y0.5Br6", "Li3In0.5Y0.5Br3Cl3")
_STABLE_NASICONS = ("NaZr2P3O12", "Na3Zr2Si2PO12", "Na4Zr2Si3O12")


def halides() -> Iterator[PublishedValue]:
    """Transport of Li3InxY1−xBr6yCl6−6y, and what is compared with it."""
    for formula, conductivity in _HALIDES_800K.items():
        yield _mace(formula, "conductivity", conductivity, temperature_K=800.0)
    for formula, energy in _HALIDES_ENERGY_EV.items():
        yield _mace(formula, "activation_energy", energy)
    yield _from_others("Li3InCl6", "calculated", PARK_2020, energy_eV=0.20, method="AIMD")
    # The AIMD value of Li3YBr6 that paper A compares with, 0.28 eV of Wang et al. 2019, is among those of paper B.
    measured: tuple[tuple[str, Source, float, float], ...] = (
        ("Li3InCl6", LI3INCL6_MEASURED, 0.79, 4.03),
        ("Li3InBr6", LI3INBR6_MEASURED, 0.1, 1.0),
        ("Li3YBr6", LI_2020, 0.03, 1.7),
    )
    for formula, source, low, high in measured:
        row = partial(
            published_value,
            formula,
            "conductivity",
            source=source,
            reported_in=PAPER_A_DOI,
            kind="measured",
            method="impedance spectroscopy",
            temperature_K=_ROOM_TEMPERATURE_K,
            note="ends of the range of published values at room temperature",
        )
        yield row(low, bound="lower")
        yield row(high, bound="upper")


def benchmarks() -> Iterator[PublishedValue]:
    """Transport and formation energies of the NaSICON and Li3PS4–Li4GeO4 benchmarks."""
    yield _mace("Na3Zr2Si2PO12", "conductivity", 80.0, temperature_K=573.0, note="ground-state ordering")
    yield _mace(
        "Na3Zr2Si2PO12",
        "conductivity",
        100.0,
        temperature_K=573.0,
        note="PO4/SiO4 orderings from Monte Carlo on a 4×4×4 supercell",
    )
    yield _mace("Li3.5P0.5Ge0.5S2O2", "activation_energy", 0.29, polymorph="Pnma")
    yield _mace("Li3PS4", "activation_energy", 0.26, polymorph="alpha")
    yield _mace("Li3PS4", "activation_energy", 0.44, polymorph="beta")
    yield _from_others("Li3PS4", "measured", LI3PS4_MEASURED, energy_eV=0.20, polymorph="alpha")
    yield _from_others("Li3PS4", "measured", LI3PS4_MEASURED, energy_eV=0.41, polymorph="beta")
    yield published_value(
        "Li4GeO4",
        "activation_energy",
        0.77,
        error=0.27,
        source=DENG_2025,
        reported_in=PAPER_A_DOI,
        kind="calculated",
        method=_MACE_NVT,
        polymorph="Cmcm",
    )
    yield _from_others("Li4GeO4", "measured", YAHYA_2025, energy_eV=0.81, polymorph="Cmcm")
    for source, method, energy in ((DENG_2025, _MACE, -178.0), (LI_2024, "DFT (SCAN)", -182.0)):
        yield published_value(
            "Li3.5P0.5Ge0.5S2O2",
            "formation_energy",
            energy,
            source=source,
            reported_in=PAPER_A_DOI,
            kind="calculated",
            method=method,
            polymorph="Pnma",
            note="against Li3PS4 and Li4GeO4 in Pnma",
        )


def stability() -> Iterator[PublishedValue]:
    """Energies above hull of the systems of paper A, and the polymorphs of Li4GeO4."""
    on_hull = partial(
        published_value, source=DENG_2025, reported_in=PAPER_A_DOI, kind="calculated", method=_MACE, temperature_K=0.0
    )
    for formula in _STABLE_HALIDES:
        yield on_hull(formula, "energy_above_hull", 0.0, note="hull Li3InCl6–Li3InBr6–Li3YBr6")
    for formula in _STABLE_NASICONS:
        yield on_hull(formula, "energy_above_hull", 0.0, note="hull of Na1+xZr2SixP3−xO12, x = 0 to 3")
    yield on_hull("Li3InBr3Cl3", "energy_above_hull", 3.0, bound="upper", note="hull Li3InCl6–Li3InBr6–Li3YBr6")
    yield on_hull("Li4GeO4", "energy_above_polymorph", 30.0, bound="about", polymorph="Pnma", note="above Cmcm")


def _from_others(
    formula: str,
    kind: Kind,
    source: Source,
    *,
    energy_eV: float,
    method: str = "impedance spectroscopy",
    polymorph: str = "",
) -> PublishedValue:
    return published_value(
        formula,
        "activation_energy",
        energy_eV,
        source=source,
        reported_in=PAPER_A_DOI,
        kind=kind,
        method=method,
        polymorph=polymorph,
    )
