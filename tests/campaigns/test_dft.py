"""The stage dft of a real campaign, with a potential in the place of DFT: in results, report, CSV and statements."""

from __future__ import annotations

import csv

import pytest
from ase.io import read

from superionic.potentials.base import load_potential
from superionic.stages.dft.report import doubts
from superionic.stages.dft.result import DftResult

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dft(polymorphs):
    return polymorphs.results.further_result(DftResult)


def rows_of(folder, name):
    (path,) = folder.rglob(name)
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_energies_of_the_method_make_hull_and_differences_of_their_own(polymorphs, dft):
    (hull,) = polymorphs.results.hull
    points, relaxed = dft.energies
    assert (len(points.diagram.entries), len(relaxed.diagram.entries)) == (12, 6)
    assert dft.reference.code == "potential:pair"
    for kind in (points, relaxed):
        assert kind.diagram.end_members == hull.end_members
        assert kind.diagram.energy_convention == dft.reference.energy_convention
    energies = {each.identity: each for each in dft.structures}
    assert all(
        each.relaxed.energy_eV_per_atom <= each.single_point_eV_per_atom for each in energies.values() if each.relaxed
    )
    # E(P-3m1) − E(C2/m) of each composition, from the energies themselves; Li3YCl6 has ten atoms.
    assert [gap.point[0].value for gap in relaxed.gaps] == [0.0, 3.0, 6.0]
    for gap in relaxed.gaps:
        lowest = {
            crystal: min(
                each.relaxed.energy_eV_per_atom
                for identity, each in energies.items()
                if each.relaxed and identity.material.crystal == crystal and identity.material.point == gap.point
            )
            for crystal in ("p-3m1", "c2m")
        }
        assert (gap.crystal, gap.other) == ("p-3m1", "c2m")
        assert gap.eV_per_atom == pytest.approx(lowest["p-3m1"] - lowest["c2m"])
        assert gap.eV_per_formula_unit == pytest.approx(10 * gap.eV_per_atom)
        of_potential = next(item for item in hull.polymorphs if item.point == gap.point)
        own = of_potential.energy_eV_per_atom("p-3m1") - of_potential.energy_eV_per_atom("c2m")
        assert gap.potential_eV_per_atom == pytest.approx(own)


def test_the_lowest_of_each_material_are_relaxed_and_their_cells_are_beside_the_potentials(polymorphs, dft):
    relaxed = [each for each in dft.structures if each.relaxed is not None]
    assert len({each.identity.material for each in relaxed}) == len(relaxed) == 6
    ranked = {entry.identity: entry for entry in polymorphs.results.rank[0].entries}
    for each in dft.structures:
        entry = ranked[each.identity]
        assert each.potential_cell.lengths_A == pytest.approx(entry.lengths_A)
        assert each.potential_cell.volume_A3_per_atom == pytest.approx(entry.volume_A3_per_atom)
        assert each.potential_eV_per_atom == entry.relaxed_eV_per_atom
    # The structures beside the report are those, by a potential that knows nothing of the campaign.
    softer = load_potential("pair", **polymorphs.campaign.file.potentials["softer"].options)
    written = {atoms.info["id"]: atoms for atoms in read(polymorphs.report / "structures" / "dft.extxyz", index=":")}
    for each in relaxed:
        atoms = written[each.identity.id]
        own = softer.evaluate(atoms)
        assert own.energy_eV / len(atoms) == pytest.approx(each.relaxed.energy_eV_per_atom)
        assert abs(own.forces_eV_per_A).max() == pytest.approx(each.relaxed.largest_force_eV_per_A, abs=1e-4)
        assert atoms.get_volume() / len(atoms) == pytest.approx(each.relaxed.cell.volume_A3_per_atom)
        volume_percent = 100 * (each.potential_cell.volume_A3_per_atom * len(atoms) / atoms.get_volume() - 1)
        assert each.volume_percent == pytest.approx(volume_percent, abs=1e-6)


def test_report_csv_and_statements_have_it(polymorphs, dft):
    page = (polymorphs.report / "report.html").read_text(encoding="utf-8")
    assert "Lowest orderings by DFT" in page
    assert "A potential stands in for DFT" in page
    rows = rows_of(polymorphs.report, "dft.csv")
    assert [row["ordering"] for row in rows] == [each.identity.id for each in dft.structures]
    volumes = [each.relaxed.cell.volume_A3_per_atom for each in dft.structures if each.relaxed]
    assert [float(row["relaxed_volume_A3_per_atom"]) for row in rows if row["relaxed_volume_A3_per_atom"]] == volumes
    gaps = [gap for kind in dft.energies for gap in kind.gaps]
    written = rows_of(polymorphs.report, "dft_polymorphs.csv")
    assert [float(row["difference_eV_per_formula_unit"]) for row in written] == [
        gap.eV_per_formula_unit for gap in gaps
    ]
    for key in ("dft_order", "dft_hull", "dft_cells", "dft_polymorphs"):
        assert list(polymorphs.report.rglob(f"{key}.svg")), key
    assert set(doubts(dft)) <= set(polymorphs.results.statements)
    unconverged = [each for each in dft.structures if each.relaxed and not each.relaxed.converged]
    assert any("did not converge" in each.words for each in doubts(dft)) == bool(unconverged)
