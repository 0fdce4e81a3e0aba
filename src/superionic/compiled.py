"""Compiled inner loops: numba where it is installed, the same Python where it is not (engine environments).

Modules whose loops are compiled are imported inside functions: importing numba takes half a second. Compiled code is
kept in numba's cache beside the source, or in the user's cache folder where that cannot be written, so that only the
first run after an installation compiles.

The process that compiles and those that load from the cache must run the same machine code, whatever was called before:

- Each function is inlined into its callers. Else numba leaves a copy of it in the object of each caller, optimised once
  more there and so with other last digits where sums may be reordered, and the linker takes the copy that is loaded
  first: the function's own in the process that compiles, the caller's in one that loads.
- Each flag that a function would inherit is given. Else a function has the flags of whatever called it first when it
  was compiled, and keeps them in the cache (https://github.com/numba/numba/issues/7168).

A change of flags reaches a cached function only when its own file changes too: numba looks at that file's time alone.
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
    options = {"forceinline": True, "fastmath": False, "error_model": "python"}
    result: F = numba.njit(cache=True, nogil=True, **options)(function)
    return result


def compiled_fast(function: F) -> F:
    """Compile as :func:`compiled` does, but let the compiler reorder sums so that it can use vector instructions.

    Results still are the same on each run of one machine; on another processor they may differ in the last digits.
    Numbers that are not finite keep their meaning. A function that is called here and compiled by :func:`compiled`
    keeps the order of its own sums.
    """
    try:
        import numba
    except ImportError:
        return function
    fastmath = {"reassoc", "contract", "arcp", "nsz"}
    options = {"forceinline": True, "fastmath": fastmath, "error_model": "numpy"}
    result: F = numba.njit(cache=True, nogil=True, **options)(function)
    return result
