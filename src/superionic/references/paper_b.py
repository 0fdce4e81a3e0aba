"""Values of paper B (Böhm and Champagne 2025, arXiv:2510.09861): its tables 1 and 2 and its text, as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from superionic.references.compositions import Composition
from superionic.references.values import (
    ASANO_2018,
    BOEHM_2025,
    LIU_2024,
    PAPER_B_DOI,
    SCHLEM_2021,
    VAN_DER_MAAS_2023,
    WANG_2019,
    Approach,
    PublishedValue,
    Quantity,
    Source,
    published_value,
)

_BAR_IN_GPA = 1.0e-4
_10_KBAR_IN_GPA = 1.0

_CHGNET = "CHGNet 0.3.0 as published"
_SEVENNET = "SevenNet-MF-ompa"
_CHGNET_600K = "CHGNet fine-tuned up to 600 K (PBE labels)"
_IMPEDANCE = "impedance spectroscopy"

# Label → source, approach, family of potentials, potential or diffraction, pressure at which the cell was equilibrated.
_METHODS: Mapping[str, tuple[Source, Approach, str | None, str, float | None]] = {
    "CHGNet 1 bar": (BOEHM_2025, "universal", "CHGNet", _CHGNET, _BAR_IN_GPA),
    "SevenNet 1 bar": (BOEHM_2025, "universal", "SevenNet", _SEVENNET, _BAR_IN_GPA),
    "CHGNet 600K 1 bar": (BOEHM_2025, "fine-tuned", "CHGNet", _CHGNET_600K, _BAR_IN_GPA),
    "CHGNet 600K 10 kbar": (BOEHM_2025, "fine-tuned", "CHGNet", _CHGNET_600K, _10_KBAR_IN_GPA),
    "AIMD": (WANG_2019, "dft", None, "DFT", None),
    "Schlem": (SCHLEM_2021, "measured", None, "neutron diffraction", None),
    "Liu": (LIU_2024, "measured", None, "neutron and synchrotron X-ray diffraction", None),
    "Asano": (ASANO_2018, "measured", None, "X-ray diffraction", None),
    "van der Maas": (VAN_DER_MAAS_2023, "measured", None, "diffraction", None),
}

# Table 1 is of the trigonal chloride, table 2 of the monoclinic bromide, in calculation and experiment (section 2.1).
_POLYMORPHS: Mapping[str, str] = {"Li3YCl6": "P-3m1", "Li3YBr6": "C2/m"}

# Temperatures of the molecular dynamics from which activation energies were fitted (section 2.4).
_SIMULATED_K = (400.0, 750.0)

_ENDS = ("Li3YCl6", "Li3YBr6")
_SERIES = Composition("Li3YCl6-xBrx, 0 ≤ x ≤ 6", _ENDS)
_END_MEMBERS = Composition("Li3YCl6 and Li3YBr6", _ENDS, mixtures=False)
_BROMIDE_RICH = Composition("Li3YCl6-xBrx, 3 ≤ x ≤ 5.5", ("Li3YCl3Br3", "Li3YCl0.5Br5.5"))

# Volume per atom in Å³ at temperatures in K: tables 1 and 2 of paper B.
_VOLUMES: Mapping[str, Mapping[str, Mapping[int, float]]] = {
    "Li3YCl6": {
        "CHGNet 1 bar": {0: 22.8, 200: 23.7, 300: 25.7, 400: 26.9, 600: 31.0},
        "SevenNet 1 bar": {0: 22.6, 200: 23.5, 300: 24.0, 400: 24.7, 600: 26.4},
        "CHGNet 600K 1 bar": {0: 23.1, 200: 23.8, 300: 24.4, 400: 25.3, 600: 26.6},
        "CHGNet 600K 10 kbar": {200: 22.2, 300: 22.6, 400: 22.9, 600: 23.9},
        "AIMD": {0: 22.4},
        "Schlem": {200: 21.6, 300: 21.9},
        "Liu": {200: 21.6, 300: 21.8, 400: 22.1},
        "Asano": {300: 22.0},
        "van der Maas": {300: 22.0},
    },
    "Li3YBr6": {
        "CHGNet 1 bar": {0: 29.3, 200: 33.2, 300: 34.5, 400: 37.5, 600: 42.0},
        "SevenNet 1 bar": {0: 27.6, 200: 28.9, 300: 29.6, 400: 30.2, 600: 31.9},
        "CHGNet 600K 1 bar": {0: 27.5, 200: 28.5, 300: 29.1, 400: 29.9, 600: 31.7},
        "CHGNet 600K 10 kbar": {200: 26.6, 300: 27.0, 400: 27.4, 600: 28.6},
        "AIMD": {0: 26.9},
        "Schlem": {200: 26.1, 300: 26.8},
        "Asano": {300: 26.9},
    },
}

# (sample mark, activation energy in eV, its error, conductivity at 300 K in mS/cm): tables 1 and 2 of paper B.
_Transport = tuple[str, float, float | None, float]
_TRANSPORT: Mapping[str, Mapping[str, Sequence[_Transport]]] = {
    "Li3YCl6": {
        "SevenNet 1 bar": [("", 0.17, None, 122.0)],
        "CHGNet 600K 1 bar": [("", 0.12, 0.01, 331.0)],
        "CHGNet 600K 10 kbar": [("", 0.24, 0.01, 15.7)],
        "AIMD": [("", 0.19, None, 14.0)],
        "Schlem": [("", 0.411, None, 0.09), ("*", 0.44, None, 0.06), ("**", 0.49, None, 0.04)],
        "Liu": [("", 0.7, None, 0.14)],
        "Asano": [("", 0.4, None, 0.51), ("*", 0.6, None, 0.04)],
        "van der Maas": [("", 0.7, None, 0.05)],
    },
    "Li3YBr6": {
        "SevenNet 1 bar": [("", 0.20, None, 42.0)],
        "CHGNet 600K 1 bar": [("", 0.25, 0.01, 20.0)],
        "CHGNet 600K 10 kbar": [("", 0.36, 0.02, 0.58)],
        "AIMD": [("", 0.28, None, 2.20)],
        "Schlem": [("", 0.36, None, 0.3), ("*", 0.34, None, 1.4), ("**", 0.21, None, 4.3)],
        "Asano": [("", 0.37, None, 0.72), ("*", 0.31, None, 1.7)],
        "van der Maas": [("", 0.33, None, 4.7)],
    },
}


def volumes() -> Iterator[PublishedValue]:
    """Yield the volumes per atom of tables 1 and 2."""
    for formula, methods in _VOLUMES.items():
        for label, by_temperature in methods.items():
            source, approach, model, method, pressure = _METHODS[label]
            for temperature, volume in by_temperature.items():
                relaxed = approach != "measured" and temperature == 0
                simulated = approach != "measured" and temperature > 0
                yield published_value(
                    formula,
                    "volume_per_atom",
                    volume,
                    source=source,
                    reported_in=PAPER_B_DOI,
                    approach=approach,
                    model=model,
                    method=f"{method}, relaxed" if relaxed else f"{method}, NPT" if simulated else method,
                    temperature_K=float(temperature),
                    pressure_GPa=pressure if simulated else None,
                    polymorph=_POLYMORPHS[formula],
                )


def transport() -> Iterator[PublishedValue]:
    """Yield the activation energies and conductivities at 300 K of tables 1 and 2."""
    for formula, methods in _TRANSPORT.items():
        for label, samples in methods.items():
            source, approach, model, method, pressure = _METHODS[label]
            simulated_here = source is BOEHM_2025
            for mark, energy, error, conductivity in samples:
                note = "extrapolated to 300 K from molecular dynamics at 400–750 K"
                if label == "AIMD":
                    note = "extrapolated to 300 K; simulated without equilibration of the cell"
                if approach == "measured":
                    note = "at about 300 K" + (f"; sample marked {mark} in paper B" if mark else "")
                row = partial(
                    published_value,
                    formula,
                    source=source,
                    reported_in=PAPER_B_DOI,
                    approach=approach,
                    model=model,
                    method=_IMPEDANCE if approach == "measured" else f"{method}, NVT molecular dynamics",
                    pressure_GPa=pressure,
                    polymorph=_POLYMORPHS[formula],
                    note=note,
                )
                fitted = _SIMULATED_K if simulated_here else None
                yield row("activation_energy", energy, error=error, temperature_range_K=fitted)
                yield row("conductivity", conductivity, temperature_K=300.0)


def mixed_halides() -> Iterator[PublishedValue]:
    """Yield conductivities over the series Li3YCl6-xBrx, from the text."""
    yield published_value(
        _SERIES,
        "conductivity",
        5.36,
        source=VAN_DER_MAAS_2023,
        reported_in=PAPER_B_DOI,
        approach="measured",
        method=_IMPEDANCE,
        temperature_K=300.0,
        bound="upper",
        note="introduction: largest value that was measured over the series, at room temperature",
    )
    yield published_value(
        _BROMIDE_RICH,
        "conductivity",
        0.7,
        source=BOEHM_2025,
        reported_in=PAPER_B_DOI,
        approach="fine-tuned",
        model="CHGNet",
        method=f"{_CHGNET_600K}, NVT molecular dynamics",
        temperature_K=300.0,
        pressure_GPa=_10_KBAR_IN_GPA,
        bound="about",
        polymorph="C2/m",
        note="section 2.5: constant from the bromide down to x = 3, rising below; the pressure is taken from table 2, "
        "whose bromide has 0.58 mS/cm at 10 kbar and 20 mS/cm at 1 bar",
    )


def model_errors() -> Iterator[PublishedValue]:
    """Yield errors of potentials on test sets, against DFT (PBE)."""
    tuned = partial(
        published_value,
        source=BOEHM_2025,
        reported_in=PAPER_B_DOI,
        approach="fine-tuned",
        model="CHGNet",
        method=_CHGNET_600K,
        bound="upper",
    )
    at_end_members: Mapping[Quantity, float] = {"mae_energy": 2.0, "mae_force": 50.0, "mae_stress": 60.0}
    for quantity, value in at_end_members.items():
        yield tuned(
            _END_MEMBERS,
            quantity,
            value,
            temperature_range_K=(300.0, 700.0),
            note="supplement 5.2.2: structures of both end members from molecular dynamics at about 300–700 K",
        )
    over_series: Mapping[Quantity, float] = {"mae_energy": 3.5, "mae_force": 50.0, "mae_stress": 85.0}
    for quantity, value in over_series.items():
        yield tuned(
            _SERIES,
            quantity,
            value,
            temperature_range_K=(0.0, 800.0),
            note="section 2.3: all test sets, structures of the series from 0 to 800 K",
        )
    untuned = partial(
        published_value,
        source=BOEHM_2025,
        reported_in=PAPER_B_DOI,
        approach="universal",
        model="CHGNet",
        method=_CHGNET,
    )
    yield untuned(
        _SERIES,
        "mae_energy",
        11.0,
        temperature_K=0.0,
        bound="upper",
        note="section 2.2: static calculations of enumerated structures",
    )
    yield untuned(
        _END_MEMBERS,
        "max_error_energy",
        70.0,
        bound="about",
        note="section 2.2: largest error over 880 structures of each end member from molecular dynamics",
    )
