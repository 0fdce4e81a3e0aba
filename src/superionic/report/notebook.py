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
"""Default figures: the first of these that exists is drawn."""


class Drawn(Shown):
    """Results that provide the figures and tables of their report by name."""

    def _sections(self) -> Sequence[Section]:
        """Return the sections of the report."""
        raise NotImplementedError

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures that :meth:`plot` draws, in the order of the report."""
        return tuple(plot.key for section in self._sections() for plot in section.plots)

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that :meth:`to_frame` returns, in the order of the report."""
        return tuple(table.name.removesuffix(".csv") for section in self._sections() for table in section.csv)

    def plot(self, figure: str | None = None) -> Figure:
        """Draw one figure of the report.

        Parameters
        ----------
        figure
            Its name, one of :attr:`figures`; by default the Arrhenius plot, or else mean squared displacements.

        Returns
        -------
        matplotlib.figure.Figure
            The figure, to be shown, changed, or saved by ``savefig``.

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
        """Return one table of the report, with all rows and digits.

        Parameters
        ----------
        table
            Its name, one of :attr:`tables`; by default the first.

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
    fix = f"Choose one of: {', '.join(known)}." if known else "Run or request more first."
    message = f"There is no {what} called {name!r}." if name else f"There is no {what} yet."
    return AnalysisError(message, fix=fix)
