"""Values of paper B (Böhm and Champagne 2025, arXiv:2510.09861): its tables 1 and 2, as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from superionic.references.values import (
    ASANO_2018,
    BOEHM_2025,
    LIU_2024,
    PAPER_B_DOI,
    SCHLEM_2021,
    VAN_DER_MAAS_2023,
    WANG_2019,
    Kind,
    PublishedValue,
    Source,
    published_value,
)

_BAR_IN_GPA = 1.0e-4
_10_KBAR_IN_GPA = 1.0

_CHGNET = "CHGNet 0.3.0 as published"
_SEVENNET = "SevenNet-MF-ompa"
_CHGNET_600K = "CHGNet fine-tuned up to 600 K (PBE labels)"
_IMPEDANCE = "impedance spectroscopy"

# Label → source, kind, potential or diffraction, pressure at which the cell was equilibrated.
_METHODS: Mapping[str, tuple[Source, Kind, str, float | None]] = {
    "CHGNet 1 bar": (BOEHM_2025, "calculated", _CHGNET, _BAR_IN_GPA),
    "SevenNet 1 bar": (BOEHM_2025, "calculated", _SEVENNET, _BAR_IN_GPA),
    "CHGNet 600K 1 bar": (BOEHM_2025, "calculated", _CHGNET_600K, _BAR_IN_GPA),
    "CHGNet 600K 10 kbar": (BOEHM_2025, "calculated", _CHGNET_600K, _10_KBAR_IN_GPA),
    "AIMD": (WANG_2019, "calculated", "DFT", None),
    "Schlem": (SCHLEM_2021, "measured", "neutron diffraction", None),
    "Liu": (LIU_2024, "measured", "neutron and synchrotron X-ray diffraction", None),
    "Asano": (ASANO_2018, "measured", "X-ray diffraction", None),
    "van der Maas": (VAN_DER_MAAS_2023, "measured", "diffraction", None),
}

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
    """Volumes per atom of tables 1 and 2."""
    for formula, methods in _VOLUMES.items():
        for label, by_temperature in methods.items():
            source, kind, method, pressure = _METHODS[label]
            for temperature, volume in by_temperature.items():
                relaxed = kind == "calculated" and temperature == 0
                simulated = kind == "calculated" and temperature > 0
                yield published_value(
                    formula,
                    "volume_per_atom",
                    volume,
                    source=source,
                    reported_in=PAPER_B_DOI,
                    kind=kind,
                    method=f"{method}, relaxed" if relaxed else f"{method}, NPT" if simulated else method,
                    temperature_K=float(temperature),
                    pressure_GPa=pressure if simulated else None,
                )


def transport() -> Iterator[PublishedValue]:
    """Activation energies and conductivities at 300 K of tables 1 and 2."""
    for formula, methods in _TRANSPORT.items():
        for label, samples in methods.items():
            source, kind, method, pressure = _METHODS[label]
            for mark, energy, error, conductivity in samples:
                note = "extrapolated to 300 K from molecular dynamics at 400–750 K"
                if label == "AIMD":
                    note = "extrapolated to 300 K; simulated without equilibration of the cell"
                if kind == "measured":
                    note = "at about 300 K" + (f"; sample marked {mark} in paper B" if mark else "")
                row = partial(
                    published_value,
                    formula,
                    source=source,
                    reported_in=PAPER_B_DOI,
                    kind=kind,
                    method=_IMPEDANCE if kind == "measured" else f"{method}, NVT molecular dynamics",
                    pressure_GPa=pressure,
                    note=note,
                )
                yield row("activation_energy", energy, error=error)
                yield row("conductivity", conductivity, temperature_K=300.0)
