"""A crystal in a notebook: its orderings counted, listed, searched and sampled, as in one call."""

from __future__ import annotations

import numpy as np
import pytest

from superionic import enumerate_orderings, read_crystal
from superionic.errors import CompositionError

# Four sites of a triclinic cell on general positions, half of them filled: no symmetry, so 4!/(2! 2!) = 6 orderings.
TRICLINIC = """\
data_half
_cell_length_a 6.1
_cell_length_b 7.3
_cell_length_c 8.9
_cell_angle_alpha 83
_cell_angle_beta 95
_cell_angle_gamma 101
_space_group_name_H-M_alt 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Li1 Li+ 0.05 0.11 0.07 0.5
Li2 Li+ 0.52 0.13 0.31 0.5
Li3 Li+ 0.14 0.61 0.58 0.5
Li4 Li+ 0.63 0.57 0.83 0.5
Cl1 Cl- 0.31 0.34 0.22 1
Cl2 Cl- 0.83 0.85 0.41 1
"""


@pytest.fixture
def crystal(tmp_path):
    path = tmp_path / "half.cif"
    path.write_text(TRICLINIC, encoding="utf-8")
    return read_crystal(path)


def test_four_half_filled_sites_without_symmetry_have_six_orderings(crystal):
    orderings = crystal.orderings(coupling="coupled")
    assert orderings.count() == 6
    assert "6 distinct of 6" in repr(orderings)
    everything = orderings.all()
    assert everything.n_chosen == 6
    assert everything.to_frame()["degeneracy"].tolist() == [1] * 6
    drawn = orderings.sample(40).to_frame()
    assert drawn["times_drawn"].sum() == 40
    assert len(drawn) <= 6


def test_parts_and_one_call_say_the_same(crystal):
    parts = crystal.orderings("1x1x2", coupling="coupled").lowest(5)
    one_call = enumerate_orderings(crystal.file, supercell="1x1x2", coupling="coupled", ewald_top=5)
    assert parts.to_dict() == one_call.to_dict()
    energies = parts.to_frame()["ewald_eV"]
    assert energies.tolist() == [atoms.info["ewald_eV"] for atoms in one_call.atoms()]


def test_too_many_to_be_listed_are_searched_and_it_is_said(crystal):
    exact = crystal.orderings("1x1x2", coupling="coupled").lowest(3)
    searched = crystal.orderings("1x1x2", coupling="coupled", max_listed=10).lowest(3, budget=20_000)
    assert searched.points[0].chosen.method == "search"
    assert "by search" in repr(searched)
    assert np.allclose(searched.to_frame()["ewald_eV"], exact.to_frame()["ewald_eV"], atol=1e-9)


def test_a_crystal_shows_its_cell_and_its_shared_sites(crystal):
    text = repr(crystal)
    assert "P1 (1), half.cif" in text
    assert "6.1000, 7.3000, 8.9000 Å" in text
    assert "Li1 (1a) Li 0.5" in text
    assert len(text.splitlines()) <= 5
    assert crystal.to_frame()["vacancy"].tolist() == [0.5] * 4 + [0.0] * 2


@pytest.mark.parametrize(
    ("options", "words"),
    [({"formula_unit": "LiCl"}, "formula_unit has no effect without axes"), ({"max_deviation": 2.0}, "lies between 0")],
)
def test_options_are_checked_before_anything_is_counted(crystal, options, words):
    with pytest.raises(CompositionError, match=words):
        crystal.orderings(**options)
