"""What converges with the number of labels: errors, the order on the hull, activation energy and conductivity."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from superionic.references.values import PublishedValue
from superionic.report.csv_tables import Cells, CsvTable
from superionic.report.plots import GREY, Numbers, Panel, Plot, Series, pick, pick_marker
from superionic.report.published import source_words
from superionic.report.section import Block, Paragraph, Section, shown
from superionic.report.sections.series import (
    SeriesView,
    comparison,
    doubts_of,
    is_at,
    published_of,
    report_temperatures,
    subject_names,
    views_of,
)
from superionic.report.table import Table, table_of
from superionic.report.words import (
    UNKNOWN,
    formula_text,
    interval,
    listing,
    number,
    plural,
    sentence,
    whole_text,
    with_error,
)
from superionic.results.campaign import Results, Statement
from superionic.results.sizes import OrderChange, SetErrors, SizedModel, SizesResult
from superionic.results.transport import MaterialTransport
from superionic.training.metrics import ErrorMetrics
from superionic.transport.conductivity.line import ConductivityAt

KEY: Final = "sizes"
TITLE: Final = "Convergence with the number of labels"
_MOST_MATERIALS: Final = 4
_MILLI: Final = 1000.0
_SIGNIFICANT: Final = 2.0
_LABELS: Final = "training labels"
_MAE: Final[tuple[tuple[str, Callable[[ErrorMetrics], float | None]], ...]] = (
    ("energy MAE (meV/atom)", lambda e: e.mae_energy_meV_per_atom),
    ("force MAE (meV/Å)", lambda e: e.mae_force_meV_per_A),
    ("stress MAE (GPa)", lambda e: e.mae_stress_GPa),
)


@dataclass(frozen=True)
class _Driven:
    """A potential and the first series of runs that it drives."""

    model: SizedModel
    view: SeriesView


def section(results: Results) -> Section:
    """Show what depends on the number of labels; without content where the campaign trained on all of them only."""
    sizes = results.sizes
    if sizes is None:
        return Section(KEY, TITLE, [])
    driven = _driven(results, sizes)
    blocks: list[Block] = [Paragraph(_lead(sizes)), _errors_plot(sizes), _errors_table(sizes), _order_table(sizes)]
    files = [_errors_csv(sizes), _order_csv(sizes), _heights_csv(sizes)]
    if len(driven) < 2:
        words = "No series of runs is driven by these potentials, so conductivities by them are not known."
        blocks.append(Paragraph(words, "missing"))
    else:
        views = [replace(each.view, name=_words(each.model, sizes)) for each in driven]
        compared = comparison(
            views, key="sizes_series", title="Conductivity by potentials of several numbers of labels"
        )
        blocks += [_transport_plot(driven), *compared.blocks]
        files += compared.csv
    return Section(KEY, TITLE, shown(*blocks), [file for file in files if file.rows])


def doubts(results: Results) -> Iterator[Statement]:
    """Yield the sizes that are missing, trainings that ended too early, and values that still change."""
    sizes = results.sizes
    if sizes is None:
        return
    for each in sizes.left_out:
        words = f"No potential was trained on {plural(each.n_labels, 'label')} (`learn.sizes`): {each.reason}."
        yield Statement("caution", words)
    for model in sizes.models:
        if model.not_ranked:
            words = f"The orderings have no energies by {model.potential}: {model.not_ranked}"
            yield Statement("caution", sentence(words))
    unfinished = [whole_text(model.n_labels) for model in sizes.models if model.best_is_last]
    if unfinished:
        words = (
            f"The last epoch of the training on {', '.join(unfinished)} labels was its best: there, what longer "
            "training would gain cannot be told from what more labels would."
        )
        yield Statement("caution", words)
    driven = _driven(results, sizes)
    for one in driven:
        if one.model.potential in sizes.names:
            serious = [doubt.words for doubt in doubts_of(one.view) if doubt.severity == "warning"]
            words = f"It has no values: {one.view.not_run}." if one.view.not_run else " ".join(serious)
            if words:
                yield Statement("caution", f"The series by the potential of {_words(one.model, sizes)}: {words}")
    yield from _last_changes(driven)


def _last_changes(driven: Sequence[_Driven]) -> Iterator[Statement]:
    """Say whether the activation energy still changes between the last two numbers of labels."""
    if len(driven) < 2:
        return
    before, last = driven[-2:]
    views = [before.view, last.view]
    for subject, name in subject_names(views).items():
        lines = [view.line_of(subject) for view in views]
        ends = [None if line is None else (line.dependence.Ea_eV, line.dependence.Ea_error_eV) for line in lines]
        if ends[0] is None or ends[1] is None or None in (*ends[0], *ends[1]):
            continue
        (first_eV, first_error_eV), (last_eV, last_error_eV) = ends[0], ends[1]
        assert first_eV is not None and last_eV is not None  # noqa: S101, PT018 - seen above
        change, error = last_eV - first_eV, math.hypot(first_error_eV or 0.0, last_error_eV or 0.0)
        words = (
            f"From {plural(before.model.n_labels, 'label')} to {whole_text(last.model.n_labels)}, Eₐ of {name} changes "
            f"by {with_error(change, error)} eV"
        )
        if abs(change) > _SIGNIFICANT * error:
            yield Statement("caution", f"{words}: it is not converged with the number of labels.")
        else:
            yield Statement("info", f"{words}, which is within two standard errors.")


def _driven(results: Results, sizes: SizesResult) -> list[_Driven]:
    """Return the potentials that drive a series of runs, each with the first such series."""
    of_potential = {view.potential: view for view in reversed(views_of(results))}
    return [_Driven(each, of_potential[each.potential]) for each in sizes.models if each.potential in of_potential]


def _words(model: SizedModel, sizes: SizesResult) -> str:
    """Name a potential by its labels."""
    if model is sizes.models[-1]:
        return f"all {whole_text(model.n_labels)} labels"
    return plural(model.n_labels, "label") + ("" if model.n_labels else " (as it sampled)")


def _lead(sizes: SizesResult) -> str:
    *some, whole = sizes.models
    sets = "; ".join(f"{each.name}: {plural(each.n_structures, 'label')}" for each in sizes.sets)
    counts = listing([whole_text(model.n_labels) for model in some if model.n_labels])
    others = (
        f"others were trained by the same settings on {counts} of these, each part within the next" if counts else ""
    )
    untrained = "the potential that sampled stands for none" if not all(model.n_labels for model in some) else ""
    return (
        f"The potential of this report was trained on {plural(whole.n_labels, 'label')}; "
        f"{'; '.join(filter(None, (others, untrained))) or 'no other was trained'}. The validation set "
        f"({plural(sizes.n_validation, 'label')}) and the test sets ({sets}) are the same for all."
    )


# ---- errors and order -----------------------------------------------------------------------------------------------


def _errors_of(model: SizedModel, name: str) -> ErrorMetrics | None:
    return next((each.errors for each in model.errors if each.set == name), None)


def _curve(models: Sequence[SizedModel], values: Numbers, label: str, index: int, unit: str) -> list[Series]:
    """Draw points, and a line through those of trained potentials."""
    counts = [float(model.n_labels) for model in models]
    hover = [f"{plural(m.n_labels, 'label')}: {number(v)} {unit}" for m, v in zip(models, values, strict=True)]
    trained = [(n, value) for n, value in zip(counts, values, strict=True) if n > 0.0]
    line = Series([n for n, _ in trained], [v for _, v in trained], label, "line", pick(index), legend=False)
    return [line, Series(counts, values, label, colour=pick(index), marker=pick_marker(index), hover=hover)]


def _panel(sizes: SizesResult, series: Sequence[Series], y_label: str, title: str = "") -> Panel:
    """Draw what falls with the number of labels from zero on, over the same numbers in all panels."""
    most = sizes.models[-1].n_labels
    highest = max((value for one in series for value in one.y if value is not None), default=0.0)
    y_range = (0.0, 1.08 * highest) if highest > 0.0 else None
    return Panel(series, _LABELS, y_label, title, x_range=(-0.04 * most, 1.04 * most), y_range=y_range)


def _errors_plot(sizes: SizesResult) -> Plot:
    panels = []
    for words, value_of in _MAE:
        series: list[Series] = []
        for index, each in enumerate(sizes.sets):
            known = [(m, value_of(e)) for m in sizes.models if (e := _errors_of(m, each.name)) is not None]
            series += _curve([m for m, _ in known], [v for _, v in known], each.name, index, words)
        panels.append(_panel(sizes, series, words))
    ordered = [(model, model.order) for model in sizes.models if model.order is not None]
    if ordered:
        changes = [order.mean_change_meV_per_atom for _, order in ordered]
        models = [model for model, _ in ordered]
        series = _curve(models, changes, "energies above the hull", len(sizes.sets), "meV/atom")
        panels.append(_panel(sizes, series, "change above the hull (meV/atom)"))
    return Plot(
        "sizes_errors",
        "Errors against the number of labels",
        "Mean absolute errors on labels that none of the potentials was trained on, and how far energies above the "
        "hull differ on average from those by the potential of all labels.",
        panels,
        height=320,
    )


_ErrorRow = tuple[SizedModel, SetErrors]


def _errors_table(sizes: SizesResult) -> Table:
    def epochs(row: _ErrorRow) -> str:
        model = row[0]
        return UNKNOWN if model.best_epoch is None else f"{model.best_epoch} of {model.epochs}"

    rows = [(model, each) for model in sizes.models for each in model.errors]
    return table_of(
        "Mean absolute errors of the potentials.",
        rows,
        [
            ("Labels", lambda row: whole_text(row[0].n_labels)),
            ("Potential", lambda row: row[0].potential),
            ("Best epoch", epochs),
            ("Test set", lambda row: row[1].set),
            ("Energy, meV/atom", lambda row: number(row[1].errors.mae_energy_meV_per_atom, 3)),
            ("Forces, meV/Å", lambda row: number(row[1].errors.mae_force_meV_per_A, 3)),
            ("Stress, GPa", lambda row: number(row[1].errors.mae_stress_GPa, 3)),
            ("Slope of forces", lambda row: number(row[1].errors.force_slope, 3)),
        ],
        numeric=(0, 4, 5, 6, 7),
    )


def _order_table(sizes: SizesResult) -> Table:
    def of_order(write: Callable[[OrderChange], str]) -> Callable[[SizedModel], str]:
        return lambda model: UNKNOWN if model.order is None else write(model.order)

    def correlation(order: OrderChange) -> str:
        own = order.spearman
        return UNKNOWN if own.value is None else f"{number(own.value, 3)} ({interval(own.low, own.high)})"

    return table_of(
        "Energies above the hull of the lowest orderings, each relaxed by the potential itself, against those by the "
        "potential of all labels: rank correlation with its 95 % interval, mean and largest change, and in how many of "
        "the crystals and compositions with several orderings the lowest is the same.",
        [model for model in sizes.models if model.heights],
        [
            ("Labels", lambda model: whole_text(model.n_labels)),
            ("Potential", lambda model: model.potential),
            ("Structures", lambda model: whole_text(len(model.heights))),
            ("Spearman's ρ", of_order(correlation)),
            ("Mean change, meV/atom", of_order(lambda order: number(order.mean_change_meV_per_atom, 3))),
            ("Largest, meV/atom", of_order(lambda order: number(order.largest_change_meV_per_atom, 3))),
            ("Same lowest", of_order(lambda order: f"{order.n_same_lowest} of {order.n_compared}")),
            ("On the hull", lambda model: ", ".join(map(formula_text, model.stable)) or UNKNOWN),
        ],
        numeric=(0, 2, 3, 4, 5),
    )


# ---- transport ------------------------------------------------------------------------------------------------------


def _transport_plot(driven: Sequence[_Driven]) -> Plot:
    """Draw Ea and σ of each material against the number of labels (paper A, figure 2d)."""
    views = [each.view for each in driven]
    temperatures = report_temperatures(views)
    panels: list[Panel] = []
    for subject, name in list(subject_names(views).items())[:_MOST_MATERIALS]:
        published = published_of(views, subject)
        known = [(each.model, line) for each in driven if (line := each.view.line_of(subject)) is not None]
        energies = [(m, line, line.dependence.Ea_eV) for m, line in known if line.dependence.Ea_eV is not None]
        if energies:
            series = [_energy_series([(m, line) for m, line, _ in energies])]
            stated = [value for value in published if value.quantity == "activation_energy"]
            series += _published_lines(stated, driven[-1].model.n_labels, "eV", "Eₐ", GREY)
            panels.append(Panel(series, _LABELS, "activation energy (eV)", name))
        sigmas = [one for index, t in enumerate(temperatures) for one in _sigma_series(known, t, index)]
        for index, t in enumerate(temperatures if sigmas else ()):
            stated = [value for value in published if value.quantity == "conductivity" and is_at(value, t)]
            sigmas += _published_lines(stated, driven[-1].model.n_labels, "mS/cm", f"σ({t:g} K)", pick(index))
        if sigmas:
            panels.append(Panel(sigmas, _LABELS, "conductivity (mS/cm)", name, y_log=True))
    return Plot(
        KEY,
        "Activation energy and conductivity against the number of labels",
        "Each point is a series of runs of the same orderings by the potential of that many labels, with standard "
        "errors of Eₐ and 68 % intervals of σ (open: upper bound, 95 %). Lines: published values, dotted where "
        "calculated.",
        panels,
        height=340,
    )


def _energy_series(lines: Sequence[tuple[SizedModel, MaterialTransport]]) -> Series:
    values = [(m.n_labels, line.dependence.Ea_eV or 0.0, line.dependence.Ea_error_eV or 0.0) for m, line in lines]
    return Series(
        [float(n) for n, _, _ in values],
        [energy for _, energy, _ in values],
        "Eₐ",
        low=[energy - error for _, energy, error in values],
        high=[energy + error for _, energy, error in values],
        hover=[f"{plural(n, 'label')}: Eₐ = {with_error(energy, error)} eV" for n, energy, error in values],
    )


def _sigma_series(lines: Sequence[tuple[SizedModel, MaterialTransport]], t: float, index: int) -> Iterator[Series]:
    stated = [(model, sigma) for model, line in lines if (sigma := line.dependence.conductivity_at(t)) is not None]
    for is_bound in (False, True):
        points = [(model, sigma) for model, sigma in stated if sigma.is_upper_bound == is_bound]
        if not points:
            continue
        drawn = [_drawn(sigma) for _, sigma in points]
        yield Series(
            [float(model.n_labels) for model, _ in points],
            [value for value, _, _ in drawn],
            f"σ({t:g} K)" + (", upper bound" if is_bound else ""),
            colour=pick(index),
            marker="triangle-down" if is_bound else pick_marker(index),
            filled=not is_bound,
            low=() if is_bound else [low for _, low, _ in drawn],
            high=() if is_bound else [high for _, _, high in drawn],
            hover=[
                f"{plural(model.n_labels, 'label')}: σ({t:g} K) {'< ' if is_bound else '= '}{number(value)} mS/cm"
                for (model, _), (value, _, _) in zip(points, drawn, strict=True)
            ],
        )


def _drawn(sigma: ConductivityAt) -> tuple[float, float, float]:
    """Return where σ is drawn, in mS/cm, and the ends of its 68 % interval; an upper bound at its 95 % end."""
    if sigma.is_upper_bound:
        bound = _MILLI * sigma.interval95_S_per_cm[1]
        return bound, bound, bound
    low, high = sigma.interval68_S_per_cm
    return _MILLI * sigma.value_S_per_cm, _MILLI * low, _MILLI * high


def _published_lines(
    values: Sequence[PublishedValue], n_labels: int, unit: str, quantity: str, colour: str
) -> Iterator[Series]:
    legends: set[bool] = set()
    for value in values:
        is_measured = value.approach == "measured"
        words = f"{source_words(value)}: {value.value:g} {unit}"
        yield Series(
            [0.0, float(n_labels)],
            [value.value, value.value],
            f"{quantity}, {'measured' if is_measured else 'calculated'} (published)",
            "line",
            colour,
            dash="solid" if is_measured else "dot",
            width=1.0,
            hover=[words, words],
            legend=is_measured not in legends,
        )
        legends.add(is_measured)


# ---- files ----------------------------------------------------------------------------------------------------------


def _model_cells(model: SizedModel) -> Cells:
    return model.n_labels, model.potential


def _errors_csv(sizes: SizesResult) -> CsvTable:
    units = ("energy_meV_per_atom", "force_meV_per_A", "stress_GPa")
    names = (*(f"mae_{unit}" for unit in units), *(f"rmse_{unit}" for unit in units), "force_slope")
    columns = ("n_labels", "potential", "best_epoch", "epochs", "key", "set", "n_structures", *names)
    rows = tuple(
        (*_model_cells(m), m.best_epoch, m.epochs, m.key, each.set, each.errors.n_structures, *_values(each, names))
        for m in sizes.models
        for each in m.errors
    )
    return CsvTable("sizes.csv", columns, rows)


def _values(each: SetErrors, names: Sequence[str]) -> Cells:
    return tuple(getattr(each.errors, name) for name in names)


def _order_csv(sizes: SizesResult) -> CsvTable:
    names = ("n", "mean_change_meV_per_atom", "largest_change_meV_per_atom", "n_compared", "n_same_lowest")
    rows = tuple(
        (
            *_model_cells(model),
            *(None if model.order is None else getattr(model.order, name) for name in names),
            *((None,) * 3 if model.order is None else vars(model.order.spearman).values()),
            " ".join(model.stable),
            model.not_ranked,
        )
        for model in sizes.models
    )
    correlation = ("spearman", "spearman_low95", "spearman_high95")
    return CsvTable("sizes_order.csv", ("n_labels", "potential", *names, *correlation, "stable", "not_ranked"), rows)


def _heights_csv(sizes: SizesResult) -> CsvTable:
    rows = tuple(
        (*_model_cells(model), each.identity.id, each.formula, _MILLI * each.above_eV_per_atom)
        for model in sizes.models
        for each in model.heights
    )
    return CsvTable("sizes_energies.csv", ("n_labels", "potential", "id", "formula", "above_hull_meV_per_atom"), rows)
