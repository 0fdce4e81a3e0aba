from __future__ import annotations

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.transport.density.grid import Density, DensityCounter, FrameworkCentre, probability_density
from superionic.transport.density.text import BOHR_A, chgcar_text, cube_text

CELL = np.array([[7.0, 0.0, 0.0], [-3.5, 6.06, 0.0], [0.0, 0.5, 6.0]])


def test_normalisation_and_place():
    rng = np.random.default_rng(0)
    positions = (rng.uniform(-2, 3, (500, 4, 3))) @ CELL
    density = probability_density(positions, CELL, grid_spacing_A=0.5)
    assert density.counts.shape == (14, 14, 13)
    assert density.counts.sum() == 2000
    assert density.probability_per_A3.sum() * density.voxel_volume_A3 == pytest.approx(1.0)
    assert density.ions_per_A3.sum() * density.voxel_volume_A3 == pytest.approx(4.0)
    assert density.voxel_volume_A3 * density.counts.size == pytest.approx(abs(np.linalg.det(CELL)))
    still = np.tile(np.array([[0.3, 0.6, 0.8]]) @ CELL + CELL[0], (3, 1, 1))
    one = probability_density(still, CELL, shape=(4, 4, 4))
    assert one.counts[1, 2, 3] == 3
    assert one.relative_noise[1, 2, 3] == pytest.approx(3**-0.5)
    assert np.isinf(one.relative_noise[0, 0, 0])


def test_edges_wrap():
    edge = np.array([[[-1e-17, 0.0, 0.0], [7.0, 7.0, 7.0]]])
    density = probability_density(edge, 7.0 * np.eye(3), shape=(7, 7, 7))
    assert density.counts.sum() == 2
    assert density.counts[0, 0, 0] >= 1


def test_changing_cell_and_blocks():
    rng = np.random.default_rng(1)
    fractional = rng.uniform(0, 1, (50, 6, 3))
    cells = CELL * np.linspace(0.9, 1.1, 50)[:, None, None]
    whole = probability_density(fractional @ cells, cells, shape=(5, 6, 7))
    fixed = probability_density(fractional @ CELL, CELL, shape=(5, 6, 7))
    assert np.array_equal(whole.counts, fixed.counts)
    np.testing.assert_allclose(whole.cell_A, CELL)
    counter = DensityCounter(CELL, shape=(5, 6, 7))
    for start, stop in ((0, 1), (1, 18), (18, 50)):
        counter.add((fractional @ cells)[start:stop].astype(np.float32), cells[start:stop])
    blocks = counter.result()
    assert blocks.counts.sum() == 300
    assert np.abs(blocks.counts - whole.counts).sum() <= 2  # float32 may push a position over an edge
    np.testing.assert_allclose(blocks.cell_A, CELL)


def test_result_does_not_depend_on_blocks_and_columns():
    rng = np.random.default_rng(2)
    positions = rng.uniform(0, 7, (777, 9, 3))
    columns = np.array([1, 4, 5])
    whole = probability_density(positions, CELL, shape=(6, 6, 6), columns=columns)
    assert np.array_equal(whole.counts, probability_density(positions[:, columns], CELL, shape=(6, 6, 6)).counts)
    counter = DensityCounter(CELL, columns, shape=(6, 6, 6))
    for part in np.array_split(positions, [1, 2, 40, 333]):
        counter.add(part, CELL)
    parts = counter.result()
    assert np.array_equal(parts.counts, whole.counts)
    assert parts.block_counts is not None
    assert np.array_equal(parts.block_counts, whole.block_counts)
    drift = rng.normal(size=(777, 3))
    moved = DensityCounter(CELL, columns, shape=(6, 6, 6))
    moved.add(positions + drift[:, None], CELL, drift)
    assert np.abs(moved.result().counts - whole.counts).sum() <= 2


def test_noise_counts_correlated_visits():
    """Ions that stay for 50 frames give 50 times the variance of independent visits."""
    rng = np.random.default_rng(3)
    free = rng.uniform(0, 1, (64 * 250, 8, 3))
    independent = probability_density(free, np.eye(3), shape=(5, 5, 5))
    assert independent.correlated_visits == pytest.approx(1.0, abs=0.1)
    stays = np.repeat(rng.uniform(0, 1, (320, 8, 3)), 50, axis=0)
    slow = probability_density(stays, np.eye(3), shape=(5, 5, 5))
    assert slow.correlated_visits == pytest.approx(50.0, rel=0.25)
    off = slow.counts / slow.counts.mean() - 1.0
    assert off.std() == pytest.approx(slow.relative_noise.mean(), rel=0.25)


def test_isovalue_is_above_the_noise():
    rng = np.random.default_rng(4)
    crowd = rng.normal(0.5, 0.05, (2000, 4, 3))
    density = probability_density(crowd, np.eye(3), shape=(20, 20, 20))
    level = density.isovalue_per_A3(0.9)
    inside = density.probability_per_A3 >= level
    assert density.counts[inside].sum() == pytest.approx(0.9 * 8000, rel=0.05)
    spread = probability_density(rng.uniform(0, 1, (100, 4, 3)), np.eye(3), shape=(20, 20, 20))
    assert spread.isovalue_per_A3(0.9) >= min(spread.noise_level_per_A3(), spread.probability_per_A3.max())
    with pytest.raises(AnalysisError, match="share"):
        density.isovalue_per_A3(1.0)


def test_smoothing_in_a_triclinic_cell():
    """A point becomes a Gaussian of the asked width in every direction, and the integral stays."""
    counts = np.zeros((36, 36, 36), dtype=np.int64)
    counts[18, 18, 18] = 1
    density = Density(counts, CELL, 1, 1)
    grid = density.smoothed(0.5)
    assert grid.sum() * density.voxel_volume_A3 == pytest.approx(1.0)
    places = np.stack(np.meshgrid(*[(np.arange(36) - 18) / 36] * 3, indexing="ij"), axis=-1) @ CELL
    weights = grid * density.voxel_volume_A3
    covariance = np.einsum("abc,abci,abcj->ij", weights, places, places)
    np.testing.assert_allclose(covariance, 0.25 * np.eye(3), atol=0.01)


def test_framework_centre():
    rng = np.random.default_rng(5)
    positions = rng.normal(size=(30, 6, 3)).astype(np.float32)
    masses = np.array([1.0, 2.0, 5.0])
    centre = FrameworkCentre(np.array([0, 2, 3]), masses)
    measured = np.concatenate([centre.add(positions[:7]), centre.add(positions[7:])])
    expected = np.average(positions[:, [0, 2, 3]].astype(float), axis=1, weights=masses)
    np.testing.assert_allclose(measured, expected - expected[0], atol=1e-9)
    with pytest.raises(AnalysisError, match="framework"):
        FrameworkCentre(np.array([], dtype=int))


@pytest.mark.filterwarnings("ignore")
def test_files_of_other_programs_keep_the_integrals(tmp_path):
    from ase.io.cube import read_cube
    from pymatgen.io.vasp import Chgcar

    rng = np.random.default_rng(6)
    density = probability_density(rng.uniform(-2, 3, (400, 5, 3)) @ CELL, CELL, shape=(6, 7, 8))
    atoms, places = ["Cl", "Y", "Cl"], rng.uniform(0, 4, (3, 3))
    (tmp_path / "CHGCAR").write_text(chgcar_text(density.ions_per_A3, CELL, atoms, places))
    read = Chgcar.from_file(str(tmp_path / "CHGCAR"))
    assert read.data["total"].mean() == pytest.approx(5.0, rel=1e-9)
    np.testing.assert_allclose(read.data["total"] / read.structure.volume, density.ions_per_A3, rtol=1e-9)
    np.testing.assert_allclose(read.structure.lattice.matrix, CELL, atol=1e-9)
    half = 0.5 / np.array([6, 7, 8])  # grid points of VASP are corners
    shown = [read.structure[k] for k in (0, 2, 1)]
    for site, place in zip(shown, places, strict=True):
        off = site.frac_coords + half - place @ np.linalg.inv(CELL)
        np.testing.assert_allclose(off, np.rint(off), atol=1e-9)
    (tmp_path / "d.cube").write_text(cube_text(density.probability_per_A3, CELL, atoms, places))
    with (tmp_path / "d.cube").open() as file:
        cube = read_cube(file)
    volume = abs(np.linalg.det(cube["atoms"].cell[:])) / BOHR_A**3
    assert cube["data"].mean() * volume == pytest.approx(1.0, rel=1e-8)
    np.testing.assert_allclose(cube["atoms"].positions, places, atol=1e-6)
    assert chgcar_text(density.ions_per_A3, CELL).splitlines()[5].strip() == "X"


def test_wrong_input():
    positions = np.zeros((4, 2, 3))
    for call, words in (
        (lambda: probability_density(positions[0], CELL), "shape"),
        (lambda: probability_density(positions, CELL[:2]), "Cells"),
        (lambda: probability_density(positions, np.zeros((3, 3))), "volume"),
        (lambda: probability_density(positions, CELL, grid_spacing_A=0.0), "spacing"),
    ):
        with pytest.raises(AnalysisError, match=words):
            call()
