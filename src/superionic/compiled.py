"""Compiled inner loops: numba where it is installed, the same Python where it is not (engine environments).

Modules whose loops are compiled are imported inside functions: importing numba takes half a second. Compiled code is
kept in numba's cache beside the source, or in the user's cache folder where that cannot be written, so that only the
first run after an installation compiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers at its first call; the result is the same without numba."""
    try:
        import numba
    except ImportError:
        return function
    result: F = numba.njit(cache=True, nogil=True)(function)
    return result


def compiled_fast(function: F) -> F:
    """Compile as :func:`compiled` does, but let the compiler reorder sums so that it can use vector instructions.

    Results still are the same on each run of one machine; on another processor they may differ in the last digits.
    Numbers that are not finite keep their meaning.
    """
    try:
        import numba
    except ImportError:
        return function
    fastmath = {"reassoc", "contract", "arcp", "nsz"}
    result: F = numba.njit(cache=True, nogil=True, fastmath=fastmath, error_model="numpy")(function)
    return result
