"""Transport on real campaigns: the same numbers in results, report, files, and in an analysis of the trajectories."""

from __future__ import annotations

import contextlib
import csv
import math

import pytest

import superionic
from superionic import Campaign
from superionic.cli import main
from superionic.errors import AnalysisError, SuperionicError
from superionic.report.runs import material_names, ordering_names
from superionic.report.sections import conductivity, diffusion, paths, paths_figures, simulations
from superionic.report.table import Table
from superionic.report.words import safe_name
from superionic.results.analysis import read_analysis
from superionic.results.document import from_json, to_json
from superionic.settings.analyse import DrawnDensities
from superionic.stages.analyse.drawn import drawn_runs
from superionic.transport.conductivity.planes import plane_lines
from superionic.transport.density.text import BOHR_A

from .conftest import write_campaign


def rows_of(report, name):
    with (report / "tables" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table_of(section, caption):
    return next(block for block in section.blocks if isinstance(block, Table) and block.caption.startswith(caption))


def test_runs_of_a_campaign_bring_their_identity(polymorphs, capsys, tmp_path):
    """What the campaign says of its runs, the analysis of its trajectories says again."""
    made, folder = polymorphs.results.analyse, polymorphs.campaign.run_folder
    found = superionic.analyse(folder, mobile="Li", report_temperatures_K=(350, 800))
    assert {run.label for run in found.identities} == {each.run.label for each in made.runs}
    theirs = {each.run: each.analysis for each in made.runs}
    for run, identity in zip(found.runs, found.identities, strict=True):
        assert run.transport.temperature_K == identity.temperature_K
        ours, same = run.transport.tracer_diffusivity_cm2_per_s, theirs[identity].tracer_diffusivity_cm2_per_s
        assert ours.value == pytest.approx(same.value, rel=1e-3, abs=1e-9)  # positions pass through single precision
    of_materials = {each.material: each.dependence for each in made.arrhenius}
    assert {series.material for series in found.arrhenius} == set(of_materials)
    for series in found.arrhenius:
        same = of_materials[series.material]
        assert series.dependence.n_runs == same.n_runs
        assert [p.temperature_K for p in series.dependence.points] == [p.temperature_K for p in same.points]
    with contextlib.suppress(SystemExit):
        main(["analyse", str(folder), "--mobile", "Li", "--run", "c2m", "--part", "npt", "--out", str(tmp_path)])
    assert "p-3m1" not in capsys.readouterr().out
    again = read_analysis(tmp_path / "result.json")
    assert {run.ordering.material.crystal for run in again.identities} == {"c2m"}
    assert all(run.volumes.time_ps for run in again.runs)
    with pytest.raises(AnalysisError, match="c2m"):
        superionic.analyse(folder, run="no such run")
    with pytest.raises(AnalysisError, match="no part"):
        superionic.analyse(folder, part="heating")


@pytest.mark.parametrize("name", ["two-axes", "polymorphs", "monte-carlo"])
def test_results_are_read_back_equal_with_all_their_types(finished, name):
    results = finished(name).results
    assert from_json(to_json(results)) == results
    assert results.analyse.failures == ()
    assert len(results.analyse.runs) == len(results.transport.runs)


@pytest.mark.parametrize("name", ["two-axes", "polymorphs", "monte-carlo"])
def test_every_run_has_everything_that_is_computed_in_the_files(finished, name):
    done = finished(name)
    results = done.results
    diffusivities = {row["run"]: row for row in rows_of(done.report, "diffusivities.csv")}
    assert set(diffusivities) == {each.run.label for each in results.analyse.runs}
    for each in results.analyse.runs:
        row, analysis = diffusivities[each.run.label], each.analysis
        assert float(row["tracer_diffusivity_cm2_per_s"]) == analysis.tracer_diffusivity_cm2_per_s.value
        assert float(row["tracer_diffusivity_cm2_per_s_error"]) == analysis.tracer_diffusivity_cm2_per_s.error
        assert (
            float(row["nernst_einstein_conductivity_S_per_cm_high95"])
            == (analysis.nernst_einstein_conductivity_S_per_cm.interval95[1])
        )
        if analysis.diffusivity_tensor_cm2_per_s is not None:
            in_plane, across = (float(row[f"D_{name}_cm2_per_s"]) for name in ("in_ab", "along_c_reciprocal"))
            mean, tracer = (2.0 * in_plane + across) / 3.0, float(row["tracer_diffusivity_cm2_per_s"])
            # A third of the trace is D* in any axes, but a component that noise makes negative counts as zero.
            assert mean == pytest.approx(tracer) or (mean > tracer and 0.0 in (in_plane, across))
            assert float(row["D_in_ab_cm2_per_s_error"]) > 0.0
        haven = analysis.haven_ratio.value
        assert row["haven_ratio"] == (repr(haven) if math.isfinite(haven) else "")
        assert (row["he2018_cm2_per_s"] == "") == (analysis.tracer.he2018 is None)
        assert row["crystal"] == each.run.ordering.material.crystal
        assert float(row["temperature_K"]) == each.run.temperature_K
        assert int(row["replica"]) == each.run.replica
        assert row["potential"] == each.run.potential
        for value in each.run.ordering.material.point:
            assert float(next(row[key] for key in row if key.startswith(f"{value.axis}_per_"))) == value.value
    volumes = {row["run"]: row for row in rows_of(done.report, "volumes.csv")}
    for run in results.transport.runs:
        row = volumes[run.run.label]
        assert float(row["volume_A3_per_atom"]) == run.volume_A3_per_atom
        cell = run.mean_cell
        assert (row["npt_volume_error_A3_per_atom"] == "") == (cell is None)
        if cell is not None:
            assert float(row["npt_volume_A3_per_atom"]) == cell.volume_per_atom_A3.value


def test_diffusion_in_planes_has_errors_and_energies(polymorphs):
    rows = rows_of(polymorphs.report, "arrhenius_planes.csv")
    known = {each.key: plane_lines(each.dependence.points) for each in polymorphs.results.analyse.arrhenius}
    assert {row["direction"] for row in rows} == {line.name for lines in known.values() for line in lines}
    for row in rows:
        line = next(line for line in known[row["key"]] if line.name == row["direction"])
        number = line.temperatures_K.index(float(row["temperature_K"]))
        assert float(row["diffusivity_cm2_per_s_error"]) == line.diffusivities_cm2_per_s[number].error > 0.0
        assert row["Ea_error_eV"] == ("" if line.fit is None else repr(line.fit.Ea_error_eV))
    page = (polymorphs.report / "report.html").read_text(encoding="utf-8")
    assert "Diffusion in the planes of the simulated cell" in page


def test_conductivities_are_those_at_the_temperatures_that_were_asked_for(two_axes, polymorphs):
    for done, temperatures in ((two_axes, {800.0}), (polymorphs, {350.0, 800.0})):
        rows = rows_of(done.report, "conductivities.csv")
        assert {float(row["temperature_K"]) for row in rows} == temperatures
        known = {(each.key, t): each for each in done.results.analyse.arrhenius for t in temperatures}
        assert len(rows) == len(known)
        for row in rows:
            temperature = float(row["temperature_K"])
            dependence = known[row["key"], temperature].dependence
            value = dependence.conductivity_at(temperature)
            assert row["verdict"] == dependence.verdict_at(temperature).kind
            assert row["sigma_S_per_cm"] == ("" if value is None else repr(value.value_S_per_cm))
        section = conductivity.section(done.results)
        table = table_of(section, "Conductivities at")
        assert [row[1] for row in table.rows] == [
            f"{t:g}" for each in done.results.analyse.arrhenius for t in each.dependence.report_temperatures_K
        ]
        for block in section.blocks:
            words = block.caption if hasattr(block, "caption") else ""
            assert "300 K" not in words


def test_the_doubts_of_all_materials_are_said(two_axes):
    said = [statement.words for statement in two_axes.results.statements]
    for each in two_axes.results.analyse.arrhenius:
        for doubt in each.dependence.doubts:
            assert any(doubt.words in words or f"({doubt.kind})" in words for words in said)
    assert any("The runs are 3 ps long" in words for words in said)


def test_names_tell_runs_and_materials_apart(two_axes, polymorphs, monte_carlo):
    for done in (two_axes, polymorphs, monte_carlo):
        materials, orderings = material_names(done.results), ordering_names(done.results)
        assert len(set(materials.values())) == len(materials)
        assert len(set(orderings.values())) == len(orderings)
    assert "Li₃YBr₃Cl₃ (c2m)" in set(material_names(polymorphs.results).values())


def test_paths_are_shown_for_every_structure(polymorphs, monte_carlo):
    for done in (polymorphs, monte_carlo):
        analysed = done.results.analyse
        assert len(analysed.densities) == len(analysed.migration) == len(analysed.runs)
        section = paths.section(done.results, {})  # without the grids, which lie in the store
        assert any("grid is not available" in getattr(block, "words", "") for block in section.blocks)
        names = {table.name: table for table in section.csv}
        known = [each for each in analysed.migration if each.migration is not None]
        if known:
            assert len(names["sites.csv"].rows) == sum(len(each.migration.sites) for each in known)
        written = {path.stem for path in (done.report / "figures").glob("density_*.png")}
        assert written == {f"density_{safe_name(run.label)}" for run in analysed.drawn}


def test_the_best_conductor_and_the_ends_are_drawn_or_what_the_user_chooses(polymorphs, two_axes, monte_carlo):
    analysed = polymorphs.results.analyse
    names = [(run.ordering.material.crystal, run.ordering.material.point[0].value) for run in analysed.drawn]
    headlines = [(each.dependence.headline, each.material) for each in analysed.arrhenius]
    stated = [(sigma.value_S_per_cm, m) for sigma, m in headlines if sigma is not None and not sigma.is_upper_bound]
    best = max(stated, key=lambda each: each[0])[1]
    assert names[0] == (best.crystal, best.point[0].value)
    assert set(names) == {names[0]} | {(crystal, x) for crystal in ("p-3m1", "c2m") for x in (0.0, 6.0)}
    assert {run.temperature_K for run in analysed.drawn} == {1200.0}
    corners = drawn_runs(DrawnDensities(), two_axes.results.analyse.runs, two_axes.results.analyse.arrhenius)
    points = [tuple(value.value for value in run.ordering.material.point) for run in corners]
    assert set(points) == {(1.0, 0.0), (1.0, 6.0), (0.0, 6.0), points[0]}
    assert len({run.ordering for run in monte_carlo.results.analyse.drawn}) == min(
        3, len({each.run.ordering for each in monte_carlo.results.analyse.runs})
    )
    chosen = DrawnDensities(compositions=("Li3YBr3Cl3",), temperatures_K=(900.0,))
    drawn = drawn_runs(chosen, analysed.runs, analysed.arrhenius)
    assert [(run.ordering.material.crystal, run.temperature_K) for run in drawn] == [("p-3m1", 900.0), ("c2m", 900.0)]
    assert {run.ordering.material.point[0].value for run in drawn} == {3.0}


@pytest.mark.parametrize(
    ("densities", "message"),
    [
        ("{compositions: [Li3YBrCl5]}", "the campaign has no composition Li3YBrCl5"),
        ("{temperatures_K: [800]}", "there is no run at 800 K"),
    ],
)
def test_densities_of_runs_that_there_are_not_are_refused(densities, message, root, tmp_path, polymorphs):
    text = polymorphs.campaign.path.read_text(encoding="utf-8")
    text = text.replace("density_grid_A: 1.0", f"density_grid_A: 1.0, densities: {densities}")
    with pytest.raises(SuperionicError, match=message) as refused:
        Campaign.load(write_campaign(root, tmp_path, text)).check()
    assert "name some of " in str(refused.value)


def test_drawn_densities_are_in_files_of_other_programs(polymorphs, monte_carlo):
    from ase.calculators.vasp import VaspChargeDensity
    from ase.io.cube import read_cube

    for done in (polymorphs, monte_carlo):
        page = (done.report / "report.html").read_text()
        cubes = sorted((done.report / "densities").glob("*.cube"))
        figures = sorted((done.report / "figures").glob("density_*.png"))
        assert [path.stem for path in cubes] == [path.stem.removeprefix("density_") for path in figures]
        for path in cubes:
            with path.open() as stream:
                cube = read_cube(stream)
            volume = cube["atoms"].get_volume()
            assert cube["data"].mean() * volume * BOHR_A**-3 == pytest.approx(1.0, rel=1e-5)
            chgcar = VaspChargeDensity(str(path.with_name(f"CHGCAR_{path.stem}.vasp")))
            assert chgcar.chg[0].mean() * volume == pytest.approx(1.0, rel=1e-5)
            assert "Li" not in chgcar.atoms[0].get_chemical_symbols()  # the framework alone
            assert f"densities/{path.name}" in page


def test_sections_say_so_where_there_was_nothing_to_do(ladder):
    for section in (
        simulations.section(ladder.results),
        diffusion.section(ladder.results),
        conductivity.section(ladder.results),
        paths.section(ladder.results, {}),
    ):
        assert [block.kind for block in section.blocks] == ["missing"]
        assert section.csv == ()


def test_what_else_was_asked_is_in_results_files_and_page(monte_carlo):
    analysed = monte_carlo.results.analyse
    assert [each.run for each in analysed.observables] == [each.run for each in analysed.runs]
    coordination = rows_of(monte_carlo.report, "coordination.csv")
    for each in analysed.observables:
        found = each.observables
        # 3 ps at 900 K by a thermostat: the ions have the kinetic energy of that temperature, as far as frames show it.
        assert found.vibrations.thermal_share == pytest.approx(0.95, abs=0.2)
        assert 2.0 < found.vibrations.mean_frequency_THz < 20.0
        assert found.rotations == ()  # no polyanion in a halide
        assert {(pair.centre, pair.neighbour) for pair in found.pairs} == {
            (one, other) for one in ("Li", "Y", "Cl") for other in ("Li", "Y", "Cl")
        }
        own = {(row["centre"], row["neighbour"]): row for row in coordination if row["run"] == each.run.label}
        there, back = own["Y", "Cl"], own["Cl", "Y"]
        assert there["first_peak_A"] == back["first_peak_A"]
        # Each Y–Cl pair is one from both ends: 1 Y to 6 Cl.
        assert float(there["coordination_number"]) == pytest.approx(6.0 * float(back["coordination_number"]))
    assert "<h3>Neighbours</h3>" in (monte_carlo.report / "report.html").read_text()


def test_very_many_kinds_of_sites_share_an_entry_of_the_legend(polymorphs, monkeypatch):
    run = polymorphs.results.analyse.migration[0].migration
    every = set(range(len(run.sites)))
    kinds = paths_figures._kinds(run)
    assert set(kinds) == {site.label for site in run.sites}
    monkeypatch.setattr(paths_figures, "_MOST_KINDS", 0)
    merged = paths_figures._kinds(run)
    assert set(merged) <= {"sites", "interstitials"}
    for each in (kinds, merged):
        assert sorted(index for members in each.values() for index in members) == sorted(every)
