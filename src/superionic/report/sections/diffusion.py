"""Diffusion: displacements, the lags at which D levels off, anisotropy, and D with its errors for every run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from superionic.report.csv_tables import Cells, CsvTable, csv_table, estimate_cells, estimate_columns
from superionic.report.plots import BLUE, GREEN, GREY, ORANGE, VERMILION, Dash, Panel, Plot, Series, thin, thin_log, xy
from superionic.report.runs import NamedRuns, RunName, analysed, runs_of_campaign
from superionic.report.section import Paragraph, Section, shown
from superionic.report.table import Notes, Table
from superionic.report.words import UNKNOWN, interval, number, plural, sentence, whole_text, with_error
from superionic.results.campaign import Results, Statement
from superionic.transport.analysis import TransportAnalysis
from superionic.transport.conductivity.planes import NAMES, values_of_planes
from superionic.transport.diffusion.diffusivity import FEW_HOPS
from superionic.transport.diffusion.literature import LiteratureFit
from superionic.transport.estimate import Estimate
from superionic.units import cm2_per_s

_MOST_PANELS: Final = 6
_MOST_CURVE_POINTS: Final = 220
_DASHES: Final[tuple[Dash, ...]] = ("solid", "dash", "dot")
_TENSOR: Final = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


def section(results: Results) -> Section:
    """Describe the diffusion in the runs of a campaign."""
    if results.analyse is None:
        words = "Transport was not analysed: there is no diffusivity, conductivity or activation energy."
        return Section("diffusion", "Diffusion", [Paragraph(words, "missing")])
    return diffusion(runs_of_campaign(results, [(each.run, each.analysis) for each in results.analyse.runs]))


def diffusion(runs: NamedRuns[TransportAnalysis]) -> Section:
    """Describe the diffusion in runs of any origin."""
    blocks = shown(_displacements(runs), _running(runs), _anisotropy(runs), _table(runs))
    return Section("diffusion", "Diffusion", blocks, [_csv(runs), _msd_csv(runs)])


def doubts(results: Results) -> Iterator[Statement]:
    """Yield the doubts about the diffusivities of a campaign."""
    runs = analysed(results)
    motions = [(each.run.temperature_K, each.analysis.framework) for each in runs]
    moving = [(temperature, motion) for temperature, motion in motions if motion is not None and motion.n_left > 0]
    melting, hopping = [each for each in moving if each[1].melts], [each for each in moving if not each[1].melts]
    for affected in (melting, hopping):
        if not affected:
            continue
        temperatures = ", ".join(f"{temperature:g}" for temperature in sorted({t for t, _ in affected}))
        where = f"In {len(affected)} of {len(runs)} runs (at {temperatures} K)"
        most = f"up to {100 * max(motion.most_at_once for _, motion in affected):.0f} % of them at once"
        if affected is melting:
            words = f"{where} ions of the framework left their sites, {most}: it is melting, or diffuses as a whole."
            yield Statement("warning", words, "the framework melts")
        else:
            words = f"{where} some ions of the framework hopped, {most}; the others stayed on their sites."
            yield Statement("info", words)
    few = [each.analysis.n_hops for each in runs if each.analysis.n_hops < FEW_HOPS]
    if few:
        yield Statement(
            "warning",
            f"{len(few)} of {plural(len(runs), 'run')} had fewer than {FEW_HOPS} hops of the mobile ion (the fewest: "
            f"{min(few)}). Their diffusivities rest on a handful of events; rely on the intervals, not the values.",
            "few hops",
        )


def _displacements(runs: NamedRuns[TransportAnalysis]) -> Plot:
    panels = []
    for group, members in list(runs.groups().items())[:_MOST_PANELS]:
        series: list[Series] = []
        windows = set()
        for name, analysis in members:
            pairs = zip(analysis.msd.lags_ps.tolist(), analysis.msd.msd_A2.tolist(), strict=True)
            points = [(t, m) for t, m in pairs if t > 0 and m > 0]
            if len(points) < 2:
                continue
            drawn = [points[i] for i in thin_log(len(points), _MOST_CURVE_POINTS)]
            inside = []
            if analysis.tracer.diffusive:
                start, end = analysis.window_ps
                windows.add((max(start, points[0][0]), end))
                inside = [(t, m) for t, m in drawn if start <= t <= end]
            colour = runs.colour_of(name)
            series += [
                Series(*xy(drawn), name.in_group, "line", colour, width=1.2, opacity=0.75),
                Series(*xy(inside), name.in_group, "line", colour, width=3.0, legend=False),
            ]
        if series:
            series.append(_slope_one(series))
            panels.append(
                Panel(
                    series,
                    "time lag (ps)",
                    "mean squared displacement (Å²)",
                    group,
                    x_log=True,
                    y_log=True,
                    shaded=[(start, end, "D is level") for start, end in sorted(windows)],
                )
            )
    return Plot(
        "msd",
        "Mean squared displacements of the mobile ion",
        "Averaged over all time origins and ions. Where ions diffuse, the curve runs parallel to the dotted line "
        "(slope 1); a flat curve means that ions only vibrate on their sites. Shaded and bold: the lags at which D is "
        "within a tenth of its limit, or the requested lags; none if D did not level off.",
        panels,
        height=360,
    )


def _slope_one(series: list[Series]) -> Series:
    x = [value for each in series for value in each.x if value is not None]
    first, last = min(x), max(x)
    middle = (first * last) ** 0.5
    level = 1.25 * max(value for each in series for value in each.y if value is not None)
    return Series([middle, last], [level * middle / last, level], "slope 1", "line", GREY, dash="dot", width=1.4)


def _running(runs: NamedRuns[TransportAnalysis]) -> Plot:
    panels = [panel for panel in (_running_panel(*each) for each in runs.items[:_MOST_PANELS]) if panel is not None]
    return Plot(
        "running_diffusivity",
        "Does D level off?",
        "Tracer diffusivity at each time lag, with one standard error. At short lags ions vibrate and hop to and fro, "
        "and D is too large. Dashed curve: a model of this back-and-forth motion, which decays to the stated limit "
        "(line, with the band of its 68 % interval); it is fitted to the spectrum of all lags together. Dotted: the "
        "lag from which D is within a tenth of its limit."
        + (f" The first {_MOST_PANELS} of {len(runs.items)} runs." if len(runs.items) > _MOST_PANELS else ""),
        panels,
        height=340,
    )


def _running_panel(name: RunName, analysis: TransportAnalysis) -> Panel | None:
    lags = analysis.tracer.lags
    rows = zip(lags.lag_ps.tolist(), lags.value_A2_per_ps.tolist(), lags.error_A2_per_ps.tolist(), strict=True)
    points = [(t, cm2_per_s(d), cm2_per_s(e) if np.isfinite(e) else 0.0) for t, d, e in rows if t > 0]
    if len(points) < 2:
        return None
    tracer = analysis.tracer_diffusivity_cm2_per_s
    low, high = tracer.interval68
    x = [t for t, _, _ in points]
    edge = [min(x), max(*x, 0.5 * analysis.duration_ps)]
    start, end = analysis.window_ps
    requested = end < analysis.duration_ps
    curve = np.geomspace(edge[0], edge[1], 60)
    model = analysis.tracer.A2_per_ps.value + analysis.tracer.memories.excess_at(curve)
    decay = Series(curve.tolist(), [cm2_per_s(d) for d in model.tolist()], "model", "line", BLUE, dash="dash")
    return Panel(
        [
            Series(edge, [tracer.value] * 2, "68 % interval", "band", BLUE, [low] * 2, [high] * 2, opacity=0.18),
            Series(edge, [tracer.value] * 2, "D* stated", "line", BLUE, width=1.8),
            *([] if requested or not len(analysis.tracer.memories.memory_ps) else [decay]),
            Series(
                x,
                [d for _, d, _ in points],
                "D at this lag",
                colour=VERMILION,
                low=[d - e for _, d, e in points],
                high=[d + e for _, d, e in points],
            ),
        ],
        "time lag (ps)",
        "tracer diffusivity (cm²/s)",
        name.label + (f", {name.temperature_K:g} K" if name.temperature_K is not None else ""),
        x_log=True,
        shaded=[(start, min(end, edge[1]), "requested")] if requested else [],
        guides=[(start, "level")] if analysis.tracer.diffusive and not requested else [],
    )


def _anisotropy(runs: NamedRuns[TransportAnalysis]) -> Plot:
    panels = []
    for name, analysis in runs.hottest()[:_MOST_PANELS]:
        msd, (_, end) = analysis.msd, analysis.window_ps
        within = [i for i, lag in enumerate(msd.lags_ps) if lag <= 1.6 * end]
        drawn = [within[i] for i in thin(len(within), _MOST_CURVE_POINTS)]
        lags = [float(msd.lags_ps[i]) for i in drawn]
        series = [
            Series(
                lags,
                [float(msd.tensor_A2[i, axis, axis]) for i in drawn],
                f"along {'xyz'[axis]}",
                "line",
                (BLUE, ORANGE, GREEN)[axis],
                dash=_DASHES[axis],
                width=2.2,
            )
            for axis in range(3)
        ]
        title = f"{name.group}, {name.in_group}"
        panels.append(Panel(series, "time lag (ps)", "displacement² (Å²)", title))
    return Plot(
        "anisotropy",
        "Is diffusion the same in all directions?",
        "Mean squared displacement along the Cartesian axes (z is along c* if the cell is in the standard setting). "
        "Diverging curves mean that ions move more easily in some directions; with few hops, curves also diverge by "
        "chance.",
        panels,
        columns=3 if len(panels) > 2 else 2,
        height=310,
    )


def _table(runs: NamedRuns[TransportAnalysis]) -> Table:
    notes = Notes()
    rows = []
    for name, analysis in runs.items:
        tracer = analysis.tracer_diffusivity_cm2_per_s
        start, end = analysis.window_ps
        tensor = analysis.diffusivity_tensor_cm2_per_s
        planes = [UNKNOWN] * len(NAMES) if tensor is None else [_counted(each) for each in values_of_planes(tensor)]
        rows.append(
            [
                name.group,
                number(name.temperature_K),
                with_error(tracer.value, tracer.error),
                interval(*tracer.interval95),
                *planes,
                _he2018(analysis.tracer.he2018),
                _haven(analysis.haven_ratio),
                f"{number(start, 2)}–{number(end, 2)}" if analysis.tracer.diffusive else UNKNOWN,
                whole_text(analysis.n_hops),
                notes.refer([sentence(flag) for flag in analysis.flags]),
            ]
        )
    columns = [
        "Composition", "T, K", "D*, cm²/s", "95 % interval", *(f"D {name}" for name in NAMES),
        "D* by He 2018", "Haven ratio", "Level, ps", "Hops", "Remarks",
    ]  # fmt: skip
    caption = (
        "Diffusivities, in cm²/s. D in the planes of the simulated cell (n = 2) and along their normals are parts of "
        "one tensor. He 2018: the value and the error by the empirical formula of X. He et al., npj Comput. Mater. 4, "
        "18 (2018)."
    )
    return Table(caption, columns, rows, frozenset(range(1, 14)), notes.words)


def _counted(estimate: Estimate) -> str:
    if estimate.is_upper_bound:
        return f"< {number(estimate.interval95[1], 2)}"
    return with_error(estimate.value, estimate.error)


def _he2018(fit: LiteratureFit | None) -> str:
    return UNKNOWN if fit is None else with_error(fit.value_cm2_per_s, fit.error_cm2_per_s)


def _haven(ratio: Estimate) -> str:
    return UNKNOWN if not np.isfinite(ratio.value) else f"{number(ratio.value, 2)} ({interval(*ratio.interval68)})"


def _csv(runs: NamedRuns[TransportAnalysis]) -> CsvTable:
    cm2 = "{}_cm2_per_s".format
    return csv_table(
        "diffusivities.csv",
        runs.columns,
        [(name.cells, analysis) for name, analysis in runs.items],
        [
            (estimate_columns(cm2("tracer_diffusivity")), lambda a: estimate_cells(a.tracer_diffusivity_cm2_per_s)),
            (estimate_columns(cm2("charge_diffusivity")), lambda a: estimate_cells(a.charge_diffusivity_cm2_per_s)),
            (estimate_columns("haven_ratio"), lambda a: estimate_cells(a.haven_ratio)),
            (
                estimate_columns("nernst_einstein_conductivity_S_per_cm"),
                lambda a: estimate_cells(a.nernst_einstein_conductivity_S_per_cm),
            ),
            (estimate_columns("ionic_conductivity_S_per_cm"), lambda a: estimate_cells(a.ionic_conductivity_S_per_cm)),
            (
                tuple(cm2(f"D_{'xyz'[i]}{'xyz'[j]}") for i, j in _TENSOR),
                lambda a: tuple(float(a.tracer.tensor_cm2_per_s[i, j]) for i, j in _TENSOR),
            ),
            (_PLANE_COLUMNS, _plane_cells),
            (tuple(cm2(f"D_principal_{axis}") for axis in (1, 2, 3)), lambda a: a.tracer.principal_cm2_per_s),
            (_literature_columns("he2018"), lambda a: _literature_cells(a.tracer.he2018)),
            (_literature_columns("paper_b"), lambda a: _literature_cells(a.tracer.paper_b)),
            (("window_start_ps", "window_end_ps"), lambda a: a.window_ps),
            ("diffusive", lambda a: a.tracer.diffusive),
            ("n_hops", lambda a: a.n_hops),
            ("effective_hops", lambda a: a.tracer.effective_hops),
            ("n_ions", lambda a: a.n_ions),
            ("duration_ps", lambda a: a.duration_ps),
            ("volume_A3", lambda a: a.volume_A3),
            ("framework_moved", lambda a: a.framework_moved),
            ("flags", lambda a: "; ".join(a.flags)),
        ],
    )


_PLANE_COLUMNS: Final = tuple(
    column
    for name in NAMES
    for column in estimate_columns(f"D_{name.replace(' ', '_').replace('*', '_reciprocal')}_cm2_per_s")
)


def _plane_cells(analysis: TransportAnalysis) -> Cells:
    tensor = analysis.diffusivity_tensor_cm2_per_s
    values = [None] * len(NAMES) if tensor is None else values_of_planes(tensor)
    return tuple(cell for each in values for cell in estimate_cells(each))


def _literature_columns(name: str) -> tuple[str, ...]:
    parts = ("cm2_per_s", "error_cm2_per_s", "window_start_ps", "window_end_ps", "hops")
    return tuple(f"{name}_{part}" for part in parts)


def _literature_cells(fit: LiteratureFit | None) -> Cells:
    if fit is None:
        return (None,) * 5
    return (fit.value_cm2_per_s, fit.error_cm2_per_s, *fit.window_ps, fit.effective_hops)


def _msd_csv(runs: NamedRuns[TransportAnalysis]) -> CsvTable:
    rows = []
    for name, analysis in runs.items:
        msd = analysis.msd
        for lag, value, tensor in zip(msd.lags_ps, msd.msd_A2, msd.tensor_A2, strict=True):
            diagonal = (float(tensor[axis, axis]) for axis in range(3))
            rows.append((*name.cells, float(lag), float(value), *diagonal))
    return CsvTable("msd.csv", (*runs.columns, "lag_ps", "msd_A2", "xx_A2", "yy_A2", "zz_A2"), tuple(rows))
