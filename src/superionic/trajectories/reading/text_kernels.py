"""Compiled loops that turn columns of text into numbers.

A number is read as an integer of up to 19 digits times a power of ten; if both are exactly representable (up to 15
digits and powers up to 22, as in every number that VASP or LAMMPS usually writes) the result is correctly rounded
(Clinger, PLDI 1990), otherwise it is off by at most one ulp.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from superionic.compiled import compiled

OK = 0
"""All rows were read."""
NEEDS_MORE = 1
"""The text ended before the last row did."""
BAD_ROW = 2
"""A row has too few or too many columns, or something in it is not a number."""

POWERS = 10.0 ** np.arange(0, 23, dtype=np.float64)


@compiled
def _number(data: Any, at: int, end: int, powers: Any) -> Any:  # noqa: PLR0912, PLR0915 - one token, one machine
    """Read a number at ``at``; return value, the position after it, and whether it is one. NaN and *** are not."""
    i = at
    negative = False
    if i < end and (data[i] == 45 or data[i] == 43):  # - +
        negative = data[i] == 45
        i += 1
    first = i
    mantissa = np.int64(0)
    while i < end:
        digit = np.int64(data[i]) - 48
        if digit < 0 or digit > 9:
            break
        mantissa = mantissa * 10 + digit
        i += 1
    digits = i - first
    decimals = 0
    if i < end and data[i] == 46:  # .
        i += 1
        point = i
        while i < end:
            digit = np.int64(data[i]) - 48
            if digit < 0 or digit > 9:
                break
            mantissa = mantissa * 10 + digit
            i += 1
        decimals = i - point
        digits += decimals
    if digits == 0:
        return 0.0, i, False
    power = -decimals
    value = float(mantissa)
    if digits > 18:  # the integer may have overflowed: leading zeros do not count, digits beyond the 18th become zeros
        value, power = _long_mantissa(data, first, i)
    if i < end and (data[i] == 101 or data[i] == 69 or data[i] == 100 or data[i] == 68):  # e E d D
        i += 1
        small = False
        if i < end and (data[i] == 45 or data[i] == 43):
            small = data[i] == 45
            i += 1
        begin = i
        exponent = np.int64(0)
        while i < end and 48 <= data[i] <= 57:
            if exponent < 10000:
                exponent = exponent * 10 + (np.int64(data[i]) - 48)
            i += 1
        if i == begin:
            return 0.0, i, False
        power += int(-exponent if small else exponent)
    if power < 0:
        power = -power
        while power > 22:
            value /= powers[22]
            power = power - 22 if value != 0.0 else 0
        value /= powers[power]
    elif power > 0:
        if power > 300:
            return 0.0, i, False
        while power > 22:
            value *= powers[22]
            power -= 22
        value *= powers[power]
    return (-value if negative else value), i, True


@compiled
def _long_mantissa(data: Any, begin: int, end: int) -> Any:
    """Read digits and a point: the first 18 significant ones as an integer, and its power of ten."""
    mantissa = np.int64(0)
    n_digits = 0
    power = 0
    fraction = False
    for i in range(begin, end):
        if data[i] == 46:
            fraction = True
            continue
        if n_digits < 18:
            mantissa = mantissa * 10 + (np.int64(data[i]) - 48)
            n_digits += 1 if mantissa > 0 else 0
            power -= 1 if fraction else 0
        elif not fraction:
            power += 1
    return float(mantissa), power


@compiled
def read_rows(  # noqa: PLR0911, PLR0912 - the loop over the bytes of a table
    data: Any, begin: int, end: int, last: bool, powers: Any, slots: Any, hash_column: int, out: Any
) -> Any:
    """Read a table of numbers.

    Parameters
    ----------
    data
        Bytes (uint8).
    begin, end
        Where the first row begins, and where the text in memory ends.
    last
        Whether the file ends there too, so that the last row may lack its line break.
    powers
        :data:`POWERS`.
    slots
        (n_columns,) for each column its column in ``out``, -1 for columns to skip.
    hash_column
        Column whose text is hashed (FNV-1a, 64 bit) over all rows; -1 for none.
    out
        (n_rows, n_out) to be filled.

    Returns
    -------
    status, position after the last row (or start of the row that failed), row that failed, hash
    """
    n_columns = slots.shape[0]
    digest = np.uint64(14695981039346656037)
    prime = np.uint64(1099511628211)
    i = begin
    for row in range(out.shape[0]):
        start = i
        for column in range(n_columns):
            while i < end and (data[i] == 32 or data[i] == 9):
                i += 1
            if i >= end:
                return (BAD_ROW if last else NEEDS_MORE), start, row, digest
            if data[i] == 10 or data[i] == 13:
                return BAD_ROW, start, row, digest
            slot = slots[column]
            if slot >= 0:
                value, after, good = _number(data, i, end, powers)
                if after >= end:
                    if not last:
                        return NEEDS_MORE, start, row, digest
                    if not good:
                        return BAD_ROW, start, row, digest
                # White space ends a number, and so may the sign of the next one (fixed Fortran columns).
                elif not good or (data[after] > 32 and (data[after] != 45 or hash_column >= 0)):
                    return BAD_ROW, start, row, digest
                out[row, slot] = value
                i = after
            else:
                while i < end and not (data[i] == 32 or data[i] == 9 or data[i] == 10 or data[i] == 13):
                    if column == hash_column:
                        digest = (digest ^ np.uint64(data[i])) * prime
                    i += 1
                if column == hash_column:
                    digest = (digest ^ np.uint64(32)) * prime
        while i < end and (data[i] == 32 or data[i] == 9 or data[i] == 13):
            i += 1
        if i < end:
            if data[i] != 10:
                return BAD_ROW, start, row, digest
            i += 1
        elif not last:
            return NEEDS_MORE, start, row, digest
    return OK, i, out.shape[0], digest


@compiled
def read_tagged(data: Any, begin: int, end: int, powers: Any, out: Any) -> Any:
    """Read ``out.size`` numbers from XML, skipping tags; return status, the position after, and the numbers read."""
    i = begin
    for k in range(out.shape[0]):
        while i < end:
            if data[i] == 60:  # <
                while i < end and data[i] != 62:
                    i += 1
                i += 1
            elif data[i] == 32 or data[i] == 9 or data[i] == 10 or data[i] == 13:
                i += 1
            else:
                break
        if i >= end:
            return NEEDS_MORE, begin, k
        value, after, good = _number(data, i, end, powers)
        if not good or after >= end or data[after] not in (32, 9, 10, 13, 60, 45):
            return (NEEDS_MORE if after >= end else BAD_ROW), begin, k
        out[k] = value
        i = after
    return OK, i, out.shape[0]


@compiled
def place_rows(
    values: Any, identifiers: int, lookup: Any, scale: float, origin: Any, inverse: Any, images: bool,
    last_frame_of: Any, stamp: int, out: Any,
) -> Any:  # fmt: skip
    """Sort atoms by their identifiers, and convert positions to units of the cell.

    Parameters
    ----------
    values
        (n_atoms, n_columns): identifier (if any), three of the position, and three of the image (if any).
    identifiers
        1 if there are identifiers, else 0.
    lookup
        Row of each identifier, -1 if there is none.
    scale, origin, inverse
        Fractional positions are (position · scale − origin) · inverse.
    last_frame_of, stamp
        (n_atoms,) marks of this frame, to detect a repeated identifier.
    out
        (n_atoms, 3).

    Returns
    -------
    bool
        Whether every atom occurred exactly once.
    """
    for k in range(values.shape[0]):
        row = k
        if identifiers:
            number = int(values[k, 0])
            if number < 0 or number >= lookup.shape[0]:
                return False
            row = lookup[number]
            if row < 0 or last_frame_of[row] == stamp:
                return False
            last_frame_of[row] = stamp
        x = values[k, identifiers] * scale - origin[0]
        y = values[k, identifiers + 1] * scale - origin[1]
        z = values[k, identifiers + 2] * scale - origin[2]
        for a in range(3):
            s = x * inverse[0, a] + y * inverse[1, a] + z * inverse[2, a]
            out[row, a] = s + values[k, identifiers + 3 + a] if images else s
    return True
