"""The LAMMPS log next to a dump: units, time step and temperature of the run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from superionic.foreign import open_regular

LOG = "log.lammps"
"""Default name of the LAMMPS log."""

_MOST_BYTES = 2_000_000_000
_LONGEST_LINE = 10_000
_MOST_RUNS = 100_000
_SAME_TEMPERATURE_K = 0.5
_TIMESTEPS = {
    "metal": 0.001, "real": 1.0, "si": 1.0e-8, "cgs": 1.0e-8, "electron": 0.001, "micro": 2.0, "nano": 0.00045,
}  # fmt: skip
"""Default time steps in units of time (https://docs.lammps.org/units.html)."""
_SUFFIXES = ("/omp", "/gpu", "/kk", "/intel", "/opt")
# Position of the start and end temperatures after the style of a fix.
_THERMOSTATS = {
    "langevin": 0, "temp/berendsen": 0, "temp/csvr": 0, "temp/csld": 0, "temp/rescale": 1,
}  # fmt: skip


@dataclass(frozen=True)
class LammpsRun:
    """The runs that wrote a dump, according to their log.

    Attributes
    ----------
    units
        LAMMPS units; None if no log states that it wrote the dump.
    timestep
        Time step in these units; None if it was changed during the run.
    temperature_K
        Temperature of all thermostats; None if there are none, or if it was changed.
    words
        Remarks on the runs.
    """

    units: str | None = None
    timestep: float | None = None
    temperature_K: float | None = None
    words: tuple[str, ...] = ()


def beside(path: Path) -> LammpsRun:
    """Read ``log.lammps`` in the folder of a dump, if it has the command that wrote the file of this name."""
    try:
        with open_regular(path.parent / LOG, _MOST_BYTES) as file:
            return of_log(_lines(file), path.name)
    except OSError:
        return LammpsRun()


def _lines(file: Iterable[bytes]) -> Iterable[str]:
    """Yield the commands: lines that begin with a word, continued ones as one, comments left out."""
    held = ""
    for raw in file:
        if not (held or raw[:1].isalpha()) or len(raw) > _LONGEST_LINE:
            continue
        line = held + raw.decode("latin-1").split("#", 1)[0].strip()
        held = line[:-1] + " " if line.endswith("&") and len(line) < _LONGEST_LINE else ""
        if not held:
            yield line


@dataclass
class _State:
    """The settings in force at a position in the log."""

    units: str = "lj"
    timestep: float | None = None
    dumps: dict[str, str] = field(default_factory=dict)
    held: dict[str, tuple[float, float]] = field(default_factory=dict)


def of_log(lines: Iterable[str], dump: str) -> LammpsRun:
    """Follow the commands of a log, and collect the settings in force while it wrote the dump.

    A command with a variable is skipped: LAMMPS writes it again with the value substituted.

    Parameters
    ----------
    dump
        Name of the dump.
    """
    state = _State()
    runs: set[tuple[str, float | None, tuple[tuple[float, float], ...]]] = set()
    for line in lines:
        words = line.split()
        if not words or "$" in line:
            continue
        if words[0] == "clear":
            state = _State()
        elif words[0] == "units" and len(words) > 1:
            state.units, state.timestep = words[1], _TIMESTEPS.get(words[1])
        elif words[0] == "timestep" and len(words) > 1:
            state.timestep = _number(words[1])
        elif words[0] == "dump" and len(words) > 5:
            state.dumps[words[1]] = words[5].rsplit("/", 1)[-1]
        elif words[0] == "undump" and len(words) > 1:
            state.dumps.pop(words[1], None)
        elif words[0] == "unfix" and len(words) > 1:
            state.held.pop(words[1], None)
        elif words[0] == "fix" and len(words) > 3:
            state.held.pop(words[1], None)
            if (ends := _thermostat(words[3], words[4:])) is not None:
                state.held[words[1]] = ends
        elif words[0] == "run" and dump in state.dumps.values() and len(runs) < _MOST_RUNS:
            runs.add((state.units, state.timestep, tuple(sorted(set(state.held.values())))))
    return _of_runs(runs)


def _of_runs(runs: set[tuple[str, float | None, tuple[tuple[float, float], ...]]]) -> LammpsRun:
    units = {each for each, _, _ in runs}
    if len(units) != 1:
        return LammpsRun()
    steps = {each for _, each, _ in runs}
    ends = sorted({end for _, _, held in runs for both in held for end in both})
    words = []
    step = next(iter(steps)) if len(steps) == 1 else None
    if len(steps) > 1:
        words.append(f"{LOG} next to it names several time steps: none was taken from it")
    known = bool(ends) and all(held for _, _, held in runs) and all(math.isfinite(end) for end in ends)
    if known and ends[-1] - ends[0] > _SAME_TEMPERATURE_K:
        words.append(f"{LOG} next to it says {ends[0]:g} to {ends[-1]:g} K: no temperature was taken from it")
    held = known and ends[-1] - ends[0] <= _SAME_TEMPERATURE_K and ends[0] > 0.0
    return LammpsRun(
        next(iter(units)),
        step if step is not None and step > 0.0 else None,
        ends[0] if held else None,
        tuple(words),
    )


def _thermostat(style: str, arguments: list[str]) -> tuple[float, float] | None:
    """Return the start and end temperatures of a fix; None if it is not a thermostat, NaN if not given as numbers."""
    for suffix in _SUFFIXES:
        style = style.removesuffix(suffix)
    place: int | None = None
    if style in ("nvt", "npt"):
        place = arguments.index("temp") + 1 if "temp" in arguments else None
    elif style in _THERMOSTATS:
        place = _THERMOSTATS[style]
    if place is None:
        return None
    ends = [_number(word) for word in arguments[place : place + 2]]
    first, last = (math.nan if end is None else end for end in [*ends, None, None][:2])
    return first, last


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
