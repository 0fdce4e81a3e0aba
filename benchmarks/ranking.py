"""Measure how orderings are ranked: which optimiser takes the fewest evaluations, and what successive halving misses.

Orderings come from ``superionic enumerate CRYSTAL --sample 100 --seed 1 --out orderings.extxyz``. Run it with the
Python of the potential's engine (``superionic engines list`` tells where it is) and with ``src`` on PYTHONPATH::

    python benchmarks/ranking.py optimizers chgnet orderings.extxyz --count 10
    python benchmarks/ranking.py halving chgnet orderings.extxyz --count 100 --wanted 5 --traces traces.json

The first prints a table of evaluations and of the minima that are reached. The second relaxes every ordering to the
end, keeps the energy after each evaluation, and lets the campaign's own code cull by these energies: the truth is
known, so recall and cost are exact. ``--traces`` keeps the energies; where the file is, nothing is relaxed again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
from ase import Atoms
from ase.io import read

from superionic.dynamics.relax import go_on, relax
from superionic.dynamics.relax.optimizers import Optimizer
from superionic.potentials.base import load_potential
from superionic.results.identity import Material, ReferencePhase
from superionic.stages.base import Candidate, derive_seed
from superionic.stages.rank.halving import Group, halve
from superionic.stages.rank.relaxations import Member, warm_start_task

_FMAX = 0.01
_MOST = 400
_SAME_MEV = 0.1


def bare(path: Path, count: int) -> list[Atoms]:
    """Read orderings, spread evenly over the file."""
    found = read(path, ":")
    chosen = found[:: max(1, len(found) // count)][:count]
    return [Atoms(numbers=a.numbers, positions=a.positions, cell=a.cell, pbc=True) for a in chosen]


def optimizers(arguments: argparse.Namespace) -> None:
    structures, potential = bare(arguments.file, arguments.count), load_potential(arguments.potential)
    print(f"{len(structures)} orderings of {structures[0].get_chemical_formula()}, fmax {_FMAX} eV/Å, cell relaxed")
    print("| optimizer | evaluations, mean | median | most | converged | CPU s |\n|---|---|---|---|---|---|")
    ends: dict[str, Any] = {}
    for name in arguments.only or get_args(Optimizer):
        began = time.process_time()
        done = [relax(a, potential, optimizer=name, fmax_eV_per_A=_FMAX, max_steps=_MOST) for a in structures]
        ends[name] = np.array([1000.0 * d.energy_eV / len(d.atoms) for d in done])
        evaluations = [d.n_evaluations for d in done]
        print(
            f"| {name} | {np.mean(evaluations):.0f} | {np.median(evaluations):.0f} | {max(evaluations)} "
            f"| {sum(d.converged for d in done)} | {time.process_time() - began:.0f} |",
            flush=True,
        )
    lowest = np.min(list(ends.values()), axis=0)
    print("\n| optimizer | above the lowest minimum found, meV/atom: mean | worst | within 0.1 |\n|---|---|---|---|")
    for name, heights in ends.items():
        above = heights - lowest
        print(f"| {name} | {above.mean():.2f} | {above.max():.1f} | {np.sum(above < _SAME_MEV)} |")


def traces(arguments: argparse.Namespace) -> list[list[float]]:
    """Energies per atom of each ordering after each evaluation, from a warm start."""
    if arguments.traces is not None and arguments.traces.exists():
        kept: list[list[float]] = json.loads(arguments.traces.read_text())
        return kept
    structures, potential = bare(arguments.file, arguments.count), load_potential(arguments.potential)
    began, found = time.process_time(), []
    scouts = [relax(a, potential, optimizer="QN", fmax_eV_per_A=_FMAX, max_steps=_MOST) for a in structures[:3]]
    change = warm_start_task(None, before=structures[:3], after=[s.atoms for s in scouts])  # type: ignore[arg-type]
    for atoms in structures:
        atoms.set_cell(atoms.cell.array @ change, scale_atoms=True)
        state = relax(atoms, potential, optimizer="QN", fmax_eV_per_A=_FMAX, max_steps=0)
        energies = [state.energy_eV / len(atoms)]
        while not state.converged and len(energies) < _MOST:
            state = go_on(state, potential, fmax_eV_per_A=_FMAX, max_steps=1)
            energies.append(state.energy_eV / len(atoms))
        found.append(energies)
    spent = sum(len(energies) for energies in found) + sum(scout.n_evaluations for scout in scouts)
    seconds = time.process_time() - began
    print(f"{spent} evaluations, {1000 * seconds / spent:.0f} ms of CPU each, {seconds / len(found):.2f} s each; "
          f"{2 * 3600 * len(found) / seconds:.0f} orderings an hour on two cores")  # fmt: skip
    if arguments.traces is not None:
        arguments.traces.write_text(json.dumps(found))
    return found


class Replay:
    """Relaxations that were done before."""

    stage, tail = "rank", ""

    def __init__(self, energies: list[list[float]]) -> None:
        self.energies = energies

    def advance(self, members: list[Member], steps: int, _what: str) -> None:
        """Take steps that are known."""
        for member in members:
            known = self.energies[int(member.candidate.id)]
            if not member.energies_eV_per_atom:
                member.energies_eV_per_atom.append(known[0])
            if not member.converged:
                member.n_steps = min(member.n_steps + steps, len(known) - 1)
                member.energies_eV_per_atom.append(known[member.n_steps])
                member.n_evaluations, member.converged = member.n_steps + 1, member.n_steps == len(known) - 1

    def finish(self, members: list[Member], what: str) -> None:
        """Take all steps that are known."""
        self.advance(members, _MOST, what)


def halving(arguments: argparse.Namespace) -> None:
    known = traces(arguments)
    ends = np.array([energies[-1] for energies in known])
    whole = sum(len(energies) for energies in known)
    truth = set(np.argsort(ends, kind="stable")[: arguments.wanted].tolist())
    print(f"{len(known)} orderings, {whole / len(known):.1f} evaluations each to relax all; relaxed energies spread by "
          f"{1000 * ends.std():.1f} meV/atom")  # fmt: skip
    print("| first steps | growth | keep | recall, mean | worst | recall told, mean | all found | all over halving |")
    print("|---|---|---|---|---|---|---|---|")
    for first, growth, keep in ((5, 2.0, 0.34), (10, 3.0, 0.34), (10, 3.0, 0.5), (20, 1.5, 0.5)):
        outcomes = [_replayed(known, truth, first, growth, keep, seed) for seed in range(20)]
        recall, ratio, told = (np.array(values) for values in zip(*outcomes, strict=True))
        print(f"| {first} | {growth:g} | {keep:g} | {recall.mean():.2f} | {recall.min():.2f} | {told.mean():.2f} | "
              f"{np.mean(recall == 1.0):.2f} | {ratio.mean():.2f} |")  # fmt: skip


def _replayed(
    known: list[list[float]], truth: set[int], first: int, growth: float, keep: float, seed: int
) -> tuple[float, float, float]:
    # An engine's environment has no pydantic, and so none of the campaign's settings.
    culling = SimpleNamespace(
        audit_at_least=6, audit_fraction=0.02, first_steps=first, growth=growth, keep_fraction=keep, max_rungs=3
    )
    settings = SimpleNamespace(halving=culling, method="halving", relax_cell=False, relax_top=len(truth), warm_start=0)
    bench = SimpleNamespace(seed_for=lambda *words: derive_seed(seed, "rank", *words))
    members = [Member(Candidate(ReferencePhase(str(i)), None), None) for i in range(len(known))]  # type: ignore[arg-type]
    group = Group(Material("x"), "", members)
    (report,) = halve(settings, bench, Replay(known), [group])  # type: ignore[arg-type]
    relaxed = {int(member.candidate.id) for member in group.finished}
    whole = sum(len(energies) for energies in known)
    return len(relaxed & truth) / len(truth), whole / report.evaluations, report.recall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("optimizers", "halving"))
    parser.add_argument("potential")
    parser.add_argument("file", type=Path)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--wanted", type=int, default=20)
    parser.add_argument("--traces", type=Path)
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    {"optimizers": optimizers, "halving": halving}[arguments.what](arguments)


if __name__ == "__main__":
    main()
