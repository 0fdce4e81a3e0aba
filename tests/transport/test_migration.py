from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.execution.codec import from_tree, plain_json, to_tree
from superionic.execution.task import Context
from superionic.report.draw_matplotlib import draw
from superionic.report.draw_plotly import surface_json
from superionic.report.runs import FILE_COLUMNS, NamedRuns, RunName
from superionic.report.section import Paragraph
from superionic.report.sections.paths import paths
from superionic.report.table import Table
from superionic.stages.analyse.migration import migration_task
from superionic.stages.base import CrystalText, Trajectory
from superionic.transport.estimate import Estimate
from superionic.transport.observables.volumes import VolumeTrace
from superionic.transport.sites.migration import analyse_migration
from superionic.transport.sites.migration_summary import MigrationSummary
from superionic.transport.sites.positions import SiteSet

CELL = np.diag([6.0, 6.0, 7.0])


def layers(seed=0, n_frames=6000, n_ions=3):
    """Ions that hop along a and b only, on a square lattice of 3 Å in one layer of the cell."""
    rng = np.random.default_rng(seed)
    moves = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])[rng.integers(4, size=(n_frames, n_ions))]
    hops = (rng.random((n_frames, n_ions)) < 0.03)[..., None] * moves
    places = np.cumsum(hops, axis=0) + rng.integers(0, 2, (n_ions, 3)) * [1, 1, 0]
    # half of a jump is seen on the way, so that there is density between the sites
    return 3.0 * (places - 0.5 * hops) + [0, 0, 3.5] + rng.normal(0, 0.3, (n_frames, n_ions, 3))


@pytest.fixture(scope="module")
def result():
    positions = layers()

    def blocks():
        for part in np.array_split(positions, 4):
            yield part.astype(np.float32), CELL, None

    shifts = np.array([[x, y, 0.0] for x, y in itertools.product((0, 0.5), repeat=2)])
    operations = (np.repeat(np.eye(3, dtype=int)[None], 4, axis=0), shifts)
    return analyse_migration(blocks, np.arange(3), 6000, 0.1, 600.0, operations=operations, grid_spacing_A=0.4)


def test_layers_are_found(result):
    assert set(result.occupation.sites.labels) == {"i1"}
    assert len(result.occupation.sites) == 4
    assert result.clusters[0].axes == ("a", "b")
    assert result.percolation.barriers_eV[2] == np.inf
    assert np.isfinite(result.percolation.barriers_eV[:2]).all()
    kind, *rare = result.network.kinds()  # rare: two hops in two frames, seen as one
    assert kind.count > 0.9 * result.occupation.n_jumps
    assert all(other.length_A > 4.0 for other in rare)
    assert kind.rate_per_ps == pytest.approx(0.3, rel=0.1)
    assert result.occupation.occupancies.sum() == pytest.approx(3.0, abs=1e-9)
    span = result.alone[0]
    assert (span.dimension, span.axes) == (2, ("a", "b"))


def test_known_sites_keep_their_labels():
    positions = layers(seed=1, n_frames=2000)
    known = SiteSet([[0, 0, 0.5], [0.5, 0.5, 0.5]], ("4g", "4g"), CELL)
    measured = analyse_migration(lambda: [(positions, CELL, None)], np.arange(3), 2000, 0.1, 600.0, sites=known)
    labels = measured.occupation.sites.labels
    assert labels[:2] == ("4g", "4g")
    assert len(labels) == 4  # the two that were not named are found as interstitials
    with pytest.raises(AnalysisError, match="too few"):
        analyse_migration(lambda: [(positions[:5], CELL, None)], np.arange(3), 5, 0.1, 600.0)


def section_of(migration, flags=()):
    """The section of one run, whose paths may not be known."""
    name = RunName("x", "x #0 600 K", 600.0, ("x #0 600 K", 600.0))
    items = () if migration is None else ((name, migration),)
    return paths("Li", NamedRuns(FILE_COLUMNS, ()), NamedRuns(FILE_COLUMNS, items), [(name, flags)])


def table_of(section, caption):
    return next(block for block in section.blocks if isinstance(block, Table) and block.caption.startswith(caption))


def test_report_of_it(result):
    jump = result.occupation.jump_diffusivity()
    summary = MigrationSummary.of(result, jump.scaled(0.8e-4))
    assert summary.tracer_factor == pytest.approx(0.8)
    assert summary.connected_axes == ("a", "b")
    plain = json.loads(json.dumps(plain_json(to_tree(summary)), allow_nan=False))
    assert plain_json(to_tree(from_tree(plain, MigrationSummary))) == plain
    for each in (summary, from_tree(plain, MigrationSummary)):
        plots = section_of(each).plots
        assert [plot.key.split("_")[0] for plot in plots] == ["network", "van", "residence", "free", "non"]
        for plot in plots:
            assert draw(plot, ("png",))["png"] == draw(plot, ("png",))["png"]
        assert plots[0].surface is not None
        kinds = [trace["type"] for trace in surface_json(plots[0].surface, 400)["data"]]
        assert kinds == ["scatter3d"] * (2 + len(plots[0].surface.segments))  # the cell, and one kind of site
        assert "intraplane" in plots[0].surface.segments[0].label
        assert "along a and b" in plots[0].caption
    section = section_of(summary)
    assert table_of(section, "Percolation").rows[0][3] == "not spanned"
    files = {table.name: table for table in section.csv}
    assert len(files["sites.csv"].rows) == 4
    assert [row[-1] for row in files["percolation.csv"].rows] == [True, True, False]
    assert sum(row[-6] for row in files["jump_rates.csv"].rows) == summary.n_jumps


def test_where_no_sites_are_seen_the_reason_is_shown():
    section = section_of(None, ["No sites: x"])
    assert section.plots == ()
    assert section.csv == ()
    assert section.blocks == [Paragraph("No sites: x.")]


CIF = """data_c
_symmetry_space_group_name_H-M 'P 1'
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c 7.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_symmetry_equiv_pos_as_xyz
'x, y, z'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Li1 Li 0 0 0.5 0.75
Cl1 Cl 0.5 0.5 0 1
"""


def test_task_of_a_run(tmp_path):
    mobile = layers(seed=2, n_frames=3000)
    rng = np.random.default_rng(3)
    corners = np.array([[1.5, 1.5, 0], [4.5, 1.5, 0], [1.5, 4.5, 0], [4.5, 4.5, 0]])
    positions = np.concatenate([mobile, corners + rng.normal(0, 0.1, (3000, 4, 3))], axis=1)
    positions = positions + np.cumsum(rng.normal(0, 0.02, (3000, 1, 3)), axis=0)  # the whole drifts
    trajectory = Trajectory(
        cell_A=CELL,
        numbers=np.array([3, 3, 3, 17, 17, 17, 17]),
        flags=(),
        length_ps=299.9,
        mean_temperature_K=600.0,
        n_atoms=7,
        n_mobile=3,
        npt=VolumeTrace(),
        mean_cell=None,
        npt_drift=None,
        volume_A3_per_atom=36.0,
        worst_extrapolation=None,
    )
    tracer = Estimate(4.5e-5, 1e-6, (4.4e-5, 4.6e-5), (4.3e-5, 4.7e-5))
    (tmp_path / "c").mkdir()
    context = Context(scratch=tmp_path / "c", progress=lambda *_: None, cache={})

    def analysed(parts, crystal=None):
        return migration_task(
            context,
            frame_interval_ps=0.1,
            grid_spacing_A=0.4,
            mobile_ion="Li",
            temperature_K=600.0,
            positions=parts,
            run=trajectory,
            tracer_diffusivity_cm2_per_s=tracer,
            crystal=crystal,
            anions=["Cl"],
        )

    parts = [positions[:1000], positions[1000:]]
    measured = analysed(parts).migration
    assert [kind.label for kind in measured.site_kinds] == ["i1"]  # equivalent by the framework's symmetry
    assert measured.site_kinds[0].n_sites == 4
    assert measured.n_jumps == pytest.approx(3000 * 3 * 0.03, rel=0.2)
    # Four chlorides above a site and four below; neighbours along a or b have half of them in common.
    kind = measured.jump_kinds[0]
    assert (kind.plane, kind.shared_anions, kind.sharing) == ("intraplane", 4, "face")
    counts = np.bincount(measured.edge_kinds, weights=measured.edges[:, 5], minlength=len(measured.jump_kinds))
    assert counts.tolist() == [kind.count for kind in measured.jump_kinds]
    section = section_of(measured)
    assert table_of(section, "Jumps").rows[0][3:5] == ["intraplane", "face"]
    assert "i1–i1 3.0 Å, intraplane, by a common face" in section.plots[0].surface.segments[0].label
    assert measured.tracer_factor == pytest.approx(4.5e-5 / measured.jump_diffusivity_cm2_per_s.value)
    # the same run on the sites of the campaign's crystal, and on those of one that does not fit
    crystal = CrystalText("c", "c.cif", CIF.format(a=3.0))
    measured = analysed(parts, crystal).migration
    assert measured.crystal.supercell == ((2, 0, 0), (0, 2, 0), (0, 0, 1))
    assert [(kind.label, kind.n_sites) for kind in measured.site_kinds] == [("Li1 (1b)", 4)]
    assert measured.site_kinds[0].refined_occupancy == pytest.approx(0.75)
    assert measured.site_kinds[0].occupancy == pytest.approx(0.75)
    table = table_of(section_of(measured), "Occupancy")
    assert table.columns[4] == "Refined occupancy"
    assert table.rows[0][4] == "0.750"
    lost = analysed(parts, CrystalText("c", "c.cif", CIF.format(a=3.7)))
    assert "crystal's do not fit" in lost.flags[0]
    assert [kind.label for kind in lost.migration.site_kinds] == ["i1"]
    short = analysed([positions[:4]])
    assert short.migration is None
    assert short.flags[0].startswith("No sites")
