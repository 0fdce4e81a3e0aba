"""Energy conventions: a small closed vocabulary of what the energies of potentials and labels mean.

An energy convention says where the zero of the energies lies and which corrections they carry. Energies of two
conventions never meet on one hull: the difference is not a constant, it depends on the composition, and so it shifts
formation energies by tenths of an eV per atom while forces look perfect.

Two data sets share a convention here only where the potentials that were trained on them give the same energies, which
was measured on 26 crystals (docs/decisions/0008-potentials-and-their-files.md).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
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
    return name in CONVENTIONS or (name.startswith(OWN) and bool(name.removeprefix(OWN).strip()))


def advice(name: str) -> str:
    """Say what to write instead of a name that is none."""
    near = difflib.get_close_matches(name.lower(), [known.lower() for known in CONVENTIONS], n=1, cutoff=0.6)
    hint = next((f"did you mean '{known}'? " for known in CONVENTIONS if [known.lower()] == near), "")
    return f"{hint}known are: {', '.join(CONVENTIONS)}; or '{OWN}...' in words of yours for your own calculations"


def difference(first: str, second: str) -> str:
    """Say why energies of two conventions do not belong together, as far as it is known."""
    pair = {first, second}
    if pair == {MP2020, MP_RAW}:
        return (
            "the first carries the Materials Project's corrections of 2020 and the second does not: -0.614 eV per Cl, "
            "so -0.365 eV/atom on Li3YCl6"
            if first == MP2020
            else "the second carries the Materials Project's corrections of 2020 and the first does not: -0.614 eV "
            "per Cl, so -0.365 eV/atom on Li3YCl6"
        )
    known = [CONVENTIONS[name].reference_eV_per_atom for name in (first, second) if name in CONVENTIONS]
    values = [value for value in known if value is not None]
    if len(values) == 2:
        return f"on one and the same Li9Y3Cl18 cell they differ by {values[0] - values[1]:+.3f} eV/atom"
    return "nothing says that their zeros and corrections are the same"
