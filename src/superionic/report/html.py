"""The page: one HTML file that opens anywhere, without a network.

It is rendered from sections by the templates in ``page/``: one for the page, and one for each kind of block.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from superionic.report.draw_plotly import panel_json, surface_json
from superionic.report.plots import Plot, Series
from superionic.report.section import Block, Code, Lines, Links, Paragraph, Section, Sources, Statements
from superionic.report.table import Table, note_letter
from superionic.report.words import plural, whole_text

if TYPE_CHECKING:
    from jinja2 import Environment

FOLD: Final = 30
"""Rows of a table shown initially; `page.css` has the same number."""
MOST_ROWS: Final = 1000
"""Largest number of rows of a table on the page; the CSV files have all."""
_TEMPLATES: Final[dict[type[Block], str]] = {
    Paragraph: "paragraph.html",
    Lines: "lines.html",
    Statements: "statements.html",
    Code: "code.html",
    Links: "links.html",
    Sources: "sources.html",
    Table: "table.html",
    Plot: "figure.html",
}
_SHORT: Final = 14
_VOLUME_HEIGHT: Final = 520
# The page may use the scripts and styles that it contains, and load nothing from elsewhere.
_POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob: 'self' file:; font-src data:; connect-src 'none'"
)


def page(
    *,
    kind: str,
    title: str,
    version: str,
    sections: Sequence[Section],
    formats: Sequence[str] = (),
    tables: str = "tables/",
) -> str:
    """Return the whole page.

    Parameters
    ----------
    kind
        Kind of page, e.g. ``"superionic report"``.
    version
        Version of superionic.
    sections
        The sections, starting with the summary.
    formats
        Formats of the figure files in ``figures/`` beside the page.
    tables
        Path of the CSV files of the sections, relative to the page.
    """
    charts = _charts(sections)
    return (
        _environment()
        .get_template("page.html")
        .render(
            kind=kind,
            title=title,
            version=version,
            sections=sections,
            formats=formats,
            tables=tables,
            policy=_POLICY,
            charts=charts,
            plotly=_plotly_source() if charts else "",
            style=_asset("page.css"),
            script=_asset("surface.js") + _asset("page.js"),
        )
    )


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("superionic.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "allow_nan": False,
        "separators": (",", ":"),
        "sort_keys": False,
    }
    environment.globals |= {
        "template_of": lambda block: _TEMPLATES[type(block)],
        "cell_class": _cell_class,
        "legend": _legend,
        "surface_height": _surface_height,
        "shades": _shades,
        "note_letter": note_letter,
        "FOLD": FOLD,
        "MOST_ROWS": MOST_ROWS,
    }
    environment.filters |= {"plural": plural, "whole": whole_text}
    return environment


def _plotly_source() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _asset(name: str) -> str:
    return resources.files("superionic.report").joinpath("page", name).read_text(encoding="utf-8")


def _charts(sections: Sequence[Section]) -> dict[str, Any]:
    """Return the charts that plotly.js draws, by their element on the page (see ``figure.html``)."""
    charts: dict[str, Any] = {}
    for plot in (plot for section in sections for plot in section.plots):
        if plot.surface is not None:
            charts[f"chart-{plot.key}-3d"] = {"three": True, **surface_json(plot.surface, _surface_height(plot))}
        for index, panel in enumerate(plot.panels):
            charts[f"chart-{plot.key}-{index}"] = panel_json(panel, plot.height)
    return charts


def _surface_height(plot: Plot) -> int:
    """Return the height in pixels of the view in three dimensions; one of a density is as wide as the figure."""
    return _VOLUME_HEIGHT if plot.surface is not None and plot.surface.volume is not None else plot.height


def _cell_class(table: Table, index: int, cell: str = "") -> str:
    """Return the classes of a cell: numbers stand flush right, and short words are not broken."""
    short = cell and (len(cell) <= _SHORT or (" " not in cell and len(cell) <= 2 * _SHORT))
    return " ".join(["number"] * (index in table.numeric) + ["short"] * bool(short))


def _legend(plot: Plot) -> list[Series]:
    """Return the series that the legend names, each name once."""
    named: dict[str, Series] = {}
    parts = [] if plot.surface is None else plot.surface.legend
    for series in (*parts, *(series for panel in plot.panels for series in panel.series)):
        if series.legend and series.label:
            named.setdefault(series.label, series)
    return list(named.values())


def _shades(plot: Plot) -> list[str]:
    """Return what the shaded spans of the panels mean."""
    return list(dict.fromkeys(words for panel in plot.panels for _, _, words in panel.shaded if words))
