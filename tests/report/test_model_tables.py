from __future__ import annotations

from superionic.report.csv_tables import csv_tables
from superionic.report.figures_model import size_curve, study_plots
from superionic.report.tables_model import errors_apart, preflight
from superionic.report.values import Results

ROW = {
    "n_structures": 4,
    "mae_energy_meV_per_atom_before": 20.0,
    "mae_energy_meV_per_atom_after": 2.0,
    "mae_force_meV_per_A_before": 80.0,
    "mae_force_meV_per_A_after": 40.0,
    "mae_stress_GPa_before": 0.2,
    "mae_stress_GPa_after": None,
}


def results(**stages):
    return Results({"campaign": "x", "stages": stages})


def test_errors_apart_are_told_before_and_after():
    rows = [{"by": "temperature_K", "value": 800.0, **ROW}, {"by": "composition", "value": "Li3YCl6", **ROW}]
    found = results(validate={"set": "test", "by": rows})
    table = errors_apart(found)
    assert table.rows[0] == ["temperature", "800 K", "4", "20.0 → 2.00", "80.0 → 40.0", "200 → –"]
    assert table.rows[1][1] == "Li₃YCl₆"
    text = csv_tables(found)["errors_apart.csv"]
    assert "mae_force_meV_per_A_after" in text.splitlines()[0]
    assert len(text.splitlines()) == 3
    assert errors_apart(results(validate={})) is None


def test_what_the_preflight_found_is_told():
    finding = {"name": "sign of stresses", "severity": "error", "evidence": "-1", "fix": "turn it"}
    assert preflight(results(train={"preflight": [finding]})).rows == [["sign of stresses", "error", "-1", "turn it"]]
    assert preflight(results(train={"preflight": []})) is None


def test_a_curve_shows_points_law_and_the_pretrained_level():
    rows = [{"n": n, "mae_force_meV_per_A": 100.0 if n == 0 else 200.0 / n} for n in (0, 8, 16, 32)]
    found = {
        "rows": rows,
        "own_table": [{"n": 8, "Ea_error_meV": 5.0}, {"n": 16, "Ea_error_meV": 2.5}],
        "laws": {"mae_force_meV_per_A": {"b": 1.0, "ln_a": 5.298317366548036}, "Ea_error_meV": {"b": 1.0, "ln_a": 3.7}},
    }
    plot = size_curve(found)
    assert [panel.y_label for panel in plot.panels] == ["force MAE (meV/Å)", "Ea error meV"]
    points, law, level = plot.panels[0].series
    assert list(points.x) == [8, 16, 32]
    assert abs(law.y[0] - 25.0) < 1e-9
    assert list(law.x) == [8, 64]
    assert set(level.y) == {100.0}
    assert study_plots("search", found) == []
    assert size_curve({"rows": []}) is None
