"""Elements that the universal potentials cover."""

from __future__ import annotations

from collections.abc import Iterable

from ase.data import chemical_symbols

# The Materials Project relaxations (MPtrj) contain no crystal of these elements, up to plutonium.
_NOT_IN_MPTRJ = ("Po", "At", "Rn", "Fr", "Ra")
_PLUTONIUM = 94


def mptrj_elements(*, without: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the symbols of the 89 elements of MPtrj in order of atomic number, except those of ``without``."""
    missing = {*_NOT_IN_MPTRJ, *without}
    return tuple(symbol for symbol in chemical_symbols[1 : _PLUTONIUM + 1] if symbol not in missing)
