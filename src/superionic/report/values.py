"""Reading `results` with tolerance: any stage may be missing, any number may be unknown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

import numpy as np

from superionic.report.words import formula_text

Record = Mapping[str, Any]

STAGES: Final = (
    "enumerate",
    "rank",
    "hull",
    "select",
    "sample",
    "label",
    "train",
    "validate",
    "distil",
    "transport",
    "analyse",
)
"""The stages in the order of the workflow."""


def plain(value: Any, place: str = "results") -> Any:  # noqa: PLR0911 - one return for each kind of value
    """Return a copy of `value` made of JSON values only.

    Numbers that are not finite (an unbounded interval, a missing measurement) become ``None``, because JSON has no
    word for them; numpy scalars and arrays become numbers and lists.

    Raises
    ------
    TypeError
        Something in `value` is not data; `place` names it.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), place)
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Sequence | frozenset | set):
        items: Iterable[Any] = sorted(value, key=repr) if isinstance(value, frozenset | set) else value
        return [plain(item, f"{place}[{index}]") for index, item in enumerate(items)]
    raise TypeError(f"{place} is a {type(value).__name__}, which cannot stand in results.json")


class Results:
    """A tolerant, read-only view of what ``results.json`` holds.

    Parameters
    ----------
    raw
        The results of a campaign; it is copied as plain JSON values.
    """

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw: dict[str, Any] = plain(raw)

    @property
    def campaign(self) -> str:
        """Name of the campaign."""
        return str(self.raw.get("campaign") or "unnamed campaign")

    @property
    def version(self) -> str:
        """Version of superionic that made the results."""
        return str(self.raw.get("superionic") or "unknown")

    def has(self, stage: str) -> bool:
        """Whether the stage left a result."""
        return bool(self.stage(stage))

    def stage(self, name: str) -> Record:
        """Return the result of one stage; empty if it did not run."""
        found = (self.raw.get("stages") or {}).get(name)
        return found if isinstance(found, dict) else {}

    def records(self, stage: str, key: str) -> list[Record]:
        """Return a list of records of one stage; empty if there are none."""
        return records(self.stage(stage), key)

    def top(self, key: str) -> list[Any]:
        """Return a list at the top level of the results (also looked for under ``stages``); empty if missing."""
        for place in (self.raw, self.raw.get("stages") or {}):
            found = place.get(key)
            if isinstance(found, list) and found:
                return found
        return []

    def labels_by_id(self) -> dict[str, str]:
        """Return a readable name for every id: the formula, with the crystal and the id where several share it."""
        seen: dict[str, tuple[str, str]] = {}
        sources = (("rank", "entries"), ("hull", "entries"), ("analyse", "arrhenius"), ("analyse", "runs"))
        for stage, key in sources:
            for record in self.records(stage, key):
                identity = text(record, "id")
                known = seen.get(identity, ("", ""))
                seen[identity] = (known[0] or text(record, "formula"), known[1] or text(record, "crystal"))
        names: dict[str, str] = {}
        transported = {text(item, "id") for key in ("arrhenius", "runs") for item in self.records("analyse", key)}
        for identity, (formula, crystal) in seen.items():
            # Names must tell apart what stands together in a figure: the ids that were carried on to transport.
            rivals = [other for other in transported | {identity} if seen.get(other, ("",))[0] == formula]
            same_crystal = [other for other in rivals if seen[other][1] == crystal]
            if not formula:
                names[identity] = identity
            elif len(rivals) == 1:
                names[identity] = formula_text(formula)
            elif crystal and len(same_crystal) == 1:
                names[identity] = f"{formula_text(formula)} ({crystal})"
            else:
                names[identity] = f"{formula_text(formula)} · {identity}"
        return names


def records(parent: Record | None, key: str) -> list[Record]:
    """Return the list of records under `key`; empty if missing."""
    found = (parent or {}).get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def mapping(parent: Record | None, key: str) -> Record:
    """Return the mapping under `key`; empty if missing."""
    found = (parent or {}).get(key)
    return found if isinstance(found, dict) else {}


def real(parent: Record | None, key: str) -> float | None:
    """Return the number under `key`, or None."""
    found = (parent or {}).get(key)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def whole(parent: Record | None, key: str) -> int | None:
    """Return the whole number under `key`, or None."""
    found = real(parent, key)
    return None if found is None else int(found)


def text(parent: Record | None, key: str, default: str = "") -> str:
    """Return the text under `key`, or `default`."""
    found = (parent or {}).get(key)
    return default if found is None else str(found)


def numbers(parent: Record | None, key: str) -> list[float | None]:
    """Return the list of numbers under `key`, with None where one is unknown; empty if missing."""
    found = (parent or {}).get(key)
    if not isinstance(found, list):
        return []
    return [float(item) if isinstance(item, int | float) and not isinstance(item, bool) else None for item in found]


def flat_numbers(parent: Record | None, key: str) -> list[float | None]:
    """Return the numbers under `key`, however deeply nested the list, in reading order."""
    found = (parent or {}).get(key)
    out: list[float | None] = []

    def walk(item: Any) -> None:
        if isinstance(item, list):
            for child in item:
                walk(child)
        else:
            out.append(float(item) if isinstance(item, int | float) and not isinstance(item, bool) else None)

    if isinstance(found, list):
        walk(found)
    return out


def bounds(parent: Record | None, key: str) -> tuple[float | None, float | None]:
    """Return an interval ``[low, high]``; an end that is not known or not finite is None."""
    found = numbers(parent, key)
    return (found[0], found[1]) if len(found) == 2 else (None, None)


def thin(n: int, most: int) -> list[int]:
    """Return at most `most` indices of ``range(n)``, evenly spread, with both ends."""
    if n <= most:
        return list(range(n))
    return sorted({round(index * (n - 1) / (most - 1)) for index in range(most)})


def thin_log(n: int, most: int) -> list[int]:
    """Return at most `most` indices of ``range(n)``, evenly spread on a logarithmic axis, with both ends."""
    if n <= most:
        return list(range(n))
    spread = np.geomspace(1, n, most)
    return sorted({round(position) - 1 for position in spread.tolist()})
