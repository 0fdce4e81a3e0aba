"""What orderings look like, from real campaigns: in results, on the page and in files."""

from __future__ import annotations

import csv

import pytest

from superionic.report.section import Paragraph
from superionic.report.sections import local_order
from superionic.report.table import Table


def rows_of(finished, name):
    with (finished.report / "tables" / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_ions_on_all_sites_are_the_ions_of_the_ordering(halving):
    pure, mixed = halving.results.rank[-1].order
    assert [each.formula for each in (pure, mixed)] == ["Li3YCl6", "Li3YBr3Cl3"]
    for material in (pure, mixed):
        assert material.mean is None  # the campaign names no temperature
        assert material.lowest[0].above_lowest_eV_per_atom == 0.0
        for each in material.lowest:
            ions: dict[str, float] = {}
            for site in each.order.sites:
                ions[site.species] = ions.get(site.species, 0.0) + site.n_sites * site.occupancy
            anions = {"Cl": 18.0} if material is pure else {"Cl": 9.0, "Br": 9.0}
            assert ions == pytest.approx({"Li": 9.0, "Y": 3.0, **anions})
            assert each.order.misfit_A == pytest.approx(0.0, abs=1e-6)
    kinds = [kind for kind in pure.lowest[0].order.coordination if kind.cation == "Y"]
    assert [(kind.label, kind.share) for kind in kinds] == [("[YCl6]", 1.0)]


def test_the_mean_of_draws_is_weighted_by_how_often_they_were_drawn(monte_carlo):
    (material,) = monte_carlo.results.rank[-1].order
    assert (material.mean.weights, material.mean.temperature_K) == ("draws", 900.0)
    (ranked,) = monte_carlo.results.rank
    relaxed = [
        entry.identity
        for entry in ranked.entries
        if entry.relaxed_eV_per_atom is not None and entry.duplicate_of is None and entry.degeneracy is not None
    ]
    (space,) = monte_carlo.results.enumerate.spaces
    drawn = [ordering.times_drawn for ordering in space.orderings if ordering.ordering in relaxed]
    assert material.mean.n_orderings == len(drawn)
    assert material.mean.effective_number == pytest.approx(sum(drawn) ** 2 / sum(n * n for n in drawn))


def test_page_and_files_say_the_same(halving):
    section = local_order.section(halving.results)
    tables = {block.caption.split()[0]: block for block in section.blocks if isinstance(block, Table)}
    assert all(len(row) == len(table.columns) for table in tables.values() for row in table.rows)
    words = next(block.words for block in section.blocks if isinstance(block, Paragraph))
    assert "Li₃YBr₃Cl₃" in words
    assert "Li₃YCl₆ (p" not in words  # there is no choice of anions
    rows = rows_of(halving, "coordination_kinds.csv")
    shares: dict[tuple[str, str], float] = {}
    for row in rows:
        key = row["ordering"], row["cation"]
        shares[key] = shares.get(key, 0.0) + float(row["share"])
    assert list(shares.values()) == pytest.approx([1.0] * len(shares))
    pairs = rows_of(halving, "short_range_order.csv")
    assert {(row["first"], row["second"]) for row in pairs if row["sublattice_a"] == row["sublattice_b"]} >= {
        ("Li", "vacancy"),
        ("Br", "Cl"),
    }


@pytest.mark.slow
def test_occupancies_during_runs_stand_beside_those_of_the_orderings(polymorphs):
    rows = [row for row in rows_of(polymorphs, "site_occupancies.csv") if row["run"]]
    records = [record for record in polymorphs.results.analyse.migration if record.migration is not None]
    on_sites = [record for record in records if record.migration.crystal is not None]
    assert {row["run"] for row in rows} == {record.run.label for record in on_sites}
    for record in on_sites:
        own = {row["site"]: float(row["occupancy"]) for row in rows if row["run"] == record.run.label}
        assert own == {kind.label: kind.occupancy for kind in record.migration.site_kinds}


@pytest.mark.slow
def test_the_order_during_runs_stands_beside_that_of_the_ordering(polymorphs):
    analysed = polymorphs.results.analyse
    # Li3YCl6 and Li3YBr6 have nothing that could mix.
    assert [each.run for each in analysed.orders] == [
        each.run for each in analysed.runs if each.formula == "Li3YBr3Cl3"
    ]
    kinds, pairs = rows_of(polymorphs, "coordination_kinds.csv"), rows_of(polymorphs, "short_range_order.csv")
    for each in analysed.orders:
        assert {kind.cation for kind in each.order.coordination} == {"Y"}
        own = [row for row in kinds if row["run"] == each.run.label]
        assert [(row["polyhedron"], float(row["share"])) for row in own] == [
            (kind.label, kind.share) for kind in each.order.coordination
        ]
        assert [float(row["alpha"]) for row in pairs if row["run"] == each.run.label] == [
            pair.alpha for pair in each.order.pairs
        ]
        start = next(
            (one.order for material in polymorphs.results.rank[-1].order for one in material.lowest
             if one.ordering == each.run.ordering), None,
        )  # fmt: skip
        if start is not None:  # the same shells and species, so that the two compare
            names = {(pair.first, pair.second, pair.sublattices, pair.shell) for pair in start.pairs}
            assert names == {(pair.first, pair.second, pair.sublattices, pair.shell) for pair in each.order.pairs}
    section = local_order.section(polymorphs.results)
    table = next(b for b in section.blocks if isinstance(b, Table) and b.caption.startswith("Coordination"))
    assert any(row[2] == "MD of lowest, 900 K" for row in table.rows)
    labels = {one.label for plot in section.plots for panel in plot.panels for one in panel.series}
    assert {"MD, 1200 K", "Br–Cl, MD"} <= labels
