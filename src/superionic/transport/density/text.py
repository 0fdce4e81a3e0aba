"""Density maps in text formats of other programs: CHGCAR (VASP, VESTA, pymatgen) and cube (Gaussian, VESTA, ASE)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError

FloatArray = NDArray[np.float64]

BOHR_A = 0.529177210544
"""Bohr radius in Å (CODATA 2022)."""


def chgcar_text(
    density_per_A3: FloatArray,
    cell_A: FloatArray,
    symbols: Sequence[str] = (),
    positions_A: FloatArray | None = None,
    *,
    title: str = "probability density",
) -> str:
    """Write a density in VASP's CHGCAR form: density × cell volume, so that the mean of the numbers is its integral.

    Parameters
    ----------
    density_per_A3
        (a, b, c) in Å⁻³: :attr:`~superionic.transport.density.grid.Density.probability_per_A3` (integral 1) or
        ``ions_per_A3`` (integral: the number of ions).
    symbols, positions_A
        Atoms to show with it, such as the mean framework; (n, 3) in Å.

    Notes
    -----
    VASP's grid points are the corners of our voxels, so the map is shifted by half a voxel; the atoms are shifted by as
    much, so that values lie at the centres of voxels.
    """
    grid, cell, places = _checked(density_per_A3, cell_A, symbols, positions_A)
    volume = abs(float(np.linalg.det(cell)))
    fractional = places @ np.linalg.inv(cell) - 0.5 / np.array(grid.shape)
    kinds = list(dict.fromkeys(symbols))
    order = [k for kind in kinds for k, symbol in enumerate(symbols) if symbol == kind]
    if not kinds:  # readers require an atom: use a dummy at the origin
        kinds, order, fractional = ["X"], [0], np.zeros((1, 3))
        symbols = ["X"]
    lines = [title.splitlines()[0] if title else "density", "   1.00000000000000"]
    lines += ["".join(f" {x:21.16f}" for x in row) for row in cell]
    lines += [
        "  " + "  ".join(kinds),
        "  " + "  ".join(str(sum(s == kind for s in symbols)) for kind in kinds),
        "Direct",
    ]
    lines += ["".join(f" {x:19.16f}" for x in fractional[k] - np.floor(fractional[k])) for k in order]
    lines += ["", "  " + "  ".join(str(n) for n in grid.shape)]
    return "\n".join(lines) + "\n" + _columns((grid * volume).ravel(order="F"), 5, " % .11E")


def cube_text(
    density_per_A3: FloatArray,
    cell_A: FloatArray,
    symbols: Sequence[str] = (),
    positions_A: FloatArray | None = None,
    *,
    title: str = "probability density",
) -> str:
    """Write a density as a Gaussian cube file, in Bohr⁻³ and Bohr; its first point is the centre of the first voxel.

    Parameters are those of :func:`chgcar_text`.
    """
    from ase.data import atomic_numbers

    grid, cell, places = _checked(density_per_A3, cell_A, symbols, positions_A)
    steps = cell / np.array(grid.shape)[:, None] / BOHR_A
    origin = 0.5 * steps.sum(axis=0)
    lines = [title.splitlines()[0] if title else "density", "in Bohr^-3; made by superionic"]
    lines.append(f"{len(symbols):5d}" + "".join(f"{x:16.10f}" for x in origin))
    lines += [f"{n:5d}" + "".join(f"{x:16.10f}" for x in step) for n, step in zip(grid.shape, steps, strict=True)]
    for symbol, place in zip(symbols, places / BOHR_A, strict=True):
        lines.append(f"{atomic_numbers[symbol]:5d}{0.0:16.10f}" + "".join(f"{x:16.10f}" for x in place))
    head = "\n".join(lines) + "\n"
    rows = (grid * BOHR_A**3).reshape(-1, grid.shape[2])
    return head + "".join(_columns(row, 6, " %.10E") for row in rows)


def _checked(
    density: FloatArray, cell_A: FloatArray, symbols: Sequence[str], positions_A: FloatArray | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    grid, cell = np.asarray(density, dtype=np.float64), np.asarray(cell_A, dtype=np.float64)
    places = np.zeros((0, 3)) if positions_A is None else np.asarray(positions_A, dtype=np.float64)
    if grid.ndim != 3 or cell.shape != (3, 3) or places.shape != (len(symbols), 3):
        raise AnalysisError(
            f"A map has a grid (a, b, c), a cell (3, 3) and one place for each symbol, not {grid.shape}, {cell.shape}, "
            f"{places.shape} and {len(symbols)} symbols."
        )
    return grid, cell, places


def _columns(values: FloatArray, width: int, form: str) -> str:
    whole = len(values) // width * width
    body = (form * width + "\n") * (whole // width) % tuple(values[:whole])
    rest = values[whole:]
    return body + ((form * len(rest) + "\n") % tuple(rest) if len(rest) else "")
