"""Values of paper A (Deng et al. 2025, doi:10.1039/d5ta05321h), from its text and figure captions, as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from superionic.references.compositions import Composition
from superionic.references.values import (
    DENG_2025,
    LI3INBR6_MEASURED,
    LI3INCL6_MEASURED,
    LI3PS4_MEASURED,
    LI3PS4_PHASES,
    LI_2020,
    LI_2024,
    PAPER_A_DOI,
    PARK_2020,
    YAHYA_2025,
    Approach,
    PublishedValue,
    Quantity,
    Source,
    published_value,
)
from superionic.units import gpa

_MACE = "MACE-MP-0a fine-tuned (SCAN labels)"
_MACE_NVT = f"{_MACE}, NVT molecular dynamics"
_ROOM_TEMPERATURE_K = 300.0

_tuned = partial(published_value, source=DENG_2025, reported_in=PAPER_A_DOI, approach="fine-tuned", model="MACE")
_mace = partial(_tuned, method=_MACE_NVT, bound="about")

_HALIDE_ENDS = ("Li3InCl6", "Li3InBr6", "Li3YBr6")
_HALIDE_FAMILY = Composition("Li3InxY1-xBr6yCl6-6y, x + y ≥ 1", _HALIDE_ENDS)
_HALIDE_PHASE = "C2/m"
_HALIDES_SIMULATED_K = (800.0, 1100.0)
_NASICON_ENDS = ("NaZr2P3O12", "Na4Zr2Si3O12")
_NASICON_FAMILY = Composition("Na1+xZr2SixP3-xO12, 0 ≤ x ≤ 3", _NASICON_ENDS)
_NASICON_PHASE = "R-3c"

# Space groups of the phases, as paper A gives them (section on the benchmarks).
_LI3PS4_PHASES: Mapping[str, int] = {"alpha": 63, "beta": 62, "gamma": 31}

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
    """Yield transport values of Li3InxY1−xBr6yCl6−6y, and the values compared with them."""
    mace = partial(_mace, polymorph=_HALIDE_PHASE)
    for formula, conductivity in _HALIDES_800K.items():
        yield mace(formula, "conductivity", conductivity, temperature_K=800.0)
    range_note = "end of the range over all compositions of figure 4 (section on the system)"
    for end, conductivity in (("lower", 300.0), ("upper", 620.0)):
        yield mace(
            _HALIDE_FAMILY, "conductivity", conductivity, temperature_K=800.0, bound=end, note=f"{end} {range_note}"
        )
    for formula, energy in _HALIDES_ENERGY_EV.items():
        yield mace(formula, "activation_energy", energy, temperature_range_K=_HALIDES_SIMULATED_K)
    yield _from_others("Li3InCl6", "dft", PARK_2020, energy_eV=0.20, method="AIMD", polymorph=_HALIDE_PHASE)
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
            approach="measured",
            method="impedance spectroscopy",
            temperature_K=_ROOM_TEMPERATURE_K,
            polymorph=_HALIDE_PHASE,
            note="ends of the range of published values at room temperature",
        )
        yield row(low, bound="lower")
        yield row(high, bound="upper")


def benchmarks() -> Iterator[PublishedValue]:
    """Yield transport values and formation energies of the NaSICON and Li3PS4–Li4GeO4 benchmarks."""
    nasicon = partial(_mace, "Na3Zr2Si2PO12", "conductivity", temperature_K=573.0, polymorph=_NASICON_PHASE)
    yield nasicon(80.0, note="ground-state ordering")
    yield nasicon(100.0, note="PO4/SiO4 orderings from Monte Carlo on a 4×4×4 supercell")
    yield _mace("Li3.5P0.5Ge0.5S2O2", "activation_energy", 0.29, polymorph="Pnma")
    for calculated, phase in ((0.26, "alpha"), (0.44, "beta")):
        yield _mace("Li3PS4", "activation_energy", calculated, polymorph=phase, spacegroup=_LI3PS4_PHASES[phase])
    for energy, phase in ((0.20, "alpha"), (0.41, "beta")):
        yield _from_others(
            "Li3PS4", "measured", LI3PS4_MEASURED, energy_eV=energy, polymorph=phase, spacegroup=_LI3PS4_PHASES[phase]
        )
    for phase, into, temperature in (("gamma", "beta", 573.0), ("beta", "alpha", 746.0)):
        yield published_value(
            "Li3PS4",
            "transition_temperature",
            temperature,
            source=LI3PS4_PHASES,
            reported_in=PAPER_A_DOI,
            approach="measured",
            method="stated in the section on the benchmarks as known",
            polymorph=phase,
            spacegroup=_LI3PS4_PHASES[phase],
            other_spacegroup=_LI3PS4_PHASES[into],
            note=f"from {phase} to {into} on heating",
        )
    yield _tuned("Li4GeO4", "activation_energy", 0.77, error=0.27, method=_MACE_NVT, polymorph="Cmcm")
    yield _from_others("Li4GeO4", "measured", YAHYA_2025, energy_eV=0.81, polymorph="Cmcm")
    formation = partial(
        published_value,
        "Li3.5P0.5Ge0.5S2O2",
        "formation_energy",
        reported_in=PAPER_A_DOI,
        temperature_K=0.0,
        polymorph="Pnma",
        relative_to=("Li3PS4", "Li4GeO4"),
        other_spacegroup=62,
        note="against Li3PS4 and Li4GeO4 in Pnma",
    )
    yield formation(-178.0, source=DENG_2025, approach="fine-tuned", model="MACE", method=_MACE)
    yield formation(-182.0, source=LI_2024, approach="dft", method="DFT (SCAN)")


def stability() -> Iterator[PublishedValue]:
    """Yield energies above hull of the systems of paper A, and the polymorphs of Li4GeO4."""
    energy = partial(_tuned, method=_MACE, temperature_K=0.0)
    halides_hull = partial(
        energy,
        polymorph=_HALIDE_PHASE,
        relative_to=_HALIDE_ENDS,
        other_spacegroup=12,
        note="hull Li3InCl6–Li3InBr6–Li3YBr6",
    )
    for formula in _STABLE_HALIDES:
        yield halides_hull(formula, "energy_above_hull", 0.0)
    for formula in _STABLE_NASICONS:
        yield energy(
            formula,
            "energy_above_hull",
            0.0,
            polymorph=_NASICON_PHASE,
            relative_to=_NASICON_ENDS,
            other_spacegroup=167,
            note="hull of Na1+xZr2SixP3−xO12, x = 0 to 3",
        )
    yield halides_hull(_HALIDE_FAMILY, "energy_above_hull", 3.0, bound="upper")
    yield energy(
        "Li4GeO4",
        "energy_above_polymorph",
        30.0,
        bound="about",
        polymorph="Pnma",
        other_spacegroup=63,
        note="above Cmcm",
    )


def model_errors() -> Iterator[PublishedValue]:
    """Yield errors of the fine-tuned potentials on their validation sets, against DFT (SCAN)."""
    systems: tuple[tuple[Composition, str, float, float, float], ...] = (
        (_NASICON_FAMILY, _NASICON_PHASE, 0.5, 17.5, 0.4),
        (_HALIDE_FAMILY, _HALIDE_PHASE, 0.6, 19.2, 0.3),
    )
    for family, phase, energy, force, stress_meV_per_A3 in systems:
        errors: Mapping[Quantity, float] = {
            "rmse_energy": energy,
            "rmse_force": force,
            "rmse_stress": 1.0e3 * gpa(1.0e-3 * stress_meV_per_A3),
        }
        for quantity, value in errors.items():
            note = "validation set of the model trained on about 2500 structures from molecular dynamics at 800 K"
            if quantity == "rmse_stress":
                note += f"; published as {stress_meV_per_A3} meV/Å³"
            yield _tuned(family, quantity, value, method=_MACE, polymorph=phase, note=note)


def _from_others(
    formula: str,
    approach: Approach,
    source: Source,
    *,
    energy_eV: float,
    polymorph: str,
    spacegroup: int | None = None,
    method: str = "impedance spectroscopy",
) -> PublishedValue:
    return published_value(
        formula,
        "activation_energy",
        energy_eV,
        source=source,
        reported_in=PAPER_A_DOI,
        approach=approach,
        method=method,
        polymorph=polymorph,
        spacegroup=spacegroup,
    )
