"""Which elements the universal potentials cover."""

from __future__ import annotations

from collections.abc import Iterable

from ase.data import chemical_symbols

# The Materials Project relaxations (MPtrj) hold no crystal of these, up to plutonium.
_NOT_IN_MPTRJ = ("Po", "At", "Rn", "Fr", "Ra")
_PLUTONIUM = 94


def mptrj_elements(*, without: Iterable[str] = ()) -> tuple[str, ...]:
    """Symbols of the 89 elements of MPtrj in order of atomic number, less those of ``without``."""
    missing = {*_NOT_IN_MPTRJ, *without}
    return tuple(symbol for symbol in chemical_symbols[1 : _PLUTONIUM + 1] if symbol not in missing)
