"""The crystals at the start of a campaign, with their disordered sites (paper A, figures 2a, 3a and 4a)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from superionic.report.csv_tables import CsvTable
from superionic.report.plots import ATOM_COLOURS, BLUE, Markers, Plot, Segments, Surface
from superionic.report.section import Block
from superionic.report.table import Table, table_of
from superionic.report.words import formula_text, number, safe_name
from superionic.results.campaign import CrystalSites, CrystalSummary, Results

FloatArray = NDArray[np.float64]

_AROUND: Final = 1.25
"""Anions around a cation are those within this multiple of the distance of the nearest one."""
_PALE: Final = "#b6bcc6"
_ON_A_FACE: Final = 1e-3
"""Fractional distance to a face of the cell up to which an atom is drawn on the opposite face as well."""


def blocks(results: Results) -> Iterator[Block]:
    """Yield the crystals, their sites and their drawings."""
    rows = [[c.name, formula_text(c.formula), c.spacegroup, c.source] for c in results.crystals]
    yield Table("Crystals at the start.", ["Name", "Formula", "Space group", "Source"], rows)
    yield table_of(
        "Their sites as refined; one row for each crystallographic orbit.",
        [(crystal, sites) for crystal in results.crystals for sites in crystal.sites],
        [
            ("Crystal", lambda each: each[0].name),
            ("Site", lambda each: each[1].name),
            ("Wyckoff position", lambda each: each[1].position),
            ("Occupancies", lambda each: _occupancies(each[1])),
            ("Vacant", lambda each: number(each[1].vacancy, 3) if each[1].vacancy else ""),
        ],
        numeric=(4,),
    )
    for crystal in results.crystals:
        yield _drawing(crystal, results.mobile_ion)


def files(results: Results) -> Iterator[CsvTable]:
    """Yield the crystals and their sites as tables."""
    yield CsvTable(
        "crystals.csv",
        ("crystal", "formula", "spacegroup", "spacegroup_number", "source"),
        tuple((c.name, c.formula, c.spacegroup, c.spacegroup_number, c.source) for c in results.crystals),
    )
    yield CsvTable(
        "crystal_sites.csv",
        ("crystal", "site", "wyckoff_position", "x", "y", "z", "occupancies", "vacancy"),
        tuple(
            (crystal.name, sites.name, sites.position, *place, _occupancies(sites), sites.vacancy)
            for crystal in results.crystals
            for sites in crystal.sites
            for place in sites.fractional
        ),
    )


def _occupancies(sites: CrystalSites) -> str:
    """Return what occupies the sites: ``Li 0.5``, ``Br 0.5, Cl 0.5``, or the element alone where it fills them."""
    return ", ".join(
        element if occupancy > 1.0 - 1e-6 else f"{element} {occupancy:.4g}"
        for element, occupancy in sites.occupancies.items()
    )


def _drawing(crystal: CrystalSummary, mobile_ion: str) -> Plot:
    cell = np.asarray(crystal.cell_vectors_A)
    drawn = [_with_images(np.array(sites.fractional)) @ cell for sites in crystal.sites]
    cations = [k for k, sites in enumerate(crystal.sites) if sites.charge > 0.0 and mobile_ion not in sites.occupancies]
    anions = [k for k, sites in enumerate(crystal.sites) if sites.charge < 0.0]
    bonds = _bonds(np.concatenate([np.zeros((0, 3)), *(drawn[k] for k in cations)]), crystal, anions)
    main = [max(sites.occupancies, key=sites.occupancies.__getitem__) for sites in crystal.sites]
    others = sorted(set(main) - {mobile_ion})
    colours = {element: ATOM_COLOURS[index % len(ATOM_COLOURS)] for index, element in enumerate(others)}
    markers = []
    for k, (sites, element, places) in enumerate(zip(crystal.sites, main, drawn, strict=True)):
        label = f"{_occupancies(sites)} ({sites.position})"
        at = np.unique(np.concatenate([places, bonds.get(k, np.zeros((0, 2, 3)))[:, 1]]).round(6), axis=0)
        shape: Literal["circle", "diamond"] = "diamond" if len(sites.occupancies) > 1 else "circle"
        hover = [f"{sites.name}: {label}"] * len(at)
        size = 5.0 if k in anions else 8.0
        markers.append(Markers(label, at, colours.get(element, BLUE), shape, not sites.vacancy, size, hover))
    ends = np.concatenate([np.zeros((0, 2, 3)), *bonds.values()])
    return Plot(
        f"crystal_{safe_name(crystal.name)}",
        f"Crystal {crystal.name} as refined",
        f"The cell of {formula_text(crystal.formula)}, {crystal.spacegroup}. Open symbols are sites that are vacant in "
        "part, diamonds sites that several elements share; an ordering fills each of them in one way. Lines join the "
        "cations of the framework to the anions around them.",
        surface=Surface(cell, markers, [Segments("", ends, _PALE, 1.2)] if len(ends) else []),
        columns=1,
        height=460,
    )


def _with_images(fractional: FloatArray) -> FloatArray:
    """Return positions in the cell, with those on a face of it on the opposite face as well."""
    inside = np.mod(fractional + _ON_A_FACE, 1.0) - _ON_A_FACE
    shifted = [inside + shift for shift in product((0.0, 1.0), repeat=3)]
    return np.concatenate([places[(places <= 1.0 + _ON_A_FACE).all(axis=1)] for places in shifted])


def _bonds(cations_A: FloatArray, crystal: CrystalSummary, anions: Sequence[int]) -> dict[int, FloatArray]:
    """Return the lines (n, 2, 3) in Å from cations to the anions around them, by the orbit of the anion."""
    if not anions or not len(cations_A):
        return {}
    cell = np.asarray(crystal.cell_vectors_A)
    shifts = np.array(list(product((-1.0, 0.0, 1.0), repeat=3)))
    places = {k: ((np.mod(crystal.sites[k].fractional, 1.0)[:, None] + shifts) @ cell).reshape(-1, 3) for k in anions}
    apart = {k: np.linalg.norm(cations_A[:, None] - there, axis=2) for k, there in places.items()}
    reach = _AROUND * np.min([distances.min(axis=1) for distances in apart.values()], axis=0)
    bonds = {}
    for k, distances in apart.items():
        cation, anion = np.nonzero(distances <= reach[:, None])
        bonds[k] = np.stack([cations_A[cation], places[k][anion]], axis=1)
    return bonds
