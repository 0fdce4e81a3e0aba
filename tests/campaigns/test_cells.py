"""Cells of real campaigns beside the refined ones: in results, report, CSV and statements."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from ase.io import read

from superionic.report.sections import cells
from superionic.results.cells import compare_cells, lattice_constants


def rows_of(folder, name):
    (path,) = folder.rglob(name)
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_relaxed_and_simulated_cells_are_compared_per_refined_cell(monte_carlo):
    results = monte_carlo.results
    (crystal,) = results.crystals
    # Li3YCl6 in P-3m1 (Asano 2018): a = 11.2, c = 6.03 Å, three formula units.
    assert crystal.cell.lengths_A == pytest.approx((11.2, 11.2, 6.03), abs=0.03)
    assert crystal.cell.formula_units == 3
    entries = {entry.identity: entry for entry in results.rank[0].entries}
    relaxed = [one for one in results.cells if one.run is None]
    assert {one.ordering for one in relaxed} == {
        identity
        for identity, entry in entries.items()
        if entry.volume_A3_per_atom is not None
        and entry.duplicate_of is None
        and getattr(identity, "cell", None) is not None
    }
    for one in relaxed:
        n_cells = round(abs(np.linalg.det(one.ordering.cell.supercell)))
        volume = entries[one.ordering].volume_A3_per_atom * entries[one.ordering].n_atoms / n_cells
        assert one.difference.volume_A3 == pytest.approx(volume)
        assert one.difference.volume_per_formula_unit_A3 == pytest.approx(volume / 3)
    runs = {one.run: one for one in results.cells if one.run is not None}
    assert set(runs) == {each.run.label for each in results.transport.runs}
    for each in results.transport.runs:
        one = runs[each.run.label]
        assert one.difference.volume_A3 == pytest.approx(each.volume_A3_per_atom * 30)
        assert one.temperature_K == each.run.temperature_K
        assert one.thermal_percent is None  # one temperature


def test_report_csv_and_statements_hold_the_differences(monte_carlo):
    results = monte_carlo.results
    rows = rows_of(monte_carlo.report, "cells.csv")
    assert [float(row["volume_difference_percent"]) for row in rows] == [
        one.difference.volume_percent for one in results.cells
    ]
    assert [float(row["c_difference_percent"]) for row in rows] == [
        one.difference.lengths_percent[2] for one in results.cells
    ]
    page = (monte_carlo.report / "report.html").read_text(encoding="utf-8")
    assert "Cells against the refinement" in page
    said = {statement.severity for statement in cells.doubts(results)}
    assert said == {one.difference.severity for one in cells._shown(results)} - {None}
    assert set(cells.doubts(results)) <= set(results.statements)
    for statement in cells.doubts(results):
        assert " deviates from the refined one: volume " in statement.words
        assert ("thermal expansion" in statement.words) == (" at 900 K" in statement.words)


def test_only_the_refined_composition_is_compared(polymorphs):
    """P-3m1 is refined as Li3YCl6, C2/m as Li3YBr6; what lies between is neither."""
    found = {(one.ordering.material.crystal, one.formula) for one in polymorphs.results.cells}
    assert found == {("p-3m1", "Li3YCl6"), ("c2m", "Li3YBr6")}
    runs = [one for one in polymorphs.results.cells if one.run is not None]
    assert {one.temperature_K for one in runs} == {900.0, 1200.0}
    for one in runs:
        cold, hot = sorted(
            (other for other in runs if other.ordering == one.ordering), key=lambda other: other.temperature_K
        )
        slope = math.log(hot.difference.volume_A3 / cold.difference.volume_A3) / 300.0
        assert one.thermal_percent == pytest.approx(100 * math.expm1(slope * (one.temperature_K - 300.0)))


def test_lattice_constants_of_every_composition_are_those_of_the_structure_in_the_refined_setting(polymorphs):
    results = polymorphs.results
    rows = rows_of(polymorphs.report, "lattice_constants.csv")
    materials = {(each.material.crystal, each.formula) for each in results.rank[-1].order}
    assert {(row["crystal"], row["formula"]) for row in rows} == materials
    assert len(rows) == 6
    refined = {crystal.name: crystal.cell for crystal in results.crystals}
    relaxed = read(polymorphs.report / "structures" / "relaxed.extxyz", ":")
    structures = {atoms.info["id"]: atoms for atoms in relaxed}
    lattices = lattice_constants(refined, results.rank)
    for row, one in zip(rows, lattices, strict=True):
        own = [entry for entry in results.rank[0].entries if getattr(entry.identity, "material", None) ==
               one.ordering.material and entry.relaxed_eV_per_atom is not None]  # fmt: skip
        assert one.relaxed_eV_per_atom == min(entry.relaxed_eV_per_atom for entry in own)
        atoms = structures[row["ordering"]]
        cell = np.linalg.inv(np.array(one.ordering.cell.supercell)) @ atoms.cell.array
        assert [float(row[f"{name}_A"]) for name in "abc"] == pytest.approx(np.linalg.norm(cell, axis=1))
        cosine = cell[0] @ cell[2] / np.linalg.norm(cell[0]) / np.linalg.norm(cell[2])
        assert math.cos(math.radians(float(row["beta_deg"]))) == pytest.approx(cosine)
        assert float(row["volume_A3_per_atom"]) == pytest.approx(atoms.get_volume() / len(atoms))
        assert abs(one.lengths_A[1] / refined[row["crystal"]].lengths_A[1] - 1.0) < 0.2
    assert "Lattice constants of the lowest ordering" in (polymorphs.report / "report.html").read_text("utf-8")


def test_without_a_crystal_nothing_is_compared(monte_carlo):
    assert compare_cells({}, monte_carlo.results.rank, monte_carlo.results.transport) == ()
