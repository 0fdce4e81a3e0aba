"""The elements named by the symbols and labels of a crystal file, and where they are ambiguous.

A symbol (``_atom_site_type_symbol``) is an element with its charge, or several with their amounts. A label
(``_atom_site_label``) is read only where a file gives no symbol, and only where one element can be meant.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from superionic.errors import StructureError
from superionic.foreign import shown

_HEAVIEST: Final = 99
"""Einsteinium: no crystal of a heavier element is known, so NH is not nihonium and CN not copernicium."""

_GROUPS: Final = frozenset({"CF", "CO", "HF", "HO", "PO"})
"""Elements in capitals that may equally be groups of two atoms."""

_CHARGE: Final = r"(?:[0-9]{1,2}(?:\.[0-9]{1,6})?[+-]|[+-][0-9]{1,2}(?:\.[0-9]{1,6})?|[+-])"
_SYMBOL: Final = re.compile(rf"([A-Za-z]{{1,2}})(?:val?)?({_CHARGE}|[0-9]{{1,4}})?")
_AMOUNT: Final = r"((?:[0-9]{1,2}\.?[0-9]{0,8}|\.[0-9]{1,8})(?:\([0-9]{1,3}\))?)"
_FRACTION: Final = r"([01]?\.[0-9]{1,8}(?:\([0-9]{1,3}\))?)"
_SEPARATOR: Final = r"(?:\s*[+,;/&]\s*|\s+)"
_AMOUNT_FIRST: Final = re.compile(rf"{_AMOUNT}\s*\*?\s*([A-Z][a-z]?)({_CHARGE}(?=\s|$))?")
_AMOUNT_LAST: Final = re.compile(rf"([A-Z][a-z]?){_FRACTION}()")
_LONGEST: Final = 80


@dataclass(frozen=True)
class Occupant:
    """An element that a symbol names.

    Attributes
    ----------
    element
        Its symbol; deuterium counts as hydrogen.
    charge_e
        Its charge as the symbol gives it, or None.
    amount
        Its share of the row; None where the symbol gives no amounts.
    """

    element: str
    charge_e: float | None = None
    amount: float | None = None


@dataclass(frozen=True)
class Witnesses:
    """Further evidence in a file about its elements.

    Attributes
    ----------
    named
        The elements of its sum formula; None where it gives none that can be read.
    capitals
        Whether it writes symbols of two letters in capitals (NA, CL).
    """

    named: frozenset[str] | None = None
    capitals: bool = False


def known_element(letters: str) -> str | None:
    """Return the element that has these letters as its symbol, in capitals or not; None if none has."""
    from ase.data import atomic_numbers

    name = "H" if letters in {"D", "d"} else letters.capitalize()
    return name if 1 <= atomic_numbers.get(name, 0) <= _HEAVIEST else None


def writes_capitals(symbols: Collection[str]) -> bool:
    """Return whether two letters in capitals are one element in a file with these symbols or labels."""
    runs = {match.group() for s in symbols if (match := re.match(r"[A-Za-z]+", s)) is not None}
    return any(
        len(run) == 2
        and run.isupper()
        and run not in _GROUPS
        and known_element(run) is not None
        # OW and CA are an atom with its position as often as one element.
        and known_element(run[0]) is None
        for run in runs
    )


def occupants_of_symbol(symbol: str, witnesses: Witnesses, where: str) -> tuple[Occupant, ...]:
    """Read the symbol of an atom: ``Li``, ``Li+``, ``O2-``, ``CL1-``, ``D``, or ``0.8Nb + 0.2Zr``.

    Raises
    ------
    StructureError
        If it is anything else, such as ``Cl/Br``, ``NH3`` or ``OH``.
    """
    word = symbol.strip()
    match = _SYMBOL.fullmatch(word) if len(word) <= _LONGEST else None
    if match is not None and (element := _certain(match[1], match[2] or "", witnesses)) is not None:
        return (Occupant(element, charge_of_symbol(word)),)
    if len(word) <= _LONGEST and (several := _mixture(word)):
        return several
    raise StructureError(
        f"{shown(word)!r} is not a chemical element, nor one with its charge.", where=where, fix=_fix(word)
    )


def _certain(letters: str, rest: str, witnesses: Witnesses) -> str | None:
    element = known_element(letters)
    if element is None or letters not in _GROUPS or rest[-1:] == "+" or rest[:1] == "+":
        return element
    if witnesses.named is not None:
        return element if element in witnesses.named else None
    return element if witnesses.capitals else None


def _mixture(word: str) -> tuple[Occupant, ...]:
    """Read elements with their amounts; () if the text is anything else."""
    for term in (_AMOUNT_FIRST, _AMOUNT_LAST):
        occupants: list[Occupant] = []
        at = 0
        while (match := term.match(word, at)) is not None:
            first, second, charge = match.groups()
            letters, amount = (second, first) if term is _AMOUNT_FIRST else (first, second)
            element = known_element(letters)
            if element is None or element in {o.element for o in occupants}:
                break
            occupants.append(
                Occupant(element, charge_of_symbol(letters + (charge or "")), float(amount.partition("(")[0]))
            )
            at = match.end()
            if at == len(word):
                return tuple(occupants)
            between = re.compile(_SEPARATOR).match(word, at)
            if between is not None:
                at = between.end()
            elif term is _AMOUNT_FIRST:
                break
    return ()


def charge_of_symbol(symbol: str) -> float | None:
    """Read the charge at the end of a symbol such as ``Li+``, ``Fe3+`` or ``O-2``; None without a sign."""
    match = re.fullmatch(rf"[A-Za-z]{{1,5}}({_CHARGE})", symbol.strip())
    if match is None:
        return None
    text = match[1]
    sign = -1.0 if "-" in text else 1.0
    return sign * float(text.strip("+-") or 1.0)


def _fix(word: str) -> str:
    if word.lower() in {"va", "vac", "vacancy", "x", "□"}:
        return (
            "Remove the row: the rest of a site's occupancy up to 1 is vacant. If it is an element, write its symbol."
        )
    if word == "T":
        return "Write the element on the site, such as Si or Al; for tritium, write H."
    pieces = re.findall(r"[A-Z][a-z]?", word)
    named: list[str] = []
    for piece in pieces:
        parts = [piece] if known_element(piece) else list(piece)
        named += [e for p in parts if (e := known_element(p)) is not None and e not in named]
    if len(named) > 1:
        return (
            f"Write one row for each atom ({', '.join(named)}), with its own position and occupancy; give species that "
            f"share a site the same position, or write amounts: '0.5{named[0]} + 0.5{named[1]}'."
        )
    example = named[0] if named else "Li"
    return f"Write one element, with its charge if it is known, such as {example}."


def element_of_label(label: str, witnesses: Witnesses, where: str) -> str:
    """Read the element of a label such as ``Li1``, ``CL2``, ``Na(1)`` or ``O1A``.

    Its first letters must be the symbol of an element, or begin with one unambiguously
    (``LiA``); where the file gives a sum formula, also ``OW1``, if that holds oxygen and no tungsten.

    Raises
    ------
    StructureError
        If that is not certain, as in ``Wat``, ``OH``, ``O-H1`` or ``T1``; or if the sum formula has no such element.
    """
    element = _label_element(label.strip()[:_LONGEST], witnesses)
    if element is None:
        raise StructureError(
            f"The file gives this site no symbol, and its label {shown(label)!r} does not identify its element.",
            where=where,
            fix="Add the column _atom_site_type_symbol with the element of each row"
            + ("; deuterium is D, tritium is written H." if label[:1] in {"T", "D"} else ", such as Li or O2-."),
        )
    # W1 may be water; Se1 can only be selenium, and then the formula is wrong.
    if witnesses.named is not None and element not in witnesses.named and len(element) == 1:
        raise StructureError(
            f"The label {shown(label)!r} reads as {element}, which the sum formula of the file does not hold "
            f"({', '.join(sorted(witnesses.named))}).",
            where=where,
            fix="Add the column _atom_site_type_symbol with the element of each row, or correct _chemical_formula_sum.",
        )
    return element


def _label_element(label: str, witnesses: Witnesses) -> str | None:
    match = re.match(r"[A-Za-z]+", label)
    if match is None:
        return None
    run, rest = match.group(), label[match.end() :]
    # Li/Na1, O-H(1), Fe1-Mn1, Li0.5Na0.5: more than one element is named.
    others = re.findall(r"[-/,;&+|]\s*([A-Z][a-z]?)|[0-9]\.[0-9]+([A-Z][a-z]?)", rest)
    if any(known_element(first or second) for first, second in others):
        return None
    if len(run) > 2 or (element := known_element(run)) is None:
        return _by_prefix(run, witnesses.named)
    if len(run) == 1 or not run.isupper():
        return element
    named, alone = witnesses.named, known_element(run[0])
    if named is not None and element not in named and alone in named:
        return alone  # CA, a carbon atom
    return _certain(run, "", witnesses)


def _by_prefix(run: str, named: Collection[str] | None) -> str | None:
    """Return the element that letters begin with, where only one is possible: LiA; OW with a formula without W."""
    lengths = [n for n in (2, 1) if len(run) > n and known_element(run[:n]) and not (n == 2 and run[1].isupper())]
    readings = [(str(known_element(run[:n])), run[n:]) for n in lengths]
    if named is not None:
        elements = {e for e, tail in readings if e in named and not _is_group(tail, named)}
        return elements.pop() if len(elements) == 1 else None
    return next((e for e, tail in readings if len(tail) == 1 and known_element(tail) is None), None)


def _is_group(tail: str, named: Collection[str]) -> bool:
    """Return whether what follows an element begins with another element of the formula, as in OH."""
    return any(tail[:n][:1].isupper() and known_element(tail[:n]) in named for n in (1, 2) if len(tail) >= n)


# ---- the sum formula ------------------------------------------------------------------------------------------------

_PART: Final = re.compile(r"([A-Z][a-z]?)\s*([0-9]*\.?[0-9]*(?:\([0-9]*\))?)[\s,]*")


@dataclass(frozen=True)
class SumFormula:
    """The sum formula of a file.

    Attributes
    ----------
    text
        The formula as written.
    amounts
        Amount of each element; deuterium counts as hydrogen.
    rounding
        Half of the last digit of each amount.
    """

    text: str
    amounts: dict[str, float]
    rounding: dict[str, float]


def parse_sum_formula(text: str) -> SumFormula | None:
    """Read a sum formula such as ``Li3 Y Cl6`` or ``Li0.5La0.5TiO3``; None where it cannot be read."""
    amounts: dict[str, float] = {}
    rounding: dict[str, float] = {}
    word, at = text.strip(), 0
    while at < len(word):
        match = _PART.match(word, at)
        element = None if match is None else known_element(match[1])
        if match is None or element is None or len(word) > 2000:
            return None
        digits = match[2].partition("(")[0]
        if digits in {".", ""} and match[2] != "":
            return None
        amounts[element] = amounts.get(element, 0.0) + (float(digits) if digits else 1.0)
        decimals = len(digits.partition(".")[2])
        rounding[element] = rounding.get(element, 0.0) + (0.5 * 10.0**-decimals if "." in digits else 0.0)
        at = match.end()
    amounts = {e: n for e, n in amounts.items() if n > 0.0}
    return SumFormula(" ".join(word.split()), amounts, rounding) if amounts else None


def compare_with_formula(
    formula: SumFormula, amounts: dict[str, float], units: float | None
) -> tuple[Sequence[str], str | None]:
    """Compare the atoms of a cell with a sum formula.

    Parameters
    ----------
    amounts
        Atoms of each element in the cell.
    units
        Formula units of the cell as the file gives them (Z); None where it does not.

    Returns
    -------
    missing
        Elements of the formula that no site holds, hydrogen apart (it is often not located).
    remark
        The disagreements beyond rounding and 5 %, in one sentence; None if there are none.
    """
    present = {e: n for e, n in amounts.items() if n > 0.0}
    heavy = [e for e in formula.amounts if e != "H" and e in present] or [e for e in formula.amounts if e in present]
    if not heavy:
        return [
            e for e in formula.amounts if e != "H"
        ], f"the sum formula {shown(formula.text)} shares no element with it"
    missing = [e for e in formula.amounts if e not in present and e != "H"]
    # The number of formula units that most atoms agree with; in a tie, Z.
    candidates = sorted({round(present[e] / formula.amounts[e], 4) for e in heavy} | ({units} if units else set()))

    def off(element: str, k: float) -> float:
        expected = formula.amounts.get(element, 0.0)
        slack = max(0.05 * expected, 1.5 * formula.rounding.get(element, 0.0), 0.02)
        return abs(present.get(element, 0.0) / k - expected) / slack

    def score(k: float) -> tuple[float, float]:
        return (
            sum(off(e, k) > 1.0 for e in heavy),
            sum(min(off(e, k), 10.0) for e in heavy) - (1e-6 if k == units else 0),
        )

    k = min((c for c in candidates if c > 0.0), key=score)
    everything = dict.fromkeys([*formula.amounts, *present])
    wrong = [e for e in everything if off(e, k) > 1.0]
    differences = [f"{e} {present.get(e, 0.0) / k:.4g} instead of {formula.amounts.get(e, 0.0):.4g}" for e in wrong]
    if differences:
        listed = ", ".join(differences[:8])
        return missing, (
            f"its atoms do not agree with the sum formula {shown(formula.text)} of the file: {listed} for each formula "
            "unit" + (" (hydrogen was not located, it seems)" if wrong == ["H"] and not present.get("H") else "")
        )
    # Some programs write the sum of the whole cell, whatever Z.
    if units and abs(k / units - 1.0) > 0.05 and abs(k - 1.0) > 0.05:
        return missing, (
            f"its cell holds {k:.4g} formula units of {shown(formula.text)}, not the {units:g} that the file gives as "
            "Z: are all operations and atoms given?"
        )
    return missing, None
