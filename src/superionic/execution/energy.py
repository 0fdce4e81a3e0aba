"""Energy that processors and memory use, from the counters of the machine (RAPL, by Linux's ``powercap``).

Counters are those of the whole machine: other programs are part of what they show. Many systems let only
root read them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

POWERCAP: Final = Path("/sys/class/powercap")
READ_EVERY_S: Final = 60.0
"""Counters return to zero after some minutes at full power, so they are read more often than that."""

_PER_JOULE: Final = 1e6


@dataclass(frozen=True)
class Counters:
    """Readings of all counters.

    Attributes
    ----------
    microjoules
        Reading of each counter, by the name of its folder.
    ranges_microjoules
        Value at which each returns to zero.
    reason
        Why there are none; empty if there are some.
    """

    microjoules: Mapping[str, int]
    ranges_microjoules: Mapping[str, int]
    reason: str = ""


def read_counters(root: Path = POWERCAP) -> Counters:
    """Read the counters of processor packages, and of memory, which packages do not include."""
    readings: dict[str, int] = {}
    ranges: dict[str, int] = {}
    try:
        zones = sorted(zone for zone in root.iterdir() if zone.name.startswith("intel-rapl:"))
    except OSError:
        zones = []
    if not zones:
        return Counters({}, {}, "this machine shows no energy counters (RAPL)")
    for zone in zones:
        try:
            name = (zone / "name").read_text().strip()
            if name.startswith("package") or name == "dram":
                readings[zone.name] = int((zone / "energy_uj").read_text())
                ranges[zone.name] = int((zone / "max_energy_range_uj").read_text())
        except PermissionError:
            return Counters({}, {}, "only root may read the energy counters (RAPL) of this machine")
        except (OSError, ValueError):
            continue
    return Counters(readings, ranges, "" if readings else "this machine shows no energy counters (RAPL) of packages")


def joules_between(before: Counters, after: Counters) -> float:
    """Return the energy used between two readings, each counter having returned to zero at most once."""
    total = 0
    for name, late in after.microjoules.items():
        if name in before.microjoules:
            used = late - before.microjoules[name]
            total += used if used >= 0 else used + after.ranges_microjoules[name]
    return total / _PER_JOULE


@contextmanager
def metered(note: Callable[[float], None], *, root: Path = POWERCAP, every_s: float = READ_EVERY_S) -> Iterator[None]:
    """Report, about every minute and at the end, the joules used since the last report; nothing without counters."""
    last = read_counters(root)
    if last.reason:
        yield
        return
    over = threading.Event()

    def report() -> None:
        nonlocal last
        now = read_counters(root)
        if not now.reason:
            note(joules_between(last, now))
            last = now

    def watch() -> None:
        while not over.wait(every_s):
            report()

    thread = threading.Thread(target=watch, name="energy", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        report()
