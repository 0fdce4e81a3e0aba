"""Crystals as drawn in the report: all their atoms, and the anions around the cations of the framework."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from superionic.report.sections.crystals import blocks, files
from superionic.results.campaign import CrystalSummary
from superionic.structures.io.files import read_crystal

EXAMPLES = Path(__file__).parents[2] / "examples"
STATES = {"Li": 1.0, "Na": 1.0, "Y": 3.0, "Zr": 4.0, "Si": 4.0, "P": 5.0, "O": -2.0, "Br": -1.0}


class _Results:
    def __init__(self, path: str, mobile_ion: str) -> None:
        crystal = read_crystal(EXAMPLES / path)
        summary = CrystalSummary.of(crystal, name="c", source=path, primitive=False, oxidation_states=STATES)
        self.crystals, self.mobile_ion = (summary,), mobile_ion


def drawn(results):
    *_, plot = blocks(results)
    return plot.surface


def test_octahedra_of_the_halide_have_six_anions():
    results = _Results("liybc/li3ybr6_c2m.cif", "Li")
    (lines,) = drawn(results).segments
    yttrium = np.array([end for end, _ in lines.ends_A])
    _, counts = np.unique(yttrium.round(3), axis=0, return_counts=True)
    assert len(counts) == 10  # Y on 2a: eight corners, and the centres of the two faces that C centres
    assert set(counts) == {6}


def test_nasicon_has_octahedra_and_tetrahedra_and_shares_of_each_site():
    results = _Results("nasicon/nasicon_r-3c.cif", "Na")
    (lines,) = drawn(results).segments
    centres, counts = np.unique(np.array([end for end, _ in lines.ends_A]).round(3), axis=0, return_counts=True)
    lengths = np.linalg.norm(np.diff(lines.ends_A, axis=1)[:, 0], axis=1)
    assert set(counts) == {4, 6}
    # Zr–O is some 2.1 Å, (Si, P)–O some 1.6 Å.
    for n, (low, high) in {4: (1.5, 1.7), 6: (2.0, 2.2)}.items():
        inside = [
            length
            for length, (start, _) in zip(lengths, lines.ends_A, strict=True)
            if np.isclose(centres[counts == n], start, atol=2e-3).all(axis=1).any()
        ]
        assert low < min(inside)
        assert max(inside) < high
    names = {markers.label: markers for markers in drawn(results).markers}
    assert {label.split("(")[1].rstrip(")") for label in names} == {"6b", "18e", "12c", "36f"}
    mixed = next(markers for markers in drawn(results).markers if "Si" in markers.label)
    assert mixed.marker == "diamond"
    assert mixed.filled
    sodium = [markers for markers in drawn(results).markers if markers.label.startswith("Na")]
    assert all(not markers.filled for markers in sodium)


def test_positions_have_their_conventional_names_in_a_primitive_cell_too():
    crystal = read_crystal(EXAMPLES / "nasicon/nasicon_r-3c.cif").primitive()
    summary = CrystalSummary.of(crystal, name="c", source="", primitive=True, oxidation_states=STATES)
    assert [sites.position for sites in summary.sites] == ["6b", "18e", "12c", "18e", "36f", "36f"]
    assert [len(sites.fractional) for sites in summary.sites] == [2, 6, 4, 6, 12, 12]


def test_the_file_of_sites_has_every_site_of_the_cell_with_its_occupancies():
    results = _Results("liybc/li3ybr6_c2m.cif", "Li")
    crystal = read_crystal(EXAMPLES / "liybc/li3ybr6_c2m.cif")
    _, table = files(results)
    assert len(table.rows) == len(crystal.sites)
    for row in table.rows:
        assert float(row[-1]) == pytest.approx(
            1.0 - sum(float(part.split()[-1]) if " " in part else 1.0 for part in row[-2].split(", ")), abs=1e-3
        )
