"""Trajectories from the field, where the shared cases are at hand: what `superionic analyse` makes of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import superionic
from superionic.errors import AnalysisError

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "transport"
pytestmark = [
    pytest.mark.field,
    pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here"),
]

LONG, EVEN = 6.252e-6, 1.769e-5
"""D* in cm²/s of the walk of 800 frames, and of even.dump."""
TYPES = {"units": "metal", "elements": ("Li", "Cl"), "timestep_fs": 1.0}
INTERVAL = {"frame_interval_fs": 100.0}
STRUCTURE = {"structure": CASES / "ref0.extxyz"}


@pytest.mark.parametrize(
    ("names", "options", "duration_ps", "diffusivity"),
    [
        (["even.dump.gz"], TYPES, 59.9, EVEN),
        (["zero_then_prod.dump.gz"], TYPES, 59.9, EVEN),
        (["zero_then_prod.h5"], {}, 79.9, LONG),
        (["zero_then_prod.xtc"], STRUCTURE, 79.9, LONG),
        (["every_second_damaged.xyz.gz"], INTERVAL, 79.8, LONG),
        (["vasprun_ok.xml.gz"], {}, 79.9, LONG),
        (["vasprun_ml.xml.gz"], {}, 79.9, LONG),
        (["vasprun_mlonly.xml.gz"], {}, 79.8, LONG),
        (["lmp_units_time.dump.gz"], {}, 79.9, LONG),
        (["lmp_units.dump.gz"], {"timestep_fs": 1.0}, 79.9, LONG),
        (["lmp_time.dump.gz"], {"units": "metal"}, 79.9, LONG),
        (["lmp_time.dump.gz"], TYPES, 79.9, LONG),
        (["p1.dump.gz", "p2.dump.gz"], TYPES, 59.9, EVEN),
        (["p2.dump.gz", "p1.dump.gz"], TYPES, 59.9, EVEN),
        (["restart_in_one.dump.gz"], TYPES, 59.9, EVEN),
        (["first_yes.dump.gz"], TYPES, 59.8, EVEN),
        (["run0.dump.gz"], TYPES, 59.9, EVEN),
        (["same_number.XDATCAR.gz"], INTERVAL, 79.9, LONG),
        (["pmg_xdatcar.XDATCAR"], INTERVAL, 19.9, None),
        (["XDATCAR.bad_fmt.gz"], INTERVAL, 0.2, None),
        (["cp2k-pos-1.xyz.gz"], STRUCTURE, 79.9, LONG),
        (["gpumd.xyz.gz"], {}, 79.9, LONG),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_right(names, options, duration_ps, diffusivity):
    for ending, library in ((".h5", "h5py"), (".xtc", "MDAnalysis")):
        if names[0].endswith(ending):
            pytest.importorskip(library, exc_type=ImportError)
    stated = names[0].startswith("vasprun")
    more = {} if stated else {"temperature_K": 800.0}
    found = superionic.analyse([CASES / name for name in names], mobile="Li", **options, **more).runs[0].transport
    assert found.duration_ps == pytest.approx(duration_ps, rel=1e-6)
    assert found.temperature_K == 800.0
    if diffusivity is not None:
        # Half of the frames, or a straight line over the first of them, give a little less to average over.
        assert found.tracer_diffusivity_cm2_per_s.value == pytest.approx(diffusivity, rel=0.025)


@pytest.fixture(scope="module")
def pieces():
    return [CASES / "argyrodite_100p" / f"run{k}.XDATCAR.gz" for k in range(1, 7)]


def test_pieces_of_one_run_are_joined_in_their_order_only(pieces):
    run = superionic.analyse(pieces, mobile="Li", temperature_K=500.0, **INTERVAL).runs[0]
    assert (run.n_frames, run.notices) == (700, ())
    with pytest.raises(AnalysisError, match=r"run2\.XDATCAR\.gz does not continue"):
        superionic.analyse([pieces[0], pieces[2], pieces[1]], mobile="Li", temperature_K=500.0, **INTERVAL)


def test_the_haven_ratio_of_replicas_is_that_of_the_averages(pieces):
    found = superionic.analyse(pieces, mobile="Li", temperature_K=500.0, replicas=True, **INTERVAL)
    ratio = found.pooled.haven_ratio
    pooled = found.pooled
    averages = pooled.tracer_diffusivity_cm2_per_s.value, pooled.charge_diffusivity_cm2_per_s.value
    assert ratio.value == pytest.approx(averages[0] / averages[1], rel=1e-9)
    assert ratio.value < np.mean([run.transport.haven_ratio.value for run in found.runs])
    # A straight line through the MSD gives 2.59. In pieces of 7 and 14 ps nothing levels off: D_σ is bounded, H is not.
    assert ratio.interval95[0] < 2.59 < ratio.interval95[1]
    assert found.pooled.charge_diffusivity_cm2_per_s.is_upper_bound
