"""Contents of a crystal file before its symmetry is found: a cell and its sites; checks shared by all formats."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from superionic.errors import StructureError
from superionic.foreign import shown
from superionic.structures.crystal.disordered import Alternative, check_cell
from superionic.structures.crystal.symmetry import FloatArray

MAX_SITES = 2000
"""Largest number of sites in a cell that is read."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eEdD][+-]?[0-9]{1,3})?(?:\([0-9]*\))?")
_FRACTION = re.compile(r"([+-]?[0-9]{1,4})/([0-9]{1,4})")
_LONGEST_NUMBER = 64


@dataclass(frozen=True, eq=False)
class FileSites:
    """All sites of a cell as given in a file.

    Parameters
    ----------
    cell_A, fractional
        (3, 3) in Å and (n, 3).
    occupancies
        For each site the occupancy of each element.
    labels
        Name of each site.
    charges
        All oxidation states that the file gives each element, in rising order.
    averages
        Average charge of each element with more than one, where the file says which site has which.
    notes
        Remarks on the reading, one sentence each.
    empty
        Sites that the file lists with occupancy 0, where there is nothing else: label, element and (n, 3) positions.
    alternatives
        For each site the group of atoms together with which alone it is occupied, or None; empty without groups.
    """

    cell_A: FloatArray
    fractional: FloatArray
    occupancies: Sequence[Mapping[str, float]]
    labels: Sequence[str]
    charges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    averages: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()
    empty: Sequence[tuple[str, str, FloatArray]] = ()
    alternatives: Sequence[Alternative | None] = ()


@dataclass(frozen=True)
class FileOxidationStates:
    """Oxidation states as a crystal file gives them.

    Parameters
    ----------
    states
        Charge in e of each element for which the file gives one; None where it gives no usable charge.
    reason
        Why there are none, or a remark on them; None if there is nothing to remark.
    several
        The charges of each element with more than one, where the file does not say which site has which.
    """

    states: Mapping[str, float] | None
    reason: str | None
    several: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def oxidation_states_of(sites: FileSites) -> FileOxidationStates:
    """Reduce the charges of a file to one for each element; an element in several states gets their average.

    Where the file does not say which sites have which, that element goes into ``several`` instead.
    """
    states: dict[str, float] = {}
    several: dict[str, tuple[float, ...]] = {}
    remarks: list[str] = []
    for element, charges in sites.charges.items():
        if len(charges) == 1:
            states[element] = charges[0]
        elif element in sites.averages:
            states[element] = sites.averages[element]
            listed = " and ".join(f"{q:+g}" for q in charges)
            remarks.append(f"the file gives {element} the oxidation states {listed}: {states[element]:+g} on average")
        else:
            several[element] = charges
    if not states:
        reason = "the file gives several for each" if several else "the file gives no oxidation states"
        return FileOxidationStates(None, reason, several)
    if not any(states.values()):
        return FileOxidationStates(None, "the file gives all elements the oxidation state 0", several)
    return FileOxidationStates(states, "; ".join(remarks) or None, several)


def average_charges(
    charges: Mapping[str, tuple[float, ...]], sites: Sequence[tuple[str, float | None, float]]
) -> dict[str, float]:
    """Average the charges of elements that have several, where each of their atoms has one.

    Parameters
    ----------
    charges
        All charges of each element, as :func:`collect_charges` gives them.
    sites
        Element, charge (None: not given) and number of atoms, for all that the cell holds.
    """
    averages: dict[str, float] = {}
    for element in (e for e, q in charges.items() if len(q) > 1):
        own = [(charge, amount) for e, charge, amount in sites if e == element and amount > 0.0]
        total = sum(amount for _, amount in own)
        if total > 0.0 and all(charge is not None for charge, _ in own):
            averages[element] = round(sum((charge or 0.0) * amount for charge, amount in own) / total, 6)
    return averages


def number(text: str) -> float:
    """Read a number such as ``0.326(4)``, ``-.5`` or ``1/3``; NaN for anything else, and for absurdly long ones."""
    word = text.strip()
    if len(word) > _LONGEST_NUMBER:
        return math.nan
    if _NUMBER.fullmatch(word):
        return float(word.partition("(")[0].replace("d", "e").replace("D", "e"))
    fraction = _FRACTION.fullmatch(word)
    if fraction and int(fraction[2]):
        return int(fraction[1]) / int(fraction[2])
    return math.nan


def element_of(symbol: str, *, exact: bool = False) -> str | None:
    """Read the element at the beginning of a symbol or label such as ``Li1+``, ``CL2`` or ``O1W``; None if none is.

    Deuterium and tritium count as hydrogen. With `exact`, the letters must be the symbol and nothing else.
    """
    from ase.data import atomic_numbers

    match = re.match(r"[A-Za-z]+", symbol)
    if match is None:
        return None
    letters = match.group()
    for word in (letters,) if exact else (letters[:2], letters[:1]):
        name = {"D": "H", "T": "H"}.get(word.capitalize(), word.capitalize())
        if name != "X" and name in atomic_numbers:
            return name
    return None


def collect_charges(pairs: Sequence[tuple[str, float | None]]) -> dict[str, tuple[float, ...]]:
    """Collect (element, charge) pairs: the different charges of each element, in rising order."""
    charges_of: dict[str, set[float]] = {}
    for element, charge in pairs:
        if charge is not None and math.isfinite(charge) and abs(charge) < 10:
            charges_of.setdefault(element, set()).add(charge + 0.0)
    return {element: tuple(sorted(charges)) for element, charges in charges_of.items()}


def check_lattice(cell_A: FloatArray, where: str) -> None:
    """Raise a StructureError unless the cell is one that a crystal can have.

    Its vectors must be finite and 0.5-1000 Å long, and its lattice planes 0.5 Å apart at least; thinner cells make
    every search for neighbours endless.
    """
    if cell_A.shape == (3, 3) and np.all(np.isfinite(cell_A)):
        lengths = np.linalg.norm(cell_A, axis=1)
        if lengths.max() > 1000.0 or 0.0 < lengths.min() < 0.5:
            raise StructureError(
                f"The lengths of the cell are {', '.join(f'{v:.4g}' for v in lengths)} Å.",
                where=where,
                fix="Give the cell in Å; lengths from 0.5 to 1000 Å are read.",
            )
    check_cell(cell_A, where)
    planes = 1.0 / np.linalg.norm(np.linalg.inv(cell_A), axis=0)
    if planes.min() < 0.5:
        raise StructureError(
            f"The cell is only {planes.min():.2g} Å thick: its angles leave hardly any volume.",
            where=where,
            fix="Check the angles of the cell.",
        )


def check_positions(fractional: FloatArray, labels: Sequence[str], where: str) -> None:
    """Raise a StructureError unless all coordinates are numbers of a sensible size."""
    wrong = ~(np.abs(fractional) <= 1000.0).all(axis=1)
    if wrong.any():
        bad = int(np.flatnonzero(wrong)[0])
        raise StructureError(
            "A coordinate is missing, not a number, or far outside the cell.",
            where=f"{where}, site {shown(labels[bad])}",
            fix="Correct the coordinate; fractional ones lie near 0 to 1.",
        )


def check_count(n_sites: int, where: str) -> None:
    """Raise a StructureError if there are too many sites."""
    if n_sites > MAX_SITES:
        raise StructureError(
            f"The cell has {n_sites:,} sites; at most {MAX_SITES:,} are read.",
            where=where,
            fix="Give the unit cell of the crystal instead of a supercell.",
        )
