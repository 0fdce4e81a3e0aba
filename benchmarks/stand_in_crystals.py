"""The crystals that a stand-in for a foundation model of MACE is taught, from published structures.

The three families of paper A over their compositions, and the phases at the ends of their hulls. Cells and positions
are of the sources named below, positions rounded to three decimals; those of OBELiX v1.2.0 (NRC-Mila, CC-BY-4.0) are
slightly randomised by its authors, and everything is relaxed before use. Between compositions, cells are interpolated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ase.spacegroup import Spacegroup

OXIDATION_STATES = {
    "Li": 1, "Na": 1, "Zr": 4, "Si": 4, "Ge": 4, "P": 5, "In": 3, "Y": 3, "O": -2, "S": -2, "Cl": -1, "Br": -1
}  # fmt: skip
Site = tuple[Mapping[str, float], tuple[float, float, float]]
Cell = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Crystal:
    """A crystal of known composition, ordered or not.

    Attributes
    ----------
    name
        Name of its files.
    space_group
        Number in the International Tables.
    cell
        Lengths in Å and angles in degrees.
    sites
        Occupancies by element, and fractional coordinates, of each orbit.
    supercell
        Cell in which it is labelled, of 16 to 42 atoms.
    source
        Where cell and positions are from.
    """

    name: str
    space_group: int
    cell: Cell
    sites: tuple[Site, ...]
    supercell: str
    source: str

    @property
    def is_ordered(self) -> bool:
        """Whether every site has one element."""
        return all(set(occupancies.values()) == {1.0} for occupancies, _ in self.sites)

    def write_cif(self, path: Path) -> None:
        """Write it as a CIF, its source in the first line."""
        names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
        lines = [f"# {self.source}", f"data_{self.name}", f"_symmetry_Int_Tables_number {self.space_group}"]
        lines += [f"_cell_{name} {value:g}" for name, value in zip(names, self.cell, strict=True)]
        lines += ["loop_", "_symmetry_equiv_pos_as_xyz", *_operations(self.space_group)]
        lines += ["loop_", *(f"_atom_site_{key}" for key in ("label", "type_symbol", *_COORDINATES, "occupancy"))]
        for number, (occupancies, position) in enumerate(self.sites, 1):
            for element, occupancy in occupancies.items():
                if occupancy > 0.0:
                    x, y, z = position
                    lines.append(f"{element}{number} {element} {x:.6f} {y:.6f} {z:.6f} {occupancy:.6f}")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


_COORDINATES = ("fract_x", "fract_y", "fract_z")


def _operations(space_group: int) -> Iterator[str]:
    for rotation, translation in Spacegroup(space_group).get_symop():
        parts = []
        for row, shift in zip(rotation, translation, strict=True):
            terms = [f"{'+' if n > 0 else '-'}{axis}" for n, axis in zip(row, "xyz", strict=True) if n]
            parts.append("".join(terms) + (f"+{round(24 * shift)}/24" if round(24 * shift) else ""))
        yield f"'{', '.join(parts)}'"


def _between(low: Cell, high: Cell, share: float) -> Cell:
    a, b, c, alpha, beta, gamma = ((1.0 - share) * x + share * y for x, y in zip(low, high, strict=True))
    return (a, b, c, alpha, beta, gamma)


def nasicon(x: int) -> Crystal:
    """Return Na1+xZr2SixP3-xO12."""
    cells: dict[int, Cell] = {
        0: (8.804, 8.804, 22.759, 90, 90, 120), 1: (8.93, 8.93, 22.86, 90, 90, 120),
        2: (9.06, 9.06, 22.95, 90, 90, 120), 3: (9.186, 9.186, 22.181, 90, 90, 120),
    }  # fmt: skip
    sodium = {"Na": (1 + x) / 4}
    sites: tuple[Site, ...] = (
        (sodium, (0.0, 0.0, 0.0)), (sodium, (0.638, 0.0, 0.25)), ({"Zr": 1.0}, (0.0, 0.0, 0.1465)),
        ({"Si": x / 3, "P": 1 - x / 3}, (0.2911, 0.0, 0.25)),
        ({"O": 1.0}, (0.1746, -0.0306, 0.1934)), ({"O": 1.0}, (0.1925, 0.1675, 0.087)),
    )  # fmt: skip
    source = (
        "framework: COD 1008846 (public domain); cells of the ends: H. Y.-P. Hong, Mater. Res. Bull. 11, 173 (1976)"
    )
    return Crystal(f"nasicon-x{x}", 167, cells[x], _filled(sites), "primitive", source)


def oxysulfide(x: float) -> Crystal:
    """Return Li3+xP1-xGexS4-4xO4x on the sites of beta-Li3PS4, in a cell between it and that of Li3PO4 and Ge for P."""
    cell = _between((12.819, 8.220, 6.124, 90, 90, 90), (10.85, 6.35, 5.14, 90, 90, 90), x)
    rest = {"Li": (1 + x) / 2}  # a third of the lithium, and that which each Ge brings, share two half-filled orbits
    anion, centre = {"S": 1 - x, "O": x}, {"P": 1 - x, "Ge": x}
    sites: tuple[Site, ...] = (
        ({"Li": 1.0}, (0.152, 0.514, 0.936)), (rest, (0.0, 0.0, 0.5)), (rest, (0.010, 0.75, 0.115)),
        (centre, (0.094, 0.25, 0.162)), (anion, (0.151, 0.054, 0.281)), (anion, (0.074, 0.75, 0.737)),
        (anion, (0.104, 0.25, 0.838)),
    )  # fmt: skip
    source = "OBELiX v1.2.0, entry nhq: K. Homma et al.; cell at x = 1 near that of Li3.8Ge0.8P0.2O4, its entry mgs"
    return Crystal(f"oxysulfide-x{x:g}", 62, cell, _filled(sites), "1x1x1", source)


def halide(indium: float, bromine: float) -> Crystal:
    """Return monoclinic Li3InxY1-xBr6yCl6-6y; ``bromine`` is y."""
    cell = _between((6.40, 11.06, 6.38, 90, 109.8, 90), (6.919, 11.974, 6.864, 90, 109.8, 90), bromine)
    anion, metal = {"Br": bromine, "Cl": 1 - bromine}, {"In": indium, "Y": 1 - indium}
    sites: tuple[Site, ...] = (
        ({"Li": 0.75}, (0.0, 0.325, 0.0)), ({"Li": 0.75}, (0.0, 0.215, 0.5)), (metal, (0.0, 0.0, 0.0)),
        (anion, (0.237, 0.345, 0.760)), (anion, (0.247, 0.5, 0.239)),
    )  # fmt: skip
    source = (
        "bromide: OBELiX v1.2.0, entry elz; cell of the chloride: X. Li et al., Energy Environ. Sci. 12, 2665 (2019)"
    )
    return Crystal(f"halide-in{indium:g}-br{bromine:g}", 12, cell, _filled(sites), "1x1x1", source)


def trigonal(bromine: float) -> Crystal:
    """Return trigonal Li3YBr6yCl6-6y; ``bromine`` is y."""
    cell = _between((11.209, 11.209, 6.047, 90, 90, 120), (11.98, 11.98, 6.46, 90, 90, 120), bromine)
    anion = {"Br": bromine, "Cl": 1 - bromine}
    sites: tuple[Site, ...] = (
        ({"Li": 0.75}, (0.0, 0.326, 0.5)), ({"Li": 0.75}, (0.0, 0.326, 0.0)), ({"Y": 1.0}, (0.0, 0.0, 0.0)),
        ({"Y": 1.0}, (1 / 3, 2 / 3, 0.487)), (anion, (0.108, 0.216, 0.777)), (anion, (0.126, 0.563, 0.751)),
        (anion, (0.210, 0.420, 0.278)),
    )  # fmt: skip
    source = "OBELiX v1.2.0, entry ei3, yttrium ordered: R. Schlem et al., Chem. Mater. 33, 327 (2021)"
    return Crystal(f"trigonal-br{bromine:g}", 164, cell, _filled(sites), "1x1x1", source)


def _filled(sites: tuple[Site, ...]) -> tuple[Site, ...]:
    """Leave out elements of no occupancy."""
    return tuple(({e: share for e, share in own.items() if share > 0.0}, where) for own, where in sites)


def _layered(name: str, metal: str, cell: Cell, source: str) -> Crystal:
    sites: tuple[Site, ...] = (
        ({metal: 1.0}, (0.0, 0.166, 0.0)), ({"Cl": 1.0}, (0.211, 0.0, 0.247)), ({"Cl": 1.0}, (0.229, 0.179, 0.760))
    )  # fmt: skip
    return Crystal(name, 12, cell, sites, "1x1x2", source)


def _rock_salt(name: str, anion: str, a_A: float) -> Crystal:
    sites: tuple[Site, ...] = (({"Li": 1.0}, (0.0, 0.0, 0.0)), ({anion: 1.0}, (0.5, 0.5, 0.5)))
    return Crystal(name, 225, (a_A, a_A, a_A, 90, 90, 90), sites, "1x1x2", "rock salt")


REFERENCES = (
    _rock_salt("licl", "Cl", 5.13),
    _rock_salt("libr", "Br", 5.50),
    _layered("ycl3", "Y", (6.92, 11.94, 6.44, 90, 111.0, 90), "Templeton and Carter, J. Phys. Chem. 58, 940 (1954)"),
    _layered("incl3", "In", (6.41, 11.10, 6.31, 90, 109.8, 90), "Templeton and Carter (1954), as of YCl3"),
    Crystal(
        "ybr3", 148, (7.07, 7.07, 19.15, 90, 90, 120),
        (({"Y": 1.0}, (0.0, 0.0, 0.333)), ({"Br": 1.0}, (0.333, 0.0, 0.08))),
        "1x1x1", "BiI3 type: Brown, Fletcher and Holah, J. Chem. Soc. A, 1889 (1968)",
    ),
    Crystal(
        "li3po4", 62, (10.49, 6.12, 4.927, 90, 90, 90),
        (
            ({"Li": 1.0}, (0.156, 0.503, 0.297)), ({"Li": 1.0}, (0.083, 0.25, 0.703)),
            ({"P": 1.0}, (0.088, 0.75, 0.809)), ({"O": 1.0}, (0.168, 0.544, 0.709)),
            ({"O": 1.0}, (0.058, 0.25, 0.299)), ({"O": 1.0}, (0.092, 0.75, 0.108)),
        ),
        "1x1x1", "OBELiX v1.2.0, entry 9lo",
    ),
    Crystal(
        "li4geo4", 63, (7.766, 7.357, 6.049, 90, 90, 90),
        (
            ({"Li": 1.0}, (0.150, 0.281, 0.75)), ({"Li": 1.0}, (0.157, 0.0, 0.0)), ({"Ge": 1.0}, (0.0, 0.336, 0.25)),
            ({"O": 1.0}, (0.0, 0.201, 0.007)), ({"O": 1.0}, (0.185, 0.472, 0.25)),
        ),
        "1x1x1", "OBELiX v1.2.0, entry dth",
    ),
    Crystal(
        "gamma-li3ps4", 31, (7.708, 6.535, 6.137, 90, 90, 90),
        (
            ({"Li": 1.0}, (0.227, 0.658, 0.518)), ({"Li": 1.0}, (0.0, 0.127, 0.463)), ({"P": 1.0}, (0.0, 0.811, 0.985)),
            ({"S": 1.0}, (0.210, 0.676, 0.884)), ({"S": 1.0}, (0.0, 0.119, 0.888)), ({"S": 1.0}, (0.0, 0.797, 0.320)),
        ),
        "2x1x1", "OBELiX v1.2.0, entry joc",
    ),
)  # fmt: skip

CRYSTALS = (
    *(nasicon(x) for x in range(4)),
    *(oxysulfide(x) for x in (0.0, 0.5, 1.0)),
    *(halide(indium, bromine) for indium, bromine in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5))),
    trigonal(0.5),
    *REFERENCES,
)
"""All crystals that the stand-in learns."""
