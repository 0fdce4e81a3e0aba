"""What few DFT labels are worth: a correction by pairs against fine-tuning, on labels that neither has seen.

    python benchmarks/few_labels.py few-labels --nequix nequix-omat-1.nqx

The labels are the 80 by GPAW (PBE) of examples/li3ycl6-ladder, 5 of each of 16 runs. Whole runs are held out: in each
split some 15 labels of three runs for testing and 15 for choosing the epoch. `delta` is the trainer of corrections, on
top of each potential and with fewer labels as well; `naive` is fine-tuning of all weights by the potential's own
trainer, on the first splits only, since it takes minutes. Values are means over the splits, in brackets their standard
deviation. CPU seconds are those of one training. All is stored in the folder, and not computed again. Engines that are
not installed are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from superionic.campaign.study import open_study
from superionic.errors import EngineError
from superionic.execution.ledger import LEDGER, Ledger
from superionic.registry import DELTA
from superionic.stages.studies import SplitRule, Study, all_options, train, training_seed
from superionic.training import delta
from superionic.training.dataset import LabelledSet, Targets
from superionic.training.metrics import ErrorMetrics, errors

LABELS = Path(__file__).resolve().parents[1] / "examples" / "li3ycl6-ladder" / "labels.extxyz"
SIZES = (5, 10, 20)
"""Labels to train on besides all of the split."""


@dataclass(frozen=True)
class Naive:
    """How long all weights are fine-tuned, and on how many splits."""

    epochs: int
    splits: int


def corrected(study: Study, indices: Sequence[int]) -> tuple[ErrorMetrics, ErrorMetrics]:
    """Train a correction on some labels; return the errors on the test set without and with it."""
    runner, split = study.bench.runner, study.split
    fitted = train(study, f"{len(indices)} labels", indices, all_options(study), training_seed(study, 0))
    weights = runner.one(fitted.finish).weights
    shifts = runner.one(fitted.dataset).shifts_eV
    content, before = runner.one(study.read), runner.one(study.baseline)
    change = delta.predict(content.atoms, weights=weights)
    after = Targets(
        before.energies_eV + change.energies_eV,
        tuple(a + b for a, b in zip(before.forces_eV_per_A, change.forces_eV_per_A, strict=True)),
        before.stresses_eV_per_A3 + change.stresses_eV_per_A3,
    )
    reference = LabelledSet.from_labels(content.atoms, content.labels, energy_shifts_eV=list(shifts)).targets
    test = list(split.test)
    return errors(before.subset(test), reference.subset(test)), errors(after.subset(test), reference.subset(test))


def fine_tuned(study: Study) -> ErrorMetrics:
    """Fine-tune all weights; return the errors on the test set."""
    label = f"naive, split {study.seed}"
    fitted = train(study, label, study.split.train, all_options(study), training_seed(study, 0))
    return study.bench.runner.one(fitted.errors).after


def cpu_s(folder: Path, words: str) -> float:
    """Sum the CPU seconds of the tasks whose label begins with some words."""
    with Ledger(folder / LEDGER) as ledger:
        return sum(record.cpu_s or 0.0 for record in ledger.all() if record.label.startswith(words))


def opened(folder: Path, engine: str, model: str | None, file: str | None, seed: int, **more: Any) -> Any:
    """Open a study of a split."""
    options = {} if file is None else {"file": str(Path(file).absolute())}
    return open_study(
        LABELS, folder / (model or engine), engine=engine, model=model, potential_options=options,
        rule=SplitRule(), seed=seed, workers=1, **more,
    )  # fmt: skip


def row(name: str, method: str, n: int, results: Sequence[ErrorMetrics], seconds: float | None) -> str:
    """Format one line of the table."""

    def mean(values: Iterator[float | None], digits: int, factor: float = 1.0) -> str:
        numbers = factor * np.array(list(values), dtype=float)
        spread = f" ({numbers.std(ddof=1):.{digits}f})" if len(numbers) > 1 else ""
        return f"{numbers.mean():.{digits}f}{spread}"

    cells = [
        name, method, str(n) if n else "–",
        mean((each.mae_energy_meV_per_atom for each in results), 2),
        mean((each.mae_force_meV_per_A for each in results), 1),
        mean((each.mae_stress_GPa for each in results), 0, 1000.0),
        mean((each.force_slope for each in results), 3),
        "–" if seconds is None else f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def of_potential(
    folder: Path, engine: str, model: str | None, file: str | None, seeds: Sequence[int], naive: Naive | None
) -> Iterator[str]:
    """Yield the lines of one potential."""
    name, store = model or engine, folder / (model or engine)
    before: list[ErrorMetrics] = []
    after: dict[int, list[ErrorMetrics]] = {}
    for seed in seeds:
        with opened(folder, engine, model, file, seed, trainer=DELTA) as study:
            pool = [study.split.train[k] for k in np.random.default_rng(seed).permutation(len(study.split.train))]
            for size in (*SIZES, len(pool)):
                without, with_it = corrected(study, pool[:size])
                after.setdefault(size if size in SIZES else 0, []).append(with_it)
            before.append(without)
            n_train = len(pool)
    yield row(name, "as published", 0, before, None)
    for size in (*SIZES, 0):
        n = size or n_train
        yield row(name, DELTA, n, after[size], cpu_s(store, f"{n} labels") / len(seeds))
    if naive is None or naive.epochs == 0:
        return
    tuned = []
    options = {"epochs": naive.epochs, "batch_size": 4}
    for seed in seeds[: naive.splits]:
        with opened(folder, engine, model, file, seed, options=options) as study:
            tuned.append(fine_tuned(study))
    each_s = cpu_s(store, "naive, split") / len(tuned)
    yield row(name, f"naive, {naive.epochs} epochs", n_train, tuned, each_s)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nequix", help="nequix-omat-1.nqx; left out, Nequix is left out")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--naive-splits", type=int, default=1)
    parser.add_argument("--chgnet-epochs", type=int, default=20)
    parser.add_argument("--sevennet-epochs", type=int, default=0)
    arguments = parser.parse_args()
    seeds = range(arguments.splits)
    chgnet = Naive(arguments.chgnet_epochs, arguments.naive_splits)
    sevennet = Naive(arguments.sevennet_epochs, arguments.naive_splits)
    entries = [("sevennet", "7net-l3i5", None, sevennet), ("chgnet", None, None, chgnet)]
    if arguments.nequix is not None:
        entries.insert(0, ("nequix", None, arguments.nequix, None))
    print(
        "| potential | training | labels | meV/atom | meV/Å | MPa | slope | CPU s |\n|---|---|---|---|---|---|---|---|"
    )
    for engine, model, file, naive in entries:
        try:
            for line in of_potential(arguments.folder, engine, model, file, seeds, naive):
                print(line, flush=True)
        except EngineError as error:
            print(f"{engine} is left out: {error.message}")


if __name__ == "__main__":
    main()
