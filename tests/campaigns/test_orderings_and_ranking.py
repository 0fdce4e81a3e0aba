"""What the report says of orderings and their ranking, on what real campaigns give."""

from __future__ import annotations

import csv
import math
import shutil

import pytest

from superionic import Campaign
from superionic.report.section import Paragraph
from superionic.report.sections import orderings, ranking
from superionic.report.table import Table
from superionic.results.identity import Ordering


def tables(section) -> dict[str, Table]:
    """Tables by the first word of their captions."""
    found = {block.caption.split()[0].strip("."): block for block in section.blocks if isinstance(block, Table)}
    assert all(len(row) == len(table.columns) for table in found.values() for row in table.rows)
    return found


def read(finished, name) -> list[dict[str, str]]:
    with (finished.report / "tables" / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_spaces_are_those_that_burnside_counts(halving):
    section = orderings.section(halving.results)
    pure, mixed = tables(section)["Spaces"].rows
    assert pure == ["Li₃YCl₆", "p-3m1", "Br=0", "1 × 1 × 1", "360", "30", "30", "12", "list"]
    # Half of the six sites of each of three anion orbits: 20 ways each, and no operation leaves an ordering as it is.
    thin = "\N{THIN SPACE}"
    assert mixed[:6] == ["Li₃YBr₃Cl₃", "p-3m1", "Br=3", "1 × 1 × 1", f"2{thin}880{thin}000", f"240{thin}000"]
    assert 360 * 20**3 == 2_880_000 == 12 * 240_000
    (plot,) = section.plots
    assert [panel.title for panel in plot.panels] == ["Li₃YCl₆ · p-3m1 Br=0", "Li₃YBr₃Cl₃ · p-3m1 Br=3"]
    for panel, space in zip(plot.panels, halving.results.enumerate.spaces, strict=True):
        assert sum(panel.series[0].y) == space.counted.count.distinct
    rows = read(halving, "enumeration.csv")
    assert [(row["crystal"], row["Br_per_Li3YCl6"], row["distinct"], row["kept"]) for row in rows] == [
        ("p-3m1", "0.0", "30", "30"),
        ("p-3m1", "3.0", "240000", "30"),
    ]


def test_a_tie_and_draws_at_a_temperature_are_said(halving, monte_carlo):
    (tie,) = (space.tie for space in halving.results.enumerate.spaces if space.tie is not None)
    words = " ".join(doubt.words for doubt in orderings.doubts(halving.results))
    assert f"{tie.members:,} orderings share the Ewald energy" in words
    (space,) = monte_carlo.results.enumerate.spaces
    words = " ".join(doubt.words for doubt in orderings.doubts(monte_carlo.results))
    assert f"{space.evidence.independent_draws} independent draws at 900 K by potential pair, without" in words
    for flag in space.evidence.flags:
        assert flag in words


def test_every_ordering_is_in_the_file_with_all_digits(halving):
    (ranked,) = halving.results.rank
    rows = read(halving, "orderings.csv")
    assert [row["ordering"] for row in rows] == [entry.identity.id for entry in ranked.entries]
    assert len(rows) == 60
    for row, entry in zip(rows, ranked.entries, strict=True):
        assert isinstance(entry.identity, Ordering)
        assert float(row["Br_per_Li3YCl6"]) == entry.identity.material.point[0].value
        for name in ("ewald_eV", "single_point_eV_per_atom", "relaxed_eV_per_atom", "volume_A3_per_atom"):
            value = getattr(entry, name)
            assert row[name] == ("" if value is None else repr(value))


def test_the_lowest_ordering_of_each_composition_comes_first_and_lies_at_zero(halving):
    section, (ranked,) = ranking.section(halving.results), halving.results.rank
    rows = tables(section)["Orderings"].rows
    assert len(rows) == 60
    for material in {entry.identity.material for entry in ranked.entries}:
        own = [e for e in ranked.entries if e.identity.material == material and e.relaxed_eV_per_atom is not None]
        lowest = min(own, key=lambda entry: entry.relaxed_eV_per_atom)
        first = next(row for row in rows if row[0].startswith(f"{material.label} #"))
        assert (first[0], first[5]) == (lowest.identity.id, "0")
        assert first[6] == f"{lowest.relaxed_eV_per_atom:.4f}".replace("-", "−")
    (plot,) = section.plots
    for panel in plot.panels:
        before, after = panel.series
        assert (before.label, after.label) == ("before relaxation", "after relaxation")
        assert min(y for y in after.y if y is not None) == 0.0
        assert min(before.x) == (0.0 if panel.x_label.startswith("Ewald") else 1.0)
    # With half of the chlorine replaced, all that go on share one Ewald energy: there is nothing to plot against.
    assert [panel.x_label for panel in plot.panels] == ["Ewald energy, relative (eV)", "ordering, by rank"]


def test_what_was_culled_and_what_may_be_missing(halving):
    (ranked,) = halving.results.rank
    table = tables(ranking.section(halving.results))["Culling"]
    assert len(ranked.halving) == len(table.rows) == 2
    doubts = [doubt.words for doubt in ranking.doubts(halving.results) if "culled" in doubt.words]
    for report, row, line in zip(ranked.halving, table.rows, read(halving, "culling.csv"), strict=True):
        assert row[:4] == [
            f"{row[0].split()[0]} ({report.material.label})",
            str(report.orderings),
            str(report.relaxed),
            str(report.culled),
        ]
        own = [e for e in ranked.entries if e.identity.material == report.material][:26]  # of lowest Ewald energy
        assert report.orderings == sum(e.reached_eV_per_atom is not None for e in own) == 26
        assert report.relaxed == sum(e.relaxed_eV_per_atom is not None for e in own)
        assert report.evaluations == sum(e.n_evaluations or 0 for e in own) == int(line["evaluations"])
        assert float(line["recall"]) == report.recall
        assert any(f"({report.material.label})" in words for words in doubts) == (report.recall < 0.95)
    assert any(report.culled for report in ranked.halving)


def test_what_the_prescreen_left_out_is_tested(halving):
    (ranked,) = halving.results.rank
    table = tables(ranking.section(halving.results))["The"]
    assert table.caption.startswith("The pre-screen by ewald")
    for audit, row, line in zip(ranked.prescreen.audits, table.rows, read(halving, "prescreen.csv"), strict=True):
        assert row[1:6] == ["26", "4", "2", str(audit.entered), "2"]
        left_out = [e for e in ranked.entries if e.identity.material == audit.material][26:]
        assert sum(e.relaxed_eV_per_atom is not None for e in left_out) == audit.audited == 2
        assert float(line["recall"]) == audit.recall
        assert audit.recall_interval95[0] <= audit.recall <= audit.recall_interval95[1]
    assert "4 more to test the pre-screen by ewald" in halving.campaign.check().lines[1].work


def test_another_potential_stands_beside_the_first(halving):
    (ranked,) = halving.results.rank
    (other,) = ranked.comparisons
    assert (other.first, other.second, other.potential.name) == ("pair", "harder", "pair")
    table = tables(ranking.section(halving.results))["Other"]
    assert [row[0] for row in table.rows] == ["harder"] * 2
    rows = read(halving, "ranking_comparison.csv")
    relaxed = {e.identity.id: e.relaxed_eV_per_atom for e in ranked.entries}
    for row, energies in zip(rows, other.rankings.energies, strict=True):
        assert float(row["first_eV_per_atom"]) == energies.first_eV_per_atom == relaxed[row["ordering"]]
        # Larger charges bind more.
        assert float(row["second_eV_per_atom"]) < float(row["first_eV_per_atom"])
    left = [energies.left_meV_per_atom for energies in other.rankings.energies]
    assert math.fsum(left) / len(left) == pytest.approx(0.0, abs=1.0)


def test_references_are_ranked_beside_the_orderings(monte_carlo):
    rows = {row[0]: row for row in tables(ranking.section(monte_carlo.results))["Orderings"].rows}
    for name, formula in (("LiCl", "LiCl"), ("YCl3", "YCl₃")):
        assert rows[name][1:6] == [formula, name, "–", "0", "0"]
    assert {row["ordering"] for row in read(monte_carlo, "orderings.csv")} == set(rows)


def test_a_walk_that_ends_before_the_ranking_says_what_is_missing(halving, tmp_path):
    folder = shutil.copytree(halving.campaign.path.parent, tmp_path / "copy")
    results = Campaign.load(folder / halving.campaign.path.name).run(until="enumerate")
    assert orderings.section(results).plots
    (words,) = ranking.section(results).blocks
    assert words == Paragraph("Orderings were not ranked with a potential.", "missing")
