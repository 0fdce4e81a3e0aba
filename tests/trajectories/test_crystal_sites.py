"""Sites of a disordered crystal, found again in cells of other size, orientation, basis and origin."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from superionic.errors import AnalysisError
from superionic.structures.crystal.disordered import crystal_from_sites
from superionic.trajectories.analysis import AnalysisOptions, analyse_trajectory
from superionic.trajectories.crystal_sites import crystal_sites
from superionic.trajectories.unwrapping.trajectory import UnwrappedTrajectory
from superionic.transport.sites.positions import sites_in_supercell

HEXAGONAL = np.array([[11.2, 0.0, 0.0], [-5.6, 11.2 * np.sqrt(0.75), 0.0], [0.0, 0.0, 6.05]])
RAW = (
    ("Li1", {"Li": 0.875}, (0.0, 0.326, 0.5)),
    ("Li2", {"Li": 0.625}, (0.0, 0.326, 0.0)),
    ("Y1", {"Y": 1.0}, (0.0, 0.0, 0.0)),
    ("Y2", {"Y": 1.0}, (1 / 3, 2 / 3, 0.487)),
    ("Cl1", {"Cl": 1.0}, (0.108, 0.216, 0.777)),
    ("Cl2", {"Cl": 1.0}, (0.126, 0.563, 0.751)),
    ("Cl3", {"Cl": 1.0}, (0.210, 0.420, 0.278)),
)


def trigonal():
    """Li3YCl6 in P-3m1, its Y2 ordered: Li1 on 6h, Li2 on 6g."""
    turn, mirror = np.array([[0, -1, 0], [1, -1, 0], [0, 0, 1]]), np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])
    turns = [np.eye(3), turn, turn @ turn]
    operations = [sign * m for t in turns for m in (t, t @ mirror) for sign in (1, -1)]
    labels, species, places = [], [], []
    for label, occupancy, x in RAW:
        made: list[np.ndarray] = []
        for operation in operations:
            y = operation @ np.array(x) % 1.0
            if not any(np.abs((d := y - z) - np.rint(d)).max() < 1e-3 for z in made):
                made.append(y)
        labels += [label] * len(made)
        species += [occupancy] * len(made)
        places += made
    return crystal_from_sites("li3ycl6", HEXAGONAL, np.array(places), species, labels=labels)


@pytest.fixture(scope="module")
def crystal():
    return trigonal()


def framework_of(crystal, matrix, cell, rng, noise=0.1):
    """Mean places of Y and Cl in the supercell, with some relaxation."""
    keep = [k for k, site in enumerate(crystal.sites) if "Li" not in site.species]
    kinds = [next(iter(crystal.sites[k].species)) for k in keep]
    sites = sites_in_supercell(crystal.fractional[keep], kinds, matrix, crystal.cell_A)
    places = sites.fractional @ cell + rng.normal(0.0, noise, (len(sites), 3))
    return list(sites.labels), places


def matches(found, crystal, matrix, cell, shift_A):
    """Whether the sites lie where those of the crystal do, label by label."""
    for name, wyckoff in (("Li1", "6h"), ("Li2", "6g")):
        members = [k for k, site in enumerate(crystal.sites) if site.label == name]
        true = sites_in_supercell(crystal.fractional[members], [name] * len(members), matrix, crystal.cell_A)
        chosen = found.sites.kinds[f"{name} ({wyckoff})"]
        off = found.sites.fractional[chosen][:, None] - (true.fractional + shift_A @ np.linalg.inv(cell))[None]
        distance = np.linalg.norm((off - np.rint(off)) @ cell, axis=2)
        assert len(chosen) == len(true)
        assert distance.min(axis=1).max() < 0.1
        assert len(set(distance.argmin(axis=1))) == len(true)


@pytest.mark.parametrize(
    ("matrix", "strain", "turned", "shift"),
    [
        (np.diag([1, 1, 2]), 0.0, False, (0.0, 0.0, 0.0)),
        (np.diag([2, 1, 2]), 0.04, True, (1.3, -2.0, 0.7)),
        (np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 2]]), -0.03, True, (0.4, 5.0, -3.0)),
        (np.array([[1, 0, 1], [0, 1, 0], [0, 0, 2]]), 0.02, False, (0.0, 0.3, 0.0)),
    ],
)
def test_sites_are_found_again(crystal, matrix, strain, turned, shift):
    rng = np.random.default_rng(1)
    rotation = Rotation.random(random_state=2).as_matrix() if turned else np.eye(3)
    cell = (1.0 + strain) * matrix @ crystal.cell_A @ rotation
    symbols, places = framework_of(crystal, matrix, cell, rng)
    found = crystal_sites(crystal, ("Li",), cell, symbols, places + shift)
    assert found.strain == pytest.approx(strain, abs=1e-6)
    assert found.misfit_A == pytest.approx(0.1 * np.sqrt(3.0), rel=0.2)
    assert round(np.linalg.det(found.matrix)) == round(np.linalg.det(matrix))
    assert found.occupancies == {"Li1 (6h)": 0.875, "Li2 (6g)": 0.625}
    matches(found, crystal, matrix, cell, np.array(shift))
    # the operations carry the sites onto sites of the same label
    x = found.sites.fractional
    for rotation_, translation in zip(*found.operations, strict=True):
        off = (x @ rotation_.T + translation)[:, None] - x[None]
        distance = np.linalg.norm((off - np.rint(off)) @ cell, axis=2)
        assert distance.min(axis=1).max() < 1e-6
        assert all(found.sites.labels[j] == found.sites.labels[i] for i, j in enumerate(distance.argmin(axis=1)))


def test_a_primitive_cell_takes_the_sites_of_the_conventional_crystal():
    """Rock salt in its cubic cell, the run in the primitive one."""
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    places = np.concatenate([fcc, fcc + np.array([0.5, 0, 0])])
    salt = crystal_from_sites(
        "salt", 5.1 * np.eye(3), places, [{"Li": 0.5}] * 4 + [{"Cl": 1.0}] * 4, labels=["Li1"] * 4 + ["Cl1"] * 4
    )
    cell = 2 * 5.1 * np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    cl = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) / 2 + 0.25
    found = crystal_sites(salt, ("Li",), cell, ["Cl"] * 8, cl @ cell)
    assert len(found.sites) == 8
    assert found.occupancies == {next(iter(found.sites.kinds)): 0.5}
    assert next(iter(found.sites.kinds)).startswith("Li1 (4")
    off = found.sites.positions_A[:, None] - (cl @ cell)[None]
    assert np.linalg.norm(off - np.rint(off @ np.linalg.inv(cell)) @ cell, axis=2).min() == pytest.approx(5.1 / 2)


def test_what_does_not_fit_is_refused(crystal):
    rng = np.random.default_rng(0)
    cell = np.diag([1, 1, 2]) @ crystal.cell_A
    symbols, places = framework_of(crystal, np.diag([1, 1, 2]), cell, rng)
    with pytest.raises(AnalysisError, match="not a supercell of the crystal within 8 %"):
        crystal_sites(crystal, ("Li",), cell * [1.15, 1.0, 1.0], symbols, places)
    with pytest.raises(AnalysisError, match=r"rms.* from the sites of the crystal"):
        crystal_sites(crystal, ("Li",), cell, symbols, rng.uniform(0, 1, (len(symbols), 3)) @ cell)
    with pytest.raises(AnalysisError, match="no site of Na"):
        crystal_sites(crystal, ("Na",), cell, symbols, places)
    # a framework that was substituted lies on the sites of the other
    replaced = crystal_sites(crystal, ("Li",), cell, ["Br" if s == "Cl" else s for s in symbols], places)
    assert replaced.misfit_A < 0.3
    bare = crystal_sites(crystal, ("Li",), cell)
    assert bare.misfit_A is None
    assert len(bare.sites) == 24


@pytest.mark.parametrize(("strain", "how"), [(0.004, None), (0.015, "off"), (0.025, "far off")])
def test_the_cell_of_a_run_is_compared_with_the_refined_one(crystal, strain, how):
    rng, matrix = np.random.default_rng(2), np.diag([1, 1, 2])
    cell = (1.0 + strain) * matrix @ crystal.cell_A @ Rotation.random(rng=rng).as_matrix()
    symbols, places = framework_of(crystal, matrix, cell, rng, noise=0.02)
    lithium = sites_in_supercell(
        crystal.fractional[[k for k, site in enumerate(crystal.sites) if "Li" in site.species]], ["Li"] * 12, matrix,
        crystal.cell_A,
    ).fractional[rng.permutation(24)[:18]] @ cell  # fmt: skip
    at_rest = np.concatenate([lithium, places])
    positions = at_rest + rng.normal(0.0, 0.15, (60, *at_rest.shape))
    run = UnwrappedTrajectory((*["Li"] * 18, *symbols), positions.astype(np.float32), cell, 0.1)
    found = analyse_trajectory(run, AnalysisOptions(mobile=("Li",), temperature_K=300.0, sites=crystal)).result
    assert found.refined.lengths_percent == pytest.approx([100 * strain] * 3, abs=1e-4)
    assert found.refined.angles_difference_deg == pytest.approx([0.0] * 3, abs=1e-4)
    assert found.refined.volume_percent == pytest.approx(100 * ((1 + strain) ** 3 - 1), abs=1e-3)
    assert found.refined.refined_volume_per_formula_unit_A3 == pytest.approx(crystal.volume_A3 / 3)
    said = [flag for flag in found.flags if "the refined one" in flag]
    assert [flag.split(" the refined one")[0] for flag in said] == ([] if how is None else [f"The cell is {how}"])
