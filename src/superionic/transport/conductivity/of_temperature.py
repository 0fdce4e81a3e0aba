"""σ(T): from the runs of one material at several temperatures to a line, and to σ at the requested temperatures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, get_args

from superionic.errors import AnalysisError, CalculationFailed
from superionic.shown import Shown, number_text
from superionic.transport.conductivity.arrhenius import ArrheniusFit, ArrheniusForm, arrhenius_fit_estimates
from superionic.transport.conductivity.bounded import respect_bounds
from superionic.transport.conductivity.budget import BudgetTerm, TransferTerm, error_budget
from superionic.transport.conductivity.direction_lines import DirectionLines, direction_lines
from superionic.transport.conductivity.doubts import (
    Doubt,
    Verdict,
    about_curvature,
    about_directions,
    about_line,
    about_teachers,
    about_values,
    by_gravity,
    energy_is_unphysical,
    judge,
    without_line,
)
from superionic.transport.conductivity.line import (
    ConductivityAt,
    ConductivityBand,
    conductivity_band,
    of_runs,
    read_off,
)
from superionic.transport.conductivity.model_form import LinePart, ModelForm, TeacherLine
from superionic.transport.conductivity.slope_break import SlopeBreak, slope_break_of_estimates
from superionic.transport.conductivity.vogel import VogelFit, vogel_fit_of_estimates
from superionic.transport.diffusion.tensor import TensorEstimate, pool_tensors
from superionic.transport.estimate import Estimate, PooledEstimate, pool_orderings, pooled_ratio

if TYPE_CHECKING:
    from superionic.transport.analysis import TransportAnalysis
    from superionic.transport.conductivity.posterior import TransportSamples


@dataclass(frozen=True)
class RunTransport:
    """Transport of one run, for the σ(T) of a material.

    Attributes
    ----------
    temperature_K
        Temperature of the run; runs at exactly the same temperature are averaged.
    ordering
        Name of its structure: runs of one ordering are replicas, and are averaged before the orderings are.
    tracer_diffusivity_cm2_per_s, nernst_einstein_conductivity_S_per_cm
        D*, and σ by the Nernst–Einstein relation.
    ionic_conductivity_S_per_cm, haven_ratio
        σ from D_σ, correlations included, and D*/D_σ; None where they are not known.
    conductivity_tensor_S_per_cm
        Nernst–Einstein σ as a tensor in the frame of the cell; None where it is not known.
    """

    temperature_K: float
    ordering: str
    tracer_diffusivity_cm2_per_s: Estimate
    nernst_einstein_conductivity_S_per_cm: Estimate
    ionic_conductivity_S_per_cm: Estimate | None = None
    haven_ratio: Estimate | None = None
    conductivity_tensor_S_per_cm: TensorEstimate | None = None

    @classmethod
    def of(cls, analysis: TransportAnalysis, *, ordering: str = "") -> RunTransport:
        """Collect these values from the analysis of a run.

        Raises
        ------
        AnalysisError
            If the analysis was made without a temperature or charges, and so without a conductivity.
        """
        temperature, conductivity = analysis.temperature_K, analysis.nernst_einstein_conductivity_S_per_cm
        if temperature is None or conductivity is None:
            raise AnalysisError(
                "σ(T) needs the temperature of each run and the charges of its mobile ions.",
                fix="Give both to the analysis of the run.",
            )
        diffusivity, tensor = analysis.tracer_diffusivity_cm2_per_s, analysis.diffusivity_tensor_cm2_per_s
        return cls(
            temperature,
            ordering,
            diffusivity,
            conductivity,
            analysis.ionic_conductivity_S_per_cm,
            analysis.haven_ratio,
            None if tensor is None else tensor.scaled(conductivity.value / diffusivity.value),
        )


@dataclass(frozen=True)
class TemperaturePoint:
    """The averages of all runs at one temperature.

    Attributes
    ----------
    conductivity_S_per_cm, diffusivity_cm2_per_s
        Nernst–Einstein σ, and D*.
    ionic_conductivity_S_per_cm, haven_ratio
        σ from D_σ, and D*/D_σ; None unless every run has one. The Haven ratio is that of the averages (of both
        conductivities); it is not bounded (inf) where the average charge diffusivity vanishes.
    conductivity_tensor_S_per_cm
        Nernst–Einstein σ as a tensor in the frame of the cell; None where it is not known, or an upper bound.
    """

    temperature_K: float
    n_runs: int
    conductivity_S_per_cm: PooledEstimate
    diffusivity_cm2_per_s: PooledEstimate
    ionic_conductivity_S_per_cm: PooledEstimate | None
    haven_ratio: PooledEstimate | None
    conductivity_tensor_S_per_cm: TensorEstimate | None = None


@dataclass(frozen=True, eq=False, repr=False)
class TemperatureDependence(Shown):
    """σ(T) of one material.

    Attributes
    ----------
    form
        Which Arrhenius line gives Ea.
    report_temperatures_K
        Temperatures at which σ was requested, in that order; the first is the headline's.
    transfer
        Error that a student potential adds; None where no student drove the runs, or the error is not known.
    points
        Averages at the simulated temperatures, the coldest first.
    fit
        Line of the requested form, whose slope is Ea; None without one.
    line
        Line of ln(σT) that σ is read off (σT, unlike D, includes the change of volume with temperature); None without
        one. Neither line includes the transfer term or the scatter between teachers.
    Ea_eV, Ea_error_eV
        Activation energy with its error, including both; None without a line.
    slope_break
        Test of ln D for two regimes; None with fewer than five temperatures.
    directions
        Test for directions of different activation energy, with their lines where they differ; σ is then their sum.
        None where not tested: fewer than two temperatures with a tensor, or cells of several shapes.
    vogel
        Fit of σT by the law of Vogel, Tammann and Fulcher, with its test; σ is never read off it. None with fewer than
        five temperatures, or where the plot does not bend that way.
    band
        The line that σ is read off, with its intervals, for figures; None without a line.
    predictions
        σ read off the line (or the sum of the directions) at each report temperature, in order; empty without a line.
        Only `conductivity_at` decides whether they may be stated as results.
    budget
        Contributions to the errors; empty without a line.
    doubts
        Reasons not to take σ at the report temperatures at face value, the gravest first.
    flags
        Sentences on the fit and the test for two regimes; `doubts` state their consequences for σ(T).
    no_line_reason
        Sentence that says why there is no line; None if there is one.
    model_form
        Lines of the students of several teachers, those of this σ(T) first; None unless others were given.
    """

    form: ArrheniusForm
    report_temperatures_K: tuple[float, ...]
    transfer: TransferTerm | None
    points: tuple[TemperaturePoint, ...]
    fit: ArrheniusFit | None
    line: ArrheniusFit | None
    Ea_eV: float | None
    Ea_error_eV: float | None
    slope_break: SlopeBreak | None
    directions: DirectionLines | None
    vogel: VogelFit | None
    band: ConductivityBand | None
    predictions: tuple[ConductivityAt, ...]
    budget: tuple[BudgetTerm, ...]
    doubts: tuple[Doubt, ...]
    flags: tuple[str, ...]
    no_line_reason: str | None
    model_form: ModelForm | None = None

    @property
    def n_runs(self) -> int:
        """Number of runs at all temperatures."""
        return sum(point.n_runs for point in self.points)

    @property
    def sigma_line(self) -> ArrheniusFit | DirectionLines | None:
        """Line that σ is read off: those of the directions where these differ, otherwise that of the mean."""
        return self.directions if self.directions is not None and self.directions.usable else self.line

    @property
    def headline(self) -> ConductivityAt | None:
        """σ at the first report temperature; None where it cannot be stated, and `verdict` says why."""
        return self.conductivity_at(self.report_temperatures_K[0])

    @property
    def verdict(self) -> Verdict:
        """How far the headline can be trusted."""
        return self.verdict_at(self.report_temperatures_K[0])

    def conductivity_at(self, temperature_K: float) -> ConductivityAt | None:
        """Return σ at any temperature, or None where it cannot be stated.

        σ is read off the line. Without a line, or with an unphysical activation energy, the average of the runs at this
        temperature is used instead. Between the simulated temperatures even an unphysical line gives σ; beyond them
        neither it nor a line along which σT does not fall on cooling does, and the result is None.

        Raises
        ------
        AnalysisError
            For a temperature that is not positive.
        """
        point, unphysical = _simulated(temperature_K, self.points), self._unphysical
        if point is not None and (self.line is None or unphysical is not None):
            estimate = point.conductivity_S_per_cm.estimate
            return of_runs(estimate, temperature_K, transfer=self.transfer, model_form=self.model_form)
        line = self.sigma_line
        if self.fit is None or self.line is None or line is None:
            return None
        value = read_off(
            line,
            temperature_K,
            transfer=self.transfer,
            model_form=self.model_form,
            simulated=point is not None,
        )
        leads_nowhere = unphysical is not None or min(self.fit.Ea_eV, self.line.Ea_eV) <= 0.0
        return None if value.extrapolated and leads_nowhere else value

    def samples(self, n: int, *, seed: int = 0) -> TransportSamples:
        """Draw D*, D_σ, Ea, ln D₀ and σ jointly; see :func:`.posterior_samples`."""
        from superionic.transport.conductivity.posterior import posterior_samples

        return posterior_samples(self, n, seed=seed)

    def verdict_at(self, temperature_K: float) -> Verdict:
        """Return how far σ at any temperature can be trusted, or why there is none.

        Doubts about the line do not apply to an average of runs at one temperature.
        """
        value = self.conductivity_at(temperature_K)
        doubts = self._doubts((temperature_K,))
        if value is not None and value.origin == "runs":
            doubts = tuple(doubt for doubt in doubts if doubt.temperatures_K)
        return judge(temperature_K, value, doubts)

    @property
    def _unphysical(self) -> ArrheniusFit | None:
        """The first line with an unphysical activation energy; the two lines differ only by the change of volume."""
        for each in (self.fit, self.line):
            if each is not None and energy_is_unphysical(
                each.Ea_eV, _whole_error(each.Ea_error_eV, self.transfer, self.model_form)
            ):
                return each
        return None

    def _doubts(self, temperatures_K: Sequence[float]) -> tuple[Doubt, ...]:
        """Return all doubts about σ at these temperatures, the gravest first."""
        values = [self.conductivity_at(t) for t in temperatures_K]
        withheld = [t for t, value in zip(temperatures_K, values, strict=True) if value is None]
        doubts = about_values([value for value in values if value is not None], self.line)
        judged = self._unphysical or self.fit
        if self.line is None or judged is None:
            return by_gravity([without_line(f"{self.no_line_reason} {_seen(self.points)}", withheld), *doubts])
        Ea_error_eV = _whole_error(judged.Ea_error_eV, self.transfer, self.model_form)
        stated = [value for value in values if value is not None]
        if self.directions is not None:
            doubts = (*doubts, *about_directions(self.directions, self.line, stated))
        if self.vogel is not None:
            doubts = (*doubts, *about_curvature(self.vogel, stated))
        if self.model_form is not None:
            doubts = (*doubts, *about_teachers(self.model_form, stated, self.budget))
        broken = None if self._bent_by_directions else self.slope_break
        return by_gravity([*about_line(self.line, judged.Ea_eV, Ea_error_eV, broken, withheld), *doubts])

    @property
    def _bent_by_directions(self) -> bool:
        """Whether straight lines of the directions explain the bend of their mean, without a second regime."""
        return self.directions is not None and self.directions.usable and self.directions.straight

    def _facts(self) -> Iterator[tuple[str, str]]:
        if self.Ea_eV is not None:
            yield "Ea", f"{number_text(self.Ea_eV, self.Ea_error_eV)} eV"
        if self.headline is None:
            yield "no σ:", self.verdict.words
        else:
            yield from self.headline._facts()
        temperatures = [point.temperature_K for point in self.points]
        yield "runs", f"{self.n_runs} at {min(temperatures):g} to {max(temperatures):g} K"


def temperature_dependence(
    runs: Sequence[RunTransport],
    *,
    form: ArrheniusForm,
    report_temperatures_K: Sequence[float],
    transfer: TransferTerm | None = None,
    teacher: str = "",
    others: Mapping[str, TemperatureDependence] = MappingProxyType({}),
) -> TemperatureDependence:
    """Average replicas and orderings at each temperature, fit the lines, and read σ off.

    Parameters
    ----------
    runs
        All runs of one material, in any order.
    form
        Form of the line that gives Ea; σ is always read off that of ln(σT).
    report_temperatures_K
        Temperatures at which to state σ; the first is the headline's.
    transfer
        Error that a student potential adds.
    teacher
        Name of the teacher of the students that drove the runs; only used beside others.
    others
        σ(T) of the same material by the students of further teachers, by their names. Their scatter is the error of the
        model's form; those without a line are left out with a flag.

    Returns
    -------
    TemperatureDependence
        Possibly without a line: too few temperatures, or upper bounds only, are a result, not an error.

    Raises
    ------
    AnalysisError
        Without a run or a report temperature, for temperatures that are not positive, or an unknown form.
    """
    report_K = tuple(float(t) for t in report_temperatures_K)
    _check(runs, form, report_K)
    points = tuple(
        _point(t, [run for run in runs if run.temperature_K == t])
        for t in sorted({float(run.temperature_K) for run in runs})
    )
    temperatures = [point.temperature_K for point in points]
    pooled = [point.conductivity_S_per_cm for point in points]
    sigma = [each.estimate for each in pooled]
    diffusivity = [point.diffusivity_cm2_per_s.estimate for point in points]
    bare = TemperatureDependence(
        form=form,
        report_temperatures_K=report_K,
        transfer=transfer,
        points=points,
        fit=None,
        line=None,
        Ea_eV=None,
        Ea_error_eV=None,
        slope_break=None,
        directions=None,
        vogel=None,
        band=None,
        predictions=(),
        budget=(),
        doubts=(),
        flags=(),
        no_line_reason=None,
    )
    try:
        fit = arrhenius_fit_estimates(temperatures, diffusivity if form == "lnD" else sigma, form=form)
        line = arrhenius_fit_estimates(temperatures, sigma, form="lnSigmaT")
    except (AnalysisError, CalculationFailed) as error:
        reason = str(error.args[0])
        dependence = replace(bare, flags=(f"No activation energy: {reason}",), no_line_reason=reason)
    else:
        broken = slope_break_of_estimates(temperatures, diffusivity)
        known = replace(
            bare,
            fit=fit,
            line=line,
            Ea_eV=fit.Ea_eV,
            Ea_error_eV=_whole_error(fit.Ea_error_eV, transfer, None),
            slope_break=broken,
            directions=direction_lines(temperatures, [point.conductivity_tensor_S_per_cm for point in points], sigma),
            vogel=vogel_fit_of_estimates(temperatures, sigma),
        )
        model_form, lost = _model_form(teacher, known, others)
        known = replace(known, model_form=model_form, Ea_error_eV=_whole_error(fit.Ea_error_eV, transfer, model_form))
        sigma_line = known.sigma_line or line
        break_flag = None if broken is None or known._bent_by_directions else broken.flag
        dependence = replace(
            known,
            band=conductivity_band(sigma_line, temperatures, report_K, transfer=transfer, model_form=model_form),
            predictions=tuple(
                read_off(
                    sigma_line,
                    t,
                    transfer=transfer,
                    model_form=model_form,
                    simulated=_simulated(t, points) is not None,
                )
                for t in report_K
            ),
            budget=error_budget(fit, sigma_line, pooled, report_K, transfer, model_form),
            flags=(*fit.flags, *([break_flag] if break_flag else []), *lost),
        )
    return replace(dependence, doubts=dependence._doubts(report_K))


def _check(runs: Sequence[RunTransport], form: str, report_K: Sequence[float]) -> None:
    if not runs:
        raise AnalysisError("There is no run to take σ(T) from.", fix="Give at least one.")
    if not report_K:
        raise AnalysisError("There is no report temperature.", fix="Give at least one, such as 300 K.")
    if form not in get_args(ArrheniusForm):
        raise AnalysisError(f"There is no Arrhenius form {form!r}.", fix="Use 'lnD' or 'lnSigmaT'.")
    for temperature in [*(run.temperature_K for run in runs), *report_K]:
        if not (math.isfinite(temperature) and temperature > 0.0):
            raise AnalysisError(f"A temperature must be positive, not {temperature!r} K.")


def _point(temperature_K: float, runs: Sequence[RunTransport]) -> TemperaturePoint:
    orderings = [run.ordering for run in runs]
    nernst = _pooled([run.nernst_einstein_conductivity_S_per_cm for run in runs], orderings)
    known = [run.ionic_conductivity_S_per_cm for run in runs if run.ionic_conductivity_S_per_cm is not None]
    ionic = _pooled(known, orderings) if len(known) == len(runs) else None
    ratios = [run.haven_ratio for run in runs if run.haven_ratio is not None]
    haven = None
    if ionic is not None and len(ratios) == len(runs):
        haven = pooled_ratio(nernst, ionic)
        if len(runs) == 1:  # the ratio of a single run excludes the noise that D* and D_σ share
            haven = replace(haven, estimate=ratios[0])
    return TemperaturePoint(
        temperature_K,
        len(runs),
        nernst,
        _pooled([run.tracer_diffusivity_cm2_per_s for run in runs], orderings),
        ionic,
        haven,
        pool_tensors([run.conductivity_tensor_S_per_cm for run in runs], orderings, nernst),
    )


def _pooled(estimates: Sequence[Estimate], orderings: Sequence[str]) -> PooledEstimate:
    """Average replicas, then orderings; estimates that are only upper bounds stay so in the average."""
    pooled = pool_orderings(estimates, orderings)
    shares = [1.0 / orderings.count(name) for name in orderings]
    return replace(pooled, estimate=respect_bounds(pooled.estimate, estimates, shares))


def _whole_error(
    Ea_error_eV: float | None, transfer: TransferTerm | None, model_form: ModelForm | None
) -> float | None:
    if Ea_error_eV is None:
        return None
    whole = Ea_error_eV if transfer is None else math.hypot(Ea_error_eV, transfer.Ea_eV)
    return whole if model_form is None else max(whole, model_form.Ea_error_eV())


def _teacher_line(teacher: str, dependence: TemperatureDependence) -> TeacherLine | None:
    """Take the lines that σ is read off out of σ(T); None where there is none."""
    if dependence.Ea_eV is None or dependence.line is None:
        return None
    directions = dependence.directions
    parts = [LinePart(1.0, dependence.line.ln_prefactor, dependence.line.Ea_eV)]
    if directions is not None and directions.usable:
        parts = [LinePart(each.multiplicity / 3.0, each.fit.ln_prefactor, each.fit.Ea_eV) for each in directions.lines]
    return TeacherLine(teacher, dependence.Ea_eV, dependence.Ea_error_eV, tuple(parts))


def _model_form(
    teacher: str, known: TemperatureDependence, others: Mapping[str, TemperatureDependence]
) -> tuple[ModelForm | None, tuple[str, ...]]:
    """Put the lines of all teachers together; returns them, and flags for those without a line."""
    lines = {name: _teacher_line(name, dependence) for name, dependence in {teacher: known, **others}.items()}
    flags = tuple(
        f"The students of {name} give no Arrhenius line ({others[name].no_line_reason}), and are not part of the error "
        "of the model's form."
        for name, line in lines.items()
        if line is None and name in others
    )
    with_line = tuple(line for line in lines.values() if line is not None)
    return ModelForm(with_line) if len(with_line) > 1 else None, flags


def _simulated(temperature_K: float, points: Sequence[TemperaturePoint]) -> TemperaturePoint | None:
    return next((p for p in points if math.isclose(p.temperature_K, temperature_K, rel_tol=1e-9)), None)


def _seen(points: Sequence[TemperaturePoint]) -> str:
    bounds = [point for point in points if point.conductivity_S_per_cm.estimate.is_upper_bound]
    words = f"The runs are at {_kelvin(points)}"
    if len(bounds) == len(points):
        return f"{words}, and give upper bounds only."
    return f"{words}, and those at {_kelvin(bounds)} give upper bounds only." if bounds else f"{words}."


def _kelvin(points: Sequence[TemperaturePoint]) -> str:
    return f"{', '.join(f'{point.temperature_K:g}' for point in points)} K"
