"""Files of the section conductivity."""

from __future__ import annotations

from collections.abc import Sequence

from superionic.report.csv_tables import CsvCell, CsvTable
from superionic.report.sections.diffusion import estimate_cells, estimate_columns
from superionic.report.sections.named_dependence import NamedDependence


def arrhenius_csv(columns: tuple[str, ...], found: Sequence[NamedDependence]) -> CsvTable:
    """Return the lines."""
    head = (
        *columns, "form", "temperatures_K", "Ea_eV", "Ea_error_eV", "ln_prefactor", "degrees_of_freedom",
        "reduced_chi2", "break_temperature_K", "Ea_below_eV", "Ea_below_error_eV", "Ea_above_eV", "Ea_above_error_eV",
        "break_p_value", "transfer_ln_sigma", "transfer_Ea_eV", "flags",
    )  # fmt: skip
    return CsvTable("arrhenius.csv", head, tuple((*each.cells, *_arrhenius_cells(each)) for each in found))


def _arrhenius_cells(each: NamedDependence) -> tuple[CsvCell, ...]:
    dependence = each.dependence
    fit, broken, transfer = dependence.fit, dependence.slope_break, dependence.transfer
    return (
        dependence.form,
        "; ".join(f"{point.temperature_K:g}" for point in dependence.points),
        dependence.Ea_eV,
        dependence.Ea_error_eV,
        *((None,) * 3 if fit is None else (fit.ln_prefactor, fit.degrees_of_freedom, fit.reduced_chi2)),
        *(
            (None,) * 6
            if broken is None
            else (
                broken.temperature_K,
                broken.Ea_below_eV,
                broken.Ea_below_error_eV,
                broken.Ea_above_eV,
                broken.Ea_above_error_eV,
                broken.p_value,
            )
        ),
        *((None, None) if transfer is None else (transfer.ln_sigma, transfer.Ea_eV)),
        "; ".join(each.remarks),
    )


def conductivities_csv(columns: tuple[str, ...], found: Sequence[NamedDependence]) -> CsvTable:
    """Return σ at the temperatures that were asked for."""
    head = (
        *columns, "temperature_K", "sigma_S_per_cm", "sigma_low68_S_per_cm", "sigma_high68_S_per_cm",
        "sigma_low95_S_per_cm", "sigma_high95_S_per_cm", "ln_sigma_error", "is_upper_bound", "extrapolated",
        "simulated", "origin", "verdict",
    )  # fmt: skip
    rows = []
    for each in found:
        for temperature in each.dependence.report_temperatures_K:
            value = each.dependence.conductivity_at(temperature)
            cells: tuple[CsvCell, ...] = (None,) * 10
            if value is not None:
                cells = (
                    value.value_S_per_cm,
                    *value.interval68_S_per_cm,
                    *value.interval95_S_per_cm,
                    value.log_error,
                    value.is_upper_bound,
                    value.extrapolated,
                    value.simulated,
                    value.origin,
                )
            rows.append((*each.cells, temperature, *cells, each.dependence.verdict_at(temperature).kind))
    return CsvTable("conductivities.csv", head, tuple(rows))


def points_csv(columns: tuple[str, ...], found: Sequence[NamedDependence]) -> CsvTable:
    """Return the averages at each simulated temperature."""
    head = (
        *columns,
        "temperature_K",
        "n_runs_at_temperature",
        "n_orderings",
        *estimate_columns("sigma_S_per_cm"),
        *estimate_columns("tracer_diffusivity_cm2_per_s"),
        *estimate_columns("ionic_conductivity_S_per_cm"),
        *estimate_columns("haven_ratio"),
    )
    rows = [
        (
            *each.cells,
            point.temperature_K,
            point.n_runs,
            point.conductivity_S_per_cm.n_orderings,
            *estimate_cells(point.conductivity_S_per_cm.estimate),
            *estimate_cells(point.diffusivity_cm2_per_s.estimate),
            *estimate_cells(None if (ionic := point.ionic_conductivity_S_per_cm) is None else ionic.estimate),
            *estimate_cells(None if (haven := point.haven_ratio) is None else haven.estimate),
        )
        for each in found
        for point in each.dependence.points
    ]
    return CsvTable("arrhenius_points.csv", head, tuple(rows))


def budget_csv(columns: tuple[str, ...], found: Sequence[NamedDependence]) -> CsvTable:
    """Return what the errors consist of."""
    rows = [
        (*each.cells, term.source, term.Ea_eV, temperature, error)
        for each in found
        for term in each.dependence.budget
        for temperature, error in term.ln_sigma
    ]
    return CsvTable("error_budget.csv", (*columns, "source", "Ea_eV", "temperature_K", "ln_sigma"), tuple(rows))
