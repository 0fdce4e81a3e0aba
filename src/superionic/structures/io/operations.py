"""Symmetry operations as crystal files give them: as text, or by the name of the space group.

The text is read term by term against a fixed grammar; nothing in it is evaluated.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from superionic.errors import StructureError
from superionic.foreign import shown
from superionic.structures.crystal.symmetry import FloatArray, IntArray

MAX_OPERATIONS = 1000
"""Largest number accepted: a space group has at most 192 in a conventional cell; settings with more are rare."""

_Row = tuple[int, int, int]
Operation = tuple[tuple[_Row, _Row, _Row], tuple[float, float, float]]

_MAX_LENGTH = 80
_TERM = re.compile(r"([+-]?)(?:(\d{1,6}(?:\.\d{0,12})?|\.\d{1,12})(?:/(\d{1,6}))?)?\*?([xyz]?)")
_METRIC = 0.03


def parse_operation(text: str, where: str) -> Operation:
    """Read an operation such as ``-x+1/2, y, z+0.5``.

    Parameters
    ----------
    text
        Three expressions in x, y and z; a fourth part (time reversal, in magnetic CIFs) is ignored.

    Returns
    -------
    rotation : 3 × 3 integers, determinant ±1
    translation : 3 numbers

    Raises
    ------
    StructureError
        If the text is anything else.
    """
    operation = _operation(text) if len(text) <= _MAX_LENGTH else None
    if operation is None:
        raise StructureError(
            f"{shown(text)!r} is not a symmetry operation.", where=where, fix="Write it like '-x+1/2, y, z+1/2'."
        )
    return operation


@lru_cache(maxsize=4096)
def _operation(text: str) -> Operation | None:
    words = re.sub(r"[ \t]", "", text.strip().lower()).split(",")
    if len(words) == 4 and words[3] in {"1", "+1", "-1"}:
        words = words[:3]
    rows = [row for row in map(_expression, words) if row is not None]
    if len(words) != 3 or len(rows) != 3:
        return None
    # The grammar cannot give NaN or infinity; large coefficients fail by the determinant.
    a, b, c = ((round(r[0]), round(r[1]), round(r[2])) for r in rows)
    rotation = (a, b, c)
    off = max(abs(row[k] - whole[k]) for row, whole in zip(rows, rotation, strict=True) for k in range(3))
    if off > 1e-9 or abs(_determinant(rotation)) != 1:
        return None
    return rotation, (rows[0][3], rows[1][3], rows[2][3])


def _expression(word: str) -> list[float] | None:
    values = [0.0, 0.0, 0.0, 0.0]
    position = 0
    while position < len(word):
        match = _TERM.match(word, position)
        if match is None or match.end() == position or (position and not match[1]):
            return None
        sign, number, divisor, axis = match.groups()
        if not number and not axis:
            return None
        if divisor is not None and int(divisor) == 0:
            return None
        amount = (float(number) if number else 1.0) / (int(divisor) if divisor else 1)
        values["xyz".index(axis) if axis else 3] += -amount if sign == "-" else amount
        position = match.end()
    return values if word else None


def _determinant(m: Sequence[Sequence[int]]) -> int:
    (a, b, c), (d, e, f), (g, h, i) = m
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def check_group(rotations: IntArray, translations: FloatArray, where: str) -> tuple[IntArray, FloatArray]:
    """Drop duplicate operations and check that the rest form a group.

    Parameters
    ----------
    rotations, translations
        (n, 3, 3) and (n, 3).

    Returns
    -------
    rotations, translations
        Without duplicates, in the order given; translations in [0, 1).

    Raises
    ------
    StructureError
        If the identity or a product is missing.
    """
    translations = translations - np.floor(translations + 1e-6)
    codes = rotations.reshape(len(rotations), 9) @ 5 ** np.arange(9)
    kinds: dict[int, list[int]] = {}
    for index, code in enumerate(codes.tolist()):
        same = kinds.setdefault(code, [])
        if not any(_near(translations[index] - translations[k]) for k in same):
            same.append(index)
    unique = sorted(i for same in kinds.values() for i in same)
    first = np.array([same[0] for same in kinds.values()])
    identity = int((np.eye(3, dtype=np.int64).reshape(9) @ 5 ** np.arange(9)).item())
    centrings = translations[kinds.get(identity, [])]
    # The group is (coset representatives) × (centrings): each rotation must occur once with each centring.
    complete = len(unique) == len(kinds) * len(centrings) and len(centrings) > 0
    if complete:
        r, t = rotations[first], translations[first]
        product = np.einsum("iab,jbc->ijac", r, r).reshape(-1, 9) @ 5 ** np.arange(9)
        order = np.argsort(codes[first])
        place = order[np.searchsorted(codes[first][order], product).clip(max=len(order) - 1)]
        offset = (np.einsum("iab,jb->ija", r, t) + t[:, None]).reshape(-1, 3) - t[place]
        inner = (centrings[:, None] + centrings[None]).reshape(-1, 3)
        turned = np.einsum("iab,jb->ija", r, centrings).reshape(-1, 3)
        complete = bool(np.all(codes[first][place] == product)) and all(
            bool(np.all(np.any(_near(part[:, None] - centrings[None]), axis=1))) for part in (offset, inner, turned)
        )
    if not complete:
        raise StructureError(
            f"The {len(unique)} symmetry operations are not a group: "
            + ("the identity is missing." if len(centrings) == 0 else "a product of two of them is missing."),
            where=where,
            fix="Complete the list of operations, or remove it and name the space group.",
        )
    return rotations[unique], translations[unique]


def _near(difference: FloatArray) -> NDArray[np.bool_]:
    # Files may say 0.333 instead of 1/3.
    near: NDArray[np.bool_] = np.all(np.abs(difference - np.round(difference)) < 2e-3, axis=-1)
    return near


def fits_cell(rotations: IntArray, cell_A: FloatArray) -> bool:
    """Return whether rotations keep the lengths and angles of a cell, within 3 %."""
    metric = cell_A @ cell_A.T
    turned = np.einsum("gba,bc,gcd->gad", rotations, metric, rotations)
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    return bool(np.all(np.abs(turned - metric) <= _METRIC * scale))


def operations_by_name(
    hall: str | None, name: str | None, number: int | None, cell_A: FloatArray, where: str
) -> tuple[IntArray, FloatArray, str | None]:
    """Look up the operations of a space group by its Hall symbol, Hermann-Mauguin symbol or number.

    The settings are those of spglib's table (530, after S. R. Hall). Where a symbol leaves the setting open, the one
    that fits the cell is taken (unique axis b before c before a, the first cell choice before the others), with a
    remark. If the table lacks a Hall symbol, the name is used.

    Returns
    -------
    rotations, translations
        (n, 3, 3) and (n, 3).
    remark
        The choice made where the file leaves the setting open; None where it does not.

    Raises
    ------
    StructureError
        If the name matches no setting, settings of different origin, or different groups.
    """
    import spglib

    label = name or hall or f"number {number}"
    ways: list[Callable[[_Setting], bool]] = []
    if hall is not None:
        symbol = _hall(hall)
        ways.append(lambda s: s.hall == symbol)
    if name is not None:
        ways += [lambda s: _goes_by(s, s.names, name, number), lambda s: _goes_by(s, s.further_names, name, number)]
    elif number is not None:
        ways.append(lambda s: s.group == number and (s.choice in {"", "1", "2", "H", "R"} or s.choice[:1] == "b"))
    matching: list[_Setting] = []
    fitting: list[tuple[_Setting, IntArray, FloatArray]] = []
    for way in ways:
        matching += (candidates := [s for s in _settings() if way(s)])
        for setting in candidates:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # about its move to exceptions; nothing fails here
                data = spglib.get_symmetry_from_database(setting.index)
            rotations = np.asarray(data["rotations"], dtype=np.int64)
            if fits_cell(rotations, cell_A):
                fitting.append((setting, rotations, np.asarray(data["translations"], dtype=np.float64)))
        if fitting:
            break
    if not fitting:
        raise StructureError(
            f"No setting of the space group {shown(label)!r} {'fits the cell' if matching else 'is known'}, "
            "and the file lists no symmetry operations.",
            where=where,
            fix="List the operations (_space_group_symop_operation_xyz), or correct the name of the space group.",
        )
    if len(groups := dict.fromkeys(s.group for s, _, _ in fitting)) > 1:
        raise StructureError(
            f"The name {shown(label)!r} may mean the space groups {' and '.join(map(str, groups))}.",
            where=where,
            fix="Write it in full, such as 'P -3 m 1', or give the number as _space_group_IT_number.",
        )
    if {s.choice for s, _, _ in fitting} >= {"1", "2"}:
        raise StructureError(
            f"The space group {shown(label)!r} has two origins, and without symmetry operations it is unclear which.",
            where=where,
            fix="List the operations (_space_group_symop_operation_xyz), or add :1 or :2 to the name.",
        )
    best, rotations, translations = fitting[0]
    remark = None
    if len(fitting) > 1:
        remark = (
            f"{shown(label)} leaves the setting open and the file lists no operations; {best.full} was taken (Hall "
            f"symbol {best.symbol}), one of {len(fitting)} that fit the cell"
        )
    return rotations, translations, remark


@dataclass(frozen=True)
class _Setting:
    """One of the settings of spglib's table.

    Attributes
    ----------
    index
        Its number in the table.
    group
        International number.
    choice
        Choice of axes and origin.
    hall, symbol
        Hall symbol, without blanks and as usual.
    full
        Hermann-Mauguin symbol, in full.
    names
        Hermann-Mauguin symbols of this setting.
    further_names
        Less specific symbols, and those of older tables (C m c a for C m c e, F m 3 m for F m -3 m).
    """

    index: int
    group: int
    choice: str
    hall: str
    symbol: str
    full: str
    names: frozenset[str]
    further_names: frozenset[str]


@cache
def _settings() -> tuple[_Setting, ...]:
    """All settings of spglib's table."""
    import spglib

    settings: list[_Setting] = []
    groups: set[int] = set()
    for index in range(1, 531):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            kind = spglib.get_spacegroup_type(index)
        pieces = kind.international.split("=")
        full = kind.international_full
        names = {full, pieces[-1]}
        if kind.number not in groups or kind.choice in {"1", "2", "H", "R"}:
            names |= {kind.international_short, pieces[0]}
        groups.add(kind.number)
        further = {"".join(w for w in full.split() if w != "1")}
        further |= {older for n in (*names, *further) for older in _older(n, kind.number)}
        settings.append(
            _Setting(
                index, kind.number, kind.choice, _hall(kind.hall_symbol), kind.hall_symbol, full,
                frozenset(_normal(n) for n in names), frozenset(_normal(n) for n in further),
            )
        )  # fmt: skip
    return tuple(settings)


def _older(name: str, group: int) -> list[str]:
    """Return the names of a group in tables before 1992: a or b for the glide e, and 3 for -3 in the cubic ones."""
    words = name.split()
    if "e" in name and len(words) == 4:
        (at,) = [k for k, word in enumerate(words) if "e" in word]
        return [
            "".join([*words[:at], words[at].replace("e", glide), *words[at + 1 :]])
            for glide in "abc".replace("abc"[at - 1], "")
        ]
    return [name.replace("-3", "3")] if group >= 200 and "-3" in name else []


_DASHES = str.maketrans({"−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-"})  # what people type
_SUFFIXES = {"hr": "h", "rs": "r", "o1": "1", "o2": "2", "s": "1", "z": "2", "h": "h", "r": "r"}
"""Suffixes by which names mark axes and origin, mostly as in the ICSD."""
_WORDED = re.compile(r"(?:\(|,)?(?:(?:origin(?:choice)?|choice|setting)([12])|(hex|rhomb?)[a-z]*)\)?$")


def _normal(name: str) -> str:
    word = re.sub(r"([346])[\u0304\u0305]", r"-\1", name.translate(_DASHES).replace("1\u0304", "-1"))
    word = re.sub(r"[\s_~'\"]", "", word).lower()
    word = re.sub(r"\(([1-5])\)", r"\1", word)  # P 2(1)/c
    return re.sub(r"bar\(?([1346])\)?", r"-\1", re.sub(r"([1346])bar", r"-\1", word))


def _hall(symbol: str) -> str:
    return re.sub(r"[\s_]", "", symbol).lower()  # quotes are significant here


def _goes_by(setting: _Setting, names: frozenset[str], name: str, number: int | None) -> bool:
    symbol, _, suffix = _normal(name).partition(":")
    if (worded := _WORDED.search(symbol)) is not None:
        suffix, symbol = worded[1] or worded[2][0], symbol[: worded.start()]
    if not suffix and symbol not in names:
        ending = next((e for e in _SUFFIXES if symbol.endswith(e)), None)
        if ending is not None:
            suffix, symbol = _SUFFIXES[ending], symbol[: -len(ending)]
    else:
        suffix = _SUFFIXES.get(suffix, suffix)
    if number is not None and setting.group != number:
        return False
    return symbol in names and (not suffix or setting.choice.lower() == suffix)
