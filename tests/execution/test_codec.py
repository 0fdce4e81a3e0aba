from __future__ import annotations

import math

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from superionic.execution.codec import canonical_json, decode, encode

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(plain)
def test_every_plain_tree_comes_back_the_same(value):
    assert decode(*encode(value)) == value


def test_arrays_come_back_bit_for_bit_with_their_types():
    value = {
        "f": np.array([0.1, np.nan, -0.0, np.inf]),
        "i": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "b": np.array([True, False]),
        "empty": np.zeros((0, 3)),
        "scalar": np.float64(0.1),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "zero_d": np.array(3.5),
    }
    back = decode(*encode(value))
    for name in ("f", "i", "b", "empty", "fortran", "zero_d"):
        assert back[name].dtype == value[name].dtype
        assert back[name].shape == value[name].shape
        assert back[name].tobytes() == np.ascontiguousarray(value[name]).tobytes()
    assert back["scalar"] == 0.1


def test_atoms_come_back_with_cell_info_and_extra_arrays():
    atoms = Atoms("LiCl", positions=[[0, 0, 0], [1.1, 2.2, 1 / 3]], cell=[[5, 0, 0], [0.1, 5, 0], [0, 0, 7]], pbc=True)
    atoms.info["degeneracy"] = 3
    atoms.set_momenta([[0.1, 0, 0], [0, 0.2, 0]])
    back = decode(*encode([atoms]))[0]
    assert back == atoms
    assert back.info == {"degeneracy": 3}
    assert np.array_equal(back.get_momenta(), atoms.get_momenta())


def test_equal_values_give_equal_bytes_whatever_the_order_of_keys():
    first = encode({"a": np.arange(3.0), "b": {"x": 1, "y": 2.5}})
    second = encode({"b": {"y": 2.5, "x": 1}, "a": np.arange(3.0)})
    assert first == second


def test_numbers_that_are_not_finite_survive():
    back = decode(*encode([math.nan, math.inf, -math.inf]))
    assert math.isnan(back[0])
    assert back[1:] == [math.inf, -math.inf]


@pytest.mark.parametrize(
    "value", [{(1, 2): 2}, {"__array__": 1}, object(), np.array([object()]), {"x": {1, 2}}, b"bytes"]
)
def test_what_cannot_be_stored_is_refused_with_its_place(value):
    with pytest.raises(TypeError, match="result"):
        encode({"part": value} if not isinstance(value, dict) else value)


def test_canonical_json_is_one_text_for_one_value():
    assert canonical_json({"b": 1, "a": [1.0, 1e-4]}) == '{"a":[1.0,0.0001],"b":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))
