"""Energy conventions: a small closed vocabulary of what the energies of potentials and labels mean.

An energy convention says where the zero of the energies lies and which corrections they carry. Energies of two
conventions never meet on one hull: the difference is not a constant, it depends on the composition, and so it shifts
formation energies by tenths of an eV per atom while forces look perfect.

Two data sets share a convention here only where the potentials that were trained on them give the same energies, which
was measured on 26 crystals (docs/decisions/0008-potentials-and-their-files.md).

A dispersion term is part of the convention: ``MP raw PBE(+U) + D3(BJ)`` is another one than ``MP raw PBE(+U)``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

MP2020: Final = "MP2020-corrected PBE(+U)"
MP_RAW: Final = "MP raw PBE(+U)"
MP_R2SCAN_CHGNET: Final = "MP r2SCAN (CHGNet)"
MP_R2SCAN_SEVENNET: Final = "MP r2SCAN (SevenNet)"
MATPES_PBE: Final = "MatPES PBE"
MATPES_R2SCAN: Final = "MatPES r2SCAN"
OMAT24: Final = "OMat24 PBE(+U)"
PAIR: Final = "pair potential"

OWN: Final = "own: "
"""Begins the convention of a user's own reference calculations; two of them are one if their words are the same."""

_JOINED: Final = " + "
_DISPERSION: Final = re.compile(
    r"(?<![A-Za-z0-9])D[234](?:\([^)]*\)|(?![A-Za-z0-9]))|simple-DFT-D3|[\w-]*vdW[\w-]*|r?VV10"
    r"|(?<![A-Za-z])(?:TS(?:/HI)?|XDM)(?![A-Za-z])|(?:lib)?MBD[@/\w]*|dDsC|IVDW\S*|GFN[012]-xTB"
)
_FUNCTIONALS: Final = (
    ("r2SCAN", re.compile("r2SCAN")),
    ("PBEsol", re.compile("PBEsol")),
    ("SCAN", re.compile(r"(?<![A-Za-z0-9+])SCAN(?![A-Za-z0-9_])")),
    ("PBE", re.compile(r"(?<![A-Za-z0-9])PBE(?![A-Za-z0-9_])")),
)
D3_LI3YCL6: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {"PBE": (-0.208, -1.66), "PBEsol": (-0.176, -1.31), "SCAN": (-0.069, -0.52), "r2SCAN": (-0.099, -0.74)}
)
"""D3(BJ) of the stored Li9Y3Cl18 cell by functional: energy in eV per atom and pressure in GPa."""

WINDOW_EV_PER_ATOM: Final = 0.3
"""How far a universal potential may lie from :attr:`Convention.reference_eV_per_atom` before it is refused."""


@dataclass(frozen=True)
class Convention:
    """One word of the vocabulary.

    Attributes
    ----------
    name
        As it stands in campaign files, tables and on hulls.
    meaning
        What the energies are, for people.
    reference_eV_per_atom
        Energy of the stored Li9Y3Cl18 cell (:func:`superionic.potentials.reference.li3ycl6_cell`) in eV per atom, by a
        potential whose values are on record; None where no energy can be expected.
    """

    name: str
    meaning: str
    reference_eV_per_atom: float | None = None


_ALL: Final = (
    Convention(
        MP2020,
        "PBE, PBE+U for some oxides and fluorides, with the Materials Project's 2020 corrections of anions and of "
        "metals with U (CHGNet 0.3.0)",
        -4.617,
    ),
    Convention(
        MP_RAW,
        "PBE, PBE+U for some oxides and fluorides, as the Materials Project computes them, without corrections "
        "(SevenNet-0, M3GNet-MP-2021.2.8, Nequix-MP-1, MACE-MP-0, MACE-MPA-0)",
        -4.250,
    ),
    Convention(MP_R2SCAN_CHGNET, "r2SCAN of the Materials Project, as CHGNet r2scan was trained on", -8.619),
    Convention(MP_R2SCAN_SEVENNET, "r2SCAN of the Materials Project, as 7net-mf-0 was trained on", -8.602),
    Convention(MATPES_PBE, "PBE without U and with newer pseudopotentials, as in MatPES", -4.273),
    Convention(MATPES_R2SCAN, "r2SCAN as in MatPES", -8.554),
    Convention(OMAT24, "PBE, PBE+U for some oxides and fluorides, with the settings of OMat24 (Nequix-OMat-1)", -4.26),
    Convention(PAIR, "the pair potential of superionic: good for testing a workflow only"),
)
CONVENTIONS: Final[dict[str, Convention]] = {convention.name: convention for convention in _ALL}
"""The vocabulary by name; beside it only names that begin with :data:`OWN`."""


def is_convention(name: str) -> bool:
    """Whether a name is of the vocabulary, or a user's own (``own: SCAN, VASP 6.4, PAW 54``)."""
    name = without_dispersion(name)
    return name in CONVENTIONS or (name.startswith(OWN) and bool(name.removeprefix(OWN).strip()))


def dispersion_in(text: str) -> str | None:
    """Return the correction for dispersion (van der Waals forces) that a functional or convention names, or None.

    ``"PBE-D3(BJ)"`` and ``"MP raw PBE(+U) + D3(BJ)"`` have ``"D3(BJ)"``, ``"r2SCAN+rVV10"`` has ``"rVV10"``. What
    tight binding carries along counts too.
    """
    named = _DISPERSION.search(text)
    return None if named is None else named.group()


def same_dispersion(one: str | None, other: str | None) -> bool:
    """Return whether two corrections that :func:`dispersion_in` names are of one kind: D3(BJ) is D3(BJ, PBE)."""
    kinds = ((each or "").partition(",")[0].rstrip(")") for each in (one, other))
    return next(kinds) == next(kinds)


def with_dispersion(name: str, term: str) -> str:
    """Name energies of a convention to which a dispersion term, such as ``"D3(BJ)"``, was added."""
    return f"{name}{_JOINED}{term}"


def without_dispersion(name: str) -> str:
    """Name the energies below a term that :func:`with_dispersion` named; the name itself where there is none."""
    below, joined, term = name.rpartition(_JOINED)
    return below if joined and dispersion_in(term) else name


def functional_in(text: str) -> str | None:
    """Return the functional that a convention or a level of theory names, as far as D3 has parameters for it."""
    return next((name for name, pattern in _FUNCTIONALS if pattern.search(text)), None)


def expected_eV_per_atom(name: str) -> float | None:
    """Return about what energy a convention gives the stored Li9Y3Cl18 cell; None where nothing can be expected."""
    convention = CONVENTIONS.get(without_dispersion(name))
    if convention is None or convention.reference_eV_per_atom is None:
        return None
    worth = D3_LI3YCL6.get(_functional_of_term(name) or "") if dispersion_in(name) else None
    return convention.reference_eV_per_atom + (0.0 if worth is None else worth[0])


def _functional_of_term(name: str) -> str | None:
    """Return the functional whose parameters the dispersion term of a convention has: its own word goes first."""
    return functional_in(dispersion_in(name) or "") or functional_in(name)


def advice(name: str) -> str:
    """Say what to write instead of a name that is none."""
    near = difflib.get_close_matches(name.lower(), [known.lower() for known in CONVENTIONS], n=1, cutoff=0.6)
    hint = next((f"did you mean '{known}'? " for known in CONVENTIONS if [known.lower()] == near), "")
    return f"{hint}known are: {', '.join(CONVENTIONS)}; or '{OWN}...' in words of yours for your own calculations"


def difference(first: str, second: str) -> str:
    """Say why energies of two conventions do not belong together, as far as it is known."""
    if first != second and without_dispersion(first) == without_dispersion(second):
        terms = [dispersion_in(name) for name in (first, second)]
        if None not in terms:
            return f"their dispersion terms are two: {terms[0]} and {terms[1]}"
        carrier, other, name = ("first", "second", first) if terms[0] else ("second", "first", second)
        worth = D3_LI3YCL6.get(_functional_of_term(name) or "")
        figures = "" if worth is None else f": {worth[0]:+.3f} eV/atom and {worth[1]:+.2f} GPa on Li3YCl6"
        return f"the {carrier} carries the dispersion term {terms[0] or terms[1]} and the {other} does not{figures}"
    pair = {first, second}
    if pair == {MP2020, MP_RAW}:
        return (
            "the first carries the Materials Project's corrections of 2020 and the second does not: -0.614 eV per Cl, "
            "so -0.365 eV/atom on Li3YCl6"
            if first == MP2020
            else "the second carries the Materials Project's corrections of 2020 and the first does not: -0.614 eV "
            "per Cl, so -0.365 eV/atom on Li3YCl6"
        )
    values = [value for name in (first, second) if (value := expected_eV_per_atom(name)) is not None]
    if len(values) == 2:
        return f"on one and the same Li9Y3Cl18 cell they differ by {values[0] - values[1]:+.3f} eV/atom"
    return "nothing says that their zeros and corrections are the same"
