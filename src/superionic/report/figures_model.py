"""Figures of training and validation."""

from __future__ import annotations

import math
from typing import Final

from superionic.report.plots import BLUE, ORANGE, VERMILION, Panel, Plot, Series
from superionic.report.values import Record, Results, flat_numbers, mapping, real, records, text, thin, whole
from superionic.report.words import number

_MOST_PARITY_POINTS: Final = 1500
_KINDS: Final = (("energy", "energy"), ("force", "force"), ("stress", "stress"))


def _unit_of(key: str) -> str:
    for ending, unit in (
        ("_meV_per_atom", "meV/atom"),
        ("_meV_per_A", "meV/Å"),
        ("_eV_per_A", "eV/Å"),
        ("_eV_per_atom", "eV/atom"),
        ("_MPa", "MPa"),
        ("_GPa", "GPa"),
    ):
        if key.endswith(ending):
            return unit
    return ""


def learning_curve(results: Results) -> Plot | None:
    """Show loss and errors of the training and validation set against the epoch."""
    stage = results.stage("train")
    history = records(stage, "history")
    if len(history) < 1:
        return None
    epochs = [real(row, "epoch") if real(row, "epoch") is not None else float(i) for i, row in enumerate(history)]
    best = whole(stage, "best_epoch")
    guides = [(float(best), "kept")] if best is not None else []
    panels = []
    quantities = [("loss", "loss")]
    numeric = sorted({key for row in history for key, value in row.items() if isinstance(value, int | float)})
    for _, word in _KINDS:
        quantities += [
            (key.removeprefix("train_"), key.removeprefix("train_"))
            for key in numeric
            if key.startswith("train_") and word in key
        ]
    for name, _ in quantities:
        series = []
        for prefix, label, colour in (("train_", "training set", BLUE), ("validation_", "validation set", VERMILION)):
            values = [real(row, prefix + name) for row in history]
            values = [value if value is None or value > 0 else None for value in values]
            if any(value is not None for value in values):
                series.append(Series(epochs, values, label, "line", colour))
                hover = [f"epoch {number(e)}: {number(v)}" for e, v in zip(epochs, values, strict=True)]
                series.append(Series(epochs, values, label, colour=colour, size=5, hover=hover, legend=False))
        if series:
            unit = _unit_of(name)
            words = name
            for ending in ("_meV_per_atom", "_meV_per_A", "_eV_per_A", "_eV_per_atom", "_GPa", "_MPa"):
                words = words.removesuffix(ending)
            words = words.replace("_", " ").replace("mae", "MAE").replace("rmse", "RMSE")
            shown = f"{words} ({unit})" if unit else words
            panels.append(Panel(series, x_label="epoch", y_label=shown, y_log=True, guides=guides))
    if not panels:
        return None
    return Plot(
        "learning_curve",
        "model",
        "Learning curve",
        "Loss (and errors, where recorded) after each pass over the labels. The weights kept are "
        "those of the epoch with "
        "the lowest validation loss. A validation curve that turns up while training goes on down means overfitting.",
        panels[:4],
        columns=2,
        height=300,
    )


def study_plots(name: str, results: Record) -> list[Plot]:
    """Give the figures of a study of training: the curve over the number of labels."""
    found = size_curve(results) if name == "curve" else None
    return [found] if found is not None else []


def size_curve(results: Record) -> Plot | None:
    """Show errors on the test set against the number of training labels, with their power laws."""
    rows = [row for row in records(results, "rows") if (real(row, "n") or 0) > 0]
    before = next((row for row in records(results, "rows") if real(row, "n") == 0), {})
    own = records(results, "own_table")
    laws = mapping(results, "laws")
    names = ["mae_energy_meV_per_atom", "mae_force_meV_per_A", "mae_stress_GPa"]
    names += [key for key in laws if key not in names and not key.startswith(("mae_", "rmse_"))]
    panels = []
    for key in names:
        pairs = [(real(row, "n"), real(row, key)) for row in (rows if key.startswith("mae_") else own)]
        points = [(n, e) for n, e in pairs if n and e is not None and e > 0]
        if not points:
            continue
        series = [Series([n for n, _ in points], [e for _, e in points], "trained", colour=BLUE)]
        law = mapping(laws, key)
        slope, intercept = real(law, "b"), real(law, "ln_a")
        if slope is not None and intercept is not None:
            ends = [min(n for n, _ in points), 2.0 * max(n for n, _ in points)]
            fitted = [math.exp(intercept - slope * math.log(n)) for n in ends]
            series.append(Series(ends, fitted, f"power law, N^{-slope:.2f}", "line", VERMILION, dash="dash"))
        start = real(before, key)
        if start is not None and start > 0:
            ends = [min(n for n, _ in points), max(n for n, _ in points)]
            series.append(Series(ends, [start, start], "pretrained", "line", ORANGE, dash="dot"))
        unit = _unit_of(key)
        words = {"mae_energy_meV_per_atom": "energy MAE", "mae_force_meV_per_A": "force MAE"}.get(key)
        words = words or ("stress MAE" if key == "mae_stress_GPa" else key.replace("_", " "))
        shown = f"{words} ({unit})" if unit else words
        panels.append(Panel(series, x_label="training labels", y_label=shown, x_log=True, y_log=True))
    if not panels:
        return None
    return Plot(
        "size_curve",
        "model",
        "Errors against the number of labels",
        "Each point is one training on a subset of the labels; all are judged on the same test set. The broken line is "
        "a power law, drawn on to twice the labels there are.",
        panels,
        columns=min(3, len(panels)),
        height=330,
    )


def parity(results: Results) -> Plot | None:
    """Show predictions against reference values, before and after training."""
    found = mapping(results.stage("validate"), "parity")
    panels = []
    for key, symbol, unit in (
        ("energy_eV_per_atom", "energy", "eV/atom"),
        ("force_eV_per_A", "force components", "eV/Å"),
        ("stress_GPa", "stress components", "GPa"),
    ):
        series = _parity_series(mapping(found, key))
        if series:
            panels.append(
                Panel(
                    series,
                    x_label=f"reference ({unit})",
                    y_label=f"predicted ({unit})",
                    title=symbol.capitalize(),
                    square=True,
                )
            )
    if not panels:
        return None
    chosen = text(results.stage("validate"), "set")
    of = f"the {chosen} set" if chosen else "the held-out set"
    count = whole(results.stage("validate"), "n_structures")
    size = f" ({count} {'structure' if count == 1 else 'structures'})" if count is not None else ""
    return Plot(
        "parity",
        "model",
        "Predictions against reference",
        f"Each point compares the potential with the reference on {of}{size}, which the training did not see. "
        "On the diagonal the two agree.",
        panels,
        columns=3,
        height=330,
    )


def _parity_series(data: Record) -> list[Series]:
    reference = flat_numbers(data, "reference")
    series = []
    for key, label, colour, filled, marker in (
        ("before", "before training", ORANGE, False, "diamond"),
        ("after", "after training", BLUE, True, "circle"),
    ):
        predicted = flat_numbers(data, key)
        if not predicted or len(predicted) != len(reference):
            continue
        kept = thin(len(reference), _MOST_PARITY_POINTS)
        size = 7.0 if len(kept) < 100 else 4.0
        series.append(
            Series(
                [reference[i] for i in kept],
                [predicted[i] for i in kept],
                label,
                colour=colour,
                filled=filled,
                marker=marker,
                size=size,
                opacity=0.8 if len(kept) < 100 else 0.55,
            )
        )
    return series
