"""A campaign whose hull is repeated by the fine-tuned potential: what it ranks, and what stands beside DFT."""

from __future__ import annotations

import csv

import pytest

from superionic.stages.dft.result import DftResult


def test_the_second_ranking_compares_every_ordering_of_the_first_and_relaxes_the_lowest(repeated):
    first, second = repeated.results.rank
    assert (second.potential_name, second.method) == ("fine-tuned", "single-points")
    evaluated = [
        {entry.identity for entry in ranking.entries if entry.single_point_eV_per_atom is not None}
        for ranking in (first, second)
    ]
    assert evaluated[0] == evaluated[1]
    assert len(evaluated[0]) == 4 * 2, "what the pre-screen left of three orderings of each"
    assert (first.potential.fine_tuned, second.potential.fine_tuned) == (False, True)
    for material in {entry.identity.material for entry in second.entries}:
        own = [e for e in second.entries if e.identity in evaluated[1] and e.identity.material == material]
        (relaxed,) = [entry for entry in own if entry.relaxed_eV_per_atom is not None]
        assert relaxed.single_point_eV_per_atom == pytest.approx(
            min(entry.single_point_eV_per_atom for entry in own), abs=1e-6
        )


def test_the_fine_tuned_potential_stands_beside_dft_in_cells_and_polymorphs(repeated):
    dft, hull = repeated.results.further_result(DftResult), repeated.results.hull[-1]
    ranked = {entry.identity: entry for entry in repeated.results.rank[-1].entries}
    (path,) = repeated.report.rglob("dft.csv")
    rows = {row["ordering"]: row for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())}
    both = [each for each in dft.structures if ranked[each.identity].volume_A3_per_atom is not None]
    assert both
    for each in both:
        row = rows[each.identity.id]
        assert row["repeated_by"] == "fine-tuned"
        own = ranked[each.identity]
        assert float(row["repeated_volume_A3_per_atom"]) == pytest.approx(own.volume_A3_per_atom)
        # The correction was trained on labels by the potential in the place of DFT, and the first potential was not.
        by_dft = each.relaxed.cell.volume_A3_per_atom
        before = abs(each.potential_cell.volume_A3_per_atom / by_dft - 1)
        assert abs(own.volume_A3_per_atom / by_dft - 1) < before
    (path,) = repeated.report.rglob("dft_polymorphs.csv")
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        item = next(one for one in hull.polymorphs if one.formula == row["formula"])
        gap = item.energy_eV_per_atom(row["crystal"]) - item.energy_eV_per_atom(row["other_crystal"])
        assert float(row["repeated_difference_eV_per_atom"]) == pytest.approx(gap)
    page = (repeated.report / "report.html").read_text(encoding="utf-8")
    assert "Above hull, fine-tuned" in page
    assert "fine-tuned, meV/atom" in page
