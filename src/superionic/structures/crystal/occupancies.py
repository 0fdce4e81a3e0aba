"""Change the occupancies of a disordered crystal; its sites and its symmetry stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from superionic.chemistry import VACANCY, sort_species
from superionic.errors import CompositionError
from superionic.structures.crystal.disordered import DisorderedCrystal, check_occupancies

_ROUNDS = 20_000  # of proportional fitting; tens are enough unless a target is at the limit of what is possible


def with_occupancies(
    crystal: DisorderedCrystal, occupancies: Mapping[str, Mapping[str, float]] | None
) -> DisorderedCrystal:
    """Give sublattices other occupancies; symmetry and sites of the parent are kept.

    Parameters
    ----------
    occupancies
        By name of the sublattice; the rest up to 1 is vacant.

    Raises
    ------
    StructureError
        If there is no such sublattice, or occupancies are out of range.
    """
    if not occupancies:
        return crystal
    species = [dict(s.species) for s in crystal.sublattices]
    for name, fractions in occupancies.items():
        index = crystal.sublattices.index(crystal.sublattice(name))
        new = {s: fractions[s] for s in sort_species(fractions) if s != VACANCY and fractions[s] > 0.0}
        check_occupancies({s: o for s, o in fractions.items() if s != VACANCY}, f"{crystal.name}, sublattice {name}")
        species[index] = new
    return _refilled(crystal, species, crystal.name)


def substitute(
    crystal: DisorderedCrystal, replacements: Mapping[str, Mapping[str, float]], *, name: str | None = None
) -> DisorderedCrystal:
    """Replace species by mixtures on all their sites; the symmetry of the parent is kept.

    Parameters
    ----------
    replacements
        For each species to be replaced the fractions of the species that take its place, such as
        ``{"Cl": {"Cl": 0.5, "Br": 0.5}}`` for half of the chlorine. Fractions must sum to 1; ``"X"`` is vacancy.
    name
        Name of the new crystal; the parent's where not given.

    Raises
    ------
    CompositionError
        If a species is not in the crystal, or fractions do not sum to 1.
    """
    for species, fractions in replacements.items():
        if species not in crystal.species:
            raise CompositionError(
                f"{species} cannot be replaced: the crystal has none.",
                where=crystal.name,
                fix=f"Replace one of: {', '.join(crystal.species)}.",
            )
        if any(not 0.0 <= f <= 1.0 for f in fractions.values()) or abs(sum(fractions.values()) - 1.0) > 1e-9:
            raise CompositionError(
                f"The fractions that replace {species} are {dict(fractions)}; they must lie in 0-1 and sum to 1.",
                where=crystal.name,
                fix="Name the part that stays as well, such as {Cl: {Cl: 0.5, Br: 0.5}}.",
            )

    def mixed(species: Mapping[str, float]) -> dict[str, float]:
        amounts: dict[str, float] = {}
        for old, occupancy in species.items():
            for new, fraction in replacements.get(old, {old: 1.0}).items():
                if new != VACANCY and fraction > 0.0:
                    amounts[new] = amounts.get(new, 0.0) + occupancy * fraction
        return {s: amounts[s] for s in sort_species(amounts)}

    return _refilled(crystal, [mixed(s.species) for s in crystal.sublattices], crystal.name if name is None else name)


def _refilled(crystal: DisorderedCrystal, species: Sequence[Mapping[str, float]], name: str) -> DisorderedCrystal:
    return replace(
        crystal,
        name=name,
        sites=tuple(replace(s, species=species[s.orbit]) for s in crystal.sites),
        sublattices=tuple(replace(s, species=o) for s, o in zip(crystal.sublattices, species, strict=True)),
    )


def redistribute(
    crystal: DisorderedCrystal, targets: Mapping[str, float], sublattices: Sequence[int]
) -> DisorderedCrystal:
    """Refill sublattices with the species of a family, so that each has a given amount.

    Occupancies are fitted proportionally (Deming & Stephan, Ann. Math. Stat. 11, 427 (1940)): the total of the family
    on each site stays, and the odds of two species change by the same factor on all sites, so that preferences for
    sites stay. A species that is on none of these sites yet has no preferences.

    Parameters
    ----------
    targets
        Amount per parent cell of each species of the family on these sublattices (``"X"`` is the vacancy); they sum
        to what the sublattices hold of the family.
    sublattices
        Indices of the sublattices.

    Raises
    ------
    CompositionError
        If the sites that hold a species are too few for it.
    """
    family = list(targets)
    size = np.array([crystal.sublattices[i].multiplicity for i in sublattices], dtype=np.float64)
    start = np.array(
        [
            [
                crystal.sublattices[i].vacancy if s == VACANCY else crystal.sublattices[i].species.get(s, 0.0)
                for s in family
            ]
            for i in sublattices
        ]
    ).reshape(len(sublattices), len(family))
    rows = start.sum(axis=1) * size
    target = np.array([max(0.0, targets[s]) for s in family], dtype=np.float64)
    target *= rows.sum() / target.sum()
    amounts = np.where(start.any(axis=0), start, 1.0) * size[:, None] * (target > 0.0)
    for _ in range(_ROUNDS):
        sums = amounts.sum(axis=1)
        amounts *= np.divide(rows, sums, out=np.zeros_like(rows), where=sums > 0.0)[:, None]
        columns = amounts.sum(axis=0)
        if np.max(np.abs(columns - target), initial=0.0) < 1e-10 * max(1.0, rows.sum()):
            break
        amounts *= np.divide(target, columns, out=np.zeros_like(target), where=columns > 0.0)
    if np.max(np.abs(amounts.sum(axis=0) - target), initial=0.0) > 1e-4 or np.any(amounts.sum(axis=1) < rows - 1e-4):
        names = ", ".join(crystal.sublattices[i].name for i in sublattices)
        raise CompositionError(
            f"The sites {names} cannot hold {', '.join(f'{w:.4g} {s}' for s, w in zip(family, target, strict=True))}.",
            where=crystal.name,
            fix="Ask for amounts that fit the sites of each species, or give the occupancies.",
        )
    species = [dict(s.species) for s in crystal.sublattices]
    for i, row, n in zip(sublattices, amounts, size, strict=True):
        occupancies = {s: o for s, o in species[i].items() if s not in family}
        occupancies.update({s: float(a / n) for s, a in zip(family, row, strict=True) if s != VACANCY and a > 1e-9 * n})
        species[i] = {s: min(1.0, round(occupancies[s], 12)) for s in sort_species(occupancies)}
    return _refilled(crystal, species, crystal.name)


def follow_neutrality(
    crystal: DisorderedCrystal, follower: str, oxidation_states: Mapping[str, int | float], *, partly: bool = False
) -> DisorderedCrystal:
    """Fill or empty the sites of one species until the crystal is neutral.

    Sites that it shares with vacancies change first; full sites are emptied (evenly) only where that is not enough.

    Parameters
    ----------
    follower
        The species.
    oxidation_states
        Charge in e of every species.
    partly
        Go as far as the sites allow instead of raising an error.

    Raises
    ------
    CompositionError
        If the crystal does not hold the species, or its sites are too few, or too many.
    """
    amounts = crystal.composition
    charge = float(oxidation_states.get(follower, 0.0))
    if follower not in amounts or charge == 0.0:
        raise CompositionError(
            f"{follower} cannot follow from neutrality: "
            + ("it has no charge." if follower in amounts else "the crystal has none."),
            where=crystal.name,
            fix=f"Let one of these follow: {', '.join(s for s in amounts if oxidation_states.get(s, 0.0))}.",
        )
    net = sum(float(oxidation_states[s]) * n for s, n in amounts.items())
    needed = amounts[follower] - net / charge
    holds = [i for i, s in enumerate(crystal.sublattices) if follower in s.species]
    room = sum(crystal.sublattices[i].vacancy * crystal.sublattices[i].multiplicity for i in holds)
    most = amounts[follower] + room
    if not partly and not -1e-6 <= needed <= most + 1e-6:
        raise CompositionError(
            f"{needed:.4g} {follower} in the parent cell would make it neutral, but its sites hold 0 to {most:.4g}.",
            where=crystal.name,
            fix="Let another species follow as well, choose another value, or check the oxidation states.",
        )
    needed = min(max(needed, 0.0), most)
    shared = [i for i in holds if crystal.sublattices[i].vacancy > 0.0]
    full = [i for i in holds if crystal.sublattices[i].vacancy == 0.0]
    on_full = sum(crystal.sublattices[i].species[follower] * crystal.sublattices[i].multiplicity for i in full)
    on_shared = amounts[follower] - on_full
    if shared:
        now = max(needed - on_full, 0.0)
        crystal = redistribute(crystal, {follower: now, VACANCY: on_shared + room - now}, shared)
    if needed < on_full - 1e-9:
        crystal = redistribute(crystal, {follower: needed, VACANCY: on_full - needed}, full)
    return crystal
