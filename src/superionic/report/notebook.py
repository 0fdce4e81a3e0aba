"""The figures and tables of a report, one by one, for a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from superionic.errors import AnalysisError
from superionic.report.section import Section
from superionic.shown import Shown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_FIRST: Final = ("arrhenius", "msd", "hull")
"""Figures that are drawn unasked: the first of these that there is."""


class Drawn(Shown):
    """Results that a report is made of: they give its figures and tables by name."""

    def _sections(self) -> Sequence[Section]:
        """Return the sections of the report."""
        raise NotImplementedError

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures, in the order of the report: what :meth:`plot` draws."""
        return tuple(plot.key for section in self._sections() for plot in section.plots)

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables, in the order of the report: what :meth:`to_frame` returns."""
        return tuple(table.name.removesuffix(".csv") for section in self._sections() for table in section.csv)

    def plot(self, figure: str | None = None) -> Figure:
        """Draw one figure of the report.

        Parameters
        ----------
        figure
            Its name, one of :attr:`figures`; the Arrhenius plot, or else mean squared displacements, if None.

        Returns
        -------
        matplotlib.figure.Figure
            To be shown, changed, or saved by ``savefig``.

        Raises
        ------
        AnalysisError
            If there is no such figure.
        """
        from superionic.report.draw_matplotlib import figure_of

        plots = {plot.key: plot for section in self._sections() for plot in section.plots}
        name = figure or next((key for key in (*_FIRST, *plots) if key in plots), "")
        if name not in plots:
            raise _missing("figure", figure, list(plots))
        return figure_of(plots[name])

    def to_frame(self, table: str | None = None) -> pd.DataFrame:
        """Return one table of the report, with all its rows and digits.

        Parameters
        ----------
        table
            Its name, one of :attr:`tables`; the first if None.

        Raises
        ------
        AnalysisError
            If there is no such table.
        """
        import pandas as pd

        tables = {each.name.removesuffix(".csv"): each for section in self._sections() for each in section.csv}
        name = table or next(iter(tables), "")
        if name not in tables:
            raise _missing("table", table, list(tables))
        return pd.DataFrame(list(tables[name].rows), columns=list(tables[name].columns))


def _missing(what: str, name: str | None, known: Sequence[str]) -> AnalysisError:
    fix = f"Choose one of: {', '.join(known)}." if known else "Run, or ask for, more."
    return AnalysisError(f"There is no {what} {name!r} here." if name else f"There is no {what} here.", fix=fix)
