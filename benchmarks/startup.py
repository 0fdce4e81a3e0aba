"""How long it takes to start: ``import superionic`` and ``superionic --help``, beside other imports, in one session.

Run with ``python benchmarks/startup.py [--repeats N]``. Each time is the CPU time of the best of N fresh processes (the
wall time of a busy machine says nothing), with the start of a bare interpreter taken off for imports and left in for
``--help``, since that is what a user waits for. Fails if a limit is exceeded.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys

IMPORT_LIMIT_S = 0.3
HELP_LIMIT_S = 0.5
HEAVY = ("torch", "pymatgen", "spglib", "matplotlib", "plotly", "gpaw", "chgnet", "sevenn", "scipy")


def best_s(arguments: list[str], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, arguments)
        times.append(used.ru_utime + used.ru_stime)
    return min(times)


def heavy_modules() -> list[str]:
    program = "import sys, superionic; print('\\n'.join(sys.modules))"
    listed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    return sorted(set(HEAVY) & set(listed.split()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="fresh processes for each row (default: 7)")
    repeats = parser.parse_args().repeats

    bare = best_s(["-c", "pass"], repeats)
    ours = best_s(["-c", "import superionic"], repeats) - bare
    help_s = best_s(["-c", "from superionic.cli import main; main()", "--help"], repeats)
    rows = [
        ("bare interpreter", bare, None),
        ("import superionic", ours, IMPORT_LIMIT_S),
        ("superionic --help", help_s, HELP_LIMIT_S),
    ]
    rows += [
        (
            f"import {module} {importlib.metadata.version(package)}",
            best_s(["-c", f"import {module}"], repeats) - bare,
            None,
        )
        for module, package in (("numpy", "numpy"), ("ase", "ase"), ("pymatgen.core", "pymatgen"))
    ]
    print(f"{'what':<34}{'seconds':>9}{'x import superionic':>22}{'limit':>8}")
    for what, seconds, limit in rows:
        ratio = f"{seconds / max(ours, 1e-4):.1f}"
        print(f"{what:<34}{seconds:>9.3f}{ratio:>22}{'' if limit is None else f'{limit:g} s':>8}")

    failures = [f"{what}: {seconds:.3f} s > {limit} s" for what, seconds, limit in rows if limit and seconds > limit]
    heavy = heavy_modules()
    if heavy:
        failures.append(f"import superionic imports {', '.join(heavy)}")
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
