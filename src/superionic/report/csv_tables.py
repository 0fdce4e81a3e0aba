"""The results as CSV files: raw numbers with all their digits, units in the names of the columns."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any, Final

from superionic.report.tables_transport import rejected
from superionic.report.values import Record, Results, bounds, flat_numbers, mapping, numbers, records

_ERRORS_APART: Final = (
    "by",
    "value",
    "n_structures",
    *(
        f"{statistic}_{quantity}_{when}"
        for quantity in ("energy_meV_per_atom", "force_meV_per_A", "stress_GPa")
        for statistic in ("mae", "rmse")
        for when in ("before", "after")
    ),
)

Column = tuple[str, Callable[[Record], Any]]


def _plain(*keys: str) -> list[Column]:
    return [(key, lambda record, key=key: record.get(key)) for key in keys]  # type: ignore[misc]


def _estimate(key: str, name: str) -> list[Column]:
    """Return the columns of a value with its error and intervals."""

    def end(level: str, which: int) -> Callable[[Record], Any]:
        return lambda record: bounds(mapping(record, key), f"interval{level}")[which]

    return [
        (name, lambda record: mapping(record, key).get("value")),
        (f"{name}_error", lambda record: mapping(record, key).get("error")),
        (f"{name}_low68", end("68", 0)),
        (f"{name}_high68", end("68", 1)),
        (f"{name}_low95", end("95", 0)),
        (f"{name}_high95", end("95", 1)),
    ]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list):
        return "; ".join(_cell(item) for item in value)
    return str(value)


def _written(columns: Sequence[Column], rows: Sequence[Record]) -> str:
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([name for name, _ in columns])
    writer.writerows([_cell(read(row)) for _, read in columns] for row in rows)
    return buffer.getvalue()


def csv_tables(results: Results) -> dict[str, str]:
    """Return the content of every CSV file by its name; a stage that did not run leaves a header only."""
    members = [str(member) for member in results.stage("hull").get("end_members") or []]

    def share(index: int) -> Callable[[Record], Any]:
        return lambda record: (dict(enumerate(numbers(record, "coordinates")))).get(index)

    hull_columns = [
        *_plain("id", "crystal", "formula"),
        *[(f"coordinate_{member}", share(index)) for index, member in enumerate(members)],
        *_plain(
            "formation_energy_eV_per_atom", "e_above_hull_eV_per_atom", "e_above_hull_eV_per_formula_unit", "stable"
        ),
    ]
    orderings = _plain(
        "id",
        "crystal",
        "composition_label",
        "formula",
        "n_atoms",
        "degeneracy",
        "ewald_eV",
        "single_point_eV_per_atom",
        "relaxed_eV_per_atom",
        "volume_A3_per_atom",
        "converged",
        "n_steps",
        "duplicate_of",
    )
    spaces = _plain(
        "crystal", "composition_label", "formula", "supercell", "raw", "distinct", "listed", "method", "group_order"
    )
    diffusivities = [
        *_plain("run", "id", "formula", "temperature_K", "replica"),
        *_estimate("tracer_diffusivity_cm2_per_s", "tracer_diffusivity_cm2_per_s"),
        *_estimate("charge_diffusivity_cm2_per_s", "charge_diffusivity_cm2_per_s"),
        *_estimate("haven_ratio", "haven_ratio"),
        *_estimate("nernst_einstein_conductivity_S_per_cm", "nernst_einstein_conductivity_S_per_cm"),
        ("window_start_ps", lambda record: bounds(record, "window_ps")[0]),
        ("window_end_ps", lambda record: bounds(record, "window_ps")[1]),
        *_plain("n_hops", "flags"),
    ]
    arrhenius = [
        *_plain("id", "formula", "crystal", "form", "Ea_eV", "Ea_error_eV"),
        *_estimate("sigma_300K_mS_per_cm", "sigma_300K_mS_per_cm"),
        ("extrapolated", lambda record: mapping(record, "sigma_300K_mS_per_cm").get("extrapolated")),
        *_plain("temperatures_K", "flags"),
    ]
    runs = _plain(
        "run",
        "id",
        "temperature_K",
        "replica",
        "ensemble",
        "thermostat",
        "length_ps",
        "n_atoms",
        "n_mobile",
        "volume_A3_per_atom",
        "mean_temperature_K",
    )
    published = _plain("formula", "quantity", "temperature_K", "ours", "published", "unit", "method", "source", "doi")
    history = records(results.stage("train"), "history")
    epochs = sorted({key for row in history for key in row} - {"epoch"})
    return {
        "orderings.csv": _written(orderings, results.records("rank", "entries")),
        "enumeration.csv": _written(spaces, results.records("enumerate", "spaces")),
        "hull.csv": _written(hull_columns, results.records("hull", "entries")),
        "polymorphs.csv": _written(
            _plain("formula", "crystal", "energy_eV_per_atom", "lowest"), _polymorph_rows(results)
        ),
        "errors.csv": _written(_plain("set", "n_structures", "statistic", "before", "after"), _error_rows(results)),
        "errors_apart.csv": _written(_plain(*_ERRORS_APART), records(results.stage("validate"), "by")),
        "learning_curve.csv": _written(_plain("epoch", *epochs), history),
        "volumes.csv": _written(runs, results.records("transport", "runs")),
        "diffusivities.csv": _written(diffusivities, results.records("analyse", "runs")),
        "arrhenius.csv": _written(arrhenius, results.records("analyse", "arrhenius")),
        "arrhenius_points.csv": _written(
            _plain("id", "formula", "temperature_K", "sigma_S_per_cm", "sigma_low68", "sigma_high68"), _points(results)
        ),
        "comparison.csv": _written(published, [_comparison_row(r) for r in results.records("analyse", "comparison")]),
        "rejections.csv": _written(
            _plain("stage", "label", "reason"),
            [{"stage": stage, "label": label, "reason": reason} for stage, label, reason in rejected(results)],
        ),
    }


def _comparison_row(record: Record) -> Record:
    def value(found: Any) -> Any:
        return found.get("value") if isinstance(found, dict) else found

    return {**record, "ours": value(record.get("ours")), "published": value(record.get("published"))}


def _polymorph_rows(results: Results) -> list[Record]:
    return [
        {"formula": item.get("formula"), "crystal": crystal, "energy_eV_per_atom": energy, "lowest": item.get("lowest")}
        for item in results.records("hull", "polymorphs")
        for crystal, energy in sorted(mapping(item, "crystals").items())
    ]


def _error_rows(results: Results) -> list[Record]:
    stage = results.stage("validate")
    before, after = mapping(stage, "before"), mapping(stage, "after")
    shared = {"set": stage.get("set"), "n_structures": stage.get("n_structures")}
    keys = sorted({**before, **after})
    return [{**shared, "statistic": key, "before": before.get(key), "after": after.get(key)} for key in keys]


def _points(results: Results) -> list[Record]:
    rows: list[Record] = []
    for fit in results.records("analyse", "arrhenius"):
        ends = flat_numbers(fit, "sigma_interval68")
        pairs = zip(numbers(fit, "temperatures_K"), numbers(fit, "sigma_S_per_cm"), strict=False)
        for index, (temperature, sigma) in enumerate(pairs):
            low, high = ends[2 * index : 2 * index + 2] if len(ends) >= 2 * index + 2 else (None, None)
            shared = {"id": fit.get("id"), "formula": fit.get("formula")}
            point = {"temperature_K": temperature, "sigma_S_per_cm": sigma, "sigma_low68": low, "sigma_high68": high}
            rows.append({**shared, **point})
    return rows
