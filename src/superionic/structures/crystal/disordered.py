"""The parent crystal with partial occupancies: sites, sublattices, and the symmetry that all its orderings share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from superionic.chemistry import amounts_text, reduced_formula, sort_species
from superionic.errors import StructureError
from superionic.structures.crystal.symmetry import FloatArray, IntArray, find_symmetry, primitive_basis, symmetrise

FULL_TOLERANCE = 1e-3
"""A site whose vacancy fraction is below this counts as full; refined occupancies have about three digits."""

OVERLAP_DISTANCE_A = 0.5
"""Two sites closer than this cannot both be occupied in any crystal (the H–H bond is 0.74 Å)."""

EMPTY = 1e-8
"""Occupancy of a species on a site that is empty, but was listed so that the species can be put there."""

LEAST_OCCUPANCY = 1e-6
"""Occupancies below this count as zero."""

OVERLAP_OCCUPANCY = 1.2
"""Summed occupancy above which two such sites are a mistake; refined split sites exceed 1 by some per cent."""


_PAIRS_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class Alternative:
    """Membership of a site in one of several groups of atoms of which only one is present: an orientation of PO4.

    Parameters
    ----------
    to_centre_A
        Vector in Å from the site to the centre of all the groups, its *unit*.
    assembly, group
        Names of the disorder and of the group. Sites of one unit with different groups are never both occupied.
    """

    to_centre_A: tuple[float, float, float]
    assembly: str
    group: str


@dataclass(frozen=True)
class Site:
    """One site of the parent cell.

    Parameters
    ----------
    label
        Name of the site, as in the crystal file.
    fractional
        Fractional coordinates.
    species
        Occupancy of each species; the rest up to 1 is vacancy.
    orbit
        Index of its crystallographic orbit, and so of its sublattice.
    wyckoff
        Wyckoff letter in the standard setting.
    alternative
        The group of atoms together with which alone it can be occupied; None for a site occupied independently.
    """

    label: str
    fractional: tuple[float, float, float]
    species: Mapping[str, float]
    orbit: int
    wyckoff: str
    alternative: Alternative | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "species", MappingProxyType(dict(self.species)))

    @property
    def vacancy(self) -> float:
        """Fraction of vacancies, 0 for a full site."""
        return _vacancy(self.species)


@dataclass(frozen=True)
class Sublattice:
    """The sites of one crystallographic orbit, which share their occupants.

    Parameters
    ----------
    name
        Unique in the crystal; the label of its first site where that is unique.
    sites
        Indices into ``DisorderedCrystal.sites``.
    species
        Occupancy of each species on each of the sites.
    wyckoff
        Wyckoff letter.
    multiplicity
        Number of the sites in the cell.
    """

    name: str
    sites: tuple[int, ...]
    species: Mapping[str, float]
    wyckoff: str
    multiplicity: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "species", MappingProxyType(dict(self.species)))

    @property
    def vacancy(self) -> float:
        """Fraction of vacancies, 0 for full sites."""
        return _vacancy(self.species)

    @property
    def is_ordered(self) -> bool:
        """Whether one species fills all the sites."""
        return len(self.species) == 1 and self.vacancy == 0.0


def _vacancy(species: Mapping[str, float]) -> float:
    missing = 1.0 - sum(species.values())
    return missing if missing > FULL_TOLERANCE else 0.0


@dataclass(frozen=True, eq=False)
class DisorderedCrystal:
    """A parent crystal with partial occupancies.

    Parameters
    ----------
    name
        Name of the crystal in reports.
    cell_A
        (3, 3) lattice vectors as rows, in Å.
    sites
        All sites of the cell; the sites of an orbit are adjacent.
    sublattices
        One for each crystallographic orbit.
    rotations, translations
        (n_ops, 3, 3) integers and (n_ops, 3): the operations x → R x + t of the occupancy-labelled crystal.
    spacegroup_number, spacegroup_symbol
        Its space group.
    notes
        Remarks on the reading of its file, one sentence each.

    Raises
    ------
    StructureError
        If the cell has no volume, or an occupancy is negative, not a number, or above 1.
    """

    name: str
    cell_A: FloatArray
    sites: tuple[Site, ...]
    sublattices: tuple[Sublattice, ...]
    rotations: IntArray
    translations: FloatArray
    spacegroup_number: int
    spacegroup_symbol: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field, kind in (("cell_A", np.float64), ("rotations", np.int64), ("translations", np.float64)):
            array = np.array(getattr(self, field), dtype=kind)
            array.setflags(write=False)
            object.__setattr__(self, field, array)
        check_cell(self.cell_A, self.name)
        for site in self.sites:
            check_occupancies(site.species, f"{self.name}, site {site.label}")

    @property
    def fractional(self) -> FloatArray:
        """(n, 3) fractional coordinates of the sites."""
        return np.array([s.fractional for s in self.sites], dtype=np.float64).reshape(-1, 3)

    @property
    def is_ordered(self) -> bool:
        """Whether every site holds one species only."""
        return all(s.is_ordered for s in self.sublattices)

    @property
    def volume_A3(self) -> float:
        """Volume of the cell in Å³."""
        return float(abs(np.linalg.det(self.cell_A)))

    @property
    def composition(self) -> dict[str, float]:
        """Amount of each species in the cell, in the order of formulas."""
        amounts: dict[str, float] = {}
        for sublattice in self.sublattices:
            for species, occupancy in sublattice.species.items():
                amounts[species] = amounts.get(species, 0.0) + occupancy * sublattice.multiplicity
        return {s: amounts[s] for s in sort_species(amounts)}

    @property
    def species(self) -> tuple[str, ...]:
        """All species, in the order of formulas."""
        return tuple(self.composition)

    @property
    def formula(self) -> str:
        """Reduced formula, such as ``Li3YCl6``; decimal amounts a cell where they are far from integers."""
        return reduced_formula(self.composition)

    @property
    def cell_formula(self) -> str:
        """Amounts in the cell as refined, such as ``Li9 Y3 Cl18``."""
        return amounts_text(self.composition)

    @property
    def density_g_per_cm3(self) -> float:
        """Mass density of the crystal as refined, in g/cm³."""
        from ase.data import atomic_masses, atomic_numbers
        from scipy.constants import atomic_mass  # in kg

        mass_amu = sum(amount * float(atomic_masses[atomic_numbers[s]]) for s, amount in self.composition.items())
        return float(mass_amu * atomic_mass * 1e3 / (self.volume_A3 * 1e-24))

    def sublattice(self, name: str) -> Sublattice:
        """Return the sublattice of that name.

        Raises
        ------
        StructureError
            If there is none; the error lists those that exist.
        """
        for candidate in self.sublattices:
            if candidate.name == name:
                return candidate
        raise StructureError(
            f"The crystal has no sublattice {name!r}.",
            where=self.name,
            fix=f"Use one of: {', '.join(s.name for s in self.sublattices)}.",
        )

    def primitive(self) -> DisorderedCrystal:
        """Return the same crystal in a primitive cell (Minkowski-reduced); names of the sublattices stay."""
        basis = primitive_basis_of(self)
        if np.allclose(basis, np.eye(3)):
            return self
        to_new = np.linalg.inv(basis)
        distinct: list[Site] = []
        placed: list[FloatArray] = []
        for site in self.sites:
            x = np.asarray(site.fractional) @ to_new
            if any(np.linalg.norm((d - np.round(d)) @ basis @ self.cell_A) < 1e-4 for d in (x - p for p in placed)):
                continue
            placed.append(x)
            distinct.append(site)
        return crystal_from_sites(
            self.name,
            basis @ self.cell_A,
            np.array(placed),
            [s.species for s in distinct],
            labels=[s.label for s in distinct],
            names=[self.sublattices[s.orbit].name for s in distinct],
            alternatives=[s.alternative for s in distinct],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values and arrays, from which :meth:`from_dict` builds an equal crystal."""
        alternatives = [None if s.alternative is None else asdict(s.alternative) for s in self.sites]
        return {
            "name": self.name,
            "cell_A": np.array(self.cell_A),
            "fractional": self.fractional,
            "labels": [s.label for s in self.sites],
            "species": [dict(s.species) for s in self.sites],
            "orbits": [s.orbit for s in self.sites],
            "wyckoffs": [s.wyckoff for s in self.sites],
            "sublattice_names": [s.name for s in self.sublattices],
            "rotations": np.array(self.rotations),
            "translations": np.array(self.translations),
            "spacegroup_number": self.spacegroup_number,
            "spacegroup_symbol": self.spacegroup_symbol,
            "notes": list(self.notes),
            # Only if there are any, so that stored results of all other crystals keep their keys.
            **({"alternatives": alternatives} if any(alternatives) else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DisorderedCrystal:
        """Build a crystal from what :meth:`to_dict` returned."""
        alternatives = [
            None if a is None else Alternative(tuple(a["to_centre_A"]), a["assembly"], a["group"])
            for a in data.get("alternatives", [None] * len(data["labels"]))
        ]
        sites = tuple(
            Site(str(label), (float(x[0]), float(x[1]), float(x[2])), species, int(orbit), str(wyckoff), alternative)
            for label, x, species, orbit, wyckoff, alternative in zip(
                data["labels"], data["fractional"], data["species"], data["orbits"], data["wyckoffs"], alternatives,
                strict=True,
            )
        )  # fmt: skip
        return cls(
            name=str(data["name"]),
            cell_A=data["cell_A"],
            sites=sites,
            sublattices=_sublattices(sites, [str(n) for n in data["sublattice_names"]]),
            rotations=data["rotations"],
            translations=data["translations"],
            spacegroup_number=int(data["spacegroup_number"]),
            spacegroup_symbol=str(data["spacegroup_symbol"]),
            notes=tuple(str(note) for note in data["notes"]),
        )


def primitive_basis_of(crystal: DisorderedCrystal) -> FloatArray:
    """Return the rows of a primitive basis in units of the vectors of the crystal's cell."""
    return primitive_basis(crystal.rotations, crystal.translations, crystal.cell_A)


def crystal_from_sites(
    name: str,
    cell_A: FloatArray,
    fractional: FloatArray,
    occupancies: Sequence[Mapping[str, float]],
    *,
    labels: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    alternatives: Sequence[Alternative | None] | None = None,
    symprec: float = 0.01,
) -> DisorderedCrystal:
    """Build a disordered crystal: find its symmetry, move it onto it, and collect the sublattices.

    Parameters
    ----------
    cell_A, fractional
        (3, 3) in Å and (n, 3).
    occupancies
        For each site the occupancy of each species.
    labels
        Label of each site; the species joined by ``/`` where not given.
    names
        Name of the sublattice of each site; from the labels where not given.
    alternatives
        The group together with which alone each site can be occupied, None for sites occupied independently, as all
        are where this is not given.
    symprec
        Distance tolerance in Å for finding the symmetry.

    Raises
    ------
    StructureError
        If the input is impossible: no sites, no volume, occupancies out of range, full sites on top of each other.
    """
    cell = np.array(cell_A, dtype=np.float64)
    x = np.array(fractional, dtype=np.float64).reshape(-1, 3)
    if len(x) == 0:
        raise StructureError("The crystal has no sites.", where=name, fix="Check that the file lists its atoms.")
    check_cell(cell, name)
    if not np.all(np.isfinite(x)):
        bad = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise StructureError(
            "A coordinate is not a number.", where=f"{name}, site {bad + 1}", fix="Correct the coordinate."
        )
    site_labels = list(labels) if labels is not None else ["/".join(sort_species(o)) for o in occupancies]
    cleaned = [
        {s: float(o[s]) for s in sort_species(o) if float(o[s]) != 0.0}
        for o in (_normalised(o, f"{name}, site {label}") for o, label in zip(occupancies, site_labels, strict=True))
    ]
    check_overlaps(name, cell, x, [sum(o.values()) for o in cleaned], site_labels)
    kinds = _kinds(cleaned)
    symmetry = find_symmetry(cell, x, kinds, symprec=symprec)
    cell, x = symmetrise(cell, x, kinds, symmetry, tolerance_A=max(0.05, 5 * symprec))
    x = _wrap(x)
    order = sorted(range(len(x)), key=lambda i: (symmetry.orbits[i], i))
    sites = tuple(
        Site(
            site_labels[i],
            (float(x[i, 0]), float(x[i, 1]), float(x[i, 2])),
            cleaned[i],
            symmetry.orbits[i],
            symmetry.wyckoffs[i],
            None if alternatives is None else alternatives[i],
        )
        for i in order
    )
    proposed_names = [names[i] for i in order] if names is not None else [s.label for s in sites]
    return DisorderedCrystal(
        name=name,
        cell_A=cell,
        sites=sites,
        sublattices=_sublattices(sites, _unique_names(sites, proposed_names)),
        rotations=symmetry.rotations,
        translations=symmetry.translations,
        spacegroup_number=symmetry.number,
        spacegroup_symbol=symmetry.symbol,
    )


def _normalised(occupancies: Mapping[str, float], where: str) -> Mapping[str, float]:
    """Scale a sum that exceeds 1 by rounding only (such as 3 × 0.334) down to 1; check the rest."""
    check_occupancies(occupancies, where)
    total = sum(occupancies.values())
    return {s: o / total for s, o in occupancies.items()} if total > 1.0 else occupancies


def _kinds(occupancies: Sequence[Mapping[str, float]]) -> list[int]:
    numbers: dict[tuple[tuple[str, int], ...], int] = {}
    return [numbers.setdefault(tuple((s, round(v * 1e4)) for s, v in o.items()), len(numbers)) for o in occupancies]


def _wrap(x: FloatArray) -> FloatArray:
    wrapped = x - np.floor(x + 1e-10)
    return np.where(np.abs(wrapped) < 1e-10, 0.0, wrapped)


def _unique_names(sites: Sequence[Site], names: Sequence[str]) -> list[str]:
    """Name each orbit after its first site; where two orbits would share the name, number them."""
    firsts: list[str] = []
    current_orbit = -1
    for site, name in zip(sites, names, strict=True):
        if site.orbit != current_orbit:
            firsts.append(name)
            current_orbit = site.orbit
    if len(set(firsts)) == len(firsts):
        return firsts
    counters: dict[str, int] = {}
    numbered = []
    unique = {n for n in firsts if firsts.count(n) == 1}
    for name in firsts:
        if name in unique:
            numbered.append(name)
            continue
        counters[name] = counters.get(name, 0) + 1
        while f"{name}_{counters[name]}" in unique:
            counters[name] += 1
        numbered.append(f"{name}_{counters[name]}")
    return numbered


def _sublattices(sites: Sequence[Site], names: Sequence[str]) -> tuple[Sublattice, ...]:
    members: dict[int, list[int]] = {}
    for index, site in enumerate(sites):
        members.setdefault(site.orbit, []).append(index)
    return tuple(
        Sublattice(names[orbit], tuple(group), sites[group[0]].species, sites[group[0]].wyckoff, len(group))
        for orbit, group in sorted(members.items())
    )


def check_cell(cell_A: FloatArray, name: str) -> None:
    """Raise a StructureError unless the cell is three finite vectors that span a volume."""
    if cell_A.shape != (3, 3) or not np.all(np.isfinite(cell_A)):
        raise StructureError("The cell is not three finite vectors.", where=name, fix="Give lengths and angles.")
    volume = abs(float(np.linalg.det(cell_A)))
    lengths = np.linalg.norm(cell_A, axis=1)
    if volume < 1e-3 or volume < 1e-4 * float(np.prod(lengths)):
        raise StructureError(
            f"The cell has no volume (lengths {', '.join(f'{v:.3f}' for v in lengths)} Å, volume {volume:.2g} Å³).",
            where=name,
            fix="Check the lengths and angles of the cell.",
        )


def check_occupancies(species: Mapping[str, float], where: str) -> None:
    """Raise a StructureError unless occupancies are numbers in 0-1 that sum to 1 at most (within 0.01)."""
    for element, occupancy in species.items():
        if not np.isfinite(occupancy) or not 0.0 <= occupancy <= 1.01:
            raise StructureError(
                f"The occupancy of {element} is {occupancy:g}; it must lie between 0 and 1.",
                where=where,
                fix="Correct the occupancy in the file.",
            )
    total = sum(species.values())
    if total > 1.01:
        raise StructureError(
            f"The occupancies of {', '.join(species)} on one site sum to {total:.3f}, more than 1.",
            where=where,
            fix="Correct the occupancies so that they sum to 1 at most; the rest up to 1 is vacancy.",
        )


def check_overlaps(
    name: str, cell_A: FloatArray, fractional: FloatArray, totals: Sequence[float], labels: Sequence[str]
) -> None:
    """Raise a StructureError if two sites within 0.5 Å of each other hold more than one atom together.

    Split sites (close sites that share one atom) are not an error: their occupancies sum to 1, give or take the error
    of the refinement.
    """
    first, second, distances = close_pairs(cell_A, fractional, OVERLAP_DISTANCE_A)
    for i, j, distance in zip(first, second, distances, strict=True):
        if totals[i] + totals[j] > OVERLAP_OCCUPANCY:
            raise StructureError(
                f"Sites {labels[i]} and {labels[j]} are {distance:.3f} Å apart "
                f"and hold {totals[i] + totals[j]:.2f} atoms.",
                where=name,
                fix="Remove the duplicate, or give split sites occupancies that sum to 1 at most.",
            )


def close_pairs(
    cell_A: FloatArray, fractional: FloatArray, cutoff_A: float
) -> tuple[list[int], list[int], list[float]]:
    """Return all pairs of sites (i ≤ j, periodic images included) closer than a cutoff, nearest first.

    Returns
    -------
    first, second, distances_A
        Lists of equal length.
    """
    # ase.neighborlist does the same, but importing it (and parts of scipy with it) costs more than reading a crystal.
    n = len(fractional)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell_A), axis=0)
    # Wrapped differences are half a cell at most; only images that can lie within the cutoff are examined.
    reach = np.floor(cutoff_A / heights + 0.5 + 1e-9).astype(int)
    shifts = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    pairs: list[tuple[float, int, int]] = []
    step = max(1, _PAIRS_AT_ONCE // max(1, n * len(shifts)))
    for start in range(0, n, step):
        difference = fractional[None, :, :] - fractional[start : start + step, None, :]
        difference -= np.round(difference)
        squared = np.sum(((difference[:, :, None, :] + shifts) @ cell_A) ** 2, axis=3)
        i, j, image = np.nonzero(squared < cutoff_A**2)
        distance = np.sqrt(squared[i, j, image])
        i += start
        # A site is not its own neighbour; its images are, each twice.
        itself = (i == j) & np.all(shifts[image] == 0, axis=1)
        keep = (i <= j) & ~itself
        pairs.extend(zip(distance[keep].tolist(), i[keep].tolist(), j[keep].tolist(), strict=True))
    pairs.sort(key=lambda pair: (round(pair[0], 6), pair[1], pair[2]))
    return [i for _, i, _ in pairs], [j for _, _, j in pairs], [d for d, _, _ in pairs]
