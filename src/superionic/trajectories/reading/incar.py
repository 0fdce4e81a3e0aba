"""The INCAR next to an XDATCAR: the time between frames and the temperature of the run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from superionic.foreign import read_regular

LONGEST_STEP_FS = 1.0e6
"""Longest plausible time step."""

_MOST_BYTES = 1_000_000
_SAME_TEMPERATURE_K = 0.5
_STATEMENT = re.compile(r"\s*([A-Za-z_0-9]+)\s*=\s*(\S.*?)\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class VaspRun:
    """VASP settings of a run of molecular dynamics.

    Attributes
    ----------
    frame_ps
        Time between the frames of the XDATCAR; None if unknown.
    steps_a_frame
        Steps between them.
    temperature_K
        Temperature at which the run was held; None if unknown.
    words
        Remarks on the settings.
    """

    frame_ps: float | None = None
    steps_a_frame: int = 1
    temperature_K: float | None = None
    words: tuple[str, ...] = ()


def beside(path: Path) -> VaspRun:
    """Read the INCAR in the folder of a file called XDATCAR (or XDATCAR.gz …).

    The INCAR gives the time step, POTIM, and the number of steps between frames, the larger of NBLOCK and ML_OUTBLOCK
    (https://www.vasp.at/wiki/index.php/ML_OUTBLOCK). An XDATCAR of another name may belong to another run: then nothing
    is read.

    Parameters
    ----------
    path
        Path of the XDATCAR.
    """
    if path.name.split(".")[0] != "XDATCAR":
        return VaspRun()
    try:
        tags = read_tags(read_regular(path.parent / "INCAR", _MOST_BYTES).decode("utf-8", "replace"))
    except OSError:
        return VaspRun()

    def number(tag: str) -> float | None:
        return _number(tags.get(tag))

    if number("IBRION") not in (None, 0.0) or number("POTIM") is None:
        return VaspRun()
    temperature, words = held_temperature(number)
    potim, block, sparse = number("POTIM"), number("NBLOCK") or 1.0, number("ML_OUTBLOCK")
    if potim is None or not 0.0 < potim <= LONGEST_STEP_FS:
        return VaspRun(temperature_K=temperature, words=tuple(words))
    learned = tags.get("ML_LMLFF", "").strip(". ").upper().startswith("T")
    if learned and sparse is None:  # its default differs from version to version
        words.append("the INCAR next to it names no ML_OUTBLOCK: the time between frames was not taken from it")
        return VaspRun(temperature_K=temperature, words=tuple(words))
    steps = round(max(block, sparse or 1.0 if learned else 1.0, 1.0))
    return VaspRun(potim * steps * 1.0e-3, steps, temperature, tuple(words))


def read_tags(text: str) -> Mapping[str, str]:
    """Return the tags of an INCAR in capitals, with their values; the first occurrence counts, as in VASP."""
    tags: dict[str, str] = {}
    lines = [re.split("[#!]", line, maxsplit=1)[0].rstrip() for line in text.splitlines()]
    for statement in "\n".join(lines).replace("\\\n", " ").replace(";", "\n").split("\n"):
        if (match := _STATEMENT.match(statement)) is not None:
            tags.setdefault(match.group(1).upper(), match.group(2))
    return tags


def held_temperature(number: Callable[[str], float | None]) -> tuple[float | None, list[str]]:
    """Return the temperature at which a VASP run was held, if it was, and remarks on it.

    Parameters
    ----------
    number
        Function from a tag to its value.
    """
    begin, end = number("TEBEG"), number("TEEND")
    if begin is None or begin <= 0.0:
        return None, []
    if end is not None and end > 0.0 and abs(end - begin) > _SAME_TEMPERATURE_K:
        return None, [f"the run went from {begin:g} to {end:g} K (TEBEG, TEEND): no temperature was taken from it"]
    algorithm, mass = number("MDALGO"), number("SMASS")
    if algorithm in (None, 0.0) and mass is not None and mass <= -3.0:
        return begin, ["a run without a thermostat (SMASS = -3): TEBEG is the temperature that it began with"]
    return begin, []


def _number(text: str | None) -> float | None:
    try:
        value = math.nan if text is None else float(text.split()[0].lower().replace("d", "e"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
