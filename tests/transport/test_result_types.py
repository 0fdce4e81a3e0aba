"""Results are of types that a codec can write and read by their type hints alone, and that resolve at run time."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import typing
from collections.abc import Mapping
from types import NoneType, UnionType

import numpy as np
import pytest

import superionic.transport

WORKING_PARTS = {"FrameBlock", "OffSites"}  # frames in whatever precision they have, and masks of ions


def dataclasses_of_the_room():
    measured = []
    for module in pkgutil.walk_packages(superionic.transport.__path__, "superionic.transport."):
        room = importlib.import_module(module.name)
        own = [each for each in vars(room).values() if getattr(each, "__module__", None) == room.__name__]
        measured += [each for each in own if dataclasses.is_dataclass(each) and each.__name__ not in WORKING_PARTS]
    return measured


def is_plain(hint):
    """Whether values are made of str, numbers, None, literals, tuples, mappings, arrays and dataclasses."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint in (str, int, float, bool, NoneType):
        return True
    if origin is typing.Literal:
        return all(isinstance(value, str) for value in parts)
    if origin in (tuple, UnionType, typing.Union):
        return all(is_plain(part) for part in parts if part is not Ellipsis)
    if origin is Mapping:
        return parts[0] is str and is_plain(parts[1])
    if origin is np.ndarray:
        return issubclass(typing.get_args(parts[1])[0], np.number)
    return dataclasses.is_dataclass(hint) and all(is_plain(part) for part in typing.get_type_hints(hint).values())


@pytest.mark.parametrize("result", dataclasses_of_the_room(), ids=lambda result: result.__name__)
def test_fields_are_plain(result):
    assert result.__dataclass_params__.frozen
    not_plain = {name: hint for name, hint in typing.get_type_hints(result).items() if not is_plain(hint)}
    assert not_plain == {}
