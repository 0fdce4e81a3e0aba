"""The page of what a campaign cost, with its JSON and CSV files.

It is apart from the report, which is the same, to the byte, for equal campaigns; what they cost never is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from superionic.report.csv_tables import CsvTable, csv_table
from superionic.report.export import ReportFiles, write_tables_and_figures
from superionic.report.folder import report_folder
from superionic.report.html import page
from superionic.report.plots import BLUE, Panel, Plot, Series
from superionic.report.section import Line, Lines, Paragraph, Section, shown
from superionic.report.table import Table, table_of
from superionic.report.words import UNKNOWN, formula_text, number, whole_text
from superionic.results.cost import CampaignCost
from superionic.results.document import to_json

FORMAT: Final = "superionic cost"
_MINUTE_S: Final = 60.0
_HOUR_S: Final = 3600.0


def write_cost(cost: CampaignCost, folder: Path | str, *, title: str = "") -> ReportFiles:
    """Write ``cost.html``, ``cost.json`` and the tables as CSV.

    Parameters
    ----------
    cost
        What the campaign cost.
    folder
        Where to write; created if missing. Files of an earlier page are overwritten.
    title
        Title of the campaign; its name if empty.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    """
    with report_folder(folder) as target:
        json_path = target.write("cost.json", to_json(cost, kind=FORMAT).encode())
        sections = cost_sections(cost)
        csv, figures = write_tables_and_figures(target, sections, (), tables="")
        content = page(
            kind="superionic cost",
            title=f"What it cost: {title or cost.campaign}",
            version=cost.superionic,
            sections=sections,
            tables="",
        )
        html_path = target.write("cost.html", content.encode())
    return ReportFiles(html_path, json_path, csv, figures)


def cost_sections(cost: CampaignCost) -> tuple[Section, ...]:
    """Return the sections of the page."""
    summary = Section("summary", "Summary", [Lines(tuple(_lines(cost))[:5])])
    stages = Section("stages", "By stage", shown(_stages_plot(cost), _stages_table(cost)), [_stages_csv(cost)])
    dynamics = Section(
        "dynamics",
        "Molecular dynamics and labels",
        shown(_dynamics_table(cost), _labels_table(cost)),
        [file for file in (_dynamics_csv(cost), _labels_csv(cost)) if file.rows],
    )
    ratio = Section(
        "ratio", "Against ab initio molecular dynamics", _ratio(cost), [_ratio_csv(cost)] if cost.ratios else []
    )
    return tuple(section for section in (summary, stages, dynamics, ratio) if section.blocks)


def time_text(seconds: float | None) -> str:
    """Write a time in the unit that suits it: s, min or h."""
    if seconds is None:
        return UNKNOWN
    if seconds < 2 * _MINUTE_S:
        return f"{number(seconds)} s"
    return f"{number(seconds / _MINUTE_S)} min" if seconds < 2 * _HOUR_S else f"{number(seconds / _HOUR_S)} h"


def _lines(cost: CampaignCost) -> Iterator[Line]:
    gpus = f" and {time_text(cost.gpu_s)} of GPUs" if cost.gpu_s else ""
    yield Line(f"{time_text(cost.cpu_s)} of processor time{gpus}", "Tasks of the campaign as it is now.")
    for each in cost.dynamics[:2]:
        gpu = "" if each.gpu_s_per_atom_ps is None else f", {number(each.gpu_s_per_atom_ps)} s of a GPU"
        yield Line(
            f"{number(each.cpu_s_per_atom_ps)} s of processor time{gpu} per atom and picosecond by {each.potential}",
            f"{_range(each.fewest_atoms, each.most_atoms)} atoms, {number(each.simulated_ps)} ps in all.",
        )
    for ratio in cost.ratios[:1]:
        yield Line(
            f"A label by {ratio.labeller} costs as much as {number(ratio.cpu_ratio, 2)} steps by {ratio.potential}",
            "No ratio to DFT: the labels are by a stand-in potential."
            if _of(cost, ratio.labeller)
            else "Processor time per atom; see below for what that assumes.",
            "warning" if _of(cost, ratio.labeller) else "info",
        )
    if cost.energy_Wh is not None:
        yield Line(f"{number(cost.energy_Wh)} Wh", "Processors and memory of the machine, other programs included.")
    else:
        yield Line("Energy: not known", cost.energy_absent[:1].upper() + cost.energy_absent[1:] + ".")


def _of(cost: CampaignCost, labeller: str) -> bool:
    """Return whether a labeller stands in for an electronic-structure code."""
    return any(label.stand_in for label in cost.labels if label.labeller == labeller)


def _stages_plot(cost: CampaignCost) -> Plot:
    shares = [stage for stage in cost.stages if stage.tasks]
    bars = Series(
        list(range(len(shares))),
        [stage.cpu_s for stage in shares],
        "processor time",
        "bars",
        BLUE,
        bar_width=0.7,
        hover=[f"{stage.stage}: {time_text(stage.cpu_s)}" for stage in shares],
        legend=False,
    )
    panel = Panel([bars] if shares else [], "", "processor time (s)", categories=tuple(stage.stage for stage in shares))
    return Plot("stages", "Where the time went", "Processor time of the tasks of each stage.", [panel], height=280)


def _stages_table(cost: CampaignCost) -> Table:
    return table_of(
        "Cost by stage. Time of all tasks added up; GPU time is that for which GPUs were reserved.",
        cost.stages,
        [
            ("Stage", lambda stage: stage.stage),
            ("Tasks", lambda stage: whole_text(stage.tasks)),
            ("Failed", lambda stage: whole_text(stage.failed)),
            ("Without a record", lambda stage: whole_text(stage.untimed)),
            ("Elapsed, s", lambda stage: number(stage.wall_s)),
            ("Processor time, s", lambda stage: number(stage.cpu_s)),
            ("GPU time, s", lambda stage: number(stage.gpu_s)),
        ],
        numeric=range(1, 7),
    )


def _stages_csv(cost: CampaignCost) -> CsvTable:
    return csv_table(
        "cost_stages.csv",
        (),
        [((), stage) for stage in cost.stages],
        [
            ("stage", lambda stage: stage.stage),
            ("tasks", lambda stage: stage.tasks),
            ("failed", lambda stage: stage.failed),
            ("untimed", lambda stage: stage.untimed),
            ("wall_s", lambda stage: stage.wall_s),
            ("cpu_s", lambda stage: stage.cpu_s),
            ("gpu_s", lambda stage: stage.gpu_s),
        ],
    )


def _dynamics_table(cost: CampaignCost) -> Table:
    return table_of(
        "Molecular dynamics, with all overheads, such as loading the potential and writing frames.",
        cost.dynamics,
        [
            ("Potential", lambda each: each.potential),
            ("Integrated by", lambda each: "LAMMPS" if each.engine == "lammps" else "superionic"),
            ("Atoms", lambda each: _range(each.fewest_atoms, each.most_atoms)),
            ("Simulated, ps", lambda each: number(each.simulated_ps)),
            ("Processor time, s per atom and ps", lambda each: number(each.cpu_s_per_atom_ps)),
            ("Elapsed, s per atom and ps", lambda each: number(each.wall_s_per_atom_ps)),
            ("GPU time, s per atom and ps", lambda each: number(each.gpu_s_per_atom_ps)),
            ("Processor time, µs per atom and step", lambda each: number(1e6 * each.cpu_s_per_atom_step)),
        ],
        numeric=range(2, 8),
    )


def _range(low: int, high: int) -> str:
    return whole_text(low) if low == high else f"{whole_text(low)}–{whole_text(high)}"


def _dynamics_csv(cost: CampaignCost) -> CsvTable:
    names = (
        "potential", "engine", "segments", "fewest_atoms", "most_atoms", "simulated_ps", "atom_ps", "atom_steps",
        "cpu_s", "gpu_s", "wall_s", "cpu_s_per_atom_ps", "wall_s_per_atom_ps", "gpu_s_per_atom_ps",
        "cpu_s_per_atom_step", "gpu_s_per_atom_step",
    )  # fmt: skip
    return CsvTable("cost_dynamics.csv", names, tuple(tuple(getattr(each, n) for n in names) for each in cost.dynamics))


def _labels_table(cost: CampaignCost) -> Table:
    return table_of(
        "Labels that the campaign calculated. Medians, since the first label of a process loads its code as well.",
        cost.labels,
        [
            ("Labeller", lambda each: each.labeller + (" (stand-in, no DFT)" if each.stand_in else "")),
            ("Level of theory", lambda each: formula_text(each.functional)),
            ("Labels", lambda each: whole_text(each.labels)),
            ("Atoms", lambda each: number(each.median_atoms)),
            ("Processor time of a label, s", lambda each: number(each.median_cpu_s)),
            ("per atom, s", lambda each: number(each.cpu_s_per_atom)),
            ("All labels, s", lambda each: number(each.cpu_s)),
        ],
        numeric=range(2, 7),
    )


def _labels_csv(cost: CampaignCost) -> CsvTable:
    names = (
        "labeller", "functional", "stand_in", "labels", "median_atoms", "cpu_s", "median_cpu_s", "cpu_s_per_atom",
    )  # fmt: skip
    return CsvTable("cost_labels.csv", names, tuple(tuple(getattr(each, n) for n in names) for each in cost.labels))


def _ratio(cost: CampaignCost) -> list[Paragraph | Table]:
    if not cost.ratios:
        return [Paragraph(f"There is no ratio: {cost.ratio_absent}.", "missing")]
    table = table_of(
        "Cost of a label over that of a step by the potential, per atom.",
        cost.ratios,
        [
            ("Labeller", lambda each: each.labeller + (" (stand-in, no DFT)" if _of(cost, each.labeller) else "")),
            ("Potential", lambda each: each.potential),
            ("Integrated by", lambda each: "LAMMPS" if each.engine == "lammps" else "superionic"),
            ("Processor time over processor time", lambda each: number(each.cpu_ratio)),
            ("Processor time over GPU time", lambda each: number(each.gpu_ratio)),
        ],
        numeric=(3, 4),
    )
    return [table, Paragraph("What the ratio assumes: " + " ".join(cost.assumptions), "quiet")]


def _ratio_csv(cost: CampaignCost) -> CsvTable:
    names = ("potential", "engine", "labeller", "cpu_ratio", "gpu_ratio")
    return CsvTable("cost_ratio.csv", names, tuple(tuple(getattr(each, n) for n in names) for each in cost.ratios))
