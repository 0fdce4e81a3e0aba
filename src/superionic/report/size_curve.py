"""The figure of the study ``superionic train curve``: errors against the number of labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from superionic.report.plots import BLUE, ORANGE, VERMILION, Panel, Plot, Series
from superionic.results.studies import Curve, mean_errors

_NAMES = {
    "mae_energy_meV_per_atom": "energy MAE (meV/atom)",
    "mae_force_meV_per_A": "force MAE (meV/Å)",
    "mae_stress_GPa": "stress MAE (GPa)",
}
_UNITS = {
    "_meV_per_atom": "meV/atom",
    "_meV_per_A": "meV/Å",
    "_eV_per_A": "eV/Å",
    "_eV_per_atom": "eV/atom",
    "_MPa": "MPa",
    "_GPa": "GPa",
}


def size_curve(curve: Curve) -> Plot | None:
    """Plot errors on the test set against the number of training labels, with power-law fits."""
    trained = [{"n": row.n, **mean_errors(row.errors)} for row in curve.rows if row.n > 0]
    pretrained = next((mean_errors(row.errors) for row in curve.rows if row.n == 0), {})
    own = [key for key in curve.laws if key not in _NAMES and not key.startswith(("mae_", "rmse_"))]
    panels = [_panel(curve, key, trained, pretrained.get(key)) for key in _NAMES]
    panels += [_panel(curve, key, curve.own_table, None) for key in own]
    drawn = [panel for panel in panels if panel is not None]
    if not drawn:
        return None
    return Plot(
        "size_curve",
        "Errors against the number of labels",
        "Each point is one training on a subset of the labels; all are evaluated on the same test set. The dashed line "
        "is a power law, extrapolated to twice the number of labels.",
        drawn,
        columns=min(3, len(drawn)),
        height=330,
    )


def _panel(
    curve: Curve, key: str, rows: list[dict[str, Any]] | tuple[Mapping[str, Any], ...], start: float | None
) -> Panel | None:
    pairs = [(row.get("n"), row.get(key)) for row in rows]
    points = [(float(n), float(error)) for n, error in pairs if n and isinstance(error, (int, float)) and error > 0]
    if not points:
        return None
    smallest, largest = min(n for n, _ in points), max(n for n, _ in points)
    series = [Series([n for n, _ in points], [error for _, error in points], "trained", colour=BLUE)]
    if (law := curve.laws.get(key)) is not None:
        ends = [smallest, 2.0 * largest]
        fitted = [math.exp(law.ln_a - law.b * math.log(n)) for n in ends]
        series.append(Series(ends, fitted, f"power law, N^{-law.b:.2f}", "line", VERMILION, dash="dash"))
    if start is not None and start > 0:
        series.append(Series([smallest, largest], [start, start], "pretrained", "line", ORANGE, dash="dot"))
    return Panel(series, "training labels", _words(key), x_log=True, y_log=True)


def _words(key: str) -> str:
    if key in _NAMES:
        return _NAMES[key]
    unit = next((unit for ending, unit in _UNITS.items() if key.endswith(ending)), "")
    words = key.replace("_", " ")
    return f"{words} ({unit})" if unit else words
