"""Writers of trajectory files with known contents, in plain text, for the benchmark and the tests of the readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SYMBOLS = ("Li",) * 4 + ("Y",) * 2 + ("Cl",) * 6
TRICLINIC = np.array([[9.0, 0.0, 0.0], [2.5, 8.0, 0.0], [-1.5, 1.0, 10.0]])


def walk(n_frames: int, n_atoms: int = len(SYMBOLS), *, seed: int = 0, step: float = 0.02) -> np.ndarray:
    """Unwrapped fractional positions (n_frames, n_atoms, 3) that go out of the cell."""
    rng = np.random.default_rng(seed)
    return rng.random((n_atoms, 3)) + np.cumsum(rng.normal(0.0, step, (n_frames, n_atoms, 3)), axis=0)


def breathing(cell: np.ndarray, n_frames: int, *, amplitude: float = 0.02, seed: int = 1) -> np.ndarray:
    """Cells (n_frames, 3, 3) that change from frame to frame, and stay lower triangular as LAMMPS has them."""
    rng = np.random.default_rng(seed)
    scale = 1.0 + amplitude * rng.normal(0.0, 1.0, (n_frames, 3))
    return np.tril(cell * scale[:, :, None])


def counts(symbols: tuple[str, ...]) -> tuple[list[str], list[int]]:
    kinds: list[str] = []
    numbers: list[int] = []
    for symbol in symbols:
        if kinds and kinds[-1] == symbol:
            numbers[-1] += 1
        else:
            kinds.append(symbol)
            numbers.append(1)
    return kinds, numbers


def xdatcar(path: Path, fractional: np.ndarray, cells: np.ndarray, symbols=SYMBOLS, *, elements: bool = True) -> Path:
    """VASP 5 form; the head stands before each frame where the cell changes. Without elements: VASP 4 style head."""
    kinds, numbers = counts(symbols)
    changing = cells.ndim == 3
    lines: list[str] = []
    for k, frame in enumerate(fractional % 1.0):
        if k == 0 or changing:
            cell = cells[k] if changing else cells
            lines += ["made by a test", "           1"]
            lines += [f"  {a:12.6f}{b:12.6f}{c:12.6f}" for a, b, c in cell]
            lines += ["   " + "   ".join(kinds)] if elements else []
            lines += ["  " + "  ".join(map(str, numbers))]
        lines.append(f"Direct configuration={k + 1:6d}")
        lines += [f"  {a:11.8f} {b:11.8f} {c:11.8f}" for a, b, c in frame]
    path.write_text("\n".join(lines) + "\n")
    return path


def lammps_dump(
    path: Path,
    fractional: np.ndarray,
    cells: np.ndarray,
    symbols=SYMBOLS,
    *,
    columns: str = "id type x y z",
    every: int = 100,
    origin=(0.5, -1.0, 2.0),
    seed: int = 3,
) -> Path:
    """Write a dump with atoms in an order that changes; ``columns`` as in LAMMPS."""
    rng = np.random.default_rng(seed)
    kinds = list(dict.fromkeys(symbols))
    lines: list[str] = []
    for k, unwrapped in enumerate(fractional):
        cell = cells[k] if cells.ndim == 3 else cells
        image = np.floor(unwrapped)
        scaled = unwrapped - image
        xlo, ylo, zlo = origin
        xhi, yhi, zhi = np.array(origin) + np.diag(cell)
        xy, xz, yz = cell[1, 0], cell[2, 0], cell[2, 1]
        bounds = [
            (xlo + min(0.0, xy, xz, xy + xz), xhi + max(0.0, xy, xz, xy + xz), xy),
            (ylo + min(0.0, yz), yhi + max(0.0, yz), xz),
            (zlo, zhi, yz),
        ]
        lines += ["ITEM: TIMESTEP", str(k * every), "ITEM: NUMBER OF ATOMS", str(len(symbols))]
        lines += ["ITEM: BOX BOUNDS xy xz yz pp pp pp", *[f"{a:.16e} {b:.16e} {c:.16e}" for a, b, c in bounds]]
        lines += [f"ITEM: ATOMS {columns}"]
        inside, outside = scaled @ cell + origin, unwrapped @ cell + origin
        values = {
            **{f"{'xyz'[i]}": inside[:, i] for i in range(3)},
            **{f"{'xyz'[i]}u": outside[:, i] for i in range(3)},
            **{f"{'xyz'[i]}s": scaled[:, i] for i in range(3)},
            **{f"{'xyz'[i]}su": unwrapped[:, i] for i in range(3)},
        }
        for atom in rng.permutation(len(symbols)):
            words = []
            for name in columns.split():
                if name == "id":
                    words.append(str(3 * atom + 1))
                elif name == "type":
                    words.append(str(kinds.index(symbols[atom]) + 1))
                elif name == "element":
                    words.append(symbols[atom])
                elif name in ("ix", "iy", "iz"):
                    words.append(str(int(image[atom, "xyz".index(name[1])])))
                elif name == "mass":
                    words.append({"Li": "6.94", "Y": "88.906", "Cl": "35.45"}[symbols[atom]])
                else:
                    words.append(f"{values[name][atom]:.12g}")
            lines.append(" ".join(words))
    path.write_text("\n".join(lines) + "\n")
    return path


def extxyz(path: Path, fractional: np.ndarray, cells: np.ndarray, symbols=SYMBOLS) -> Path:
    """With velocities between species and positions, as some programs write them."""
    lines: list[str] = []
    for k, frame in enumerate(fractional % 1.0):
        cell = cells[k] if cells.ndim == 3 else cells
        lattice = " ".join(f"{x:.10f}" for x in cell.ravel())
        lines += [str(len(symbols)), f'Lattice="{lattice}" Properties=species:S:1:vel:R:3:pos:R:3 pbc="T T T"']
        lines += [
            f"{s} 0.1 0.2 0.3 {x:.10f} {y:.10f} {z:.10f}" for s, (x, y, z) in zip(symbols, frame @ cell, strict=True)
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


def vasprun(path: Path, fractional: np.ndarray, cells: np.ndarray, symbols=SYMBOLS, *, potim: float = 2.0) -> Path:
    """Write the parts of a vasprun.xml that matter here, in the shape that VASP gives them."""

    def vectors(name: str, rows: np.ndarray) -> list[str]:
        return [
            f'   <varray name="{name}" >',
            *[f"    <v> {a:15.8f} {b:15.8f} {c:15.8f} </v>" for a, b, c in rows],
            "   </varray>",
        ]

    lines = [
        '<?xml version="1.0" encoding="ISO-8859-1"?>',
        "<modeling>",
        " <atominfo>",
        f"  <atoms> {len(symbols)} </atoms>",
    ]
    lines += ['  <array name="atoms" >', "   <set>"]
    lines += [f"    <rc><c>{s:2s}</c><c>   1</c></rc>" for s in symbols]
    lines += ["   </set>", "  </array>", " </atominfo>", f' <parameters><i name="POTIM">      {potim:10.8f}</i>']
    lines += [' <i type="int" name="IBRION">     0</i></parameters>', ' <structure name="initialpos" >']
    lines += (
        vectors("basis", cells[0] if cells.ndim == 3 else cells)
        + vectors("positions", fractional[0])
        + [" </structure>"]
    )
    for k, frame in enumerate(fractional % 1.0):
        lines += [" <calculation>", "  <structure>", "   <crystal>"]
        lines += [*vectors("basis", cells[k] if cells.ndim == 3 else cells), "   </crystal>"]
        lines += [*vectors("positions", frame), "  </structure>", *vectors("forces", 0.0 * frame), " </calculation>"]
    path.write_text("\n".join([*lines, "</modeling>"]) + "\n")
    return path
