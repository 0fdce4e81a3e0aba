"""First looks at many crystals, beside their measured conductivities and how often the class is right.

Run with ``python benchmarks/first_looks.py FOLDER [TABLE.csv] [--every 4] [--first 0] [--plan] [--work F]``. FOLDER
holds refined CIFs, named by the column ``ID`` of the table, which has measured conductivities at room temperature in
S/cm in the column ``Ionic conductivity (S cm-1)`` ("<1E-10" is a bound). Each crystal is tried as ``superionic try
--quick FILE`` does; with ``--plan`` nothing is run. ``--work`` keeps the runs, so that a second call goes on from the
first.

With ``--residuals OUT.csv`` each crystal is tried as ``superionic try FILE`` does, to the screening of σ(300 K), and a
row is appended to OUT.csv as soon as it is done, without a residual where rounding to whole atoms loses a species;
crystals with a row of this teacher are left out, so that the command can be stopped (``--until 11:55`` begins no
further crystal after that time) and given again. At the end it prints what the rows say of the model's error. The table
that comes with superionic is src/superionic/campaign/trial/residuals.csv.

The potential of the first look is NEP89 (``superionic engines install nep89``).
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from math import log, log10
from pathlib import Path
from typing import Any

from superionic.campaign.best_installed import first_potential
from superionic.campaign.run import Campaign
from superionic.campaign.trial import Trial, TrialResult
from superionic.campaign.trial.model_error import Residual, append_residual, model_error, read_residuals
from superionic.errors import SuperionicError
from superionic.potentials.base import describe_potential
from superionic.version import __version__

COLUMN = "Ionic conductivity (S cm-1)"
CLASSES = ((1e-4, "1e-4 and more"), (1e-6, "1e-6 to 1e-4"), (1e-8, "1e-8 to 1e-6"), (0.0, "below 1e-8"))


def measured(path: Path) -> dict[str, float]:
    """Return ID → conductivity in S/cm; a bound is negative."""
    with path.open(encoding="utf-8") as file:
        rows = {row["ID"]: row[COLUMN].strip() for row in csv.DictReader(file)}
    return {name: -float(text[1:]) if text.startswith("<") else float(text) for name, text in rows.items() if text}


def look(file: Path, folder: Path, *, plan: bool) -> tuple[str, str]:
    """Try one crystal: a verdict or "refused", and the reason."""
    try:
        trial = Trial(file, folder=folder)
        if plan:
            made = trial.plan(quick=True).first_look
            return "planned", f"{made.spaces[0].formula}, {60 * made.cpu_hours:.1f} min of CPU time"
        seen = trial.run(quick=True).first_look
    except SuperionicError as error:
        return "refused", f"{error.message} {error.fix or ''}"
    return seen.verdict, seen.reason


def residual(file: Path, folder: Path, teacher: Mapping[str, Any], known_S_per_cm: float) -> Residual:
    """Try one crystal to the end, and set its σ(300 K) beside the measured one."""
    tried, cpu, loses = TrialResult(None, None, ""), 0.0, False
    try:
        trial = Trial(file, folder=folder, teacher=teacher)
        loses = bool(trial.guess.composition.lost)
        tried = trial.run()
        outcome, cpu = tried.ended, cpu_s(trial)
    except SuperionicError as error:
        outcome = f"refused: {error.message}"
    look, seen = tried.first_look, tried.screening
    value = error_decades = None
    if seen is not None:
        outcome = "σ(300 K)" if seen.conductivity is not None else f"no σ(300 K): {seen.reason}"
        bare = None if seen.dependence is None else seen.dependence.headline
        if loses:
            outcome = f"another compound: {trial.guess.composition.loss}"
        elif bare is not None and not bare.is_upper_bound and known_S_per_cm > 0.0:
            value, error_decades = log10(bare.value_S_per_cm / known_S_per_cm), bare.log_error / log(10.0)
    return Residual(
        crystal=file.stem,
        formula="" if look is None and seen is None else (seen or look).formula,
        teacher=model_of(teacher),
        measured_S_per_cm=known_S_per_cm,
        outcome=" ".join(outcome.split())[:160],
        residual_decades=value,
        statistical_decades=error_decades,
        passed=None if seen is None else seen.gate.passed,
        cpu_s=cpu,
        superionic=__version__,
        date=datetime.now().astimezone().date().isoformat(),
    )


def model_of(teacher: Mapping[str, Any]) -> str:
    """Return the name by which the calibration knows a teacher."""
    options = dict(teacher)
    return describe_potential(options.pop("engine"), **options).model


def cpu_s(trial: Trial) -> float:
    """Return the CPU seconds that all tasks of a trial took."""
    campaigns = [Campaign.load(file) for file in (trial.file, trial.screening_file) if file.exists()]
    return sum(stage.cpu_s for campaign in campaigns for stage in campaign.status().stages)


def all_residuals(options: argparse.Namespace, files: list[Path], known: dict[str, float], work: Path) -> None:
    """Try crystals one after the other, append a row for each, and print what all rows say of the model's error."""
    out, teacher = options.residuals, first_potential(options.teacher).entry
    rows = list(read_residuals(out.read_text(encoding="utf-8"))) if out.exists() else []
    done = {row.crystal for row in rows if row.teacher == model_of(teacher)}
    for file in (file for file in files if file.stem in known and file.stem not in done):
        if options.until is not None and datetime.now().astimezone().strftime("%H:%M") >= options.until:
            break
        row = residual(file, work / file.stem, teacher, known[file.stem])
        append_residual(out, row)
        rows.append(row)
        print(f"{row.crystal}  {row.formula}  {row.measured_S_per_cm:8.1e}  {row.outcome}  ", end="")
        print(f"{row.residual_decades} ± {row.statistical_decades} decades  {row.cpu_s:.0f} CPU s", flush=True)
    for name in sorted({row.teacher for row in rows}):
        print(f"{name}: {model_error(name, rows).words}")


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
    parser.add_argument("--residuals", type=Path, default=None, help="go on to σ(300 K), and append rows to this table")
    parser.add_argument(
        "--teacher", default=None, help="ENGINE, ENGINE:MODEL or ENGINE:FILE; the most accurate installed"
    )
    parser.add_argument("--until", default=None, help="time of day, such as 11:55")
    parser.add_argument("--only", default=None, help="names of crystals, divided by commas")
    options = parser.parse_args()
    conductivities = {} if options.table is None else measured(options.table)
    files = sorted(options.folder.glob("*.cif"))[options.first :: options.every][: options.limit]
    if options.only is not None:
        files = [options.folder / f"{name}.cif" for name in options.only.split(",")]
    if not files:
        parser.error(f"{options.folder} holds no CIF")
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        if options.residuals is not None:
            all_residuals(options, files, conductivities, work)
            return 0
        for file in files:
            value = conductivities.get(file.stem)
            name = "unknown" if value is None else next(name for least, name in CLASSES if abs(value) >= least)
            start = time.perf_counter()
            verdict, reason = look(file, work / file.stem, plan=options.plan)
            counts[name, verdict] += 1
            known = "" if value is None else f"{abs(value):.1e}"
            print(f"{file.stem}  {known:8}  {verdict:24}  {time.perf_counter() - start:6.1f} s  {reason}", flush=True)
    verdicts = sorted({verdict for _, verdict in counts})
    print("\nσ(298 K), S/cm".ljust(18), *(verdict.rjust(24) for verdict in verdicts))
    for name in [name for _, name in CLASSES] + ["unknown"]:
        if any(counts[name, verdict] for verdict in verdicts):
            print(name.ljust(17), *(str(counts[name, verdict]).rjust(24) for verdict in verdicts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
