"""The page, tables and figures of a stand-alone analysis: one HTML file that opens without a network."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from superionic.errors import StorageError
from superionic.report import (
    figures_analysis,
    figures_conductivity,
    figures_transport,
    html,
    tables_sites,
    tables_transport,
)
from superionic.report.draw_matplotlib import draw
from superionic.report.export import ReportFiles, _write
from superionic.report.figures_density import density_plots
from superionic.report.figures_sites import migration_plots
from superionic.report.plots import Plot
from superionic.report.summary import Card
from superionic.report.table import Table
from superionic.report.values import Record, Results, bounds, mapping, numbers, plain, real, records, text
from superionic.report.words import UNKNOWN, interval, number, sentence, with_error

_SECTIONS: Final = (
    ("summary", "Results"),
    ("diffusion", "Diffusion"),
    ("conductivity", "Conductivity"),
    ("volumes", "Volumes"),
    ("density", "Where the ions are, and where they go"),
    ("reading", "What was read, and how"),
)
_QUANTITIES: Final = (
    ("tracer_diffusivity_cm2_per_s", "Tracer diffusivity D*", "cm²/s"),
    ("charge_diffusivity_cm2_per_s", "Charge diffusivity D_σ", "cm²/s"),
    ("haven_ratio", "Haven ratio D*/D_σ", ""),
    ("nernst_einstein_conductivity_S_per_cm", "Conductivity (Nernst–Einstein, from D*)", "S/cm"),
    ("ionic_conductivity_S_per_cm", "Ionic conductivity (from D_σ)", "S/cm"),
)


def write_analysis(
    document: Mapping[str, Any],
    results: Mapping[str, Any],
    folder: Path | str,
    *,
    arrays: Mapping[str, NDArray[Any]] | None = None,
    formats: Sequence[str] = ("png", "svg"),
    tables: Mapping[str, str] | None = None,
    files: Sequence[str] = (),
) -> ReportFiles:
    """Write ``result.json``, ``analysis.html``, CSV tables and figures of an analysis.

    Parameters
    ----------
    document
        What ``result.json`` holds.
    results
        The same in the shape of a campaign's results (``stages.analyse.runs`` and so on), for the figures.
    folder
        Where to write; made if missing. Files of the same names are written over.
    arrays
        Grids that the results name.
    formats
        Formats of the figures.
    tables
        More CSV tables by file name.
    files
        Names of further files in the folder, which the page names.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    view, grids, target = Results(results), dict(arrays or {}), Path(folder)
    plots = _plots(view, grids)
    texts = {"results.csv": _results_csv(view), "msd.csv": _msd_csv(view), **(tables or {})}
    content = page(view, plots, formats=formats, csv_names=(*texts, *files))
    try:
        (target / "figures").mkdir(parents=True, exist_ok=True)
        json_path = _write(
            target / "result.json",
            (json.dumps(plain(document), ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode(),
        )
        csv_paths = {name: _write(target / name, words.encode()) for name, words in texts.items()}
        figures = [
            _write(target / "figures" / f"{plot.key}.{kind}", data)
            for plot in plots
            for kind, data in draw(plot, tuple(formats)).items()
        ]
        html_path = _write(target / "analysis.html", content.encode())
    except OSError as error:
        raise StorageError(
            f"The analysis cannot be written: {error.strerror or error}",
            where=str(error.filename or target),
            fix="Choose another folder with --out.",
        ) from error
    return ReportFiles(html_path, json_path, csv_paths, tuple(figures))


def page(results: Results, plots: Sequence[Plot], *, formats: Sequence[str], csv_names: Sequence[str]) -> str:
    """Return the whole page."""
    charts: dict[str, Any] = {}
    runs = results.records("analyse", "runs")
    bodies = {
        "summary": _summary(results, runs),
        "diffusion": html._figures(plots, "diffusion", charts, formats)
        + html._table(tables_transport.diffusivities(results)),
        "conductivity": html._figures(plots, "conductivity", charts, formats)
        + html._table(tables_transport.arrhenius(results)),
        "volumes": html._figures(plots, "volumes", charts, formats) + html._table(_volumes(results, runs)),
        "density": html._figures(plots, "density", charts, formats) + _migration(results),
        "reading": html._table(_reading(runs)) + _notices(runs) + _files(csv_names),
    }
    shown = [(key, title) for key, title in _SECTIONS if bodies[key]]
    contents = "".join(f'<li><a href="#{key}">{escape(title)}</a></li>' for key, title in shown)
    sections = "".join(
        f'<section id="{key}"><h2>{escape(title)}</h2>\n{bodies[key]}</section>\n' for key, title in shown
    )
    name = results.campaign
    return (
        '<!doctype html>\n<html lang="en" data-theme="light">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(html._POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(name)} · superionic analysis</title>\n"
        f"<style>\n{html._asset('page.css')}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#summary">Skip to the results</a>\n'
        f'<header><div class="bar"><div><p class="kind">superionic analysis</p><h1>{escape(name)}</h1></div>'
        '<button id="theme" type="button" aria-pressed="false">Dark</button></div></header>\n'
        f'<div class="layout"><nav aria-label="Contents"><ol>{contents}</ol></nav>\n<main>\n'
        "<noscript><p>Charts need JavaScript; the same figures lie in the folder “figures” beside this page.</p>"
        f"</noscript>\n{sections}</main></div>\n<footer>superionic {escape(results.version)}</footer>\n"
        f'<script type="application/json" id="charts">{html._json(charts)}</script>\n'
        f"<script>{html._plotly_source() if charts else ''}</script>\n"
        f"<script>\n{html._asset('page.js')}</script>\n</body>\n</html>\n"
    )


def _plots(results: Results, arrays: Mapping[str, NDArray[Any]]) -> list[Plot]:
    several = len({real(r, "temperature_K") for r in results.records("analyse", "runs")}) > 1
    found = [
        figures_transport.displacements(results),
        figures_analysis.running_diffusivity(results),
        figures_transport.anisotropy(results),
        figures_conductivity.arrhenius(results) if several else None,
        figures_analysis.volume_traces(results),
    ]
    return [plot for plot in found if plot is not None] + density_plots(results, arrays) + migration_plots(results)


def _summary(results: Results, runs: Sequence[Record]) -> str:
    if not runs:
        return ""
    out = []
    if len(runs) == 1:
        out.append(_cards([_card(runs[0], *what) for what in _QUANTITIES if mapping(runs[0], what[0])]))
    for fit in results.records("analyse", "arrhenius"):
        room = mapping(fit, "sigma_300K_mS_per_cm")
        cards = [
            Card("Activation energy", with_error(real(fit, "Ea_eV"), real(fit, "Ea_error_eV"), "eV"), "from ln(σT)"),
            Card(
                "Conductivity at 300 K",
                f"{number(real(room, 'value'))} mS/cm",
                f"68 %: {interval(*bounds(room, 'interval68'))}"
                + (" · extrapolated" if room.get("extrapolated") else ""),
                "caution" if room.get("extrapolated") else "info",
            ),
        ]
        out.append(_cards(cards))
    pooled = results.stage("analyse").get("pooled")
    if isinstance(pooled, dict) and pooled:
        out.append("<p>Averages over the replicas; their scatter is in the errors.</p>\n")
        out.append(_cards([_card(pooled, *what) for what in _QUANTITIES if mapping(pooled, what[0])]))
    flags = list(dict.fromkeys(str(flag) for run in runs for flag in run.get("flags") or []))
    flags += [str(f) for fit in results.records("analyse", "arrhenius") for f in fit.get("flags") or []]
    if flags:
        items = "".join(
            f'<li class="caution"><span class="tag">Caution</span><span>{escape(sentence(flag))}</span></li>'
            for flag in flags
        )
        out.append(f'<h3>How far to trust these numbers</h3>\n<ul class="statements">{items}</ul>\n')
    else:
        out.append("<p>Nothing was found that speaks against these numbers.</p>\n")
    return "".join(out)


def _card(record: Record, key: str, name: str, unit: str) -> Card:
    found = mapping(record, key)
    bound = bool(found.get("is_upper_bound"))
    ends = f"68 %: {interval(*bounds(found, 'interval68'))} · 95 %: {interval(*bounds(found, 'interval95'))}"
    value = with_error(real(found, "value"), real(found, "error"), unit)
    if bound and key != "haven_ratio":
        value = f"below {number(bounds(found, 'interval95')[1], 2)} {unit} (95 %)"
    return Card(name, value, ends, "caution" if bound else "info")


def _cards(cards: Sequence[Card]) -> str:
    inside = "".join(
        f'<div class="card {card.severity}"><p class="name">{escape(card.name)}</p>'
        f'<p class="value">{escape(card.value)}</p><p class="detail">{escape(card.detail)}</p></div>'
        for card in cards
    )
    return f'<div class="cards">{inside}</div>\n'


def _volumes(results: Results, runs: Sequence[Record]) -> Table | None:
    rows = []
    for run in runs:
        cell = mapping(run, "mean_cell")
        if not cell:
            continue
        lengths, angles = mapping(cell, "lengths_A"), mapping(cell, "angles_deg")
        rows.append(
            [
                text(run, "run"),
                number(real(run, "temperature_K")),
                *[_mean(mapping(lengths, name)) for name in ("a", "b", "c")],
                *[_mean(mapping(angles, name)) for name in ("alpha", "beta", "gamma")],
                _mean(mapping(cell, "volume_per_atom_A3")),
            ]
        )
    notes = []
    expansion = mapping(results.stage("analyse"), "thermal_expansion")
    if expansion:
        notes.append(
            "Thermal expansion α = β/3: "
            + with_error(real(expansion, "linear_per_K"), real(expansion, "linear_error_per_K"), "K⁻¹")
            + "."
        )
    for run in runs:
        notes.extend(
            (
                f"{text(run, 'run')}: {number(real(item, 'difference_percent'), 2)} % from the "
                f"{text(item, 'kind')} volume {number(real(item, 'published'), 4)} Å³/atom at "
                f"{number(real(item, 'temperature_K'))} K ({text(item, 'source')})."
            )
            for item in records(run, "volume_comparisons")
        )
    columns = ["Run", "T, K", "a, Å", "b, Å", "c, Å", "α, °", "β, °", "γ, °", "Volume, Å³/atom"]
    return (
        Table("Mean cells of runs whose cell changes.", columns, rows, frozenset(range(1, 9)), None, notes)
        if rows
        else None
    )


def _migration(results: Results) -> str:
    """Return the tables of sites, jumps and percolation, and what speaks against them."""
    tables = (tables_sites.occupancies(results), tables_sites.jumps(results), tables_sites.percolation(results))
    out = [html._table(table) for table in tables]
    found = results.records("analyse", "migration")
    flags = [(text(run, "run"), str(flag)) for run in found for flag in run.get("flags") or []]
    if flags:
        several = len(found) > 1
        items = "".join(
            f"<li>{escape(run + ': ' if several else '')}{escape(sentence(flag))}</li>" for run, flag in flags
        )
        out.append(f"<h3>How far to trust sites and jumps</h3><ul>{items}</ul>\n")
    fits = [mapping(run, "crystal_sites") for run in found if run.get("crystal_sites")]
    for fit in fits[:1]:
        rows = fit.get("supercell")
        diagonal = isinstance(rows, list) and all(rows[i][j] == 0 for i in range(3) for j in range(3) if i != j)
        shape = " × ".join(str(rows[i][i]) for i in range(3)) if diagonal and isinstance(rows, list) else str(rows)
        misfit = real(fit, "framework_misfit_A")
        out.append(
            f"<p>Sites are those of {escape(text(fit, 'name'))} in the supercell {escape(shape)}; lengths differ from "
            f"the crystal's by up to {number(100.0 * (real(fit, 'strain') or 0.0), 2)} %"
            + (f", mean places of the framework by {number(misfit, 2)} Å (rms)" if misfit is not None else "")
            + (
                f" (laid down otherwise, which exchanges labels, by {number(rival, 2)} Å)"
                if (rival := real(fit, "rival_misfit_A")) is not None
                else ""
            )
            + ". Labels i1, i2, … are interstitials: places where the density shows more.</p>\n"
        )
    return "".join(out)


def _mean(found: Record) -> str:
    return with_error(real(found, "value"), real(found, "error"))


def _reading(runs: Sequence[Record]) -> Table | None:
    rows = []
    for run in runs:
        charges = mapping(mapping(run, "charges"), "values")
        note = text(mapping(run, "charges"), "note")
        stated = ", ".join(f"{e} {q:+g}" for e, q in charges.items() if isinstance(q, int | float)) or UNKNOWN
        rows.append(
            [
                text(run, "run"),
                text(run, "formula"),
                f"{run.get('n_frames', UNKNOWN)} of {number(real(run, 'frame_interval_ps'))} ps",
                number(real(run, "duration_ps")),
                ", ".join(str(e) for e in run.get("mobile") or []),
                f"{text(run, 'drift')} ({', '.join(str(e) for e in run.get('framework') or []) or 'no framework'})",
                stated + (f" ({note})" if note else ""),
            ]
        )
    columns = ["Run", "Composition", "Frames", "Length, ps", "Mobile", "Drift removed by", "Charges"]
    return Table("What was read, and what was assumed.", columns, rows, frozenset({3})) if rows else None


def _notices(runs: Sequence[Record]) -> str:
    found = [str(notice) for run in runs for notice in run.get("notices") or []]
    if not found:
        return "<p>All files were read whole.</p>\n"
    items = "".join(f"<li>{escape(sentence(words))}</li>" for words in found[:50])
    more = f"<p>{len(found) - 50} more are in result.json.</p>" if len(found) > 50 else ""
    return f"<h3>What could not be read, or was left out</h3><ul>{items}</ul>{more}\n"


def _files(csv_names: Sequence[str]) -> str:
    links = "".join(f'<li><a href="{escape(n)}">{escape(n)}</a></li>' for n in ("result.json", *csv_names))
    return f'<p>All numbers with all digits:</p><ul class="files">{links}</ul>\n'


def _results_csv(results: Results) -> str:
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    head = ["run", "temperature_K"]
    for key, _, _ in _QUANTITIES:
        head += [key, f"{key}_error", f"{key}_low68", f"{key}_high68", f"{key}_low95", f"{key}_high95"]
    writer.writerow([*head, "window_start_ps", "window_end_ps", "n_hops", "volume_A3", "flags"])
    for run in results.records("analyse", "runs"):
        row: list[Any] = [run.get("run"), run.get("temperature_K")]
        for key, _, _ in _QUANTITIES:
            found = mapping(run, key)
            row += [found.get("value"), found.get("error")]
            row += [*bounds(found, "interval68"), *bounds(found, "interval95")]
        row += [*bounds(run, "window_ps"), run.get("n_hops"), run.get("volume_A3")]
        writer.writerow([*("" if x is None else x for x in row), "; ".join(str(f) for f in run.get("flags") or [])])
    return buffer.getvalue()


def _msd_csv(results: Results) -> str:
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["run", "lag_ps", "msd_A2", "xx_A2", "yy_A2", "zz_A2"])
    for run in results.records("analyse", "runs"):
        curve = mapping(run, "msd")
        columns = [numbers(curve, key) for key in ("lags_ps", "msd_A2", "xx", "yy", "zz")]
        for row in zip(*columns, strict=False):
            writer.writerow([run.get("run"), *("" if x is None else x for x in row)])
    return buffer.getvalue()
