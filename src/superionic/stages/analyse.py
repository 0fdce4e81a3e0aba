"""Stage *analyse*: diffusivities, conductivities, activation energies and density maps of the transport runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from superionic.execution.task import Context, Ref, Task
from superionic.stages.analyse_migration import migration_records
from superionic.stages.base import Candidate, StageResult, Workbench, failures_as_data

if TYPE_CHECKING:
    from superionic.transport.arrhenius import ArrheniusFit, Prediction
    from superionic.transport.budget import TransferTerm
    from superionic.transport.estimate import Estimate, PooledEstimate

STAGE = "analyse"
_ANALYSE_VERSION = 3
_DENSITY_VERSION = 3
_ARRHENIUS_VERSION = 2
_SHARE_INSIDE_ISOSURFACE = 0.9
_SMOOTHING_A = 0.3
_AXES = {"x": 0, "y": 1, "z": 2}


def run(
    settings: Mapping[str, Any],
    bench: Workbench,
    trajectories: Sequence[Candidate],
    transfer: Mapping[str, Any] | None = None,
    crystals: Mapping[str, Mapping[str, Any]] | None = None,
) -> StageResult:
    """Analyse every run, and every material over its temperatures.

    Parameters
    ----------
    settings
        The ``analyse`` section.
    bench
        The workbench.
    trajectories
        Runs of the stage *transport*.
    transfer
        What the step from teacher to student adds to the errors (see
        :class:`superionic.training.parity.TransferError`); None where no student drove the runs, or none is known.
    crystals
        ``file_name``, ``text`` and ``occupancies`` of each crystal, whose sites ions are found on.

    Returns
    -------
    StageResult
        The summary has ``runs``, ``arrhenius``, ``densities`` and ``migration``; the density grids are among the
        arrays.
    """
    charge = bench.oxidation_states[bench.mobile_ion]
    tasks = [
        bench.task(
            STAGE,
            f"transport in {run.id}",
            "superionic.stages.analyse:analyse_task",
            _ANALYSE_VERSION,
            {
                "axes": [_AXES[axis] for axis in settings["axes"]],
                "charge": charge,
                "frame_interval_ps": run.facts["frame_interval_ps"],
                "mobile_ion": bench.mobile_ion,
                "temperature_K": run.facts["temperature_K"],
            },
            {"positions": run.facts["positions"], "run": run.structure},
        )
        for run in trajectories
    ]
    outcomes = bench.runner.gather(tasks)
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    good = [(r, task, o.value) for r, task, o in zip(trajectories, tasks, outcomes, strict=True) if o.ok]
    runs = [
        {
            **{name: value for name, value in result.items() if name not in ("tracer", "charge")},
            "crystal": run.crystal,
            "formula": run.facts["formula"],
            "id": run.facts["ordering"],
            "key": task.key,
            "member": run.facts["member"],
            "replica": run.facts["replica"],
            "run": run.id,
            "temperature_K": run.facts["temperature_K"],
        }
        for run, task, result in good
    ]
    materials: dict[tuple[str, str], list[tuple[Candidate, Task]]] = {}
    for run, task, _ in good:
        materials.setdefault((run.crystal, run.composition_label), []).append((run, task))
    fits = [
        bench.task(
            STAGE,
            f"Arrhenius fit of {' '.join(material).strip()}",
            "superionic.stages.analyse:arrhenius_task",
            _ARRHENIUS_VERSION,
            {
                "form": settings["arrhenius_form"],
                "orderings": [run.facts["ordering"] for run, _ in members],
                "report_temperatures_K": settings["report_temperatures_K"],
                "temperatures_K": [run.facts["temperature_K"] for run, _ in members],
                **_transfer_settings(transfer),
            },
            {
                "conductivities": [task["nernst_einstein_conductivity_S_per_cm"] for _, task in members],
                "diffusivities": [task["tracer_diffusivity_cm2_per_s"] for _, task in members],
            },
        )
        for material, members in materials.items()
    ]
    arrhenius = [
        {
            **outcome.value,
            "crystal": material[0],
            "formula": members[0][0].facts["formula"],
            "id": " ".join(material).strip(),
            "key": task.key,
        }
        for (material, members), task, outcome in zip(materials.items(), fits, bench.runner.gather(fits), strict=True)
        if outcome.ok
    ]
    densities, arrays = _densities(settings, bench, [run for run, _, _ in good])
    summary = {
        "arrhenius": arrhenius,
        "charge": charge,
        "densities": densities,
        "failures": failures_as_data(failures),
        "migration": migration_records(STAGE, settings, bench, [(run, task) for run, task, _ in good], crystals or {}),
        "mobile_ion": bench.mobile_ion,
        "runs": runs,
    }
    return StageResult(summary, arrays=arrays, failures=tuple(failures))


def _transfer_settings(transfer: Mapping[str, Any] | None) -> dict[str, Any]:
    if transfer is None:
        return {}
    return {"transfer": {name: transfer[name] for name in ("Ea_eV", "ln_sigma", "temperature_K")}}


def _densities(
    settings: Mapping[str, Any], bench: Workbench, runs: Sequence[Candidate]
) -> tuple[list[dict[str, Any]], dict[str, Ref]]:
    if settings["density_grid_A"] is None:
        return [], {}
    tasks = [
        bench.task(
            STAGE,
            f"density in {run.id}",
            "superionic.stages.analyse:density_task",
            _DENSITY_VERSION,
            {"grid_spacing_A": settings["density_grid_A"], "mobile_ion": bench.mobile_ion},
            {"positions": run.facts["positions"], "run": run.structure},
        )
        for run in runs
    ]
    densities: list[dict[str, Any]] = []
    arrays: dict[str, Ref] = {}
    for number, (run, task, outcome) in enumerate(zip(runs, tasks, bench.runner.gather(tasks), strict=True)):
        if not outcome.ok:
            continue
        value = outcome.value
        name = f"density_{number:03d}"
        arrays[name] = task["probability_per_A3"]
        densities.append(
            {
                "array": name,
                "cell_A": [[float(x) for x in row] for row in value["cell_A"]],
                "framework": value["framework"],
                "id": run.facts["ordering"],
                "isovalue_per_A3": value["isovalue_per_A3"],
                "key": task.key,
                "run": run.id,
                "smoothing_A": _SMOOTHING_A,
                "temperature_K": run.facts["temperature_K"],
            }
        )
    return densities, arrays


# ---- task functions -----------------------------------------------------------------------------------------------


def analyse_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Analyse one run."""
    import numpy as np
    from ase.data import atomic_masses, atomic_numbers

    from superionic.transport.analysis import analyse_displacements

    numbers = np.asarray(inputs["run"]["numbers"])
    analysis = analyse_displacements(
        np.concatenate(inputs["positions"]),
        inputs["run"]["cell_A"],
        numbers == atomic_numbers[settings["mobile_ion"]],
        settings["frame_interval_ps"],
        settings["temperature_K"],
        settings["charge"],
        masses=atomic_masses[numbers],
        axes=tuple(settings["axes"]),
    )
    msd = analysis.msd.thinned(200)
    found: dict[str, Any] = analysis.to_dict()
    found["msd"] = {
        "lags_ps": [float(x) for x in msd.lags_ps],
        "msd_A2": [float(x) for x in msd.msd_A2],
        **{axis * 2: [float(x) for x in msd.tensor_A2[:, i, i]] for axis, i in _AXES.items()},
    }
    return found


def density_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Map where the mobile ions were, relative to the framework."""
    import numpy as np
    from ase.data import atomic_masses, atomic_numbers, chemical_symbols

    from superionic.transport.density import probability_density
    from superionic.transport.msd import remove_drift

    numbers = np.asarray(inputs["run"]["numbers"])
    cell = np.asarray(inputs["run"]["cell_A"])
    mobile = numbers == atomic_numbers[settings["mobile_ion"]]
    positions = np.concatenate(inputs["positions"])
    if not mobile.all():
        positions = remove_drift(positions, ~mobile, masses=atomic_masses[numbers])
    density = probability_density(positions[:, mobile], cell, grid_spacing_A=settings["grid_spacing_A"])
    probability = density.probability_per_A3
    mean = positions[:, ~mobile].mean(axis=0)
    return {
        "cell_A": np.asarray(density.cell_A),
        "framework": [
            {"symbol": chemical_symbols[number], "position_A": [float(x) for x in position]}
            for number, position in zip(numbers[~mobile], mean, strict=True)
        ],
        "isovalue_per_A3": density.isovalue_per_A3(_SHARE_INSIDE_ISOSURFACE, smoothing_A=_SMOOTHING_A),
        "probability_per_A3": np.asarray(probability, dtype=np.float32),
    }


def arrhenius_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Average replicas and orderings at each temperature, fit the line, predict the conductivity."""
    import numpy as np

    from superionic.errors import AnalysisError, CalculationFailed
    from superionic.transport.arrhenius import arrhenius_fit_estimates
    from superionic.transport.budget import LEVELS, TransferTerm, widened
    from superionic.transport.estimate import pool_orderings
    from superionic.transport.slope_break import slope_break_of_estimates

    temperatures = sorted(set(settings["temperatures_K"]))

    def at_each(values: Sequence[Mapping[str, Any]]) -> list[PooledEstimate]:
        pooled = []
        for temperature in temperatures:
            chosen = [i for i, t in enumerate(settings["temperatures_K"]) if t == temperature]
            of_each = [_estimate(values[i]) for i in chosen]
            pooled.append(pool_orderings(of_each, [settings["orderings"][i] for i in chosen]))
        return pooled

    pooled = at_each(inputs["conductivities"])
    sigma = [each.estimate for each in pooled]
    diffusivity = [each.estimate for each in at_each(inputs["diffusivities"])]
    result: dict[str, Any] = {
        "Ea_eV": None,
        "Ea_error_eV": None,
        "band": None,
        "flags": [],
        "form": settings["form"],
        "n_runs": len(settings["temperatures_K"]),
        "predictions": [],
        "sigma_300K_mS_per_cm": None,
        "sigma_S_per_cm": [estimate.value for estimate in sigma],
        "sigma_interval68": [list(estimate.interval68) for estimate in sigma],
        "sigma_interval95": [list(estimate.interval95) for estimate in sigma],
        "sigma_is_upper_bound": [estimate.is_upper_bound for estimate in sigma],
        "temperatures_K": temperatures,
    }
    try:
        fit = arrhenius_fit_estimates(
            temperatures, diffusivity if settings["form"] == "lnD" else sigma, form=settings["form"]
        )
        # σT, not D, carries the change of volume with temperature, so predictions of σ come from its own line.
        line = arrhenius_fit_estimates(temperatures, sigma, form="lnSigmaT")
    except (AnalysisError, CalculationFailed) as error:
        result["flags"] = [f"No activation energy: {error.args[0]}"]
        return result
    result |= {"Ea_eV": fit.Ea_eV, "Ea_error_eV": fit.Ea_error_eV, "flags": list(fit.flags), "fit": fit.to_dict()}
    broken = slope_break_of_estimates(temperatures, diffusivity)
    if broken is not None:
        result["slope_break"] = broken.to_dict()
        result["flags"] += [broken.flag] if broken.flag else []
    wanted = settings["report_temperatures_K"]
    inverse = np.linspace(1.0 / max(temperatures), 1.0 / min([*wanted, *temperatures]), 60)
    curve = [line.predict(1.0 / x) for x in inverse]
    if all(point.interval68 is not None for point in curve):
        result["band"] = {
            "inverse_temperature_per_K": [float(x) for x in inverse],
            "sigma_S_per_cm": [point.value for point in curve],
            **{
                f"{side}{level}": [getattr(point, f"interval{level}")[index] for point in curve]
                for level in (68, 95)
                for index, side in enumerate(("low", "high"))
            },
        }
    term = TransferTerm.from_dict(settings["transfer"]) if "transfer" in settings else None
    result |= _budget(fit, [line.predict(temperature) for temperature in wanted], pooled, term)
    if term is not None and result["band"] is not None:
        _widen_band(result["band"], term)
    for temperature in wanted:
        point = line.predict(temperature).to_dict()
        if term is not None:
            for name, level in LEVELS.items():
                point[name] = widened(point["value"], point[name], term.log_error(temperature), level)
        scaled = {
            "extrapolated": point["extrapolated"],
            "interval68": None if point["interval68"] is None else [1000.0 * x for x in point["interval68"]],
            "interval95": None if point["interval95"] is None else [1000.0 * x for x in point["interval95"]],
            "temperature_K": temperature,
            "value": 1000.0 * point["value"],
        }
        result["predictions"].append(scaled)
        if temperature == 300.0:
            result["sigma_300K_mS_per_cm"] = scaled
    return result


def _budget(
    fit: ArrheniusFit, predictions: Sequence[Prediction], pooled: Sequence[PooledEstimate], term: TransferTerm | None
) -> dict[str, Any]:
    """Set the parts of the error side by side, and put them together in quadrature."""
    import math

    errors = [(each.statistical**2, each.ordering**2) for each in pooled if math.isfinite(each.statistical)]
    together = sum(one + other for one, other in errors)
    share = sum(other for _, other in errors) / together if together > 0.0 else 0.0

    def part(fraction: float, source: str) -> dict[str, Any]:
        root = math.sqrt(fraction)
        return {
            "Ea_eV": None if fit.Ea_error_eV is None else root * fit.Ea_error_eV,
            "ln_sigma": {
                f"{p.temperature_K:g}": None if p.log_error is None else root * p.log_error for p in predictions
            },
            "source": source,
        }

    budget = [part(1.0 - share, "statistics of the runs, and the Arrhenius line")]
    if max(each.n_orderings for each in pooled) > 1:
        budget.append(part(share, "differences between orderings"))
    if term is None:
        return {"budget": budget}
    budget.append(
        {
            "Ea_eV": term.Ea_eV,
            "ln_sigma": {f"{p.temperature_K:g}": term.log_error(p.temperature_K) for p in predictions},
            "source": "transfer from the teacher to the student",
        }
    )
    statistics = fit.Ea_error_eV
    return {"Ea_error_eV": None if statistics is None else math.hypot(statistics, term.Ea_eV), "budget": budget}


def _widen_band(band: dict[str, Any], term: TransferTerm) -> None:
    from superionic.transport.budget import LEVELS, widened

    for index, (inverse, value) in enumerate(
        zip(band["inverse_temperature_per_K"], band["sigma_S_per_cm"], strict=True)
    ):
        for name, level in LEVELS.items():
            width = name.removeprefix("interval")
            now = (band[f"low{width}"][index], band[f"high{width}"][index])
            wider = widened(value, now, term.log_error(1.0 / inverse), level)
            if wider is not None:
                band[f"low{width}"][index], band[f"high{width}"][index] = wider


def _estimate(values: Mapping[str, Any]) -> Estimate:
    from superionic.transport.estimate import Estimate

    def number(value: float | None) -> float:
        return float("inf") if value is None else value

    return Estimate(
        value=number(values["value"]),
        error=number(values["error"]),
        interval68=(number(values["interval68"][0]), number(values["interval68"][1])),
        interval95=(number(values["interval95"][0]), number(values["interval95"][1])),
        is_upper_bound=values["is_upper_bound"],
    )
