"""The results of a campaign that can be compared with published values, with all conditions that must agree."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from superionic.references import OwnResult, normal_formula, temperatures_of
from superionic.references.matching import Potential
from superionic.references.values import Quantity
from superionic.registry import find
from superionic.report.runs import analysed, materials, simulated
from superionic.results.campaign import Results
from superionic.results.identity import Material, Ordering, Run
from superionic.results.ranking import RankedOrdering, RankResult
from superionic.results.stability import HullResult
from superionic.results.transport import MaterialTransport
from superionic.settings.base import STUDENT, is_trained
from superionic.training.metrics import ErrorMetrics

_MPA_PER_GPA: Final = 1000.0
_MILLI: Final = 1000.0


@dataclass(frozen=True)
class Own:
    """One result of ours.

    Attributes
    ----------
    material, run
        Material and run; None for errors of a potential, and for results of no single run.
    potential
        Name, in the campaign, of the potential.
    result
        The value, with its conditions.
    """

    material: Material | None
    run: Run | None
    potential: str
    result: OwnResult


def own_results(results: Results) -> Iterator[Own]:
    """Yield every fit, volume, energy and error of a campaign."""
    for material in materials(results):
        yield from _of_line(results, material)
    yield from _of_runs(results)
    yield from _of_volumes(results)
    for ranking in results.rank:
        yield from _of_relaxed_cells(results, ranking)
    for hull in results.hull:
        yield from _of_hull(results, hull)
        yield from _of_polymorphs(results, hull)
    yield from _of_errors(results)


def _of_line(results: Results, transport: MaterialTransport) -> Iterator[Own]:
    """Yield the activation energy, and σ at the report temperatures and at temperatures of published values."""
    runs = [each.run for each in analysed(results) if each.run.ordering.material == transport.material]
    pressures = {run.pressure_GPa for run in runs}
    potential = runs[0].potential if runs else ""
    kind, family = _kind(results, potential)
    spacegroup = _spacegroup(results, transport.material)
    own = partial(
        OwnResult,
        formula=transport.formula,
        potential=kind,
        family=family,
        spacegroup=spacegroup,
        pressure_GPa=pressures.pop() if len(pressures) == 1 else None,
    )
    dependence = transport.dependence
    unphysical = any(doubt.kind == "unphysical" for doubt in dependence.doubts)
    if dependence.line is not None and dependence.Ea_eV is not None and not unphysical:
        energy = own(
            "activation_energy",
            dependence.Ea_eV,
            error=dependence.Ea_error_eV,
            temperature_range_K=dependence.line.temperature_range_K,
        )
        yield Own(transport.material, None, potential, energy)
    for temperature in sorted({*dependence.report_temperatures_K, *temperatures_of(transport.formula, spacegroup)}):
        value = dependence.conductivity_at(temperature)
        if value is None or value.is_upper_bound:
            continue
        low, high = (_MILLI * end for end in value.interval68_S_per_cm)
        sigma = own(
            "conductivity",
            _MILLI * value.value_S_per_cm,
            interval68=(low, high) if math.isfinite(high) else None,
            temperature_K=temperature,
        )
        yield Own(transport.material, None, potential, sigma)


def _of_runs(results: Results) -> Iterator[Own]:
    """Yield the volumes of runs whose cell was equilibrated at constant pressure."""
    for each in simulated(results):
        if each.run.pressure_GPa is None:
            continue
        material = each.run.ordering.material
        kind, family = _kind(results, each.run.potential)
        mean = each.mean_cell.volume_per_atom_A3 if each.mean_cell is not None else None
        volume = OwnResult(
            "volume_per_atom",
            each.volume_A3_per_atom,
            each.formula,
            kind,
            family,
            error=mean.error if mean is not None else None,
            spacegroup=_spacegroup(results, material),
            temperature_K=each.run.temperature_K,
            pressure_GPa=each.run.pressure_GPa,
        )
        yield Own(material, each.run, each.run.potential, volume)


def _of_volumes(results: Results) -> Iterator[Own]:
    """Yield the volumes of the series against temperature, that at 0 K among them."""
    series = results.volumes
    if series is None:
        return
    kind, family = _kind(results, series.potential)
    for each in series.runs:
        mean = each.mean_cell.volume_per_atom_A3
        if mean is None:
            continue
        material = each.run.ordering.material
        volume = OwnResult(
            "volume_per_atom",
            mean.value,
            each.formula,
            kind,
            family,
            error=mean.error,
            spacegroup=_spacegroup(results, material),
            temperature_K=each.run.temperature_K,
            pressure_GPa=series.pressure_GPa,
        )
        yield Own(material, each.run, series.potential, volume)
    for cell in series.relaxed:
        material = cell.ordering.material
        volume = OwnResult(
            "volume_per_atom",
            cell.volume_A3_per_atom,
            cell.formula,
            kind,
            family,
            spacegroup=_spacegroup(results, material),
            temperature_K=0.0,
            pressure_GPa=series.pressure_GPa,
        )
        yield Own(material, None, series.potential, volume)


def _of_relaxed_cells(results: Results, ranking: RankResult) -> Iterator[Own]:
    """Yield the volume at 0 K of the lowest ordering of each material."""
    kind, family = _kind(results, ranking.potential_name)
    lowest: dict[Material, tuple[float, float, RankedOrdering]] = {}
    for entry in ranking.entries:
        energy, volume = entry.relaxed_eV_per_atom, entry.volume_A3_per_atom
        if isinstance(entry.identity, Ordering) and energy is not None and volume is not None:
            material = entry.identity.material
            if material not in lowest or energy < lowest[material][0]:
                lowest[material] = (energy, volume, entry)
    for material, (_, volume, entry) in lowest.items():
        spacegroup = _spacegroup(results, material)
        own = OwnResult(
            "volume_per_atom", volume, entry.formula, kind, family, spacegroup=spacegroup, temperature_K=0.0
        )
        yield Own(material, None, ranking.potential_name, own)


def _of_hull(results: Results, hull: HullResult) -> Iterator[Own]:
    """Yield the energies of the lowest ordering of each material relative to the end members."""
    kind, family = _kind(results, hull.potential)
    ends = {normal_formula(member) for member in hull.end_members}
    phases = {
        _spacegroup(results, entry.material) if isinstance(entry.identity, Ordering) else None
        for entry in hull.entries
        if entry.stable and normal_formula(entry.formula) in ends
    }
    of_ends = phases.pop() if len(phases) == 1 else None
    for material in dict.fromkeys(entry.material for entry in hull.entries if isinstance(entry.identity, Ordering)):
        entries = [entry for entry in hull.entries if entry.material == material]
        lowest = min(entries, key=lambda entry: entry.e_above_hull_eV_per_atom)
        own = partial(
            OwnResult,
            formula=lowest.formula,
            potential=kind,
            family=family,
            spacegroup=_spacegroup(results, material),
            relative_to=hull.end_members,
            other_spacegroup=of_ends,
        )
        for each in (
            own("formation_energy", _MILLI * lowest.formation_energy_eV_per_atom),
            own("energy_above_hull", _MILLI * lowest.e_above_hull_eV_per_atom),
        ):
            yield Own(material, None, hull.potential, each)


def _of_polymorphs(results: Results, hull: HullResult) -> Iterator[Own]:
    """Yield the energy of each crystal above each other one of the same composition."""
    kind, family = _kind(results, hull.potential)
    for polymorphs in hull.polymorphs:
        crystals = [energy for energy in polymorphs.energies if isinstance(energy.identity, Ordering)]
        for one, other in ((one, other) for one in crystals for other in crystals if one is not other):
            material = Material(one.crystal, polymorphs.point)
            own = OwnResult(
                "energy_above_polymorph",
                _MILLI * (one.energy_eV_per_atom - other.energy_eV_per_atom),
                polymorphs.formula,
                kind,
                family,
                spacegroup=_spacegroup(results, material),
                other_spacegroup=_spacegroup(results, Material(other.crystal, polymorphs.point)),
            )
            yield Own(material, None, hull.potential, own)


def _of_errors(results: Results) -> Iterator[Own]:
    """Yield the errors of the potential before and after training, for all compositions of the set together."""
    if results.validate is None or not results.rank:
        return
    errors = results.validate.errors
    formulas = [str(group.value) for group in errors.by if group.by == "composition"]
    temperatures = [float(group.value) for group in errors.by if group.by == "temperature_K"]
    if not formulas:
        return
    pretrained = results.rank[0].potential_name
    for potential, metrics in ((pretrained, errors.before), (results.validate.potential, errors.after)):
        if metrics is None:
            continue
        kind, family = _kind(results, potential)
        for quantity, value in _error_values(metrics):
            if value is not None and value > 0.0:
                own = OwnResult(
                    quantity,
                    value,
                    formulas[0],
                    kind,
                    family,
                    further_formulas=tuple(formulas[1:]),
                    temperature_range_K=(min(temperatures), max(temperatures)) if temperatures else None,
                )
                yield Own(None, None, potential, own)


def _error_values(metrics: ErrorMetrics) -> Iterator[tuple[Quantity, float | None]]:
    yield "mae_energy", metrics.mae_energy_meV_per_atom
    yield "mae_force", metrics.mae_force_meV_per_A
    yield "mae_stress", None if metrics.mae_stress_GPa is None else _MPA_PER_GPA * metrics.mae_stress_GPa
    yield "rmse_energy", metrics.rmse_energy_meV_per_atom
    yield "rmse_force", metrics.rmse_force_meV_per_A
    yield "rmse_stress", None if metrics.rmse_stress_GPa is None else _MPA_PER_GPA * metrics.rmse_stress_GPa


def _spacegroup(results: Results, material: Material) -> int | None:
    return next((each.spacegroup_number for each in results.crystals if each.name == material.crystal), None)


def _kind(results: Results, potential: str) -> tuple[Potential, str]:
    """Return the kind and the family of the potential with a name in the campaign."""
    if potential == STUDENT and results.distil is not None:
        return "student", results.distil.teacher.identity.name
    if is_trained(potential) and results.train:
        trainer = results.train[-1].trainer
        if not is_fine_tuned(results):
            return "trained", trainer
        return "fine-tuned", results.rank[0].potential.name if results.rank else trainer
    family = next((each.potential.name for each in results.rank if each.potential_name == potential), potential)
    return "universal", family


def is_fine_tuned(results: Results) -> bool:
    """Return whether the training started from published weights, rather than random ones."""
    options = results.settings.get("train", {}).get("options") or {}
    scratch = options.get("mode") == "scratch" or options.get("initial") == "random"
    if not results.train or scratch:
        return False
    trainer = find(results.train[-1].trainer)  # None: a model from a package that is not installed here
    return trainer is None or not trainer.from_labels
