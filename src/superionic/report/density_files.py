"""Files of density maps for other programs, in the folder of a report."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from superionic.transport.density.map import DensityMap
from superionic.transport.density.text import chgcar_text, cube_text

_TITLE: Final = "probability density of the mobile ions, integral 1"


def _names(path: str) -> tuple[str, str]:
    """Return the paths of the files of a density: cube (Gaussian), and CHGCAR (VASP; the ending is for VESTA)."""
    folder, slash, name = path.rpartition("/")
    return f"{path}.cube", f"{folder}{slash}CHGCAR_{name}.vasp"


def written_files(path: str, files: Collection[str]) -> tuple[str, ...]:
    """Return those of the files of a density that are among the files of a report."""
    return tuple(name for name in _names(path) if name in files)


def density_files(path: str, density: DensityMap, grid: NDArray[np.floating]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the files of a density on its full grid (a, b, c), ∫P = 1, with the mean framework.

    Parameters
    ----------
    path
        Path of both within the report, without the ending.
    """
    symbols = [site.symbol for site in density.framework]
    positions = np.array([site.position_A for site in density.framework], dtype=np.float64).reshape(-1, 3)
    values, cell = np.asarray(grid, dtype=np.float64), np.asarray(density.cell_A)
    for file, text in zip(_names(path), (cube_text, chgcar_text), strict=True):
        yield file, text(values, cell, symbols, positions, title=_TITLE).encode()
