"""The page: one HTML file that opens anywhere, without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any, Final

from numpy.typing import NDArray

from superionic.report import tables, tables_model, tables_ranking, tables_sites, tables_student, tables_transport
from superionic.report.draw_plotly import panel_json, surface_json
from superionic.report.figures_density import maps_without_grid
from superionic.report.methods import methods
from superionic.report.plots import Plot, Series
from superionic.report.summary import MISSING_STAGES, Statement, cards, lead_sentence, statements
from superionic.report.table import Table, note_letter
from superionic.report.values import Results, mapping, records, text, whole
from superionic.report.words import listing, plural

# key, title, stages that feed it
_SECTIONS: Final = (
    ("summary", "Summary", ()),
    ("done", "What was done", ()),
    ("orderings", "Orderings", ("enumerate",)),
    ("ranking", "Ranking by the potential", ("rank",)),
    ("stability", "Stability", ("hull",)),
    ("model", "Labels, training and validation", ("label", "train", "validate")),
    ("student", "Student", ("distil",)),
    ("volumes", "Simulations and volumes", ("transport",)),
    ("diffusion", "Diffusion", ("analyse",)),
    ("conductivity", "Conductivity", ("analyse",)),
    ("density", "Paths of the ions", ("analyse",)),
    ("comparison", "Beside published values", ("analyse",)),
    ("failures", "Failures and rejections", ()),
    ("provenance", "Provenance", ()),
    ("methods", "Methods and sources", ()),
)
# The page may run the scripts and styles that it carries, and load nothing from anywhere.
_POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob: 'self' file:; font-src data:; connect-src 'none'"
)


def page(
    results: Results,
    plots: Sequence[Plot],
    arrays: Mapping[str, NDArray[Any]],
    *,
    formats: Sequence[str] = (),
    csv_names: Sequence[str] = (),
) -> str:
    """Return the whole page.

    Parameters
    ----------
    results, plots, arrays
        What to show.
    formats
        Formats of the figure files in ``figures/`` beside the page.
    csv_names
        Names of the files in ``tables/`` beside the page.
    """
    charts: dict[str, Any] = {}
    bodies = {key: "" for key, _, _ in _SECTIONS}
    bodies["summary"] = _summary(results)
    bodies["done"] = _table(tables.workflow(results)) + _table(tables.crystals(results))
    bodies["orderings"] = _figures(plots, "orderings", charts, formats) + _table(tables.spaces(results))
    bodies["ranking"] = (
        _ranking_note(results)
        + _figures(plots, "ranking", charts, formats)
        + _table(tables.ranking(results))
        + _table(tables_ranking.culling(results))
        + _table(tables_ranking.comparisons(results))
    )
    bodies["stability"] = (
        _figures(plots, "stability", charts, formats)
        + _table(tables.hull(results))
        + _table(tables.polymorphs(results))
    )
    bodies["model"] = _model(results, plots, charts, formats)
    bodies["student"] = _student(results, plots, charts, formats)
    bodies["volumes"] = _figures(plots, "volumes", charts, formats) + _table(tables_transport.simulations(results))
    bodies["diffusion"] = _figures(plots, "diffusion", charts, formats) + _table(
        tables_transport.diffusivities(results)
    )
    bodies["conductivity"] = _figures(plots, "conductivity", charts, formats) + _table(
        tables_transport.arrhenius(results)
    )
    bodies["conductivity"] += _table(tables_student.budget(results))
    bodies["density"] = _figures(plots, "density", charts, formats) + _density_note(results, arrays)
    for found in (tables_sites.occupancies(results), tables_sites.jumps(results), tables_sites.percolation(results)):
        bodies["density"] += _table(found)
    bodies["comparison"] = _figures(plots, "comparison", charts, formats) + _table(tables_transport.comparison(results))
    bodies["failures"] = _table(tables_transport.rejections(results)) or _paragraph(
        "Nothing failed and nothing was refused."
    )
    bodies["provenance"] = _provenance(results, csv_names)
    bodies["methods"] = _methods(results)
    sections = "".join(_section(key, title, bodies[key], stages, results) for key, title, stages in _SECTIONS)
    contents = "".join(f'<li><a href="#{key}">{escape(title)}</a></li>' for key, title, _ in _SECTIONS)
    title = f"{results.campaign} · superionic report"
    return (
        '<!doctype html>\n<html lang="en" data-theme="light">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_asset('page.css')}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#summary">Skip to the results</a>\n'
        f'<header><div class="bar"><div><p class="kind">superionic report</p><h1>{escape(results.campaign)}</h1></div>'
        '<button id="theme" type="button" aria-pressed="false">Dark</button></div></header>\n'
        f'<div class="layout"><nav aria-label="Contents"><ol>{contents}</ol></nav>\n<main>\n'
        "<noscript><p>Charts need JavaScript; the same figures lie in the folder “figures” "
        "beside this page.</p></noscript>\n"
        f"{sections}</main></div>\n"
        f"<footer>superionic {escape(results.version)}</footer>\n"
        f'<script type="application/json" id="charts">{_json(charts)}</script>\n'
        f"<script>{_plotly_source() if charts else ''}</script>\n"
        f"<script>\n{_asset('page.js')}</script>\n</body>\n</html>\n"
    )


def _plotly_source() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _asset(name: str) -> str:
    return resources.files("superionic.report").joinpath(name).read_text(encoding="utf-8")


def _json(data: Any) -> str:
    """Write JSON that cannot end the script element that holds it."""
    written = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return written.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _paragraph(words: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(words)}</p>\n' if kind else f"<p>{escape(words)}</p>\n"


def _section(key: str, title: str, body: str, stages: Sequence[str], results: Results) -> str:
    notes = "".join(_paragraph(MISSING_STAGES[stage], "missing") for stage in stages if not results.has(stage))
    if not body and not notes:
        notes = _paragraph("This part of the campaign left nothing to show here.", "missing")
    return f'<section id="{key}"><h2>{escape(title)}</h2>\n{notes}{body}</section>\n'


def _summary(results: Results) -> str:
    out = [_paragraph(lead_sentence(results), "lead")]
    found = cards(results)
    if found:
        out.append('<div class="cards">')
        out += [
            (
                f'<div class="card {card.severity}"><p class="name">{escape(card.name)}</p>'
                f'<p class="value">{escape(card.value)}</p><p class="detail">{escape(card.detail)}</p></div>'
            )
            for card in found
        ]
        out.append("</div>\n")
    else:
        out.append(_paragraph("There is no conductivity, activation energy or stability to report yet.", "missing"))
    for stage, what in (("hull", "stability"), ("analyse", "conductivity and activation energy")):
        if found and not results.has(stage):
            out.append(_paragraph(f"Not in this campaign: {what}. {MISSING_STAGES[stage]}", "missing"))
    out.append(_table(tables.main_results(results)))
    out.append(_statements(statements(results)))
    return "".join(out)


def _statements(found: Sequence[Statement]) -> str:
    if not found:
        return ""
    names = {"warning": "Warning", "caution": "Caution", "info": "Note"}
    items = "".join(
        (
            f'<li class="{item.severity}"><span '
            f'class="tag">{names[item.severity]}</span><span>{escape(item.words)}</span></li>'
        )
        for item in found
    )
    return f'<h3>How far to trust these numbers</h3>\n<ul class="statements">{items}</ul>\n'


def _ranking_note(results: Results) -> str:
    potential = mapping(results.stage("rank"), "potential")
    parts = [
        f"{name}: {text(potential, key)}"
        for key, name in (
            ("name", "Potential"),
            ("model", "model"),
            ("version", "version"),
            ("level_of_theory", "level of theory"),
            ("energy_convention", "energy scale"),
        )
        if text(potential, key)
    ]
    return _paragraph("; ".join(parts) + ".", "quiet") if parts else ""


def _model(results: Results, plots: Sequence[Plot], charts: dict[str, Any], formats: Sequence[str]) -> str:
    label = results.stage("label")
    out = []
    if label:
        labeller = mapping(label, "labeller")
        skipped = ("code", "version", "functional")
        name = " ".join(text(labeller, key) for key in skipped if text(labeller, key)) or "an unnamed method"
        rejected = len(records(label, "rejected"))
        words = (
            f"{whole(label, 'n_accepted') or 0} of {whole(label, 'n_requested') or 0} labels by {name} passed the gates"
        )
        words += f"; {plural(rejected, 'was', 'were')} refused (see “Failures and rejections”)." if rejected else "."
        out.append(_paragraph(words))
        settings = [
            f"{key.replace('_', ' ')}: {_short(value)}"
            for key, value in labeller.items()
            if key not in skipped and value is not None
        ]
        if settings:
            out.append(_paragraph("Settings of the labels: " + "; ".join(settings) + ".", "quiet"))
    out += [
        _table(tables_transport.selected(results)),
        _table(tables_transport.sampling(results)),
        _table(tables_transport.errors(results)),
        _table(tables_model.errors_apart(results)),
        _table(tables_model.preflight(results)),
    ]
    out += [_figures(plots, "model", charts, formats), _table(tables_transport.element_references(results))]
    return "".join(out)


def _student(results: Results, plots: Sequence[Plot], charts: dict[str, Any], formats: Sequence[str]) -> str:
    words = tables_student.lead(results)
    if not words:
        return ""
    return "".join(
        [
            _paragraph(words),
            _table(tables_student.verdict(results)),
            _table(tables_student.errors(results)),
            _paragraph(said) if (said := tables_student.transfer(results)) else "",
            _figures(plots, "student", charts, formats),
            _table(tables_student.rounds(results)),
        ]
    )


def _short(value: Any) -> str:
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return written if len(written) <= 80 else written[:77] + "…"


def _density_note(results: Results, arrays: Mapping[str, NDArray[Any]]) -> str:
    missing = maps_without_grid(results, arrays)
    if missing:
        shown = listing(missing[:6]) + (" and others" if len(missing) > 6 else "")
        return _paragraph(f"The density grid of {shown} was not at hand when this page was written.", "missing")
    found = results.records("analyse", "densities")
    if results.has("analyse") and not found:
        return _paragraph("No probability density was computed.", "missing")
    distinct = len({text(item, "id") for item in found})
    if len(found) > min(distinct, 3):
        return _paragraph("Shown is the hottest run of each ordering (three orderings at most).", "quiet")
    return ""


def _provenance(results: Results, csv_names: Sequence[str]) -> str:
    out = [
        _paragraph(
            "Every number here is the result of a task that is stored under a key made from its "
            "inputs, its settings and the "
            "versions of its tools. To see where one comes from, run in the folder of the campaign:"
        ),
        "<pre><code>superionic explain KEY</code></pre>\n",
    ]
    rows = [[name, value] for name, value in _keys(results.raw.get("provenance"))]
    if rows:
        out.append(_table(Table("Keys and identities.", ["What", "Key or identity"], rows[:200], more=None)))
    out.append(_paragraph("The results of all stages are in results.json; the tables, with all digits, are in:"))
    links = ['<li><a href="results.json">results.json</a></li>']
    links += [f'<li><a href="tables/{escape(name)}">{escape(name)}</a></li>' for name in csv_names]
    out.append(f'<ul class="files">{"".join(links)}</ul>\n')
    return "".join(out)


def _keys(found: Any, name: str = "") -> list[tuple[str, str]]:
    """Return the leaves of the provenance as ``(path of names, value)``."""
    if isinstance(found, dict):
        return [leaf for key, value in found.items() for leaf in _keys(value, f"{name} › {key}" if name else str(key))]
    if isinstance(found, list):
        return [leaf for index, value in enumerate(found) for leaf in _keys(value, f"{name} {index + 1}")]
    return [] if found is None else [(name.replace("_", " "), str(found))]


def _methods(results: Results) -> str:
    paragraphs, sources = methods(results)
    items = "".join(
        f'<li>{escape(citation)} <span class="doi">doi:{escape(doi)}</span></li>' for citation, doi in sources
    )
    return "".join(_paragraph(words) for words in paragraphs) + f'<ol class="sources">{items}</ol>\n'


def _table(table: Table | None) -> str:
    if table is None or not table.rows:
        return ""
    head = "".join(
        f'<th scope="col"{_side(table, index)}>{escape(name)}</th>' for index, name in enumerate(table.columns)
    )
    rows = []
    for row in table.rows:
        cells = [f'<th scope="row"{_side(table, 0, row[0])}>{escape(row[0])}</th>']
        cells += [f"<td{_side(table, index, cell)}>{escape(cell)}</td>" for index, cell in enumerate(row) if index]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    more = ""
    if table.more is not None:
        count, file = table.more
        more = (
            f'<p class="quiet">{plural(count, "further row")} in <a '
            f'href="tables/{escape(file)}">{escape(file)}</a>.</p>\n'
        )
    if table.notes:
        notes = "".join(
            f"<li><b>{note_letter(index)}</b> {escape(words)}</li>" for index, words in enumerate(table.notes)
        )
        more += f'<ul class="notes">{notes}</ul>\n'
    compact = " compact" if len(table.columns) <= 3 else ""
    return (
        f'<div class="table{compact}" tabindex="0" role="region" aria-label="{escape(table.caption)}"><table>'
        f"<caption>{escape(table.caption)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>\n{more}"
    )


_SHORT: Final = 14


def _side(table: Table, index: int, cell: str = "") -> str:
    names = (["number"] if index in table.numeric else []) + (
        ["short"] if cell and (len(cell) <= _SHORT or (" " not in cell and len(cell) <= 2 * _SHORT)) else []
    )
    return f' class="{" ".join(names)}"' if names else ""


def _figures(plots: Sequence[Plot], section: str, charts: dict[str, Any], formats: Sequence[str]) -> str:
    return "".join(_figure(plot, charts, formats) for plot in plots if plot.section == section)


def _figure(plot: Plot, charts: dict[str, Any], formats: Sequence[str]) -> str:
    panels = []
    if plot.surface is not None:
        key = f"chart-{plot.key}-3d"
        charts[key] = {"three": True, **surface_json(plot.surface, plot.height)}
        panels.append(_panel(key, "In three dimensions (drag to turn)", plot, plot.height))
    for index, panel in enumerate(plot.panels):
        key = f"chart-{plot.key}-{index}"
        charts[key] = panel_json(panel, plot.height)
        panels.append(_panel(key, panel.title, plot, plot.height))
    single = " single" if len(panels) == 1 else ""
    files = " · ".join(f'<a href="figures/{escape(plot.key)}.{kind}">{kind.upper()}</a>' for kind in formats)
    download = f' <span class="files">{files}</span>' if files else ""
    return (
        f'<figure id="figure-{escape(plot.key)}"><h3>{escape(plot.title)}</h3>\n{_legend(plot)}'
        f'<div class="panels columns-{min(plot.columns, len(panels))}{single}">{"".join(panels)}</div>\n'
        f"<figcaption>{escape(plot.caption)}{download}</figcaption></figure>\n"
    )


def _panel(key: str, title: str, plot: Plot, height: int) -> str:
    shown = f'<p class="panel-title">{escape(title)}</p>' if title else ""
    label = escape(f"{plot.title}. {title}".strip())
    return (
        f'<div class="panel">{shown}<div class="chart" id="{escape(key)}" role="img" aria-label="{label}" '
        f'style="height:{height}px"></div></div>'
    )


def _legend(plot: Plot) -> str:
    found: dict[str, Series] = {}
    shades: dict[str, None] = {}
    for panel in plot.panels:
        for series in panel.series:
            if series.legend and series.label:
                found.setdefault(series.label, series)
        for _, _, words in panel.shaded:
            if words:
                shades.setdefault(words)
    if len(found) + len(shades) < 2:
        return ""
    items = [
        (
            f'<button type="button" class="key" data-name="{escape(label)}" '
            f'aria-pressed="true">{_swatch(series)}{escape(label)}</button>'
        )
        for label, series in found.items()
    ]
    swatch = (
        '<svg viewBox="0 0 24 14" aria-hidden="true"><rect width="24" height="14" fill="#9ca3af" '
        'fill-opacity="0.3"/></svg>'
    )
    items += [f'<span class="key">{swatch}{escape(words)}</span>' for words in shades]
    return f'<div class="legend" role="group" aria-label="Legend">{"".join(items)}</div>\n'


_SHAPES: Final = {
    "circle": '<circle cx="12" cy="7" r="4.5" {look}/>',
    "square": '<rect x="8" y="3" width="8" height="8" {look}/>',
    "diamond": '<path d="M12 1.5 17.5 7 12 12.5 6.5 7Z" {look}/>',
    "triangle-up": '<path d="M12 2 17 11.5 7 11.5Z" {look}/>',
    "triangle-down": '<path d="M12 12 17 2.5 7 2.5Z" {look}/>',
    "cross": '<path d="M10.3 2h3.4v3.3H17v3.4h-3.3V12h-3.4V8.7H7V5.3h3.3Z" {look}/>',
    "x": (
        '<path d="M8 1.6 12 5.2 16 1.6 17.6 3.2 13.9 7 17.6 10.8 16 12.4 12 8.8 8 12.4 6.4 10.8 10.1 '
        '7 6.4 3.2Z" {look}/>'
    ),
    "star": '<path d="M12 1l1.6 4.2 4.4.2-3.5 2.8 1.2 4.3L12 10l-3.7 2.5 1.2-4.3L6 5.4l4.4-.2Z" {look}/>',
}


def _swatch(series: Series) -> str:
    colour = series.colour
    if series.kind == "line":
        dash = {"solid": "", "dash": ' stroke-dasharray="6 3"', "dot": ' stroke-dasharray="2 3"'}[series.dash]
        shape = f'<path d="M1 7H23" stroke="{colour}" stroke-width="2.4"{dash}/>'
    elif series.kind == "points":
        look = f'fill="{colour}"' if series.filled else f'fill="none" stroke="{colour}" stroke-width="1.6"'
        shape = _SHAPES[series.marker].format(look=look)
    else:
        shape = f'<rect x="2" y="2" width="20" height="10" fill="{colour}" fill-opacity="{series.opacity:g}"/>'
    return f'<svg viewBox="0 0 24 14" aria-hidden="true">{shape}</svg>'
