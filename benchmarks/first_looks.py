"""First looks at many crystals, beside their measured conductivities and how often the class is right.

Run with ``python benchmarks/first_looks.py FOLDER [TABLE.csv] [--every 4] [--first 0] [--plan] [--work F]``. FOLDER
holds refined CIFs, named by the column ``ID`` of the table, which has measured conductivities at room temperature in
S/cm in the column ``Ionic conductivity (S cm-1)`` ("<1E-10" is a bound). Each crystal is tried as ``superionic try
FILE`` does; with ``--plan`` nothing is run. ``--work`` keeps the runs, so that a second call goes on from the first.

The potential is NEP89 (``superionic engines install nep89``).
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from superionic.campaign.trial import Trial
from superionic.errors import SuperionicError

COLUMN = "Ionic conductivity (S cm-1)"
CLASSES = ((1e-4, "1e-4 and more"), (1e-6, "1e-6 to 1e-4"), (1e-8, "1e-8 to 1e-6"), (0.0, "below 1e-8"))


def measured(path: Path) -> dict[str, float]:
    """Return ID → conductivity in S/cm; a bound counts as its value."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row["ID"]: float(row[COLUMN].strip().lstrip("<")) for row in rows if row[COLUMN].strip()}


def look(file: Path, folder: Path, *, plan: bool) -> tuple[str, str]:
    """Try one crystal: a verdict or "refused", and the reason."""
    try:
        trial = Trial(file, folder=folder)
        if plan:
            made = trial.plan()
            return "planned", f"{made.spaces[0].formula}, {60 * made.cpu_hours:.1f} min of CPU time"
        seen = trial.run()
    except SuperionicError as error:
        return "refused", f"{error.message} {error.fix or ''}"
    return seen.verdict, seen.reason


def main() -> int:
    """Try the crystals, print a line for each and the table of classes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("table", type=Path, nargs="?", help="without it no conductivity is known")
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--work", type=Path, default=None)
    options = parser.parse_args()
    conductivities = {} if options.table is None else measured(options.table)
    files = sorted(options.folder.glob("*.cif"))[options.first :: options.every][: options.limit]
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        for file in files:
            value = conductivities.get(file.stem)
            name = "unknown" if value is None else next(name for least, name in CLASSES if value >= least)
            start = time.perf_counter()
            verdict, reason = look(file, work / file.stem, plan=options.plan)
            counts[name, verdict] += 1
            known = "" if value is None else f"{value:.1e}"
            print(f"{file.stem}  {known:8}  {verdict:24}  {time.perf_counter() - start:6.1f} s  {reason}", flush=True)
    verdicts = sorted({verdict for _, verdict in counts})
    print("\nσ(298 K), S/cm".ljust(18), *(verdict.rjust(24) for verdict in verdicts))
    for name in [name for _, name in CLASSES] + ["unknown"]:
        if any(counts[name, verdict] for verdict in verdicts):
            print(name.ljust(17), *(str(counts[name, verdict]).rjust(24) for verdict in verdicts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
