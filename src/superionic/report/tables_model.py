"""Tables of training: errors apart by composition, phase and temperature, and what the pre-flight found."""

from __future__ import annotations

from typing import Final

from superionic.report.table import Table, cell, cut
from superionic.report.values import Record, Results, real, records, text
from superionic.report.words import UNKNOWN, formula_text, number

_KINDS: Final = {"composition": "composition", "phase": "phase", "temperature_K": "temperature"}
_SHOWN: Final = (
    ("mae_energy_meV_per_atom", "Energy, meV/atom", 1.0),
    ("mae_force_meV_per_A", "Forces, meV/Å", 1.0),
    ("mae_stress_GPa", "Stress, MPa", 1000.0),
)


def errors_apart(results: Results) -> Table | None:
    """Return mean absolute errors by composition, phase and temperature, before and after training."""
    stage = results.stage("validate")
    rows = []
    for row in records(stage, "by"):
        kind = text(row, "by")
        value = real(row, "value")
        if kind == "temperature_K" and value is not None:
            name = f"{value:g} K"
        else:
            name = formula_text(text(row, "value")) if kind == "composition" else cell(row, "value")
        pairs = [_change(row, key, scale) for key, _, scale in _SHOWN]
        rows.append([_KINDS.get(kind, kind), name, f"{real(row, 'n_structures') or 0:g}", *pairs])
    kept, more = cut(rows, "errors_apart.csv")
    columns = ["By", "Value", "Structures", *(words for _, words, _ in _SHOWN)]
    caption = f"Mean absolute errors on the {text(stage, 'set') or 'held-out'} set, before → after training."
    return Table(caption, columns, kept, frozenset({2, 3, 4, 5}), more) if rows else None


def preflight(results: Results) -> Table | None:
    """Return what was noticed about the labels before training."""
    found = records(results.stage("train"), "preflight")
    rows = [[cell(f, "name"), cell(f, "severity"), cell(f, "evidence"), cell(f, "fix")] for f in found]
    columns = ["What", "Severity", "Evidence", "What to do"]
    return Table("Noticed about the labels before training.", columns, rows) if rows else None


def _change(row: Record, key: str, scale: float) -> str:
    before, after = (real(row, f"{key}_{when}") for when in ("before", "after"))
    shown = [UNKNOWN if value is None else number(scale * value, 3) for value in (before, after)]
    return " → ".join(shown)
