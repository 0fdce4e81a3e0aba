"""Stability and transport over the composition axes: on what real campaigns give, to the number."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import Delaunay

from superionic import Campaign
from superionic.errors import CompositionError
from superionic.report.composition_axes import amounts_per_unit, line_words, unit_formula
from superionic.report.composition_map import RING_RADIUS, composition_map
from superionic.report.sections import composition, stability
from superionic.results.identity import AxisValue, Material, Ordering, ReferencePhase
from superionic.results.transport import FurtherSeries
from superionic.stages.dft.result import DftResult

from .conftest import POLYMORPHS, TWO_AXES, write_campaign


def plot(section, key):
    return next(each for each in section.plots if each.key == key)


def file(section, name):
    table = next(each for each in section.csv if each.name == name)
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


@pytest.fixture(scope="module")
def square(root, tmp_path_factory):
    """The whole square of the two axes, to its hull: four end members of which one depends on the others."""
    text = TWO_AXES.replace("  - {weights: {In: 6, Br: 1}, minimum: 6}\n", "").replace("composition_constraints:\n", "")
    text = text.replace("[0, 0.5, 1]", "[0, 1]").replace("[0, 3, 6]", "[0, 3, 6]").replace("two-axes", "square")
    path = write_campaign(root, tmp_path_factory.mktemp("square"), text)
    return Campaign.load(path).run(until="hull")


@pytest.fixture(scope="module")
def against_simple_phases(root, tmp_path_factory):
    """One axis in two polymorphs, against reference phases."""
    text = POLYMORPHS.replace("values: [0, 3, 6]", "values: [0]").replace("name: polymorphs", "name: phases")
    text = text.replace(
        "potentials:", "references:\n  - {name: LiCl, file: licl.cif}\n  - {name: YCl3, file: ycl3.cif}\npotentials:", 1
    )
    path = write_campaign(root, tmp_path_factory.mktemp("phases"), text)
    return Campaign.load(path).run(until="dft")


# ---- stability -------------------------------------------------------------------------------------------------------


def test_every_material_with_a_conductivity_has_its_stability(two_axes, polymorphs, monte_carlo):
    for finished in (two_axes, polymorphs, monte_carlo):
        results = finished.results
        assert results.analyse.arrhenius
        for each in results.analyse.arrhenius:
            found = stability.stability_of(results, each.material)
            own = [entry for entry in results.hull[-1].entries if entry.material == each.material]
            assert found.e_above_hull_eV_per_atom == min(entry.e_above_hull_eV_per_atom for entry in own)
            assert found.lowest.formula == each.formula
            assert found.stable is any(entry.stable for entry in own)
            assert not found.one_composition
            assert "hull" in found.words or "meV/atom above" in found.words
        assert stability.stability_of(results, Material("none of it")) is None


def test_hull_is_made_of_the_ranked_energies_and_counts_formula_units(two_axes, polymorphs):
    for finished in (two_axes, polymorphs):
        results = finished.results
        (hull,) = results.hull
        ranked = {entry.identity: entry for entry in results.rank[-1].entries if entry.relaxed_eV_per_atom is not None}
        assert {entry.identity for entry in hull.entries} == set(ranked)
        for entry in hull.entries:
            assert entry.formula_units == ranked[entry.identity].n_atoms / 10  # Li3MX6
            above = entry.e_above_hull_eV_per_formula_unit
            assert above == pytest.approx(10 * entry.e_above_hull_eV_per_atom, abs=1e-12)
            assert math.fsum(part.fraction for part in entry.decomposition) == pytest.approx(1.0)
            assert all(isinstance(part.identity, Ordering) for part in entry.decomposition)
            # all have ten atoms per formula unit, so that shares of formula units are shares of atoms
            mixture = math.fsum(
                part.fraction * ranked[part.identity].relaxed_eV_per_atom for part in entry.decomposition
            )
            energy = ranked[entry.identity].relaxed_eV_per_atom
            assert entry.e_above_hull_eV_per_atom == pytest.approx(energy - mixture, abs=1e-9)


def test_hull_over_one_axis_has_the_values_of_that_axis(polymorphs):
    results = polymorphs.results
    panel = plot(stability.section(results), "hull").panels[0]
    assert panel.x_label == "x in Li₃YCl₆₋ₓBrₓ"
    assert panel.y_label == "formation energy (meV/atom)"
    points = [(x, y) for series in panel.series if series.kind == "points" for x, y in zip(series.x, series.y)]  # noqa: B905
    expected = [
        (entry.identity.material.point[0].value, 1000 * entry.formation_energy_eV_per_atom)
        for entry in results.hull[-1].entries
    ]
    assert sorted(points) == sorted(expected)
    line = next(series for series in panel.series if series.kind == "line")
    assert line.x[0] == 0.0
    assert line.x[-1] == 6.0
    assert line.y[0] == line.y[-1] == 0.0


def test_polymorphs_are_told_apart_by_their_energies(polymorphs):
    results = polymorphs.results
    section = stability.section(results)
    panel = plot(section, "polymorphs").panels[0]
    points = next(series for series in panel.series if series.kind == "points")
    lowest = {}
    for entry in results.rank[-1].entries:
        key = (entry.identity.material.crystal, entry.identity.material.point[0].value)
        if entry.relaxed_eV_per_atom is not None:
            lowest[key] = min(lowest.get(key, math.inf), entry.relaxed_eV_per_atom)
    assert points.x == [0.0, 3.0, 6.0]
    gaps = [1000 * (lowest["p-3m1", x] - lowest["c2m", x]) for x in points.x]
    np.testing.assert_allclose(points.y, gaps, atol=1e-9)
    assert panel.y_label == "E(p-3m1) − E(c2m) (meV/atom)"
    rows = file(section, "polymorphs.csv")
    assert len(rows) == 6
    assert {(row["crystal"], row["Br_per_Li3YCl6"]): row["energy_eV_per_atom"] for row in rows} == pytest.approx(lowest)


def test_each_series_has_its_figure_over_composition(polymorphs):
    results = polymorphs.results
    again = FurtherSeries("10 kbar", "pair", 1.0, transport=results.transport, analyse=results.analyse)
    idle = FurtherSeries("too-hot", "pair", 1.0, not_run="every run failed")
    first, second = composition.section(replace(results, series=(again, idle))).plots
    assert (first.key, second.key) == ("composition", "composition_10-kbar")
    assert second.title.endswith(": series 10 kbar")
    assert [panel.y_label for panel in second.panels] == [panel.y_label for panel in first.panels]


def test_file_of_the_hull_has_all_digits_and_identity_in_columns(two_axes):
    results = two_axes.results
    rows = file(stability.section(results), "hull.csv")
    for row, entry in zip(rows, results.hull[-1].entries, strict=True):
        assert (row["crystal"], row["ordering"], row["potential"]) == ("c2m", entry.identity.id, "pair")
        point = (AxisValue("In", row["In_per_Li3YCl6"]), AxisValue("Br", row["Br_per_Li3YCl6"]))
        assert entry.identity.material.point == point
        assert row["e_above_hull_eV_per_atom"] == entry.e_above_hull_eV_per_atom
        assert row["formula_units_per_cell"] == 2.0
        assert row["share_Li3InBr6"] == entry.coordinates[results.hull[-1].end_members.index("Li3InBr6")]


def test_hull_over_two_axes_has_a_ring_at_each_composition(two_axes):
    section = stability.section(two_axes.results)
    panel = plot(section, "hull").panels[0]
    assert panel.bare
    assert {words for _, _, words in panel.notes} == {"Li₃YBr₆", "Li₃InCl₆", "Li₃InBr₆"}
    lowest = stability.lowest_by_point(two_axes.results.hull[-1])
    assert len(lowest) == 6
    rings = {series.label: sum(x is None for x in series.x) for series in panel.series if "hull" in series.label}
    stable = sum(entry.stable for entry in lowest.values())
    assert rings.get("on the hull (stable at 0 K)", 0) == stable
    assert rings.get("above the hull", 0) == 6 - stable == len(panel.tags)


def test_square_of_a_reciprocal_system(square):
    (hull,) = square.hull
    assert set(hull.end_members) == {"Li3YCl6", "Li3YBr6", "Li3InCl6", "Li3InBr6"}
    assert all(sum(entry.coordinates) == pytest.approx(1.0) for entry in hull.entries)
    panel = plot(stability.section(square), "hull").panels[0]
    assert len(panel.notes) == 4
    places = {
        (round(x, 6), round(y, 6))
        for series in panel.series
        if series.kind == "points"
        for x, y in zip(series.x, series.y)  # noqa: B905
    }
    assert places == {(x, y) for x in (0.0, 1.0) for y in (0.0, 0.5, 1.0)}


def test_compounds_against_simple_phases(against_simple_phases):
    results = against_simple_phases
    (hull,) = results.hull
    assert hull.end_members == ("LiCl", "YCl3")
    references = [entry for entry in hull.entries if isinstance(entry.identity, ReferencePhase)]
    assert [entry.identity.name for entry in references] == ["LiCl", "YCl3"]
    for entry in hull.entries:
        if isinstance(entry.identity, Ordering):
            assert entry.formula_units == {"p-3m1": 3.0, "c2m": 2.0}[entry.material.crystal]
            assert entry.coordinates == (0.75, 0.25)
    section = stability.section(results)
    assert plot(section, "hull").panels[0].x_label.startswith("fraction x of YCl₃")
    # one composition, so that polymorphs have no axis to be drawn against
    assert plot(section, "polymorphs").panels[0].categories == ["Li₃YCl₆"]


def test_reference_phases_are_calculated_by_the_method_too(against_simple_phases):
    dft = against_simple_phases.further_result(DftResult)
    for kind in dft.energies:
        assert kind.missing == ()
        energies = {
            each.identity: each.relaxed.energy_eV_per_atom
            if kind.of == "relaxed structures"
            else each.single_point_eV_per_atom
            for each in dft.structures
            if each.relaxed is not None or kind.of == "single points"
        }
        assert {identity.id for identity in energies} >= {"LiCl", "YCl3"}
        # Li3YCl6 from 3 LiCl and YCl3: ten atoms from six and four.
        ends = 0.6 * energies[ReferencePhase("LiCl")] + 0.4 * energies[ReferencePhase("YCl3")]
        for identity, formation in kind.formation_eV_per_atom.items():
            if isinstance(identity, Ordering):
                assert formation == pytest.approx(energies[identity] - ends)


def test_what_the_hull_does_not_tell_is_said(two_axes):
    (statement,) = stability.doubts(two_axes.results)
    assert statement.severity == "info"
    assert "0 K" in statement.words


# ---- transport -------------------------------------------------------------------------------------------------------


def test_map_of_conductivities_at_the_headline_temperature(two_axes):
    results = two_axes.results
    section = composition.section(results)
    figure = plot(section, "composition")
    (panel,) = figure.panels
    values = {}
    for each in results.analyse.arrhenius:
        headline = each.dependence.headline
        if headline is not None:
            assert headline.temperature_K == 800.0
            values[tuple(value.value for value in each.material.point)] = headline.value_S_per_cm
    assert values
    assert "σ(800 K)" in figure.caption
    assert f"rests on {len(values)} compositions only" in figure.caption
    if len(values) < 3:
        pytest.skip("too few of these short runs have a conductivity")
    grid = panel.heat_map
    assert "σ(800 K)" in grid.label
    # at the corners the map has the values that were simulated, outside what they span it has none
    logarithmic, scale = grid.label.startswith("log"), 1000.0 if "mS/cm" in grid.label else 1.0
    known = [math.log10(scale * v) if logarithmic else scale * v for v in values.values()]
    assert np.nanmin(grid.values) == pytest.approx(min(known), rel=0.05, abs=0.02)
    assert np.nanmax(grid.values) == pytest.approx(max(known), rel=0.05, abs=0.02)
    nodes = np.stack(np.meshgrid(grid.x, grid.y), axis=-1)
    points = {tuple(value.value for value in each.material.point) for each in results.analyse.arrhenius}
    places = composition_map(sorted(points)).places
    spanned = Delaunay(np.array([places[point] for point in values]))
    assert np.isnan(grid.values[spanned.find_simplex(nodes, tol=1e-3) < 0]).all()
    assert (
        np.isnan(grid.values[spanned.find_simplex(nodes) >= 0]).mean() < 0.01
    )  # those on the border may be rounded out


def test_rings_of_the_map_are_filled_by_activation_energies(two_axes):
    results = two_axes.results
    (panel,) = plot(composition.section(results), "composition").panels
    filled = [series for series in panel.series if series.colour_values]
    energies = sorted(each.dependence.Ea_eV for each in results.analyse.arrhenius if each.dependence.Ea_eV is not None)
    assert sorted(value for series in filled for value in series.colour_values) == energies
    without = [series for series in panel.series if series.label == "no activation energy"]
    assert sum(len(series.x) for series in without) == 6 - len(energies)
    ring = next(series for series in panel.series if series.label == "on the hull (stable at 0 K)")
    xs = [x for x in ring.x[:41] if x is not None]
    assert max(xs) - min(xs) == pytest.approx(2 * RING_RADIUS)


def test_trends_along_one_axis_one_curve_for_each_polymorph(polymorphs):
    results = polymorphs.results
    section = composition.section(results)
    sigma, energy, below = plot(section, "composition").panels
    assert sigma.x_label == energy.x_label == below.x_label == "x in Li₃YCl₆₋ₓBrₓ"
    assert sigma.y_label.startswith("σ(350 K)")
    factor = 1000.0 if "mS/cm" in sigma.y_label else 1.0
    for crystal in ("p-3m1", "c2m"):
        own = sorted(
            (each for each in results.analyse.arrhenius if each.material.crystal == crystal),
            key=lambda each: each.material.point[0].value,
        )
        curve = next(series for series in energy.series if series.label == crystal and series.kind == "points")
        assert curve.x == [0.0, 3.0, 6.0]
        assert curve.y == [each.dependence.Ea_eV for each in own]
        known = {
            each.material.point[0].value: each.dependence.headline
            for each in own
            if each.dependence.headline is not None and not each.dependence.headline.is_upper_bound
        }
        drawn = [series for series in sigma.series if series.label == crystal and series.kind == "points"]
        assert [x for series in drawn for x in series.x] == list(known)
        for series in drawn:
            np.testing.assert_allclose(series.y, [factor * value.value_S_per_cm for value in known.values()])
            np.testing.assert_allclose(series.low, [factor * v.interval68_S_per_cm[0] for v in known.values()])
    assert below.y_label == "E(p-3m1) − E(c2m) (meV/atom)"


def test_file_of_compositions(two_axes, polymorphs):
    for finished in (two_axes, polymorphs):
        results = finished.results
        rows = file(composition.section(results), "composition.csv")
        for row, each in zip(rows, results.analyse.arrhenius, strict=True):
            headline = each.dependence.headline
            assert row["sigma_S_per_cm"] == (None if headline is None else headline.value_S_per_cm)
            assert row["Ea_eV"] == each.dependence.Ea_eV
            assert row["verdict"] == each.dependence.verdict.kind
            assert row["on_hull"] is stability.stability_of(results, each.material).stable


def test_one_composition_has_no_such_section(monte_carlo):
    assert not composition.section(monte_carlo.results).blocks
    assert not list(composition.doubts(monte_carlo.results))


def test_figures_and_files_are_in_the_report(two_axes, polymorphs):
    for finished, names in ((two_axes, ["composition", "hull"]), (polymorphs, ["composition", "hull", "polymorphs"])):
        for name in names:
            assert (Path(finished.report) / "figures" / f"{name}.png").stat().st_size > 10_000
            assert (Path(finished.report) / "tables" / f"{name}.csv").exists()


# ---- words of compositions -------------------------------------------------------------------------------------------


def test_formulas_are_written_for_one_formula_unit(two_axes, polymorphs):
    results = two_axes.results
    assert unit_formula(results, "Li6YInBr6Cl6") == "Li₃Y₀.₅In₀.₅Br₃Cl₃"
    assert unit_formula(results, "Li3InCl6") == "Li₃InCl₆"
    assert unit_formula(results, "LiCl") == "LiCl"
    assert amounts_per_unit(results, "LiCl") is None
    assert line_words(polymorphs.results, 0, {0.0: "Li3YCl6", 6.0: "Li3YBr6"}) == "x in Li₃YCl₆₋ₓBrₓ"
    # where a cell rounds the amounts, they are on no line
    assert (
        line_words(polymorphs.results, 0, {0.0: "Li3YCl6", 3.0: "Li20Y7Br21Cl21", 6.0: "Li3YBr6"})
        == "Br in each Li₃YCl₆"
    )


TWO_CRYSTALS = """\
superionic: 1
name: two-crystals
seed: 3
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1, Br: -1}
crystals:
  - {name: p-3m1, file: li3ycl6_p-3m1.cif}
  - {name: c2m, file: li3ybr6_c2m.cif}
potentials:
  pair: {engine: pair}
enumerate: {ewald_keep: 1}
rank: {method: single-points, relax_top: 1, fmax_eV_per_A: 0.5, max_steps: 5, warm_start: 0}
transport:
  compositions: [Li3YBr6]
  supercell: 1x1x2
  temperatures_K: [900]
  timestep_fs: 2
  heating_ps: 0
  nvt_before_npt_ps: 0
  npt_ps: 0
  production_ps: 0.4
  save_every_fs: 20
analyse: null
"""


def test_crystals_of_two_compositions_span_a_hull_without_an_axis_and_one_of_them_runs(root, tmp_path):
    campaign = Campaign.load(write_campaign(root, tmp_path, TWO_CRYSTALS))
    (line,) = (line for line in campaign.check().lines if line.stage == "transport")
    assert line.work == "1 runs, 0.4 ps in all, 40 atoms", "two cells of 20 atoms, and not the mean of both crystals"
    results = campaign.run()
    (hull,) = results.hull
    assert set(hull.end_members) == {"Li3YCl6", "Li3YBr6"}
    assert [entry.formation_energy_eV_per_atom for entry in hull.entries] == [pytest.approx(0.0, abs=1e-12)] * 2
    assert [run.formula for run in results.transport.runs] == ["Li3YBr6"]


def test_a_composition_that_the_campaign_lacks_is_refused_by_the_plan(root, tmp_path):
    text = TWO_CRYSTALS.replace("compositions: [Li3YBr6]", "compositions: [Li3YI6]")
    with pytest.raises(CompositionError, match="no composition Li3YI6") as refused:
        Campaign.load(write_campaign(root, tmp_path, text)).check()
    assert refused.value.where == "transport.compositions"
    assert set(refused.value.fix.removeprefix("name some of ").split(", ")) == {"Li3YCl6", "Li3YBr6"}


def test_errors_on_labels_are_listed_by_formula_along_an_axis(polymorphs):
    by = polymorphs.results.validate.errors.by
    assert {row.value for row in by if row.by == "composition"} == {"Li3YCl6", "Li3YBr3Cl3"}
