"""Detecting the format of a trajectory, and opening it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from superionic.errors import AnalysisError
from superionic.foreign import open_regular
from superionic.trajectories.reading.base import ReadingOptions, TrajectoryReader
from superionic.trajectories.reading.text import head

FORMATS = ("xdatcar", "vasprun", "lammps-dump", "extxyz", "ase-traj", "h5md", "xtc", "dcd")
"""Names of the formats."""

_WITHOUT_EFFECT = {
    "xdatcar": ("units", "timestep_fs"),
    "vasprun": ("units", "timestep_fs", "structure"),
    "lammps-dump": ("structure",),
    "extxyz": ("units",),
    "ase-traj": ("units", "timestep_fs", "structure"),
    "h5md": (),
    "xtc": ("units", "timestep_fs"),
    "dcd": ("units",),
}
_HDF5_MARK = b"\x89HDF\r\n\x1a\n"
_ENDINGS = {".extxyz": "extxyz", ".xyz": "extxyz", ".xtc": "xtc", ".dcd": "dcd", ".traj": "ase-traj", ".h5md": "h5md"}


def open_trajectory(
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002 - as in ASE
    options: ReadingOptions | None = None,
) -> TrajectoryReader:
    """Open a trajectory for reading, block by block.

    Parameters
    ----------
    path
        The file; text formats may be compressed (``.gz``, ``.bz2``, ``.xz``).
    format
        One of :data:`FORMATS`; detected from the first bytes and the name if None.
    options
        Information that the file may lack.

    Returns
    -------
    TrajectoryReader

    Raises
    ------
    AnalysisError
        If there is no such file, its format is unknown, its header is damaged, or it lacks information.
    """
    file = Path(path)
    try:
        open_regular(file).close()
    except FileNotFoundError:
        raise AnalysisError("There is no such file.", where=str(file), fix="Check its name.") from None
    except OSError as error:
        raise AnalysisError(
            f"The trajectory cannot be opened: {error.strerror or error}.", where=str(file)[:200], fix="Check its name."
        ) from error
    kind = format or guess_format(file)
    if kind not in FORMATS:
        raise AnalysisError(
            "The format of the trajectory is unknown." if format is None else f"There is no format {format[:40]!r}.",
            where=str(file),
            fix=f"Name it with --format: {', '.join(FORMATS)}.",
        )
    return _readers()[kind](file, options or ReadingOptions())


def without_effect(reader: TrajectoryReader, options: ReadingOptions) -> str:
    """Return a remark on given options that have no effect on this file; empty if there are none."""
    names = [name for name in _WITHOUT_EFFECT.get(reader.format, ()) if getattr(options, name) is not None]
    if options.elements and not set(options.elements) & set(reader.symbols):
        names.append("elements")
    called = {"timestep_fs": "--timestep-fs"}
    listed = ", ".join(called.get(name, f"--{name}") for name in names)
    return f"{listed} has no effect on {reader.format}" if names else ""


def guess_format(path: Path) -> str | None:  # noqa: PLR0911 - one return for each criterion
    """Return the format of a file by its first bytes, else by its name; None if neither is conclusive."""
    first = head(path)
    for mark, kind in ((_HDF5_MARK, "h5md"), (b"- of UlmASE-Trajectory", "ase-traj")):
        if first.startswith(mark):
            return kind
    if first[4:8] == b"CORD" or first[8:12] == b"CORD":
        return "dcd"
    if first[:4] in (b"\x00\x00\x07\xcb", b"\x00\x00\x07\xe7"):
        return "xtc"
    if b"ITEM: TIMESTEP" in first[:4096]:
        return "lammps-dump"
    if first.lstrip().startswith(b"<?xml") and b"<modeling" in first[:4096]:
        return "vasprun"
    lines = first.split(b"\n", 9)
    if len(lines) > 1 and lines[0].strip().isdigit() and b"=" in lines[1]:
        return "extxyz"
    if any(line.lstrip()[:7].lower() == b"direct " for line in lines[5:9]) or "XDATCAR" in path.name.upper():
        return "xdatcar"
    names = [suffix for suffix in path.suffixes if suffix.lower() in _ENDINGS]
    if names:
        return _ENDINGS[names[-1].lower()]
    from superionic.trajectories.reading.xdatcar import is_vasp4

    return "xdatcar" if is_vasp4(first) else None


def _readers() -> dict[str, Callable[[Path, ReadingOptions], TrajectoryReader]]:
    from superionic.trajectories.reading import binary
    from superionic.trajectories.reading.extxyz import ExtxyzReader
    from superionic.trajectories.reading.lammps_dump import LammpsDumpReader
    from superionic.trajectories.reading.vasprun import VasprunReader
    from superionic.trajectories.reading.xdatcar import XdatcarReader

    return {
        "xdatcar": XdatcarReader,
        "vasprun": VasprunReader,
        "lammps-dump": LammpsDumpReader,
        "extxyz": ExtxyzReader,
        "ase-traj": binary.AseTrajectoryReader,
        "h5md": binary.H5mdReader,
        "xtc": binary.XtcReader,
        "dcd": binary.DcdReader,
    }
