"""Finished campaigns side by side: the Python twin of ``superionic compare``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from superionic.errors import AnalysisError
from superionic.report.notebook import Drawn
from superionic.report.sections.series import SeriesView, comparison, views_of
from superionic.results.campaign import Results
from superionic.version import __version__

if TYPE_CHECKING:
    from superionic.campaign.run import Campaign
    from superionic.report.section import Section


@dataclass(frozen=True, eq=False, repr=False)
class CampaignComparison(Drawn):
    """Series of runs of several campaigns: volumes, activation energies and conductivities of the same materials.

    Attributes
    ----------
    campaigns
        Names of the campaigns.
    series
        The series, under the names of their campaigns.
    """

    campaigns: tuple[str, ...]
    series: tuple[SeriesView, ...]

    @property
    def section(self) -> Section:
        """Figure, table and files of the comparison."""
        return comparison(self.series)

    def _sections(self) -> tuple[Section, ...]:
        return (self.section,)

    def write(self, folder: str | Path, *, formats: Sequence[str] = ("png", "svg")) -> Path:
        """Write a page, the tables as CSV and the figure, and return the page.

        Raises
        ------
        StorageError
            If the folder cannot be written.
        """
        from superionic.report.export import check_formats, write_tables_and_figures
        from superionic.report.folder import report_folder
        from superionic.report.html import page

        check_formats(formats)
        sections = self._sections()
        with report_folder(folder) as target:
            write_tables_and_figures(target, sections, formats, tables="tables/")
            content = page(
                kind="superionic compare",
                title=", ".join(self.campaigns),
                version=__version__,
                sections=sections,
                formats=formats,
            )
            return target.write("compare.html", content.encode())


def compare_campaigns(campaigns: Sequence[str | Path | Campaign | Results]) -> CampaignComparison:
    """Compare the transport of finished campaigns, material by material.

    Materials are the same where formula and space group agree, whatever the campaigns call their crystals.

    Parameters
    ----------
    campaigns
        Campaign files, folders with a ``campaign.yaml``, opened campaigns, or results; one alone shows its own series.

    Raises
    ------
    AnalysisError
        If one of them has no transport runs.
    StorageError
        If one has no report yet, from which its results are read.
    """
    read = [each if isinstance(each, Results) else _opened(each).load_results() for each in campaigns]
    names = Counter(results.campaign for results in read)
    series: list[SeriesView] = []
    called: list[str] = []
    for number, results in enumerate(read, 1):
        name = results.campaign if names[results.campaign] == 1 else f"{results.campaign} ({number})"
        views = views_of(results)
        if not any(view.subjects for view in views):
            raise AnalysisError(
                f"The last report of {name} has no transport runs.",
                fix="Run it, or write its report again: superionic run CAMPAIGN, superionic report CAMPAIGN.",
            )
        called.append(name)
        own = f"{name}: " if len(read) > 1 else ""
        series += [replace(view, name=f"{own}{view.name}" if len(views) > 1 else name) for view in views]
    return CampaignComparison(tuple(called), tuple(series))


def _opened(campaign: str | Path | Campaign) -> Campaign:
    from superionic.campaign.run import Campaign

    if isinstance(campaign, Campaign):
        return campaign
    path = Path(campaign)
    return Campaign.load(path / "campaign.yaml" if path.is_dir() else path)
