"""How long it takes to start: imports and the first words of the command line, in one session.

Run with ``python benchmarks/startup.py [--repeats N]``. Each time is that of the best of N fresh processes; the start
of a bare interpreter is taken off for imports and left in for commands, since that is what a user waits for. CPU time
has the processes that a command starts in it (the one that reads crystal files runs beside the first), and hardly
depends on what else the machine does; elapsed time does. Fails if a limit is exceeded: of CPU time, and for
``enumerate`` of elapsed time, so that it needs an idle machine.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

IMPORT_LIMIT_S = 0.3
HELP_LIMIT_S = 0.5
ENUMERATE_LIMIT_S = 0.4
EXAMPLE = Path(__file__).parents[1] / "examples" / "li3ycl6"
SMALL_CRYSTAL = EXAMPLE / "li3ycl6_p-3m1.cif"
HEAVY = ("torch", "pymatgen", "spglib", "matplotlib", "plotly", "gpaw", "chgnet", "sevenn", "scipy")


@dataclass(frozen=True)
class Time:
    """CPU time, that of child processes included, and elapsed time, in s."""

    cpu_s: float
    elapsed_s: float

    def after(self, other: Time) -> Time:
        """Return what is left when another time is taken off."""
        return Time(self.cpu_s - other.cpu_s, self.elapsed_s - other.elapsed_s)


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    what: str
    time: Time
    cpu_limit_s: float | None = None
    elapsed_limit_s: float | None = None

    def failures(self) -> list[str]:
        """Return a sentence for each limit that is exceeded."""
        pairs = (("CPU", self.time.cpu_s, self.cpu_limit_s), ("elapsed", self.time.elapsed_s, self.elapsed_limit_s))
        return [
            f"{self.what}: {seconds:.3f} s {kind} > {limit} s"
            for kind, seconds, limit in pairs
            if limit is not None and seconds > limit
        ]


def best(arguments: list[str], repeats: int, folder: str) -> Time:
    """Return the shortest times of fresh processes; one more comes first, which leaves its bytecode behind."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environment, cwd=folder
        ) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, arguments)
        times.append(Time(used.ru_utime + used.ru_stime, time.perf_counter() - began))
    return Time(min(each.cpu_s for each in times[1:]), min(each.elapsed_s for each in times[1:]))


def heavy_modules() -> list[str]:
    program = "import sys, superionic; print('\\n'.join(sys.modules))"
    listed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    return sorted(set(HEAVY) & set(listed.split()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="fresh processes for each row (default: 7)")
    repeats = parser.parse_args().repeats

    with tempfile.TemporaryDirectory() as folder:

        def importing(module: str) -> Time:
            return best(["-c", f"import {module}"], repeats, folder).after(bare)

        def command(*arguments: str) -> Time:
            return best(["-c", "from superionic.cli import main; main()", *arguments], repeats, folder)

        bare = best(["-c", "pass"], repeats, folder)
        small = str(SMALL_CRYSTAL)
        rows = [
            Row("bare interpreter", bare),
            Row("import superionic", importing("superionic"), cpu_limit_s=IMPORT_LIMIT_S),
            Row("superionic --help", command("--help"), cpu_limit_s=HELP_LIMIT_S),
            Row("superionic enumerate", command("enumerate", small), elapsed_limit_s=ENUMERATE_LIMIT_S),
            Row("superionic enumerate --json", command("enumerate", small, "--json")),
            Row("superionic status", command("status", str(EXAMPLE), "--run-folder", folder)),
        ]
        # What the command line is made of: typer, which checks options by pydantic, and rich for tables and colours.
        rows += [
            Row(f"import {module} {importlib.metadata.version(package)}", importing(module))
            for module, package in (
                ("typer", "typer"),
                ("pydantic", "pydantic"),
                ("rich.console", "rich"),
                ("numpy", "numpy"),
                ("scipy.special", "scipy"),
                ("numba", "numba"),
                ("ase", "ase"),
                ("pymatgen.core", "pymatgen"),
            )
        ]
    ours = rows[1].time.cpu_s
    print(f"{'what':<34}{'CPU s':>9}{'elapsed s':>11}{'x import superionic':>22}{'limit':>16}")
    for row in rows:
        ratio = f"{row.time.cpu_s / max(ours, 1e-4):.1f}"
        limits = ((row.cpu_limit_s, "CPU"), (row.elapsed_limit_s, "elapsed"))
        limit = ", ".join(f"{seconds:g} s {kind}" for seconds, kind in limits if seconds is not None)
        print(f"{row.what:<34}{row.time.cpu_s:>9.3f}{row.time.elapsed_s:>11.3f}{ratio:>22}{limit:>16}")

    failures = [failure for row in rows for failure in row.failures()]
    heavy = heavy_modules()
    if heavy:
        failures.append(f"import superionic imports {', '.join(heavy)}")
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
