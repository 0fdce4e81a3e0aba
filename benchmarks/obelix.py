"""Enumerate every crystal of a folder of refined CIFs: what comes out, how long it takes, and whether it is right.

Run with ``python benchmarks/obelix.py FOLDER [--limit N] [--table FILE.md]``. Each crystal is counted in its own
cell, as ``superionic enumerate FILE --count`` does; where no neutral composition fits, in the smallest supercell that
has one (``--supercell auto``). One ordering of each is then drawn and checked by ASE alone: neutral, and no two atoms
closer than the stated distances if one of them could be elsewhere. Times are wall seconds a crystal; memory is the peak
of the whole process.

With ``--table`` a Markdown table of the outcomes is written, as in docs/obelix.md.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.neighborlist import neighbor_list

from superionic.enumeration.request import enumerate_orderings
from superionic.enumeration.result import EnumeratedPoint
from superionic.errors import SuperionicError
from superionic.structures.orderings.exclusions import HYDROGEN, OPPOSITE_CHARGES, TWO_HYDROGENS


@dataclass(frozen=True)
class Outcome:
    """What became of one crystal."""

    file: str
    seconds: float
    what: str
    detail: str
    distinct: int | None = None
    cells: int = 0
    exclusions: int = 0
    closest_A: float = 0.0
    lost: str = ""


def close_contacts(point: EnumeratedPoint, min_distance_A: float = 1.5) -> tuple[int, float]:
    """Count the pairs that are too close although one atom could be elsewhere; and find the shortest distance."""
    counted = point.counted
    (atoms,) = point.atoms({})
    charges = {s: np.sign(q) for s, q in counted.oxidation_states.items()}
    # Which atoms come from sites that can be vacant; to_atoms sorts by species, then by site.
    free = {tuple(np.round(x % 1.0, 5) % 1.0) for x in counted.space.sites.fractional[counted.space.members]}
    movable = np.array([tuple(np.round(x % 1.0, 5) % 1.0) in free for x in atoms.get_scaled_positions()])
    i, j, d = neighbor_list("ijd", atoms, min_distance_A)
    symbols = np.array(atoms.get_chemical_symbols())
    bad = 0
    for a, b, distance in zip(i, j, d, strict=True):
        factor = 1.0
        if symbols[a] == symbols[b] == "H":
            factor = TWO_HYDROGENS
        elif "H" in (symbols[a], symbols[b]):
            factor = HYDROGEN
        elif charges[symbols[a]] == -charges[symbols[b]]:
            factor = OPPOSITE_CHARGES
        if a < b and distance < min_distance_A * factor - 1e-6 and (movable[a] or movable[b]):
            bad += 1
    shortest = neighbor_list("d", atoms, 4.0)
    return bad, float(shortest.min()) if len(shortest) else np.inf


def enumerate_one(file: Path) -> Outcome:
    start = time.perf_counter()
    refusal = ""
    for supercell in ("1x1x1", "auto"):
        try:
            counted = enumerate_orderings(file, supercell=supercell)
            seconds = time.perf_counter() - start
            drawn = enumerate_orderings(file, supercell=supercell, sample_draws=1)
        except SuperionicError as error:
            seconds = time.perf_counter() - start
            refusal = refusal or f"{error.message} {error.fix or ''}"
            continue
        (point,) = drawn.points
        space = point.counted.space
        charge = sum(n * counted.points[0].counted.oxidation_states[s] for s, n in space.composition.totals.items())
        bad, closest = close_contacts(point)
        # Averages of mixed valence, such as Fe 2.667, are met to a few hundredths of a charge.
        averaged = any(q != round(q) for q in counted.points[0].counted.oxidation_states.values())
        if abs(charge) > (0.05 if averaged else 1e-9) or bad:
            return Outcome(file.name, seconds, "WRONG", f"charge {charge:g}, {bad} contacts")
        plan = counted.points[0].counted.plan.method
        where = "its own cell" if supercell == "1x1x1" else "a supercell"
        return Outcome(
            file.name, seconds, f"neutral orderings in {where}", f"plan: {plan}", point.counted.distinct,
            space.sites.supercell.multiplicity, len(space.exclusions), closest, space.composition.loss,
        )  # fmt: skip
    return Outcome(file.name, seconds, "refused", refusal)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--table", type=Path, default=None)
    options = parser.parse_args()
    files = sorted(options.folder.glob("*.cif"))[: options.limit]
    outcomes = []
    crashes = []
    for file in files:
        try:
            outcomes.append(enumerate_one(file))
        except Exception as error:  # noqa: BLE001 - a crash is an outcome to be counted
            crashes.append((file.name, repr(error)))
    memory_MB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    kinds = Counter((o.what, o.detail if o.what.startswith("neutral") else "") for o in outcomes)
    lines = ["| outcome | plan | crystals |", "|---|---|---|"]
    lines += [f"| {what} | {detail.removeprefix('plan: ')} | {n} |" for (what, detail), n in sorted(kinds.items())]
    lines += [f"| crashed | | {len(crashes)} |", ""]
    good = [o for o in outcomes if o.what.startswith("neutral")]
    seconds = sorted(o.seconds for o in outcomes)
    lines.append(
        f"{len(files)} crystals: {len(good)} with neutral orderings ({sum(o.exclusions > 0 for o in good)} of them "
        f"with sites that exclude each other), {sum(o.what == 'refused' for o in outcomes)} refused, "
        f"{sum(o.what == 'WRONG' for o in outcomes)} wrong, {len(crashes)} crashed. Species are lost, and named, in "
        f"{sum(bool(o.lost) for o in good)}. "
        f"Seconds a crystal: median {seconds[len(seconds) // 2]:.2f}, longest {seconds[-1]:.2f}. "
        f"Peak memory {memory_MB:.0f} MB. Largest space counted exactly: "
        f"{max(o.distinct or 0 for o in good):.3g} distinct orderings."
    )
    refused = [o for o in outcomes if o.what in {"refused", "WRONG"}]
    if refused:
        lines += ["", "| crystal | why |", "|---|---|"]
        lines += [f"| {o.file} | {o.detail} |" for o in refused]
    lines += [f"{name}: {error}" for name, error in crashes]
    text = "\n".join(lines)
    print(text)
    if options.table is not None:
        options.table.write_text(text + "\n", encoding="utf-8")
    return int(bool(crashes) or any(o.what == "WRONG" for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
