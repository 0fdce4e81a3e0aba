"""Local order along a run whose order is known by hand: vibrations and strain do not change it, an exchange does."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms

from superionic.execution.task import Context
from superionic.stages.enumerate.spaces import SpaceSettings
from superionic.stages.order import order_in_run_task

CHARGES = {"Li": 1.0, "Y": 3.0, "Cl": -1.0, "Br": -1.0}
# Simple cubic anions, half Cl and half Br, with Y in the middle of each cube of the 2x2x2 cell or in none, and Li.
CIF = """data_x
_cell_length_a 4
_cell_length_b 4
_cell_length_c 4
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Cl1 Cl 0 0 0 0.5
Br1 Br 0 0 0 0.5
Y1 Y 0.5 0.5 0.5 0.25
Li1 Li 0.5 0.5 0 0.5
"""


@pytest.fixture
def space() -> SpaceSettings:
    return SpaceSettings("x.cif", CIF, ((1, 0, 0), (0, 1, 0), (0, 0, 1)), CHARGES, "per-orbit", (), {}, {})


def ordering() -> Atoms:
    """Anions as in rock salt on the 2x2x2 cell; Y in two of the eight cubes, Li in four faces."""
    grid = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), -1).reshape(-1, 3)
    anions = ["Cl" if sum(place) % 2 == 0 else "Br" for place in grid.tolist()]
    places = [*(4.0 * grid), (2.0, 2.0, 2.0), (6.0, 6.0, 2.0), *(4.0 * grid[::2] + (2.0, 2.0, 0.0))]
    return Atoms([*anions, "Y", "Y", *["Li"] * 4], positions=np.array(places), cell=8.0 * np.eye(3), pbc=True)


def described(space, frames, cell, folder):
    atoms = ordering()
    run = SimpleNamespace(numbers=atoms.numbers, cell_A=cell)
    context = Context(folder, lambda *_: None, {})
    half = len(frames) // 2
    return order_in_run_task(
        context,
        mobile_ion="Li",
        space=space,
        supercell=((2, 0, 0), (0, 2, 0), (0, 0, 2)),
        positions=[frames[:half], frames[half:]],
        run=run,
    )


def vibrating(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the ordering in a cell longer by 8 %, with vibrations and a drift; a Li ion visits an empty Y site."""
    rng = np.random.default_rng(1)
    frames = 1.08 * ordering().get_positions() + rng.normal(0.0, 0.15, (n, 14, 3))
    frames[:, -1] = 1.08 * np.array((6.0, 6.0, 5.6)) + rng.normal(0.0, 0.15, (n, 3))
    return frames + 0.02 * np.arange(n)[:, None, None], 1.08 * 8.0 * np.eye(3)


def alphas(order, first, second):
    return [pair.alpha for pair in order.pairs if (pair.first, pair.second) == (first, second)]


def test_vibrations_strain_drift_and_a_passing_ion_leave_the_order_of_the_ordering(space, tmp_path):
    order = described(space, *vibrating(), tmp_path)
    # Rock salt on a simple cubic lattice: 6 unlike, 12 like, 8 unlike neighbours; each Y has four Cl and four Br.
    assert alphas(order, "Br", "Cl") == pytest.approx([-1.0, 1.0, -1.0])
    assert {pair.sublattices for pair in order.pairs} >= {("Br/Cl", "Br/Cl"), ("Y/vacancy", "Y/vacancy")}
    assert not any("Li" in name and "Y" in name for pair in order.pairs for name in pair.sublattices)
    assert [kind.label for kind in order.coordination] == ["[YBr4Cl4]"]
    assert order.coordination[0].share == pytest.approx(1.0)
    assert sum(site.n_sites * site.occupancy for site in order.sites) == pytest.approx(14.0)


def test_an_exchange_half_way_is_half_in_the_mean(space, tmp_path):
    frames, cell = vibrating()
    one, other = 0, 1  # a Cl and a Br beside it
    moved = frames.copy()
    moved[20:, one] += frames[0, other] - frames[0, one]
    moved[20:, other] += frames[0, one] - frames[0, other]
    order = described(space, moved, cell, tmp_path)
    # In the 2x2x2 cell each anion has three neighbours, each twice. Of 24 pairs all were unlike; the exchange makes
    # 2 × (6 - 2) pairs like, so that α = 1 - (16/24)/(1/2) = -1/3, and the mean over both halves is -2/3.
    assert alphas(order, "Br", "Cl")[0] == pytest.approx(-2.0 / 3.0)
