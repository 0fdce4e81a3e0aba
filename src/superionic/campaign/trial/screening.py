"""The second half of a trial: σ(T), Ea and σ(300 K) by a student of the most accurate teacher at hand, as a screening.

The teacher labels some 250 structures; one student learns from them alone and runs in the refined cell. Seeds are made
anew by the fast potential: their dynamics cost a second, where reading the frames of the first half would save none.

What such a number is worth is not in the statistics of its runs: the teacher, the student, the one ordering, the cell
that does not expand and the extrapolation to 300 K are an error of their own, :class:`.ModelError`, which is part of
every interval given here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from superionic.campaign.initialise import CrystalGuess, plain_name
from superionic.campaign.trial.first_look import (
    ATOMS,
    FirstLook,
    TrialTemperature,
    crystal_text,
    framework_cautions,
    melting_cautions,
    potential_name,
    potential_text,
    repeats,
    runs_by_temperature,
    search_text,
    verdict_of,
)
from superionic.campaign.trial.model_error import ModelError
from superionic.shown import Shown, number_text
from superionic.training.parity import Verdict
from superionic.transport.conductivity.budget import widened
from superionic.transport.conductivity.line import ConductivityAt
from superionic.transport.conductivity.of_temperature import (
    RunTransport,
    TemperatureDependence,
    temperature_dependence,
)
from superionic.transport.estimate import LEVEL_68, LEVEL_95

if TYPE_CHECKING:
    from superionic.campaign.results import CampaignResults
    from superionic.results.student import DistilResult

REPORT_K: Final = 300.0
N_TEMPERATURES: Final = 4

_WITHOUT_LOOK_K: Final = 900.0
_BELOW_MELTING_K: Final = 50.0
_COLDEST, _COLDEST_OF_A_SLOW_ONE = 0.6, 0.7
"""Lowest temperature over the highest: where ions diffuse in 20 ps at the lowest of the first look, and where not."""

_LABEL_ATOMS: Final = 60
_LABELS: Final = ((40, 300), (80, 240), (10_000, 200))
"""Up to so many atoms in a labelled cell, so many labels."""
_SEED_SHARE: Final = 0.4
_PRODUCTION_PS: Final = 80.0
_LEAST_PRODUCTION_PS, _MOST_PRODUCTION_PS = 30.0, 200.0
"""Length of the hot runs in a cell of the usual size, and its bounds: at the cost of that, small cells run longer."""
_LEAST_FIRM_LN: Final = math.log(2.0)


@dataclass(frozen=True, eq=False, repr=False)
class Screening(Shown):
    """σ(T), Ea and σ(300 K) of a crystal to within what a first number is worth.

    Attributes
    ----------
    formula, mobile_ion, n_atoms
        Of the ordering that was run, in its simulation cell.
    teacher, n_labels
        The potential that labelled, and how many structures.
    conductivity
        σ(300 K) with the error of the model in its intervals; None where it cannot be stated, and `reason` says why.
    Ea_eV, Ea_error_eV
        Activation energy; its error holds that which would by itself make the model's error of σ(300 K).
    dependence
        σ(T) by the runs whose framework holds, with statistical errors alone; None without such a run.
    model_error
        The error of the model, and where it comes from.
    gate
        What the teacher says of frames of the student's own runs.
    temperatures
        The runs, by rising temperature.
    cautions
        What the reader should know besides.
    improvements
        What would make the number better, the most effective first.
    campaign
        The campaign file, from which the work can be continued.
    """

    formula: str
    mobile_ion: str
    n_atoms: int
    teacher: str
    n_labels: int
    conductivity: ConductivityAt | None
    reason: str
    Ea_eV: float | None
    Ea_error_eV: float | None
    dependence: TemperatureDependence | None
    model_error: ModelError
    gate: Verdict
    temperatures: tuple[TrialTemperature, ...]
    cautions: tuple[str, ...]
    improvements: tuple[str, ...]
    campaign: str

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield "a screening of", f"{self.formula} by a student of {self.teacher}"
        if self.conductivity is not None:
            yield from self.conductivity._facts()
        else:
            yield "no σ:", self.reason
        if self.Ea_eV is not None:
            yield "Ea", f"{number_text(self.Ea_eV, self.Ea_error_eV)} eV"


def screening_temperatures_K(look: FirstLook | None) -> tuple[float, ...]:
    """Choose the temperatures of the student's runs, evenly spaced in 1/T.

    They end where the framework still holds in the first look, and begin where runs of a hundred picoseconds may be
    expected to see diffusion.
    """
    hottest, coldest = _WITHOUT_LOOK_K, _COLDEST_OF_A_SLOW_ONE
    if look is not None and look.temperatures:
        first = look.temperatures[0]
        held = [each.temperature_K for each in look.temperatures if each.framework_holds]
        melting = [each.temperature_K for each in look.temperatures if not each.framework_holds]
        below = [temperature for temperature in held if not melting or temperature < melting[0]]
        hottest = below[-1] if below else first.temperature_K - _BELOW_MELTING_K
        if below and not first.diffusivity_cm2_per_s.is_upper_bound:
            coldest = _COLDEST
    inverse = np.linspace(1.0 / (coldest * hottest), 1.0 / hottest, N_TEMPERATURES)
    return tuple(float(10 * round(0.1 / each)) for each in inverse.tolist())


def screening_text(
    path: Path,
    guess: CrystalGuess,
    folder: str | Path,
    teacher: Mapping[str, Any],
    fast: Mapping[str, Any] | None,
    temperatures_K: tuple[float, ...],
) -> str:
    """Write the campaign file of a screening.

    Parameters
    ----------
    teacher, fast
        Entries of ``potentials``: what labels, and what relaxes the orderings and moves the seeds; the teacher itself
        where the latter is None.
    temperatures_K
        Temperatures of the student's runs.
    """
    run_cells, label_cells = repeats(guess, ATOMS), repeats(guess, _LABEL_ATOMS)
    n_atoms, n_labelled = (guess.n_atoms * int(np.prod(cells)) for cells in (run_cells, label_cells))
    labels = next(labels for atoms, labels in _LABELS if n_labelled <= atoms)
    production = max(_LEAST_PRODUCTION_PS, min(_MOST_PRODUCTION_PS, round(_PRODUCTION_PS * ATOMS / n_atoms)))
    same = fast is None or dict(fast) == dict(teacher)
    seeding = teacher if fast is None else fast
    return _TEXT.format(
        crystal=crystal_text(path, guess, folder, plain_name(f"try-{path.stem}-sigma-{potential_name(teacher)}")),
        title=json.dumps(f"{path.stem}, a screening", ensure_ascii=False),
        potentials="\n  ".join(dict.fromkeys(potential_text(each, folder) for each in (seeding, teacher))),
        search=search_text(guess, keep=2 if same else 5),
        ranks=potential_name(seeding),
        teacher=potential_name(teacher),
        label_repeats="x".join(map(str, label_cells)),
        n_labelled=n_labelled,
        labels=labels,
        seeds=round(_SEED_SHARE * labels),
        seed_runs="" if same else f"    seed_potential: {potential_name(seeding)}\n",
        repeats="x".join(map(str, run_cells)),
        n_atoms=n_atoms,
        temperatures=", ".join(f"{temperature:g}" for temperature in temperatures_K),
        production=f"{production:g}",
        below=f"{sorted(temperatures_K)[len(temperatures_K) // 2]:g}",
        long_production=f"{2 * production:g}",
        report=f"{REPORT_K:g}",
    )


def judge_screening(
    results: CampaignResults, guess: CrystalGuess, error: ModelError, better_teacher: str, campaign: str
) -> Screening:
    """Judge the runs of a campaign by a student.

    Parameters
    ----------
    results
        Of a campaign with the stages *distil*, *transport* and *analyse* on one material.
    guess
        The crystal as it was assumed.
    error
        That of the model.
    better_teacher
        A more accurate teacher and how to have it; empty where there is none.
    """
    distilled, transport = results.distil, results.transport
    if distilled is None or transport is None:
        raise ValueError("a screening has a student and its runs")
    temperatures = runs_by_temperature(results)
    dependence = _dependence(results, temperatures)
    stated = None if dependence is None else dependence.headline
    verdict, words = verdict_of(temperatures)
    if stated is not None:
        reason = ""
    elif verdict in ("does not move", "hops without diffusing"):
        reason = words
    elif dependence is not None:
        reason = dependence.verdict.words
    elif any(each.framework_holds for each in temperatures):
        reason = "the analysis of the runs gave no line"
    else:
        reason = "in no run does the framework hold"
    first = next(iter(transport.runs), None)
    return Screening(
        formula="" if first is None else first.formula,
        mobile_ion=results.mobile_ion,
        n_atoms=0 if first is None else first.n_atoms,
        teacher=distilled.teacher.name,
        n_labels=_n_labels(distilled),
        conductivity=None if stated is None else with_model_error(stated, error),
        reason=reason,
        Ea_eV=None if dependence is None else dependence.Ea_eV,
        Ea_error_eV=None if dependence is None else _whole_Ea_error_eV(dependence, error),
        dependence=dependence,
        model_error=error,
        gate=distilled.verdict,
        temperatures=temperatures,
        cautions=(
            *guess.cautions,
            *(each for each in _cautions(results, dependence, temperatures) if each != reason),
        ),
        improvements=tuple(_improvements(distilled, stated, better_teacher)),
        campaign=campaign,
    )


def with_model_error(stated: ConductivityAt, error: ModelError) -> ConductivityAt:
    """Add the error of the model to that of a conductivity, in quadrature."""
    value, widening = stated.value_S_per_cm, error.log_error
    wide68 = widened(value, stated.interval68_S_per_cm, widening, LEVEL_68)
    wide95 = widened(value, stated.interval95_S_per_cm, widening, LEVEL_95)
    return replace(
        stated,
        interval68_S_per_cm=wide68 or stated.interval68_S_per_cm,
        interval95_S_per_cm=wide95 or stated.interval95_S_per_cm,
        log_error=math.hypot(stated.log_error, widening),
    )


def _dependence(results: CampaignResults, temperatures: tuple[TrialTemperature, ...]) -> TemperatureDependence | None:
    """Return σ(T) of the runs whose framework holds: what a melt does says nothing about the crystal."""
    if results.analyse is None or not results.analyse.arrhenius:
        return None
    whole = results.analyse.arrhenius[0].dependence
    held = {each.temperature_K for each in temperatures if each.framework_holds}
    if len(held) == len(temperatures):
        return whole
    runs = [
        RunTransport.of(each.analysis, ordering=each.run.ordering.id)
        for each in results.analyse.runs
        if each.run.temperature_K in held
    ]
    if not runs:
        return None
    return temperature_dependence(
        runs, form=whole.form, report_temperatures_K=whole.report_temperatures_K, transfer=whole.transfer
    )


def _whole_Ea_error_eV(dependence: TemperatureDependence, error: ModelError) -> float | None:
    if dependence.Ea_error_eV is None:
        return None
    middle_K = 1.0 / float(np.mean([1.0 / point.temperature_K for point in dependence.points]))
    return math.hypot(dependence.Ea_error_eV, error.Ea_eV(middle_K, dependence.report_temperatures_K[0]))


def _n_labels(distilled: DistilResult) -> int:
    gate = 0 if distilled.on_policy is None else distilled.on_policy.labels
    return distilled.learned_from.total + gate


def _cautions(
    results: CampaignResults, dependence: TemperatureDependence | None, temperatures: tuple[TrialTemperature, ...]
) -> Iterator[str]:
    yield from melting_cautions(temperatures)
    yield from framework_cautions(temperatures)
    if results.distil is not None:
        yield from (f"the student differs from its teacher: {each.words}" for each in results.distil.verdict.failed)
    failed = () if results.transport is None else results.transport.failures
    yield from (f"{failure.label}: {failure.reason}" for failure in failed)
    if dependence is not None:
        yield from (doubt.words for doubt in dependence.doubts if doubt.kind != "extrapolated")


def _improvements(distilled: DistilResult, stated: ConductivityAt | None, better_teacher: str) -> Iterator[str]:
    if not distilled.verdict.passed:
        yield "more labels and epochs for the student: distil.on_policy.max_labels, distil.on_policy.final_epochs"
    if stated is None or stated.log_error > _LEAST_FIRM_LN:
        yield "longer runs and replicas: transport.production_ps, transport.replicas"
    if better_teacher:
        yield f"a better teacher: {better_teacher}"
    yield "more orderings, the cell at its own volume, larger cells, further teachers: superionic init --budget 8h"


_TEXT: Final = """\
# A screening by superionic: σ(T), the activation energy and σ(300 K) by a student of an accurate potential, in minutes.
# One ordering, the refined cell, few labels, short runs: the error of such a number is larger than its statistics say.
{crystal}
potentials:
  {potentials}

{search}
rank:                             # in the refined cell, as everything here
  potential: {ranks}
  relax_cell: false
  relax_top: 1
  warm_start: 0
  fmax_eV_per_A: 0.05
  max_steps: 200

distil:
  method: on-policy               # the teacher labels, and runs no dynamics
  teacher: {teacher}
  supercell: {label_repeats}                # {n_labelled} atoms to label
  students: 1
  require_parity: false           # a student that differs is used, and the difference stated
  epochs: 120
  refit_epochs: 40
  epochs_per_segment: 60
  segment_ps: 10
  parity: {{max_pressure_difference_GPa: 1, max_volume_difference_percent: 10}}    # the cell does not follow them
  on_policy:
    max_labels: {labels}
    seed_labels: {seeds}
    orderings: 5
    volumes: [0.97, 1.05]
    contacts: 10
{seed_runs}    rounds: 2
    runs: 6
    run_ps: [4, 8]
    constant_pressure: false
    final_epochs: 250
    gate_frames: 8
    gate_npt_ps: 0
    gate_ps: 4
    repairs: 1

transport:
  potential: student
  supercell: {repeats}              # {n_atoms} atoms
  temperatures_K: [{temperatures}]
  timestep_fs: 2
  heating_ps: 1
  nvt_before_npt_ps: 0
  npt_ps: 0
  nvt_equilibration_ps: 4
  production_ps: {production}
  long_runs: {{below_K: {below}, nvt_equilibration_ps: 4, production_ps: {long_production}}}
  save_every_fs: 20
  segment_ps: 20

analyse:
  report_temperatures_K: [{report}]
  density_grid_A: null

report:
  title: {title}
"""
