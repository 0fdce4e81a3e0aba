from __future__ import annotations

import itertools

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.transport.density.grid import Density
from superionic.transport.sites.percolation import density_percolation, merge_tree, network_clusters, network_spans
from superionic.units import BOLTZMANN_EV_PER_K


def lattice(edge, steps):
    rows = []
    for place in itertools.product(range(edge), repeat=3):
        for step in steps:
            end = np.add(place, step)
            cell = end // edge
            rows.append([_index(place, edge), _index(end - cell * edge, edge), *cell])
    return np.array(rows)


def _index(place, edge):
    return int((place[0] * edge + place[1]) * edge + place[2])


@pytest.mark.parametrize(
    ("steps", "count", "dimension", "axes"),
    [
        ([(1, 0, 0), (0, 1, 0), (0, 0, 1)], 1, 3, ("a", "b", "c")),
        ([(1, 0, 0), (0, 1, 0)], 3, 2, ("a", "b")),  # bonds along c removed: layers
        ([(0, 0, 1)], 9, 1, ("c",)),
        ([(1, 1, 0)], 9, 1, ("a", "b")),  # a channel along [110]
        ([(1, -1, 0), (0, 1, -1)], 3, 2, ("a", "b", "c")),  # layers normal to [111]
    ],
)
def test_lattices(steps, count, dimension, axes):
    clusters = network_clusters(27, lattice(3, steps))
    assert len(clusters) == count
    for cluster in clusters:
        assert (cluster.dimension, cluster.axes) == (dimension, axes)
        assert np.linalg.matrix_rank(np.array(cluster.windings)) == dimension


def test_cages_do_not_span_even_across_the_boundary():
    # three sites in a row through the face of the cell, and back: a ring that winds nowhere
    ring = np.array([[0, 1, 0, 0, 0], [1, 2, 1, 0, 0], [2, 0, -1, 0, 0]])
    (cluster,) = network_clusters(3, ring)
    assert (cluster.dimension, cluster.axes, cluster.windings) == (0, (), ())
    # the same ring, closed in another cell
    (cluster,) = network_clusters(3, np.array([[0, 1, 0, 0, 0], [1, 2, 1, 0, 0], [2, 0, 0, 0, 0]]))
    assert (cluster.dimension, cluster.axes) == (1, ("a",))
    assert [len(c.sites) for c in network_clusters(4, np.zeros((0, 5)))] == [1, 1, 1, 1]
    with pytest.raises(AnalysisError, match="below 2"):
        network_clusters(2, ring)


def test_order_of_edges_does_not_matter():
    rng = np.random.default_rng(0)
    edges = lattice(3, [(1, 0, 0), (0, 1, 1), (0, 0, 1)])
    selected = edges[rng.random(len(edges)) < 0.6]
    expected = [(c.sites, c.dimension, c.axes) for c in network_clusters(27, selected)]
    for seed in range(5):
        shuffled = np.random.default_rng(seed).permutation(selected)
        turned = shuffled.copy()
        turned[::2, :2], turned[::2, 2:] = shuffled[::2, 1::-1], -shuffled[::2, 2:]
        assert [(c.sites, c.dimension, c.axes) for c in network_clusters(27, turned)] == expected


def test_spans_by_kind():
    """Paper A's picture: layers of 4h–4h, and 4g between them."""
    edges = [[0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 1, 0, 0, 0], [1, 0, 0, 0, 1]]
    alone, together = network_spans(2, np.array(edges), ["4h–4h", "4h–4h", "4g–4h", "4g–4h"], [0.2, 0.2, 0.3, 0.3])
    assert [(s.kinds, s.dimension, s.axes) for s in alone] == [(("4h–4h",), 2, ("a", "b")), (("4g–4h",), 1, ("c",))]
    assert [(s.dimension, s.axes, s.barrier_eV) for s in together] == [
        (2, ("a", "b"), 0.2),
        (3, ("a", "b", "c"), 0.3),
    ]


def _product(*profiles):
    return profiles[0][:, None, None] * profiles[1][None, :, None] * profiles[2][None, None, :]


def test_density_levels_are_exact():
    x = np.arange(24) / 24

    def well(height, periods=1):
        return np.exp(-height / 2 * (1 - np.cos(2 * np.pi * periods * x)))

    tree = merge_tree(_product(well(1.0), well(2.0), well(4.0)))
    np.testing.assert_allclose(-np.log(tree.axis_levels), [1.0, 2.0, 4.0])
    np.testing.assert_allclose(-np.log(tree.dimension_levels), [1.0, 2.0, 4.0])
    assert len(tree.peaks) == 0
    tree = merge_tree(_product(well(1.0, 2), well(2.0, 2), well(4.0, 2)))
    np.testing.assert_allclose(-np.log(tree.axis_levels), [1.0, 2.0, 4.0])
    grid = _product(well(1.0, 2), well(2.0, 2), well(4.0, 2)).ravel()
    np.testing.assert_allclose(-np.log(grid[tree.saddles]), [1, 1, 1, 1, 2, 2, 4])
    isolated = np.zeros((8, 8, 8))
    isolated[2:5, 2:5, 2:5] = 1.0
    assert merge_tree(isolated).axis_levels.tolist() == [0.0, 0.0, 0.0]
    isolated[:, 3, 3] = 0.5
    assert merge_tree(isolated).axis_levels.tolist() == [0.5, 0.0, 0.0]
    for bad in (np.zeros((2, 4, 4)), -np.ones((4, 4, 4)), np.full((4, 4, 4), np.inf)):
        with pytest.raises(AnalysisError):
            merge_tree(bad)


def test_density_percolation_barriers_and_errors():
    temperature, x = 500.0, np.arange(20) / 20
    kt = BOLTZMANN_EV_PER_K * temperature
    heights = np.array([0.05, 0.1, 0.15])
    expected = _product(*(np.exp(-h / kt / 2 * (1 - np.cos(2 * np.pi * x))) for h in heights))
    expected *= 4e6 / expected.sum()
    rng = np.random.default_rng(1)
    blocks = rng.poisson(expected / 16, (16, 20, 20, 20)).astype(np.int32)
    density = Density(blocks.sum(axis=0, dtype=np.int64), 3.0 * np.eye(3), 10, 400_000, blocks, 25_000)
    result = density_percolation(density, temperature, smoothing_A=0.15)
    assert np.all(np.abs(result.barriers_eV - heights) < 0.003 + 3 * np.array(result.barrier_errors_eV))
    assert np.all(np.array(result.barrier_errors_eV) < 0.005)
    assert result.levels_per_A3[2] == pytest.approx(density.sharpened(0.15).max() * np.exp(-result.barriers_eV[2] / kt))
    with pytest.raises(AnalysisError, match="temperature"):
        density_percolation(density, 0.0)


def test_the_merge_tree_is_that_of_a_search_from_scratch_at_each_level():
    """Axes at each level by a search through the covering space: what floods join is checked by what it means."""
    rng = np.random.default_rng(11)
    grid = rng.permutation(5 * 4 * 6).reshape(5, 4, 6).astype(float) * (rng.random((5, 4, 6)) < 0.5)
    tree = merge_tree(grid)
    levels, ranks = np.zeros(3), np.zeros(3)
    peaks = set(tree.peaks.tolist())
    for level in np.unique(grid[grid > 0.0])[::-1]:
        clusters = _clusters_above(grid, level)
        for windings in clusters.values():
            rank = np.linalg.matrix_rank(np.array(windings)) if windings else 0
            for axis in range(3):
                if levels[axis] == 0.0 and any(winding[axis] for winding in windings):
                    levels[axis] = level
            for dimension in range(rank):
                ranks[dimension] = ranks[dimension] or level
        # As many clusters as peaks that are above, less those that have ended at this level or a higher one.
        ended = sum(grid.flat[saddle] >= level for saddle in tree.saddles)
        begun = sum(grid.flat[peak] >= level for peak in peaks) + 1
        assert len(clusters) == begun - ended
    np.testing.assert_array_equal(tree.axis_levels, levels)
    np.testing.assert_array_equal(tree.dimension_levels, ranks)


def _clusters_above(grid, level):
    """Return the windings that close in each cluster of voxels at or above a level, by its first voxel."""
    steps = [step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)]
    seen, clusters = {}, {}
    for start in zip(*np.nonzero(grid >= level), strict=True):
        if start in seen:
            continue
        seen[start], queue, windings = np.zeros(3, dtype=int), [start], []
        while queue:
            here = queue.pop()
            for step in steps:
                end = np.add(here, step)
                there = tuple(int(x) for x in end % grid.shape)
                cell = seen[here] + end // grid.shape
                if grid[there] < level:
                    continue
                if there not in seen:
                    seen[there] = cell
                    queue.append(there)
                elif (cell != seen[there]).any():
                    windings.append(tuple(cell - seen[there]))
        clusters[start] = windings
    return clusters
