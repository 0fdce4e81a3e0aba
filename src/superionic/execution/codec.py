"""Exact, deterministic encoding of task results.

A result is a tree of dictionaries, lists, JSON scalars, numpy arrays and :class:`ase.Atoms`. It becomes one JSON text
and one uncompressed ``.npz`` file. The same value always gives the same bytes (fixed dates inside the archive, sorted
keys), and every float comes back bit for bit. No pickles: a result can be read by any version of Python or numpy, and
nothing in it can run code.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

_FIXED_DATE = (1980, 1, 1, 0, 0, 0)
_MARKERS = ("__array__", "__atoms__", "__float__")


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a tree of plain values: sorted keys, no spaces, shortest exact floats.

    Raises
    ------
    TypeError
        If the tree holds anything but plain JSON values.
    ValueError
        If it holds NaN or an infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def encode(value: Any) -> tuple[str, bytes]:
    """Encode a result.

    Returns
    -------
    text, archive
        The JSON text, and the ``.npz`` bytes of all arrays in it (empty when there is none).

    Raises
    ------
    TypeError
        If the value holds something that a result may not hold; the message names its place.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = _encode(value, arrays, "result")
    text = json.dumps(tree, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return text + "\n", _pack(arrays) if arrays else b""


def decode(text: str, archive: bytes) -> Any:
    """Invert :func:`encode`."""
    arrays = _unpack(archive) if archive else {}
    return _decode(json.loads(text), arrays)


def _encode(value: Any, arrays: dict[str, np.ndarray], place: str) -> Any:
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
            raise TypeError(f"{place}: arrays of Python objects cannot be stored")
        name = f"a{len(arrays):05d}"
        arrays[name] = np.ascontiguousarray(value).reshape(value.shape)
        return {"__array__": name}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key in _MARKERS:
                raise TypeError(f"{place}: {key!r} cannot be a key of a result")
        return {key: _encode(item, arrays, f"{place}.{key}") for key, item in sorted(value.items())}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_encode(item, arrays, f"{place}[{index}]") for index, item in enumerate(value)]
    if type(value).__module__.startswith("ase.") and hasattr(value, "get_positions"):
        return {"__atoms__": _encode(_atoms_to_tree(value), arrays, place)}
    raise TypeError(f"{place}: a {type(value).__name__} cannot be stored in a result")


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
