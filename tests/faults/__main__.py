"""Faults: kill, damage and starve a small campaign in every way, and see that nothing is lost and nothing changes.

``python tests/faults --short`` takes minutes, ``--long`` hours. With ``--work`` a kind that was tried to its end is not
tried again, and kills and damages go on where they were, so a long run may be stopped. The table that it prints can be
put in the place of the one in a page of the documentation. Ends with 1 if anything that must not be was met.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

from bench import Bench, Tally
from damages import damages
from drivers_at_once import two_drivers
from hostile_inputs import hostile_inputs
from kills import random_kills
from on_slurm import faults_on_slurm
from steps import crash_points, errors

import superionic

KINDS: Final[dict[str, tuple[str, Callable[[Bench, Tally], None]]]] = {
    "kills": ("random kills", random_kills),
    "crashes": ("crash points", crash_points),
    "errors": ("errors of the file system", errors),
    "damages": ("damages", damages),
    "drivers": ("two drivers at once", two_drivers),
    "hostile": ("hostile inputs", hostile_inputs),
    "slurm": ("cancelled, crashed, drained, killed on Slurm", faults_on_slurm),
}
_BEGIN: Final = "<!-- begin of the table that `make faults` writes -->"
_END: Final = "<!-- end of the table -->"
_COLUMNS: Final = ("kind", "number", "lost", "changed", "done twice", "manual steps", "left running", "without words")


def table(tallies: list[Tally]) -> str:
    """Return the table in Markdown."""
    rows: list[tuple[object, ...]] = [_COLUMNS]
    rows += [
        (t.kind, f"not tried: {t.skipped}", *[""] * 6)
        if t.skipped
        else (t.kind, t.number, t.lost, t.changed, t.twice, t.manual, t.left, t.wordless)
        for t in tallies
    ]
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["| " + " | ".join(str(c).ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 1) + (":" if n else "-") for n, w in enumerate(widths)) + "|")
    return "\n".join(lines) + "\n"


def put_in(page: Path, text: str) -> None:
    """Put a table in the place of the one of a page, between the two comments that bound it."""
    before, begin, rest = page.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise SystemExit(f"{page} has no place for the table: {_BEGIN} … {_END}")
    page.write_text(f"{before}{begin}\n{text}{end}{after}")


def _demand_same_source(work: Path) -> None:
    """See that a folder was begun with this very source: another one gives other keys, which would look like losses."""
    source = Path(superionic.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*.py")):
        digest.update(path.relative_to(source).as_posix().encode() + path.read_bytes())
    mark = work / "source.sha256"
    if mark.exists() and mark.read_text() != digest.hexdigest():
        raise SystemExit(f"{work} was begun with another version of superionic; give another folder to --work")
    work.mkdir(parents=True, exist_ok=True)
    mark.write_text(digest.hexdigest())


def _write(path: Path, tally: Tally) -> None:
    path.write_text(json.dumps(asdict(tally)))


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(prog="python tests/faults", description=(__doc__ or "").splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--short", action="store_true", help="some of each kind (default)")
    size.add_argument("--long", action="store_true", help="all of each kind")
    parser.add_argument("--only", choices=[*KINDS], action="append", help="kinds to try; may be repeated")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn by lot")
    parser.add_argument("--work", type=Path, help="folder to work in, kept; a temporary one by default")
    parser.add_argument("--page", type=Path, help="page in Markdown whose table is replaced")
    given = parser.parse_args()
    if platform.system() != "Linux" or shutil.which("cc") is None:
        print("faults are tried on Linux, with a C compiler")
        return
    work = given.work or Path(tempfile.mkdtemp(prefix="superionic-faults-"))
    _demand_same_source(work)
    tallies: dict[str, Tally] = {}
    try:
        with Bench(work.absolute(), long=given.long, seed=given.seed) as bench:
            for kind, (name, attempt) in KINDS.items():
                kept = work / f"tally-{kind}{'-long' * given.long}-{given.seed}.json"
                if kept.exists():
                    tallies[kind] = Tally(**json.loads(kept.read_text()))
                elif not given.only or kind in given.only:
                    began = time.monotonic()
                    part = kept.with_suffix(".part")
                    tally = tallies[kind] = Tally(**json.loads(part.read_text())) if part.exists() else Tally(name)
                    bench.keep = partial(_write, part)
                    attempt(bench, tally)
                    _write(kept, tally)
                    part.unlink(missing_ok=True)
                    words = tally.skipped or tally.number
                    print(f"{tally.kind}: {words} ({time.monotonic() - began:.0f} s)", flush=True)
    finally:
        if given.work is None:
            shutil.rmtree(work, ignore_errors=True)
    text = table([*tallies.values()])
    print("\n" + text, end="")
    if given.page is not None:
        put_in(given.page, text)
    sys.exit(not all(tally.is_clean for tally in tallies.values()))


if __name__ == "__main__":
    main()
