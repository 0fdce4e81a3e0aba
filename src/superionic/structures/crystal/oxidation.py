"""Oxidation states and the mobile ion of a crystal: given, from its file, or guessed and shown with the reason.

All commands take them from here, so that a crystal has the same charges everywhere. A guess is shown to the user
and can be changed.

One state is guessed for each element. The cost of a choice is the sum of how unusual its states are, and 1 for each
0.01 e per atom by which it leaves the refined composition charged; refined occupancies seldom balance exactly. How
unusual a state is depends on the partners: phosphorus is P5+ with O, S or a halogen and P3- in Li3P; hydrogen is
H- in complexes with boron or aluminium and H+ otherwise. A crystal of metals alone is an alloy without charges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final, Literal

from superionic.chemistry import ELECTRONEGATIVITY, amounts_text, sort_species
from superionic.errors import CompositionError
from superionic.structures.crystal.composition import MAX_DEVIATION
from superionic.structures.crystal.disordered import DisorderedCrystal

Source = Literal["given", "file", "guessed"]

MOBILE_IONS: Final = ("Li", "Na", "K", "Ag", "Cu", "Rb", "Mg", "Zn", "Ca", "Al", "F", "O")
"""Ions that are known to conduct, in the order in which they are guessed."""

_SINGLY_CHARGED: Final = frozenset({"Li", "Na", "K", "Ag", "Cu", "Rb"})
_MORE_CHARGED: Final = frozenset({"Mg", "Zn", "Ca", "Al"})
_ROUNDING: Final = 0.011  # a vacancy that may come from two-digit occupancies, such as three times 0.33

LARGEST_CHARGE_E: Final = 10.0
"""Largest oxidation state accepted; the largest known is +9."""

NEUTRAL_E_PER_ATOM: Final = 0.005
"""Net charge in e per atom that the rounding of refined occupancies leaves."""

TOLERANCE_E: Final = 0.05
"""Net charge in e per atom up to which a refined composition counts as neutral."""

_PER_CHARGE: Final = 100.0  # cost of 1 e per atom
_RARE: Final = 6.0  # cost of a state that no list calls usual
_MAX_NODES: Final = 200_000

# Usual states, the commonest first, each with its cost; elements not listed here take pymatgen's lists.
_USUAL: Final[Mapping[str, Mapping[int, float]]] = {
    **{e: {1: 0.0} for e in ("Li", "Na", "K", "Rb", "Cs", "Ag")},
    **{e: {2: 0.0} for e in ("Be", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd")},
    **{e: {3: 0.0} for e in ("Al", "Sc", "Y", "La", "Nd", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Lu")},
    **{e: {3: 0.0, 2: 2.0} for e in ("Sm", "Eu", "Yb")},
    **{e: {4: 0.0} for e in ("Zr", "Hf", "Th")},
    "Pr": {3: 0.0, 4: 1.5}, "Ce": {3: 0.0, 4: 0.3}, "Ga": {3: 0.0}, "In": {3: 0.0, 1: 3.0}, "Tl": {1: 0.0, 3: 0.5},
    "Ti": {4: 0.0, 3: 1.5, 2: 4.0}, "Nb": {5: 0.0, 4: 2.0, 3: 4.0}, "Ta": {5: 0.0, 4: 4.0},
    "V": {5: 0.0, 3: 0.3, 4: 0.3, 2: 0.6}, "Cr": {3: 0.0, 6: 0.6, 2: 0.6, 4: 2.0, 5: 2.0},
    "Mn": {2: 0.0, 3: 0.3, 4: 0.3, 7: 2.0, 6: 3.0}, "Fe": {3: 0.0, 2: 0.1}, "Co": {2: 0.0, 3: 0.2, 4: 2.0},
    "Ni": {2: 0.0, 3: 0.8, 4: 1.5}, "Cu": {2: 0.0, 1: 0.1, 3: 4.0}, "Mo": {6: 0.0, 4: 0.8, 5: 1.0, 3: 1.5},
    "W": {6: 0.0, 4: 1.5, 5: 1.5}, "U": {6: 0.0, 4: 0.3}, "Si": {4: 0.0}, "Ge": {4: 0.0, 2: 1.5},
    "Sn": {4: 0.0, 2: 0.3}, "Pb": {2: 0.0, 4: 0.8}, "Sb": {5: 0.0, 3: 0.1}, "Bi": {3: 0.0, 5: 0.5}, "B": {3: 0.0},
}  # fmt: skip

# Elements that take electrons, and the states in which they give them to more electronegative ones.
_ANIONS: Final[Mapping[str, int]] = {
    "F": -1, "Cl": -1, "Br": -1, "I": -1, "O": -2, "S": -2, "Se": -2, "Te": -2, "N": -3, "P": -3, "As": -3, "Sb": -3,
    "C": -4, "Si": -4, "Ge": -4, "Sn": -4, "H": -1, "Bi": -3,
}  # fmt: skip
_POSITIVE: Final[Mapping[str, Mapping[int, float]]] = {
    "S": {6: 1.5, 4: 2.5}, "Se": {4: 1.5, 6: 2.0}, "Te": {4: 1.0, 6: 1.0}, "N": {5: 1.5, 3: 3.0},
    "Cl": {7: 3.0, 5: 4.0}, "Br": {5: 4.0}, "I": {5: 3.0, 7: 4.0}, "P": {5: 0.0, 4: 4.0, 3: 4.0},
    "As": {5: 0.0, 3: 0.5}, "C": {4: 0.0, 2: 2.0}, "H": {1: 0.0},
}  # fmt: skip

# Elements that occur in two states in one crystal, and the range of the average.
_MIXED: Final[Mapping[str, tuple[int, int]]] = {
    "Ti": (3, 4), "V": (2, 5), "Cr": (2, 6), "Mn": (2, 4), "Fe": (2, 3), "Co": (2, 4), "Ni": (2, 4), "Cu": (1, 2),
    "Nb": (4, 5), "Mo": (3, 6), "W": (4, 6), "Ce": (3, 4), "Eu": (2, 3), "Sn": (2, 4), "Sb": (3, 5), "Pb": (2, 4),
    "Bi": (3, 5), "C": (-4, 4), "B": (0, 3),
}  # fmt: skip
_MIXED_WITH_HYDROGEN: Final = frozenset({"B", "C"})  # boranes and organic molecules


@dataclass(frozen=True)
class OxidationStates:
    """The oxidation states of a crystal, and where they come from.

    Parameters
    ----------
    values
        Charge in e, by element.
    sources
        By element: ``"given"``, ``"file"`` or ``"guessed"``.
    note
        A remark on them, in one sentence.
    net_charge_e
        Net charge of the parent cell with them, for the refined composition.
    """

    values: Mapping[str, float]
    sources: Mapping[str, Source]
    note: str
    net_charge_e: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))
        object.__setattr__(self, "sources", MappingProxyType(dict(self.sources)))

    @property
    def source(self) -> Source:
        """The least certain of the sources: guessed, before file, before given."""
        for source in ("guessed", "file"):
            if source in self.sources.values():
                return source
        return "given"

    def __str__(self) -> str:
        return ", ".join(f"{e}{q:+g}" for e, q in self.values.items()) + f" ({self.note})"


def find_oxidation_states(
    crystal: DisorderedCrystal | Mapping[str, float],
    given: Mapping[str, float] | None = None,
    from_file: Mapping[str, float] | None = None,
    *,
    several: Mapping[str, Sequence[float]] | None = None,
    also: Sequence[str] = (),
    tolerance_e: float | None = TOLERANCE_E,
    mixed_valence: bool = False,
    where: str | None = None,
) -> OxidationStates:
    """Find the oxidation states: those given, else those of the file, else the likeliest guess.

    Parameters
    ----------
    crystal
        The crystal, or the amount of each element.
    given
        Charges in e given by the user; they are used unchanged.
    from_file
        Charges in e that the crystal's file gives.
    several
        Charges in e of elements to which the file gives more than one. They get the average that makes the crystal
        neutral, if it lies between them.
    also
        Elements that the crystal does not hold but that need a state as well, such as those that an axis introduces.
    tolerance_e
        Largest net charge in e per atom that a guess may leave; None: any. Where nothing is guessed, nothing is
        checked, since the integer compositions that follow are neutral anyhow.
    mixed_valence
        Let one element that is known in several states have an average in between, where integers leave more than
        the tolerance, or a net charge that small changes of the occupancies cannot take away.

    Returns
    -------
    OxidationStates

    Raises
    ------
    CompositionError
        If an element has no known states, or no choice is neutral (the error names the average state that would
        be), or if a given charge is out of range.
    """
    given, from_file = given or {}, from_file or {}
    _demand_possible(given, where)
    amounts = dict(crystal.composition if isinstance(crystal, DisorderedCrystal) else crystal)
    place = where or (crystal.name if isinstance(crystal, DisorderedCrystal) else None)
    known = {e: float(q) for e, q in {**from_file, **given}.items()}
    shared = {e: tuple(map(float, q)) for e, q in (several or {}).items() if e in amounts and e not in known}
    extra = {e: 0.0 for e in (*also, *given) if e not in amounts}
    sources: dict[str, Source] = {
        e: "given" if e in given else ("file" if e in from_file or e in shared else "guessed")
        for e in (*amounts, *extra)
    }
    options = _all_options({**amounts, **extra}, known, shared, place)
    if not known and not also and not set(amounts) & set(_ANIONS):
        note = "guessed: nothing here takes electrons, so it is taken for an alloy without charges"
        return OxidationStates(dict.fromkeys(sort_species(amounts), 0.0), sources, note)
    atoms = sum(amounts.values())
    enough = TOLERANCE_E if tolerance_e is None else tolerance_e
    guessed = [e for e in amounts if e not in known]
    values = _likeliest(options, amounts, enough)
    net = _net_charge(values, amounts)
    ranges = {e: (min(q), max(q)) for e, q in shared.items()} or _ranges(amounts, guessed)
    average = _average(options, amounts, ranges) if abs(net) > NEUTRAL_E_PER_ATOM * atoms or shared else None
    if (
        average is not None
        and mixed_valence
        and (shared or abs(net) > enough * atoms or not _can_be_neutral(crystal, values, net))
    ):
        values = average
        net = _net_charge(values, amounts)
    if guessed and tolerance_e is not None and abs(net) > tolerance_e * atoms:
        raise CompositionError(
            f"No usual oxidation states make {amounts_text(amounts)} neutral: "
            f"{_text(values)} leave {net:+.2f} e in the cell ({net / atoms:+.3f} e per atom).",
            where=place,
            fix=(_mixed_text(average, values) + ", if it has mixed valence; or check the occupancies.")
            if average is not None
            else _unbalanced_text(crystal, values, net),
        )
    for element in extra:
        values[element] = min(options[element].items(), key=lambda item: (item[1], abs(item[0]), item[0]))[0]
    return OxidationStates(
        {e: values[e] for e in sort_species(values)}, sources, _note(sources, amounts, average, values, shared), net
    )


def guess_oxidation_states(crystal: DisorderedCrystal, *, tolerance_e: float = TOLERANCE_E) -> dict[str, float]:
    """Guess oxidation states that make the refined composition neutral; see :func:`find_oxidation_states`."""
    return dict(find_oxidation_states(crystal, tolerance_e=tolerance_e).values)


def _demand_possible(given: Mapping[str, float], where: str | None) -> None:
    """Refuse charges that no element can have."""
    for element, charge in given.items():
        if not abs(charge) <= LARGEST_CHARGE_E:
            raise CompositionError(
                f"The charge {charge:g} of {str(element)[:40]!r} is not an oxidation state.",
                where=where,
                fix=f"Give charges from -{LARGEST_CHARGE_E:g} to +{LARGEST_CHARGE_E:g}.",
            )


def _all_options(
    amounts: Mapping[str, float],
    known: Mapping[str, float],
    shared: Mapping[str, Sequence[float]],
    where: str | None,
) -> dict[str, dict[float, float]]:
    """Return the possible states of each element with their costs: the known one, those of the file, or usual ones."""
    options: dict[str, dict[float, float]] = {}
    for element in amounts:
        if element in known:
            options[element] = {known[element]: 0.0}
        elif element in shared:
            options[element] = dict.fromkeys(shared[element], 0.0)
        else:
            options[element] = _options(element, amounts)
    if unknown := [e for e in amounts if not options[e]]:
        raise CompositionError(
            f"No charge is known for {', '.join(unknown)}.", where=where, fix=f"Give it, e.g. {unknown[0]}=2."
        )
    return options


def _likeliest(
    options: Mapping[str, Mapping[float, float]], amounts: Mapping[str, float], enough_e: float
) -> dict[str, float]:
    """Return the choice of least cost; if it is not neutral, the commonest states are the likeliest."""
    own = {e: options[e] for e in amounts}
    values = _best(own, amounts, _PER_CHARGE)
    if abs(_net_charge(values, amounts)) <= enough_e * sum(amounts.values()):
        return values
    return _best(own, amounts, 1.0)


def _net_charge(values: Mapping[str, float], amounts: Mapping[str, float]) -> float:
    return sum(q * amounts[e] for e, q in values.items())


def _options(element: str, amounts: Mapping[str, float]) -> dict[float, float]:
    """Return the possible states of an element with its partners, with their costs."""
    usual: dict[float, float] = {float(q): c for q, c in _USUAL.get(element, {}).items()}
    if element not in _USUAL and element not in _ANIONS:
        usual = {float(q): float(c) for q, c in _library_states(element)}
    if element not in _ANIONS:
        return usual
    own = ELECTRONEGATIVITY.get(element, 2.0)
    takers = [e for e in amounts if e in _ANIONS and ELECTRONEGATIVITY.get(e, 2.0) > own]
    if element == "H":
        # Boron and aluminium hold it as hydride, other nonmetals as proton.
        if {"B", "Al"} & set(amounts):
            return {-1.0: 0.0, 1.0: 0.3}
        if "C" in amounts:
            return {1.0: 0.0}
        return {1.0: 0.0, -1.0: 2.0} if takers or {"P", "As"} & set(amounts) else {-1.0: 0.0}
    negative = float(_ANIONS[element])
    # A more electronegative partner that binds electrons itself leaves none for these.
    stronger = [e for e in takers if e not in {"H", "C"} or element in {"Si", "Ge", "Sn"}]
    metalloid = element in {"P", "As", "Sb", "Bi", "C", "Si", "Ge", "Sn"}
    options = {negative: (8.0 if stronger else 0.2) if metalloid else 0.0}
    if element in {"Si", "Ge", "Sn", "Bi"} and not stronger:
        options[negative] = 2.0
    if element == "C" and stronger:
        options[negative] = 4.0
    oxidisers = [e for e in takers if e in {"O", "F", "N", "S", "Se", "Cl", "Br", "I"}]
    positive = _POSITIVE.get(element, {})
    if oxidisers and (metalloid or {"O", "F"} & set(takers)):
        options.update({float(q): c for q, c in positive.items()})
    elif metalloid:
        options.update({float(q): c + 4.0 for q, c in positive.items()})
    options.update(usual)
    if element == "O" and len(amounts) == 2 and any(_USUAL.get(e, {}).keys() in ({1}, {2}) for e in amounts):
        options[-1.0] = 2.0  # peroxides of the alkali and alkaline earth metals
    return options


@cache
def _library_states(element: str) -> tuple[tuple[int, float], ...]:
    """Return the states of an element from pymatgen: the usual ones, then those that occur in the ICSD."""
    from pymatgen.core import Element

    try:
        data = Element(element)
    except ValueError:
        return ()
    usual = [int(q) for q in data.common_oxidation_states]
    rare = [int(q) for q in data.icsd_oxidation_states if int(q) not in usual]
    return (*((q, 0.3 * k) for k, q in enumerate(usual)), *((q, _RARE / 2) for q in rare))


def _best(
    options: Mapping[str, Mapping[float, float]], amounts: Mapping[str, float], per_charge: float
) -> dict[str, float]:
    """Return the choice of least cost; among equals the one with negative charge on more electronegative elements."""
    atoms = sum(amounts.values())
    order = sorted(amounts, key=lambda e: (len(options[e]), -amounts[e], e))
    listed = [sorted(options[e].items(), key=lambda item: (item[1], -abs(item[0]), item[0])) for e in order]
    share = [amounts[e] / atoms for e in order]
    pull = [ELECTRONEGATIVITY.get(e, 2.0) for e in order]
    # What the elements still to come can add to the charge, and what they cost at least.
    low, high, least = [0.0], [0.0], [0.0]
    for part, states in zip(reversed(share), reversed(listed), strict=True):
        low.append(low[-1] + part * min(q for q, _ in states))
        high.append(high[-1] + part * max(q for q, _ in states))
        least.append(least[-1] + states[0][1])
    low, high, least = low[::-1], high[::-1], least[::-1]
    best: tuple[float, float, tuple[float, ...]] | None = None
    nodes = 0
    stack: list[tuple[tuple[float, ...], float, float]] = [((), 0.0, 0.0)]
    while stack and nodes < _MAX_NODES:
        states_so_far, net, cost = stack.pop()
        nodes += 1
        k = len(states_so_far)
        if k == len(order):
            polarity = sum(s * q * x for s, q, x in zip(share, states_so_far, pull, strict=True))
            rank = (round(cost + per_charge * abs(net), 6), round(polarity, 6), states_so_far)
            best = rank if best is None or rank < best else best
            continue
        gap = max(0.0, net + low[k], -net - high[k])
        if best is not None and cost + least[k] + per_charge * gap > best[0] + 1e-9:
            continue
        for q, c in reversed(listed[k]):
            stack.append(((*states_so_far, q), net + share[k] * q, cost + c))
    assert best is not None  # noqa: S101 - the first dive always ends at a choice
    return {e: dict(zip(order, best[2], strict=True))[e] for e in amounts}


def _ranges(amounts: Mapping[str, float], guessed: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the elements that may have an average state, with its smallest and largest value."""
    return {
        e: (float(_MIXED[e][0]), float(_MIXED[e][1]))
        for e in guessed
        if e in _MIXED and (e not in _MIXED_WITH_HYDROGEN or "H" in amounts)
    }


def _can_be_neutral(
    crystal: DisorderedCrystal | Mapping[str, float],
    charges: Mapping[str, float],
    net: float,
    *,
    most: float = MAX_DEVIATION,
    part: float = 0.5,
) -> bool:
    """Return whether small changes of the occupancies can remove a net charge.

    On each site a species may be replaced by those of other charge: by no more than a largest deviation, and by no
    more than a given fraction of its occupancy.
    """
    if not isinstance(crystal, DisorderedCrystal):
        return False
    sign = -1.0 if net > 0.0 else 1.0
    gained = 0.0
    for sublattice in crystal.sublattices:
        parts = [(sign * charges[s], o) for s, o in sublattice.species.items()]
        if sublattice.vacancy > 0.0:
            parts.append((0.0, sublattice.vacancy))
        goes = [[q, min(most, o * part)] for q, o in sorted(parts)]
        comes = [[q, most] for q, _ in sorted(parts, reverse=True)]
        while goes and comes and comes[0][0] > goes[0][0]:
            amount = min(goes[0][1], comes[0][1])
            gained += amount * (comes[0][0] - goes[0][0]) * sublattice.multiplicity
            for side in (goes, comes):
                side[0][1] -= amount
                if side[0][1] <= 1e-12:
                    side.pop(0)
    return gained >= abs(net) - 1e-9


def _average(
    options: Mapping[str, Mapping[float, float]],
    amounts: Mapping[str, float],
    ranges: Mapping[str, tuple[float, float]],
) -> dict[str, float] | None:
    """Return the likeliest neutral choice in which one element has an average state; None if there is none."""
    ranked: list[tuple[float, str, dict[str, float]]] = []
    for element, (low, high) in ranges.items():
        usual = {e: min(options[e].items(), key=lambda item: (item[1], item[0])) for e in amounts if e != element}
        needed = -sum(q * amounts[e] for e, (q, _) in usual.items()) / amounts[element]
        if low <= needed <= high and needed != round(needed):
            states = {e: usual[e][0] if e != element else round(needed, 3) for e in amounts}
            ranked.append((sum(c for _, c in usual.values()), element, states))
    return min(ranked, key=lambda r: r[:2])[2] if ranked else None


def _text(values: Mapping[str, float], sign: str = "") -> str:
    return ", ".join(f"{e}{sign}{q:g}" if sign else f"{e}{q:+g}" for e, q in values.items())


def _unbalanced_text(crystal: DisorderedCrystal | Mapping[str, float], values: Mapping[str, float], net: float) -> str:
    """Advise what to do where no charges balance: take neutral compositions far from the refinement, if any."""
    if isinstance(crystal, DisorderedCrystal) and not _can_be_neutral(crystal, values, net, most=1.0, part=1.0):
        nothing = _text(dict.fromkeys(values, 0.0), "=")
        return f"Complete the occupancies; or, to count orderings whatever their charge, give the charges {nothing}."
    return (
        "Complete the occupancies; or, to take the nearest neutral compositions, add --charges "
        f"{','.join(f'{e}={q:g}' for e, q in values.items())} --max-deviation 1 --supercell auto."
    )


def _mixed_text(average: Mapping[str, float], values: Mapping[str, float]) -> str:
    element = next(e for e, q in average.items() if q != round(q))
    return f"Give {element}={average[element]:g} (now {values[element]:g})"


def _note(
    sources: Mapping[str, Source],
    amounts: Mapping[str, float],
    average: Mapping[str, float] | None,
    values: Mapping[str, float],
    several: Mapping[str, Sequence[float]],
) -> str:
    words = {"given": "given", "file": "from the file", "guessed": "guessed"}
    kinds: dict[Source, list[str]] = {}
    for element, source in sources.items():
        kinds.setdefault(source, []).append(element)
    parts = [f"{', '.join(elements)} {words[source]}" for source, elements in kinds.items()]
    text = "; ".join(parts) if len(kinds) > 1 else f"all {words[next(iter(kinds), 'given')]}"
    if mixed := [e for e, q in values.items() if q != round(q)]:
        text += f"; an average for {', '.join(mixed)}"
    for element, charges in several.items():
        text += f"; the file gives {element} {' and '.join(f'{q:+g}' for q in charges)}"
    net, atoms = sum(values[e] * n for e, n in amounts.items()), sum(amounts.values())
    if abs(net) < NEUTRAL_E_PER_ATOM * atoms:
        return f"{text}; the refined composition is neutral with them"
    text += f"; the refined composition has a net charge of {net:+.2f} e for {atoms:.4g} atoms with them; check them"
    if average is not None and all(abs(n - round(n)) < 0.02 for n in amounts.values()):
        element = next(e for e, q in average.items() if q != round(q))
        text += f" ({element}{average[element]:+g} on average would make it neutral)"
    return text


def guess_mobile_ion(crystal: DisorderedCrystal) -> str:
    """Guess which species moves: the first of the ions known to conduct that the crystal holds.

    Of several cations the one on partly vacant sites is likelier to move, and a singly charged one before others.

    Raises
    ------
    CompositionError
        If it holds none of them.
    """
    present = [ion for ion in MOBILE_IONS if ion in crystal.species]
    if not present:
        raise CompositionError(
            "The crystal holds none of the ions that are known to conduct.",
            where=crystal.name,
            fix=f"Name the mobile ion: one of {', '.join(crystal.species)}.",
        )
    # A single charge is bound less tightly than two or three: a vacancy on its site does not make Al3+ the faster ion.
    for ions in (_SINGLY_CHARGED, _MORE_CHARGED):
        cations = [ion for ion in present if ion in ions]
        loose = [ion for ion in cations if any(ion in s.species and s.vacancy > _ROUNDING for s in crystal.sublattices)]
        if cations:
            return (loose or cations)[0]
    return present[0]
