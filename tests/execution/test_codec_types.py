"""The codec by type hints: results, their parts, and task functions with typed arguments."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from superionic.execution.codec import ShapeError, decode, encode, from_tree, plain_json, to_tree
from superionic.execution.task import Context, Part, Ref, Task, ref_of, refs_in, task

CONTEXT = Context(Path("unused"), lambda _fraction, _message: None, {})


@dataclass(frozen=True)
class Point:
    x: float
    label: str = ""


@dataclass(frozen=True)
class Named:
    name: str


@dataclass(frozen=True)
class Everything:
    number: float
    count: int
    flag: bool
    word: Literal["up", "down"]
    maybe: float | None
    pair: tuple[float, float]
    points: tuple[Point, ...]
    either: Point | Named
    by_name: Mapping[str, float]
    by_temperature: Mapping[float, int]
    array: NDArray[np.float64]
    whole: NDArray[np.int64]
    free: Any
    atoms: Atoms | None = None
    listed: list[str] = field(default_factory=list)


def everything(**more: Any) -> Everything:
    values: dict[str, Any] = {
        "number": 0.1,
        "count": 3,
        "flag": True,
        "word": "up",
        "maybe": None,
        "pair": (1.0, math.inf),
        "points": (Point(1.0), Point(-0.0, "b")),
        "either": Named("n"),
        "by_name": {"Li": 1.0},
        "by_temperature": {300.0: 1, 800.5: 2},
        "array": np.array([[1.0, np.nan], [1e-300, 2.0]]),
        "whole": np.array([1, 2]),
        "free": {"a": [1, None]},
        "listed": ["x"],
    }
    return Everything(**{**values, **more})


def same(one: Everything, other: Everything) -> None:
    for name in ("number", "count", "flag", "word", "maybe", "pair", "points", "either", "by_name", "by_temperature"):
        assert getattr(one, name) == getattr(other, name), name
    np.testing.assert_array_equal(one.array, other.array)
    assert (one.array.dtype, one.whole.dtype) == (other.array.dtype, other.whole.dtype)
    assert (one.free, one.listed) == (other.free, other.listed)


def test_the_store_gives_back_what_it_got():
    atoms = Atoms("LiCl", positions=[[0, 0, 0], [0.1, 0.2, 0.3]], cell=np.eye(3) * 5, pbc=True)
    value = everything(atoms=atoms)
    text, archive = encode(value)
    again = from_tree(decode(text, archive), Everything)
    same(value, again)
    assert again.atoms == atoms
    assert encode(again) == (text, archive)


def test_json_alone_gives_it_back_as_well():
    value = everything()
    text = json.dumps(plain_json(to_tree(value)), allow_nan=False)
    again = from_tree(json.loads(text), Everything)
    same(value, again)
    assert json.dumps(plain_json(to_tree(again)), allow_nan=False) == text


@given(st.floats(allow_nan=False), st.lists(st.floats(allow_nan=False), max_size=4), st.text(max_size=5))
def test_every_float_and_text_comes_back(number, row, label):
    value = (Point(number, label), np.array(row, dtype=np.float64))
    tree = json.loads(json.dumps(plain_json(to_tree(value))))
    point, array = from_tree(tree, tuple[Point, NDArray[np.float64]])
    assert math.copysign(1.0, point.x) == math.copysign(1.0, number)
    assert point == value[0]
    assert array.tobytes() == value[1].tobytes()


@pytest.mark.parametrize(
    ("tree", "hint", "words"),
    [
        ({"x": 1.0, "y": 2.0}, Point, "a Point has no 'y'"),
        ({"label": "a"}, Point, "the Point lacks 'x'"),
        ({"x": "a"}, Point, "result.x: 'a' is not a number"),
        ({"x": True}, Point, "result.x: True is not a number"),
        ("left", Literal["up", "down"], "is none of up, down"),
        ([1.0], tuple[float, float], "a list of 1 items instead of 2"),
        (1.5, int, "is not int"),
        (True, int, "is not int"),
        ({"z": 1}, Point | Named, "is none of"),
        ([{"x": 1.0}, {"x": None}], tuple[Point, ...], r"result\[1\].x"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(tree, hint, words):
    with pytest.raises(ShapeError, match=words):
        from_tree(tree, hint)


def test_what_cannot_be_stored_is_named_with_its_place():
    with pytest.raises(TypeError, match=r"result.free\[1\]: a set"):
        to_tree(everything(free=[1, {2}]))


# ---- parts and task functions ---------------------------------------------------------------------------------------


@task(version=4)
def scaled_task(
    _context: Context, *, factor: float, points: Sequence[Point], base: Point | None = None, tail: str | None = None
) -> tuple[Point, ...]:
    """Scale points."""
    label = "" if base is None else base.label
    return tuple(Point(factor * point.x, label + (tail or "")) for point in points)


SOURCE: Task[Everything] = Task("stage", "source", "m:f", 1, returns=Everything)


def test_a_part_is_a_reference_written_as_an_attribute():
    part = SOURCE.result.points[1].x
    assert ref_of(part) == Ref(SOURCE, ("points", 1, "x"))
    assert part == SOURCE.result.points[1].x
    assert hash(part) == hash(SOURCE.result.points[1].x)
    assert part != SOURCE.result.points[0].x
    for use in (bool, float, len, list, lambda value: value + 1, lambda value: value < 1):
        with pytest.raises(TypeError, match="may not exist yet"):
            use(part)
    with pytest.raises(TypeError, match="is not a part"):
        ref_of(1.0)


def test_arguments_are_parted_into_settings_and_inputs():
    call = scaled_task.of(factor=2.0, points=SOURCE.result.points, base=SOURCE.result.points[0], tail=None)
    settings, inputs = call.settings_and_inputs()
    assert settings == {"factor": 2.0}
    assert inputs == {"points": Ref(SOURCE, ("points",)), "base": Ref(SOURCE, ("points", 0))}
    each = scaled_task.of(factor=2.0, points=[SOURCE.result.points[0], SOURCE.result.points[1]])
    assert [ref.path for ref in refs_in(each.settings_and_inputs()[1]["points"])] == [("points", 0), ("points", 1)]
    with pytest.raises(TypeError, match="mixed"):
        scaled_task.of(factor=2.0, points=[SOURCE.result.points[0], Point(1.0)]).settings_and_inputs()


def test_a_worker_reads_arguments_as_their_types():
    made = scaled_task.perform(
        {"factor": 2.0, "tail": "!"}, {"points": [{"x": 1.5}], "base": {"x": 0.0, "label": "a"}}, CONTEXT
    )
    assert made == (Point(3.0, "a!"),)
    assert scaled_task(CONTEXT, factor=2.0, points=[Point(1.0)]) == (Point(2.0),)
    assert (scaled_task.name, scaled_task.version) == (f"{__name__}:scaled_task", 4)
    with pytest.raises(ShapeError, match="factor"):
        scaled_task.perform({"factor": "2"}, {"points": []}, CONTEXT)


def test_a_missing_argument_is_an_error_of_the_call():
    with pytest.raises(TypeError, match="points"):
        scaled_task.perform({"factor": 2.0}, {}, CONTEXT)


def test_parts_do_not_pretend_to_be_arrays():
    part: Any = SOURCE.result.array
    assert isinstance(part, Part)
    with pytest.raises(TypeError, match="may not exist yet"):
        np.asarray(part)
