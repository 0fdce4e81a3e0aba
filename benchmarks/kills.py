"""Kill a campaign at random moments and compare its results with an undisturbed run, byte by byte.

Run with ``python benchmarks/kills.py CAMPAIGN.yaml [--kills 20] [--seed 1] [--longest-s 30]``. Both runs are made in
temporary folders. Exits with 1 if a byte of the report differs or a finished task was done twice.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from superionic import Campaign
from superionic.execution.ledger import LEDGER, Ledger


def products(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def command(campaign: Path, run_folder: Path) -> list[str]:
    return [sys.executable, "-m", "superionic.cli", "run", str(campaign), "--run-folder", str(run_folder), "--quiet"]


def killed_run(campaign: Path, run_folder: Path, kills: int, longest_s: float, rng: np.random.Generator) -> int:
    done = 0
    while done < kills:
        process = subprocess.Popen(command(campaign, run_folder), stdout=subprocess.DEVNULL)
        try:
            process.wait(timeout=float(rng.uniform(0.5, longest_s)))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            done += 1
            print(f"kill {done}", flush=True)
        else:
            if process.returncode != 0:
                raise SystemExit(f"the run failed with exit code {process.returncode}")
            print("finished before the kills were used up; beginning anew", flush=True)
            shutil.rmtree(run_folder)
    subprocess.run(command(campaign, run_folder), check=True, stdout=subprocess.DEVNULL)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("campaign", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest-s", type=float, default=30.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="superionic-kills-") as folder:
        whole, killed = Path(folder, "whole"), Path(folder, "killed")
        began = time.monotonic()
        subprocess.run(command(arguments.campaign, whole), check=True, stdout=subprocess.DEVNULL)
        middle = time.monotonic()
        print(f"undisturbed: {middle - began:.0f} s", flush=True)
        rng = np.random.default_rng(arguments.seed)
        kills = killed_run(arguments.campaign, killed, arguments.kills, arguments.longest_s, rng)
        print(f"with {kills} kills: {time.monotonic() - middle:.0f} s")
        left, right = (products(Campaign.load(arguments.campaign, run_folder=f).report_folder) for f in (whole, killed))
        different = sorted(name for name in {*left, *right} if left.get(name) != right.get(name))
        with Ledger(killed / LEDGER) as ledger:
            completions = ledger.completions()
        twice = [key for key, count in completions.items() if count > 1]
        print(f"files compared: {len(left)}; different: {len(different)} {different[:5]}")
        print(f"tasks: {len(completions)}; done more than once: {len(twice)}")
        if different or twice:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
