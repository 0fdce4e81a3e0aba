"""Molecular dynamics: the runs, their volumes, and doubts about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from superionic.potentials.repulsion import holes_within_reach
from superionic.references.values import Approach, PublishedValue
from superionic.report.csv_tables import Cells, CsvTable, csv_table
from superionic.report.plots import GREY, Panel, Plot, Series, pick, thin, xy
from superionic.report.published import published_values, source_words
from superionic.report.repulsion import Pushed, repulsion_csv, repulsion_plot
from superionic.report.runs import NamedRuns, runs_of_campaign, simulated
from superionic.report.section import Block, Paragraph, Section, shown
from superionic.report.sections.cells import percent_of
from superionic.report.table import Notes, Table, table_of
from superionic.report.words import UNKNOWN, listing, number, sentence, whole_text, with_error
from superionic.results.campaign import Results, Statement
from superionic.results.transport import RepulsionTest, SimulatedRun
from superionic.results.volumes import VolumeRun
from superionic.training.on_policy import OwnFrames
from superionic.transport.observables.volumes import MeanCell

_MOST_PANELS: Final = 6
_MOST_CURVE_POINTS: Final = 220
_SHORT_PS: Final = 100.0
_SMALL_CELL: Final = 100
_DRIFTING: Final = 0.02
_FAR_OUTSIDE: Final = 10.0
_APPROACHES: Final[dict[Approach, tuple[str, str]]] = {
    "measured": ("measured", "square"),
    "dft": ("by DFT", "diamond"),
    "universal": ("by universal potentials", "triangle-up"),
    "fine-tuned": ("by fine-tuned potentials", "triangle-down"),
}


def section(results: Results) -> Section:
    """Describe the runs of the stage *transport*."""
    if results.transport is None:
        return Section("simulations", "Simulations", [Paragraph("No molecular dynamics was run.", "missing")])
    runs = runs_of_campaign(results, [(each.run, each) for each in results.transport.runs])
    tests = results.transport.repulsion
    blocks = shown(_volumes(results, runs), _table(results, runs), _own_frames(results, runs), *_repulsion(tests))
    curves = repulsion_csv(("ordering", "member"), [((each.ordering.id, each.member), each.curves) for each in tests])
    return Section("simulations", "Simulations", blocks, [_csv(runs), *([curves] if curves.rows else [])])


def doubts(results: Results) -> Iterator[Statement]:
    """Yield the doubts about the runs."""
    runs = simulated(results)
    if not runs:
        return
    yield from _about_extrapolation(runs)
    yield from _about_repulsion(results)
    yield from _about_the_teacher(results)
    atoms = min(each.n_atoms for each in runs)
    if atoms < _SMALL_CELL:
        words = f"The simulation cell has {atoms} atoms; finite-size effects on diffusion are likely."
        yield Statement("caution", words, f"small cell ({atoms} atoms)")
    drifts = [abs(each.npt_drift) for each in runs if each.npt_drift is not None and abs(each.npt_drift) > _DRIFTING]
    if drifts:
        yield Statement(
            "warning",
            f"In {len(drifts)} of {len(runs)} transport runs the volume had not equilibrated at the end of the NPT "
            f"part (it still changed by up to {100 * max(drifts):.0f} %), and conductivity depends strongly on volume.",
            "volumes not equilibrated",
        )
    shortest, longest = min(each.length_ps for each in runs), max(each.length_ps for each in runs)
    if shortest < _SHORT_PS:
        span = f"are {shortest:g} ps long" if shortest == longest else f"are {shortest:g} to {longest:g} ps long"
        words = f"The runs {span}. Published diffusivities of this kind rest on hundreds to thousands of picoseconds."
        yield Statement("caution", words, f"short runs ({shortest:g} ps)")


def _about_extrapolation(runs: tuple[SimulatedRun, ...]) -> Iterator[Statement]:
    grades = [each.worst_extrapolation for each in runs if each.worst_extrapolation is not None]
    far = [grade for grade in grades if grade > _FAR_OUTSIDE]
    if far:
        yield Statement(
            "warning",
            f"In {len(far)} of {len(grades)} transport runs the student extrapolated far beyond its data (highest "
            f"grade {max(far):.3g}, where {_FAR_OUTSIDE:g} is far): raise `distil.explore.temperature_K` or "
            "`length_ps`.",
            "the student extrapolated",
        )


def _about_repulsion(results: Results) -> Iterator[Statement]:
    """Warn of holes that the hottest run by each potential can reach."""
    of_series = [each.transport for each in results.series]
    of_teachers = [each.transport for each in results.teachers]
    warned = set()
    for moved in [each for each in (results.transport, *of_series, *of_teachers) if each is not None]:
        hottest_K = max(each.run.temperature_K for each in moved.runs)
        holes = holes_within_reach((curve for test in moved.repulsion for curve in test.curves), hottest_K)
        if not holes or moved.potential in warned:
            continue
        warned.add(moved.potential)
        words = (
            f"The repulsion by the potential {moved.potential} has holes, into which atoms that collide at "
            f"{hottest_K:g} K may fall: {'; '.join(holes)}. Trust no run in which atoms came as close. A potential "
            "trained from scratch needs labels of pairs at short distances; one that is fine-tuned keeps, in part, the "
            "repulsion that it learned before."
        )
        yield Statement("warning", words, "the repulsion has a hole")


def _about_the_teacher(results: Results) -> Iterator[Statement]:
    """Say where the teacher contradicts its students on frames of the runs from which the results come."""
    of_series = [(f"In series {each.name}", each.transport) for each in results.series]
    of_teachers = [(f"By the students of {each.name}", each.transport) for each in results.teachers]
    of_draws = [("In the runs of draws", results.draws.transport)] if results.draws is not None else []
    for where, moved in [("", results.transport), *of_series, *of_teachers, *of_draws]:
        if moved is None or moved.verdict is None or moved.verdict.passed:
            continue
        failed = "; ".join(f"{each.name}: {each.words}" for each in moved.verdict.failed)
        subject = f"{where} the" if where else "The"
        words = f"{subject} student and its teacher differ on frames of production runs. {sentence(failed)}"
        yield Statement("warning", words, "the teacher contradicts the student in the runs")


def _own_frames(results: Results, runs: NamedRuns[SimulatedRun]) -> Table:
    """Show what the teacher says of frames of each run."""
    verdict = None if results.transport is None else results.transport.verdict
    compared = [(each.run.label, each.own_frames) for _, each in runs.items if each.own_frames is not None]
    kept = "" if verdict is None else " All limits are kept." if verdict.passed else " Limits are not kept; see above."
    return table_of(
        f"The student against its teacher on frames of each run, evenly spread to its end.{kept}",
        compared,
        [
            ("Run", lambda each: each[0]),
            ("Frames", lambda each: whole_text(each[1].errors.n_structures)),
            ("Forces, RMSE, meV/Å", lambda each: number(each[1].errors.rmse_force_meV_per_A, 3)),
            ("of their RMS, %", lambda each: number(100.0 * each[1].force_ratio, 2)),
            ("Energy less teacher's, meV/atom", lambda each: number(each[1].energy_bias_meV_per_atom, 2)),
            (
                "Pressure less teacher's, GPa",
                lambda each: with_error(each[1].pressure_difference_GPa, each[1].pressure_error_GPa),
            ),
        ],
        numeric=range(1, 6),
    )


def _repulsion(tests: Sequence[RepulsionTest]) -> list[Block]:
    """Draw the curves if one of them has a hole; otherwise say that none has."""
    if not tests:
        return []
    curves = [curve for test in tests for curve in test.curves]
    blocks: list[Block] = []
    if any(curve.hole is not None for curve in curves):
        names = ["the potential" if test.member is None else f"member {test.member}" for test in tests]
        drawn = [Pushed(names[k], pick(k), test.curves) for k, test in enumerate(tests)]
        blocks.append(repulsion_plot(drawn))
    else:
        pairs = listing(list(dict.fromkeys("–".join(curve.pair) for curve in curves)))
        blocks.append(Paragraph(f"Two atoms pushed together repel one another, without a hole: {pairs}.", "quiet"))
    early = [f"{'–'.join(curve.pair)} {curve.ended}" for curve in curves if curve.ended]
    if early:
        blocks.append(Paragraph(f"Curves that end early: {'; '.join(early)}.", "quiet"))
    return blocks


def _volumes(results: Results, runs: NamedRuns[SimulatedRun]) -> Plot:
    panels = []
    for group, members in list(runs.groups().items())[:_MOST_PANELS]:
        series = []
        for name, each in members:
            drawn = thin(len(each.npt.time_ps), _MOST_CURVE_POINTS)
            if len(drawn) > 1:
                line = xy((each.npt.time_ps[i], each.npt.volume_A3_per_atom[i]) for i in drawn)
                series.append(Series(*line, name.in_group, "line", runs.colour_of(name), width=1.3, opacity=0.9))
        if series:
            panels.append(Panel(series, "time (ps)", "volume (Å³/atom)", f"{group}: at constant pressure"))
    panels.append(_mean_volumes(results, runs))
    return Plot(
        "volumes",
        "Volumes",
        "Volume while the cell adapts to temperature and pressure, and the volume used in the runs at constant volume "
        "that follow. A trace that still drifts at its end has not equilibrated, and conductivity depends strongly on "
        "volume. Squares, diamonds and triangles: published volumes of the same polymorph at the same pressure, in the "
        "colour of the composition if there are several.",
        panels,
        height=310,
    )


def _mean_volumes(results: Results, runs: NamedRuns[SimulatedRun]) -> Panel:
    series = []
    for index, (group, members) in enumerate(runs.groups().items()):
        points = sorted((each.run.temperature_K, each.volume_A3_per_atom, each.run.label) for _, each in members)
        hover = [f"{run}: {number(v, 4)} Å³/atom at {t:g} K" for t, v, run in points]
        line = xy((t, v) for t, v, _ in points)
        series.append(Series(*line, group, colour=pick(index), hover=hover, size=8))
    series += published_volumes(results, [members[0][1] for members in runs.groups().values()])
    return Panel(series, "temperature (K)", "volume (Å³/atom)", "Volume against temperature")


def published_volumes(results: Results, firsts: Sequence[SimulatedRun | VolumeRun]) -> list[Series]:
    """Return published volumes in the colours of their compositions; grey if there is only one.

    `firsts` has one run of each group that is drawn, in the order of their colours.
    """
    several = len(firsts) > 1
    series, drawn = [], set()
    for index, each in enumerate(firsts):
        conditions = (each.run.ordering.material.crystal, each.formula, each.run.pressure_GPa)
        if conditions in drawn:
            continue
        drawn.add(conditions)
        crystal, formula, pressure = conditions
        groups: dict[Approach, list[PublishedValue]] = {}
        for value in published_values(results, crystal, formula, "volume_per_atom", pressure):
            if value.temperature_K is not None:
                groups.setdefault(value.approach, []).append(value)
        for approach, values in groups.items():
            words, marker = _APPROACHES[approach]
            series.append(
                Series(
                    [value.temperature_K for value in values],
                    [value.value for value in values],
                    f"published, {words}",
                    colour=pick(index) if several else GREY,
                    marker=marker,
                    filled=approach == "measured",
                    size=8,
                    hover=[
                        f"{value.formula}: {source_words(value)}: {number(value.value, 4)} Å³/atom" for value in values
                    ],
                )
            )
    return series


def _table(results: Results, runs: NamedRuns[SimulatedRun]) -> Table:
    notes = Notes()
    return table_of(
        "Molecular-dynamics runs.",
        [each for _, each in runs.items],
        [
            ("Run", lambda each: each.run.label),
            ("Ensemble", lambda each: f"{each.ensemble.upper()} {each.thermostat}".strip() or UNKNOWN),
            ("T set, K", lambda each: number(each.run.temperature_K)),
            ("T mean, K", lambda each: number(each.mean_temperature_K)),
            ("Length, ps", lambda each: number(each.length_ps)),
            ("Atoms (mobile)", lambda each: f"{whole_text(each.n_atoms)} ({whole_text(each.n_mobile)})"),
            ("Pressure, GPa", lambda each: number(each.run.pressure_GPa)),
            ("Volume at this pressure, Å³/atom", _mean_volume),
            ("Volume of the run, Å³/atom", lambda each: number(each.volume_A3_per_atom, 4)),
            (
                "Minus refined, %",
                lambda each: percent_of(results, each.run.ordering, each.run.potential, each.run.label),
            ),
            ("Remarks", lambda each: notes.refer([sentence(flag) for flag in each.flags])),
        ],
        numeric=range(2, 10),
        notes=notes,
    )


def _mean_volume(each: SimulatedRun) -> str:
    volume = None if each.mean_cell is None else each.mean_cell.volume_per_atom_A3
    return UNKNOWN if volume is None else with_error(volume.value, volume.error)


def _csv(runs: NamedRuns[SimulatedRun]) -> CsvTable:
    npt = (
        "npt_volume_A3_per_atom", "npt_volume_error_A3_per_atom", "npt_volume_low68_A3_per_atom",
        "npt_volume_high68_A3_per_atom", "npt_discarded_ps", "npt_independent_samples",
    )  # fmt: skip
    own = (
        "n_teacher_frames", "teacher_rmse_force_meV_per_A", "teacher_rms_force_meV_per_A",
        "teacher_energy_bias_meV_per_atom", "teacher_pressure_difference_GPa", "teacher_pressure_error_GPa",
    )  # fmt: skip
    return csv_table(
        "volumes.csv",
        runs.columns,
        [(name.cells, each) for name, each in runs.items],
        [
            ("formula", lambda each: each.formula),
            ("ensemble", lambda each: each.ensemble),
            ("thermostat", lambda each: each.thermostat),
            ("length_ps", lambda each: each.length_ps),
            ("mean_temperature_K", lambda each: each.mean_temperature_K),
            ("n_atoms", lambda each: each.n_atoms),
            ("n_mobile", lambda each: each.n_mobile),
            ("volume_A3_per_atom", lambda each: each.volume_A3_per_atom),
            (npt, lambda each: _npt_cells(each.mean_cell)),
            ("npt_drift", lambda each: each.npt_drift),
            ("worst_extrapolation", lambda each: each.worst_extrapolation),
            (own, lambda each: _own_cells(each.own_frames)),
            ("flags", lambda each: "; ".join(each.flags)),
            ("key", lambda each: each.key),
        ],
    )


def _own_cells(frames: OwnFrames | None) -> Cells:
    if frames is None:
        return (None,) * 6
    return (
        frames.errors.n_structures,
        frames.errors.rmse_force_meV_per_A,
        frames.rms_force_meV_per_A,
        frames.energy_bias_meV_per_atom,
        frames.pressure_difference_GPa,
        frames.pressure_error_GPa,
    )


def _npt_cells(cell: MeanCell | None) -> Cells:
    volume = None if cell is None else cell.volume_per_atom_A3
    if cell is None or volume is None:
        return (None,) * 4 + (None if cell is None else cell.discarded_ps, None)
    return (volume.value, volume.error, *volume.interval68, cell.discarded_ps, volume.independent_samples)
