from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.execution.task import Context
from superionic.report.draw_matplotlib import draw
from superionic.report.draw_plotly import surface_json
from superionic.report.figures_sites import migration_plots
from superionic.report.tables_sites import jumps, occupancies, percolation
from superionic.report.values import Results
from superionic.stages.analyse_migration import migration_task
from superionic.transport.jumps import tracer_factor
from superionic.transport.migration import analyse_migration
from superionic.transport.sites import SiteSet

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
    factor = tracer_factor(result.occupation.jump_diffusivity(), result.occupation.jump_diffusivity())
    assert factor.value == pytest.approx(1.0)


def test_known_sites_keep_their_labels():
    positions = layers(seed=1, n_frames=2000)
    known = SiteSet([[0, 0, 0.5], [0.5, 0.5, 0.5]], ("4g", "4g"), CELL)
    found = analyse_migration(lambda: [(positions, CELL, None)], np.arange(3), 2000, 0.1, 600.0, sites=known)
    labels = found.occupation.sites.labels
    assert labels[:2] == ("4g", "4g")
    assert len(labels) == 4  # the two that were not named are found as interstitials
    with pytest.raises(AnalysisError, match="too few"):
        analyse_migration(lambda: [(positions[:5], CELL, None)], np.arange(3), 5, 0.1, 600.0)


def test_report_of_it(result):
    record = result.to_dict() | {"id": "x #0", "run": "x #0 600 K", "temperature_K": 600.0}
    record["tracer_factor"] = {"value": 0.8}
    json.dumps(record, allow_nan=False)
    results = Results({"campaign": "t", "stages": {"analyse": {"mobile_ion": "Li", "migration": [record]}}})
    plots = migration_plots(results)
    assert [plot.key.split("_")[0] for plot in plots] == ["network", "van", "free", "non"]
    for plot in plots:
        assert draw(plot, ("png",))["png"] == draw(plot, ("png",))["png"]
    assert plots[0].surface is not None
    kinds = [trace["type"] for trace in surface_json(plots[0].surface, 400)["data"]]
    assert kinds == ["scatter3d"] * 3
    assert "along a and b" in plots[0].caption
    tables = [occupancies(results), jumps(results), percolation(results)]
    assert all(table is not None for table in tables)
    assert tables[2].rows[0][3] == "not spanned"
    empty = Results({"campaign": "t", "stages": {"analyse": {"migration": [{"flags": ["No sites: x"], "id": "x"}]}}})
    assert migration_plots(empty) == []
    assert occupancies(empty) is None


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
    settings = {"frame_interval_ps": 0.1, "grid_spacing_A": 0.4, "mobile_ion": "Li", "temperature_K": 600.0}
    inputs = {
        "positions": [positions[:1000], positions[1000:]],
        "run": {"numbers": np.array([3, 3, 3, 17, 17, 17, 17]), "cell_A": CELL},
        "tracer_diffusivity_cm2_per_s": {"value": 4.5e-5},
    }
    record = migration_task(settings, inputs, None)
    assert [kind["label"] for kind in record["site_kinds"]] == ["i1"]  # equivalent by the framework's symmetry
    assert record["site_kinds"][0]["n_sites"] == 4
    assert record["n_jumps"] == pytest.approx(3000 * 3 * 0.03, rel=0.2)
    assert record["tracer_factor"]["value"] == pytest.approx(4.5e-5 / record["jump_diffusivity_cm2_per_s"]["value"])
    # the same run on the sites of the campaign's crystal, and on those of one that does not fit
    (tmp_path / "c").mkdir()
    context = Context(scratch=tmp_path / "c", progress=lambda *_: None, cache={})
    crystal = {"file_name": "c.cif", "occupancies": {}, "text": CIF.format(a=3.0)}
    record = migration_task(settings | {"crystal": crystal}, inputs, context)
    assert record["crystal_sites"]["supercell"] == [[2, 0, 0], [0, 2, 0], [0, 0, 1]]
    assert [(kind["label"], kind["n_sites"]) for kind in record["site_kinds"]] == [("Li1 (1b)", 4)]
    assert record["site_kinds"][0]["refined_occupancy"] == pytest.approx(0.75)
    assert record["site_kinds"][0]["occupancy"] == pytest.approx(0.75)
    json.dumps(record, allow_nan=False)
    results = Results({"campaign": "t", "stages": {"analyse": {"migration": [record | {"id": "x", "run": "x"}]}}})
    assert occupancies(results).columns[4] == "In the crystal"
    assert occupancies(results).rows[0][4] == "0.750"
    lost = migration_task(settings | {"crystal": crystal | {"text": CIF.format(a=3.7)}}, inputs, context)
    assert "crystal's do not fit" in lost["flags"][0]
    assert [kind["label"] for kind in lost["site_kinds"]] == ["i1"]
    short = migration_task(settings, inputs | {"positions": [positions[:4]]}, None)
    assert list(short) == ["flags"]
