"""Exact, deterministic encoding of task results.

A result is a frozen dataclass, or a tree of dictionaries, lists, JSON scalars, numpy arrays and :class:`ase.Atoms`. It
is encoded as a JSON text and an uncompressed ``.npz`` file. Equal values give equal bytes (the archive has fixed dates
and sorted keys), and floats are restored bit for bit. There are no pickles: any version of Python or numpy can read a
result, and nothing in it can run code.

The store holds the tree; the type hints of the reader determine the classes as which it is read (:func:`from_tree`).
The same codec serves the store, the inputs of tasks, and ``results.json`` (:func:`plain_json`).
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import math
import types
import typing
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

_FIXED_DATE = (1980, 1, 1, 0, 0, 0)
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
_MARKERS = ("__array__", "__atoms__", "__float__")
LEFT_OUT: Final = "left out where it is the default"
"""Mark in the metadata of a field that was added later: at its default it is not encoded, so that keys stay."""


def canonical_json(value: Any) -> str:
    """Return the canonical JSON text of a tree of plain values: sorted keys, no spaces, shortest exact floats.

    Raises
    ------
    TypeError
        If the tree holds anything but plain JSON values.
    ValueError
        If it holds NaN or an infinity.
    """
    return _CANONICAL.encode(value)


def encode(value: Any) -> tuple[str, bytes]:
    """Encode a result.

    Returns
    -------
    text, archive
        The JSON text, and the ``.npz`` bytes of all arrays in it (empty when there is none).

    Raises
    ------
    TypeError
        If the value holds something that a result may not hold; the message says where.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = _encode(to_tree(value), arrays, "result")
    text = json.dumps(tree, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return text + "\n", _pack(arrays) if arrays else b""


def decode(text: str, archive: bytes) -> Any:
    """Invert :func:`encode`."""
    arrays = _unpack(archive) if archive else {}
    return _decode(json.loads(text), arrays)


def _encode(value: Any, arrays: dict[str, np.ndarray], where: str) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return number if math.isfinite(number) else {"__float__": repr(number)}
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError(f"{where}: arrays of Python objects cannot be stored")
        name = f"a{len(arrays):05d}"
        arrays[name] = np.ascontiguousarray(value).reshape(value.shape)
        return {"__array__": name}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key in _MARKERS:
                raise TypeError(f"{where}: {key!r} cannot be a key of a result")
        return {key: _encode(item, arrays, f"{where}.{key}") for key, item in sorted(value.items())}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_encode(item, arrays, f"{where}[{index}]") for index, item in enumerate(value)]
    if _is_atoms(value):
        return {"__atoms__": _encode(_atoms_to_tree(value), arrays, where)}
    raise TypeError(f"{where}: a {type(value).__name__} cannot be stored in a result")


def _decode(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(tree, dict):
        if "__array__" in tree:
            return arrays[tree["__array__"]]
        if "__float__" in tree:
            return float(tree["__float__"])
        if "__atoms__" in tree:
            return _atoms_from_tree(_decode(tree["__atoms__"], arrays))
        return {key: _decode(item, arrays) for key, item in tree.items()}
    if isinstance(tree, list):
        return [_decode(item, arrays) for item in tree]
    return tree


def _atoms_to_tree(atoms: Atoms) -> dict[str, Any]:
    return {
        "arrays": {name: array for name, array in atoms.arrays.items() if name not in ("numbers", "positions")},
        "cell": np.asarray(atoms.cell.array),
        "info": dict(atoms.info),
        "numbers": atoms.numbers,
        "pbc": [bool(flag) for flag in atoms.pbc],
        "positions": atoms.positions,
    }


def _atoms_from_tree(tree: Mapping[str, Any]) -> Atoms:
    from ase import Atoms

    atoms = Atoms(
        numbers=tree["numbers"], positions=tree["positions"], cell=tree["cell"], pbc=tree["pbc"], info=tree["info"]
    )
    for name, array in tree["arrays"].items():
        atoms.set_array(name, array)
    return atoms


def _pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            # numpy.savez stamps members with the time of writing; a fixed date keeps equal results equal in bytes.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=_FIXED_DATE), member.getvalue())
    return buffer.getvalue()


def _unpack(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


# ---- typed values ---------------------------------------------------------------------------------------------------


class ShapeError(ValueError):
    """A tree does not have the shape of the type that it is read as; the message says where."""


def to_tree(value: Any, where: str = "result") -> Any:
    """Turn frozen results into a tree of dictionaries, lists and scalars; arrays and structures stay as they are.

    A dataclass becomes a dictionary of its fields, a tuple a list. :func:`from_tree` is the inverse.

    Raises
    ------
    TypeError
        If the value holds something that a result may not hold; the message says where.
    """
    if value is None or isinstance(value, (bool, int, str, float, np.ndarray, np.generic)):
        return value.item() if isinstance(value, np.generic) else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_tree(getattr(value, field.name), f"{where}.{field.name}")
            for field in dataclasses.fields(value)
            if field.init and not (LEFT_OUT in field.metadata and getattr(value, field.name) == field.default)
        }
    if isinstance(value, Mapping):
        return {_key(key, where): to_tree(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [to_tree(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if _is_atoms(value):
        return value
    raise TypeError(f"{where}: a {type(value).__name__} cannot be stored in a result")


def from_tree(tree: Any, hint: Any, where: str = "result") -> Any:
    """Read a tree as the type that a hint names: the inverse of :func:`to_tree`.

    Parameters
    ----------
    tree
        The output of :func:`to_tree`, possibly after a passage through JSON, which turns arrays into nested lists.
    hint
        A dataclass, a scalar, ``Literal``, a union, ``tuple[...]``, ``Sequence[...]``, ``list[...]``, ``Mapping[...]``,
        ``dict[...]``, a numpy array, ``ase.Atoms`` or ``Any``; a class with a function ``variant_of`` stands for the
        class that this chooses. The fields of a dataclass are read by their own hints.

    Raises
    ------
    ShapeError
        If the tree does not fit the type; the message says where.
    """
    return _reader(hint)(tree, where)


def plain_json(tree: Any) -> Any:
    """Turn a tree into values of strict JSON: arrays become nested lists, non-finite numbers become text.

    The texts are ``"Infinity"``, ``"-Infinity"`` and ``"NaN"``; :func:`from_tree` reads them where it expects a number.
    """
    if isinstance(tree, np.ndarray):
        return plain_json(tree.tolist())
    if isinstance(tree, float) and not math.isfinite(tree):
        return "NaN" if math.isnan(tree) else "Infinity" if tree > 0 else "-Infinity"
    if isinstance(tree, dict):
        return {key: plain_json(item) for key, item in tree.items()}
    if isinstance(tree, list):
        return [plain_json(item) for item in tree]
    return tree


@functools.cache
def field_hints(cls: type) -> dict[str, Any]:
    """Return the resolved types of a dataclass's fields, in order."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


_Reader = Callable[[Any, str], Any]
_NOT_FINITE = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


@functools.cache
def _reader(hint: Any) -> _Reader:
    """Return the function that reads a tree as the type of a hint; built once for each hint."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _reader(arguments[0])
    if hint is Any or hint is object:
        return lambda tree, _: tree
    if hint is float:
        return _read_float
    if hint in (int, str, bool, type(None)):
        return _scalar_reader(hint)
    if origin is Literal:
        return _literal_reader(arguments)
    if origin in (Union, types.UnionType):
        return _union_reader(arguments)
    if hint is np.ndarray or origin is np.ndarray:
        return _array_reader(arguments)
    if origin in (tuple, list, Sequence):
        return _sequence_reader(origin, arguments)
    if origin in (dict, Mapping):
        return _mapping_reader(arguments)
    if isinstance(hint, type) and "variant_of" in vars(hint):
        return _variant_reader(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _dataclass_reader(hint)
    if isinstance(hint, type) and hint.__module__.startswith("ase."):
        return _atoms_reader(hint)
    raise TypeError(f"the codec cannot read values of the type {hint!r}")


def _read_float(tree: Any, where: str) -> Any:
    if isinstance(tree, str) and tree in _NOT_FINITE:
        return _NOT_FINITE[tree]
    if isinstance(tree, bool) or not isinstance(tree, (int, float)):
        raise ShapeError(f"{where}: {_shown(tree)} is not a number")
    return tree


def _scalar_reader(hint: type) -> _Reader:
    def read(tree: Any, where: str) -> Any:
        # To Python a bool is an int; here it is not.
        if not isinstance(tree, hint) or (hint is int and isinstance(tree, bool)):
            raise ShapeError(f"{where}: {_shown(tree)} is not {'null' if hint is type(None) else hint.__name__}")
        return tree

    return read


def _literal_reader(choices: tuple[Any, ...]) -> _Reader:
    def read(tree: Any, where: str) -> Any:
        if tree not in choices:
            raise ShapeError(f"{where}: {_shown(tree)} is none of {', '.join(map(str, choices))}")
        return tree

    return read


def _union_reader(arguments: tuple[Any, ...]) -> _Reader:
    options = [option for option in arguments if option is not type(None)]
    optional = len(options) < len(arguments)
    # Dataclasses of a union are distinguished by their fields.
    classes: dict[frozenset[str], Any] = {
        frozenset(field_hints(typing.cast(Any, option))): option
        for option in options
        if dataclasses.is_dataclass(option)
    }
    others: Any = [option for option in options if not dataclasses.is_dataclass(option)]

    def read(tree: Any, where: str) -> Any:
        if tree is None and optional:
            return None
        if len(options) == 1:
            only: Any = options[0]
            return _reader(only)(tree, where)
        if isinstance(tree, dict) and (cls := classes.get(frozenset(tree))) is not None:
            return _reader(cls)(tree, where)
        for option in others:
            try:
                return _reader(option)(tree, where)
            except ShapeError:
                continue
        raise ShapeError(f"{where}: {_shown(tree)} is none of {', '.join(str(option) for option in arguments)}")

    return read


def _array_reader(arguments: tuple[Any, ...]) -> _Reader:
    # NDArray[np.float64] is np.ndarray[shape, np.dtype[np.float64]].
    scalar = typing.get_args(arguments[1])[0] if len(arguments) == 2 and typing.get_args(arguments[1]) else None
    dtype = scalar if isinstance(scalar, type) else None

    def read(tree: Any, where: str) -> Any:
        if isinstance(tree, np.ndarray):
            return tree
        if not isinstance(tree, list):
            raise ShapeError(f"{where}: {_shown(tree)} is not an array")
        return np.array(_with_numbers(tree), dtype=dtype)

    return read


def _with_numbers(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_with_numbers(item) for item in tree]
    return _NOT_FINITE.get(tree, tree) if isinstance(tree, str) else tree


def _sequence_reader(origin: Any, arguments: tuple[Any, ...]) -> _Reader:
    make: Callable[[Any], Any] = list if origin is list else tuple
    of_any_length = origin is not tuple or (len(arguments) == 2 and arguments[1] is Ellipsis)
    readers = [_reader(argument) for argument in arguments if argument is not Ellipsis]

    def read(tree: Any, where: str) -> Any:
        if isinstance(tree, np.ndarray):
            tree = tree.tolist()
        if not isinstance(tree, (list, tuple)):
            raise ShapeError(f"{where}: {_shown(tree)} is not a list")
        if of_any_length:
            return make(readers[0](item, f"{where}[{index}]") for index, item in enumerate(tree))
        if len(tree) != len(readers):
            raise ShapeError(f"{where}: a list of {len(tree)} items instead of {len(readers)}")
        pairs = enumerate(zip(readers, tree, strict=True))
        return make(one(item, f"{where}[{index}]") for index, (one, item) in pairs)

    return read


def _mapping_reader(arguments: tuple[Any, ...]) -> _Reader:
    of_key, of_value = arguments or (str, Any)
    read_value = _reader(of_value)

    def read(tree: Any, where: str) -> Any:
        if not isinstance(tree, Mapping):
            raise ShapeError(f"{where}: {_shown(tree)} is not an object")
        return {
            (of_key(key) if of_key in (int, float) else key): read_value(item, f"{where}.{key}")
            for key, item in tree.items()
        }

    return read


def _dataclass_reader(cls: type) -> _Reader:
    hints = field_hints(cls)
    needed = {
        field.name
        for field in dataclasses.fields(cls)
        if field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }

    def read(tree: Any, where: str) -> Any:
        if isinstance(tree, cls):
            return tree
        if not isinstance(tree, Mapping):
            raise ShapeError(f"{where}: {_shown(tree)} is not a {cls.__name__}")
        if unknown := sorted(set(tree) - set(hints)):
            raise ShapeError(f"{where}: a {cls.__name__} has no {unknown[0]!r}")
        if missing := sorted(needed - set(tree)):
            raise ShapeError(f"{where}: the {cls.__name__} lacks {missing[0]!r}")
        return cls(**{name: _reader(hints[name])(item, f"{where}.{name}") for name, item in tree.items()})

    return read


def _variant_reader(base: Any) -> _Reader:
    """Read a value of one of several classes, which their base tells apart (``variant_of``)."""

    def read(tree: Any, where: str) -> Any:
        if isinstance(tree, base):
            return tree
        try:
            cls = base.variant_of(tree)
        except (KeyError, TypeError) as error:
            raise ShapeError(f"{where}: {_shown(tree)} is no {base.__name__}") from error
        return _reader(cls)(tree, where)

    return read


def _atoms_reader(cls: type) -> _Reader:
    def read(tree: Any, where: str) -> Any:
        if not isinstance(tree, cls):
            raise ShapeError(f"{where}: {_shown(tree)} is not a structure")
        return tree

    return read


def _key(key: Any, where: str) -> str:
    if isinstance(key, bool) or not isinstance(key, (str, int, float)):
        raise TypeError(f"{where}: {key!r} cannot be a key of a result")
    return key if isinstance(key, str) else repr(key)


def _is_atoms(value: Any) -> bool:
    return type(value).__module__.startswith("ase.") and hasattr(value, "get_positions")


def _shown(tree: Any) -> str:
    text = repr(tree)
    return text if len(text) <= 40 else f"{text[:37]}…"
