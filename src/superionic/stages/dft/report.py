"""What the report shows of the stage: energies and cells by the reference method beside those by the potential."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from superionic.report.csv_tables import Cells, CsvTable, csv_table
from superionic.report.plots import GREY, Panel, Plot, Series, parity_series, pick, pick_marker, xy
from superionic.report.section import Paragraph, Section, shown
from superionic.report.sections.stability import hull_bars, hull_over_share
from superionic.report.table import Table, table_of
from superionic.report.words import UNKNOWN, formula_text, interval, listing, milli, number, plural, whole_text
from superionic.results.campaign import Results, Statement
from superionic.results.identity import Ordering, ReferencePhase
from superionic.results.stability import HullEntry, Polymorphs
from superionic.stages.dft.result import ByReference, CalculatedCell, DftResult, PolymorphGap, ReferenceEnergies

TITLE = "Lowest orderings by DFT"
_FAR_PERCENT: Final = 5.0
"""Volumes and lengths by a pretrained CHGNet were within this of DFT's (paper B, figure S4)."""
_CELL: Final = ("a_A", "b_A", "c_A", "alpha_deg", "beta_deg", "gamma_deg", "volume_A3_per_atom")


@dataclass(frozen=True)
class _FineTuned:
    """What the ranking repeated by the fine-tuned potential says of the same structures.

    Attributes
    ----------
    name
        The potential.
    cells, hull
        Relaxed cells, and places on the hull, of the structures that it relaxed.
    polymorphs
        Competing crystals by the reduced formula.
    """

    name: str
    cells: Mapping[Ordering | ReferencePhase, CalculatedCell]
    hull: Mapping[Ordering | ReferencePhase, HullEntry]
    polymorphs: Mapping[str, Polymorphs]

    @classmethod
    def of(cls, results: Results) -> _FineTuned | None:
        """Take it from the results of a campaign; None where the ranking was not repeated."""
        if len(results.rank) < 2 or len(results.hull) < 2:
            return None
        ranking, hull = results.rank[-1], results.hull[-1]
        cells = {
            each.identity: CalculatedCell(each.lengths_A, each.angles_deg, each.volume_A3_per_atom)
            for each in ranking.entries
            if each.lengths_A is not None and each.angles_deg is not None and each.volume_A3_per_atom is not None
        }
        return cls(
            ranking.potential_name,
            cells,
            {entry.identity: entry for entry in hull.entries},
            {item.formula: item for item in hull.polymorphs},
        )

    def gap_eV_per_atom(self, gap: PolymorphGap) -> float | None:
        """Return the same difference of two crystals by this potential; None where it has not both."""
        if (item := self.polymorphs.get(gap.formula)) is None:
            return None
        first, second = item.energy_eV_per_atom(gap.crystal), item.energy_eV_per_atom(gap.other)
        return None if first is None or second is None else first - second


def words(result: DftResult) -> str:
    """Summarise the stage in one line."""
    counts = plural(len(result.structures), "single point"), plural(len(_relaxed(result)), "relaxation")
    done = f"{listing(counts)} by {_method(result)}"
    far = [abs(percent) for each in result.structures if (percent := each.volume_percent) is not None]
    return f"{done}; volumes by {result.potential} within {number(max(far), 2)} %" if far else done


def section(result: DftResult, results: Results) -> Section:
    """Show energies, hull, polymorphs and cells, by the fine-tuned potential too where the ranking was repeated."""
    last, tuned = result.energies[-1], _FineTuned.of(results)
    stands = "A potential stands in for DFT: " if result.stand_in is not None else ""
    settings = "; ".join(f"{name} {value}" for name, value in _told(result))
    words = (
        f"{stands}{_method(result)}{f' ({settings})' if settings else ''}, each structure calculated from scratch. All "
        f"energies of this section are on its own scale, “{result.reference.energy_convention}”; none of "
        f"{result.potential} is on a hull with them."
    )
    return Section(
        "dft",
        TITLE,
        shown(
            Paragraph(words),
            _order_plot(result),
            _hull_plot(result, last),
            _gap_plot(result, last, tuned),
            _cell_plot(result, tuned),
            _table(result, tuned),
            _gap_table(result, tuned),
            _order_table(result),
        ),
        [_csv(result, tuned), *([_gap_csv(result, tuned)] if any(kind.gaps for kind in result.energies) else [])],
    )


def doubts(result: DftResult) -> Iterator[Statement]:
    """Say what did not converge, what has no hull, and where the potential is far from the reference method."""
    open_ = [each for each in result.structures if each.relaxed is not None and not each.relaxed.converged]
    if open_:
        yield Statement(
            "warning",
            f"{len(open_)} of {plural(len(_relaxed(result)), 'relaxation')} by {_method(result)} did not converge: "
            "their energies are too high. Allow more steps (`dft.max_steps`).",
            "DFT relaxations not converged",
        )
    for kind in result.energies:
        if kind.missing:
            yield Statement(
                "caution",
                f"There is no hull of {kind.of} by {_method(result)}: {listing(list(kind.missing))} has no energy.",
            )
        other = [formula_text(group.formula) for group in kind.ranking.groups if group.n > 1 and not group.same_lowest]
        if other and kind is result.energies[-1]:
            yield Statement(
                "caution",
                f"{_method(result)} finds another ordering lowest than {result.potential} does, for {listing(other)} "
                f"({kind.of}); what follows goes on with those of {result.potential}.",
            )
    far = [each for each in _relaxed(result) if abs(each.volume_percent or 0.0) > _FAR_PERCENT]
    if far:
        worst = max(far, key=lambda each: abs(each.volume_percent or 0.0))
        yield Statement(
            "caution",
            f"The volume of {plural(len(far), 'structure')} by {result.potential} differs by more than "
            f"{_FAR_PERCENT:g} % from that by {_method(result)}, of {worst.identity.id} by "
            f"{number(worst.volume_percent, 2)} %.",
        )


def _method(result: DftResult) -> str:
    reference = result.reference
    if result.stand_in is not None:
        return result.stand_in
    code = reference.code.upper() if reference.code in ("gpaw", "vasp") else reference.code
    return f"{code} {reference.version} with {reference.functional}"


def _short(result: DftResult) -> str:
    """Name the method in axes and columns: tight binding and stand-ins are not called DFT."""
    return result.stand_in or ("DFT" if result.reference.code in ("gpaw", "vasp") else result.reference.functional)


def _told(result: DftResult) -> Iterator[tuple[str, str]]:
    settings = result.reference.settings
    cutoff = settings.get("ecut_eV", settings.get("ENCUT"))
    if isinstance(cutoff, (int, float)):
        yield "cutoff", f"{cutoff:g} eV"
    spacing = settings.get("kpoint_spacing_per_A")
    if isinstance(spacing, (int, float)):
        yield "k-points at", f"{spacing:g} Å⁻¹"


def _relaxed(result: DftResult) -> list[ByReference]:
    return [each for each in result.structures if each.relaxed is not None]


def _order_plot(result: DftResult) -> Plot:
    panels = []
    for kind in result.energies:
        lowest: dict[str, tuple[float, float]] = {}
        for each in kind.ranking.energies:
            first, second = lowest.get(each.formula, (each.first_eV_per_atom, each.second_eV_per_atom))
            lowest[each.formula] = min(first, each.first_eV_per_atom), min(second, each.second_eV_per_atom)
        points = [
            (
                1000.0 * (each.second_eV_per_atom - lowest[each.formula][1]),
                1000.0 * (each.first_eV_per_atom - lowest[each.formula][0]),
            )
            for each in kind.ranking.energies
        ]
        if len(points) > len(lowest):  # one ordering of each composition is the lowest of all
            panels.append(
                Panel(
                    [parity_series(*xy(points), "")],
                    f"above the lowest, by {_short(result)} (meV/atom)",
                    f"above the lowest, by {result.potential} (meV/atom)",
                    kind.of,
                    square=True,
                )
            )
    return Plot(
        "dft_order",
        "Order of the orderings",
        f"Energy of each ordering above the lowest of its composition, by {result.potential} against {_short(result)}: "
        "of the same structures, and of structures that each of them relaxed.",
        panels,
        height=360,
    )


def _hull_plot(result: DftResult, kind: ReferenceEnergies) -> Plot:
    panels = []
    if kind.diagram is not None:
        panels = [hull_over_share(kind.diagram) if len(kind.diagram.end_members) == 2 else hull_bars(kind.diagram)]
    return Plot(
        "dft_hull",
        f"Convex hull by {_short(result)}",
        f"Hull of {kind.of} by {_method(result)}, against the end members by the same method.",
        panels,
        columns=1,
        height=420,
    )


def _gap_plot(result: DftResult, kind: ReferenceEnergies, tuned: _FineTuned | None) -> Plot:
    """Draw E(crystal) − E(other) against the composition, where one axis varies."""
    axes = {value.axis for gap in kind.gaps for value in gap.point}
    series = []
    for index, crystal in enumerate(dict.fromkeys(gap.crystal for gap in kind.gaps if len(axes) == 1)):
        gaps = sorted((gap for gap in kind.gaps if gap.crystal == crystal), key=lambda gap: gap.point[0].value)
        x, name = [gap.point[0].value for gap in gaps], f"E({crystal}) − E({gaps[0].other})"
        by_dft = [1000.0 * gap.eV_per_atom for gap in gaps]
        by_potential = [1000.0 * gap.potential_eV_per_atom for gap in gaps]
        colour = pick(index + 2)
        series += [
            Series(x, by_dft, f"{name}, {_short(result)}", colour=colour, marker=pick_marker(index), size=9),
            Series(
                x, by_potential, f"{name}, {result.potential}", colour=colour, marker=pick_marker(index), filled=False
            ),
            Series(x, by_dft, "", "line", colour, dash="dot", width=1.2, legend=False),
        ]
        if tuned is not None:
            by_tuned = [None if (own := tuned.gap_eV_per_atom(gap)) is None else 1000.0 * own for gap in gaps]
            marker = pick_marker(index + len(kind.gaps))
            series.append(Series(x, by_tuned, f"{name}, {tuned.name}", colour=pick(index + 3), marker=marker))
    if series:
        ends = [value for each in series for value in each.x if value is not None]
        series.insert(0, Series([min(ends), max(ends)], [0.0, 0.0], "", "line", GREY, width=1.0, legend=False))
    return Plot(
        "dft_polymorphs",
        f"Competing polymorphs by {_short(result)}",
        f"Energy between the lowest orderings of two crystals at equal composition, of {kind.of} by {_short(result)} "
        f"and by {_potentials(result, tuned)}; below zero the first crystal is favoured. The dotted line only guides "
        "the eye.",
        [Panel(series, f"{''.join(axes)} per formula unit", "energy difference (meV/atom)")] if series else [],
        columns=1,
        height=340,
    )


def _cell_plot(result: DftResult, tuned: _FineTuned | None) -> Plot:
    relaxed = [(each, each.relaxed.cell) for each in result.structures if each.relaxed is not None]
    panels = _cell_panels(result, result.potential, [(cell, each.potential_cell) for each, cell in relaxed])
    if tuned is not None:
        own = [(cell, tuned.cells[each.identity]) for each, cell in relaxed if each.identity in tuned.cells]
        panels += _cell_panels(result, tuned.name, own)
    return Plot(
        "dft_cells",
        "Relaxed cells",
        f"Cells relaxed by {_short(result)} and by {_potentials(result, tuned)}: volume, lengths and angles of the "
        "supercell.",
        panels,
        columns=3,
        height=340,
    )


def _cell_panels(
    result: DftResult, potential: str, pairs: Sequence[tuple[CalculatedCell, CalculatedCell]]
) -> list[Panel]:
    """Draw volume, lengths and angles of cells by a potential against those by the reference method."""

    def panel(of: str, unit: str, values: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> Panel:
        series = [
            Series(*xy(points), label, colour=pick(index), marker=pick_marker(index), legend=bool(label))
            for index, (label, points) in enumerate(values)
        ]
        labels = f"{of}, {_short(result)} ({unit})", f"{of}, {potential} ({unit})"
        return Panel(series if pairs else [], *labels, square=True)

    volumes = [(dft.volume_A3_per_atom, own.volume_A3_per_atom) for dft, own in pairs]
    lengths = [(n, [(dft.lengths_A[i], own.lengths_A[i]) for dft, own in pairs]) for i, n in enumerate("abc")]
    angles = [(n, [(dft.angles_deg[i], own.angles_deg[i]) for dft, own in pairs]) for i, n in enumerate("αβγ")]
    return [panel("volume", "Å³/atom", [("", volumes)]), panel("length", "Å", lengths), panel("angle", "°", angles)]


def _potentials(result: DftResult, tuned: _FineTuned | None) -> str:
    return listing([result.potential, *([] if tuned is None else [tuned.name])])


def _table(result: DftResult, tuned: _FineTuned | None) -> Table:
    formation = result.energies[-1].formation_eV_per_atom
    above = {}
    if (diagram := result.energies[-1].diagram) is not None:
        above = {entry.identity: entry.e_above_hull_eV_per_atom for entry in diagram.entries}

    def volume(each: ByReference, own: CalculatedCell | None) -> str:
        if own is None or each.relaxed is None:
            return UNKNOWN
        return number(100.0 * (own.volume_A3_per_atom / each.relaxed.cell.volume_A3_per_atom - 1.0), 2)

    def lengths(each: ByReference, own: CalculatedCell | None) -> str:
        if own is None or each.relaxed is None:
            return UNKNOWN
        pairs = zip(own.lengths_A, each.relaxed.cell.lengths_A, strict=True)
        return ", ".join(number(100.0 * (length / dft - 1.0), 2) for length, dft in pairs)

    def placed(each: ByReference, hull: Mapping[Ordering | ReferencePhase, HullEntry]) -> tuple[str, str]:
        if (entry := hull.get(each.identity)) is None:
            return UNKNOWN, UNKNOWN
        return milli(entry.formation_energy_eV_per_atom), milli(entry.e_above_hull_eV_per_atom)

    columns: list[tuple[str, Callable[[ByReference], str]]] = [
        ("Composition", lambda each: formula_text(each.formula)),
        ("Crystal", lambda each: each.identity.material.crystal),
        ("Ordering", lambda each: each.identity.id),
        (f"Formation energy, {_short(result)}, meV/atom", lambda each: milli(formation.get(each.identity))),
        (f"Formation energy, {result.potential}", lambda each: milli(each.potential_formation_eV_per_atom)),
        (f"Above hull, {_short(result)}, meV/atom", lambda each: milli(above.get(each.identity))),
        (f"Above hull, {result.potential}", lambda each: milli(each.potential_above_hull_eV_per_atom)),
        (f"Volume, {_short(result)}, Å³/atom", lambda each: _volume(each.relaxed.cell if each.relaxed else None)),
        (f"Volume, {result.potential}, %", lambda each: volume(each, each.potential_cell)),
        (f"a, b, c, {result.potential}, %", lambda each: lengths(each, each.potential_cell)),
    ]
    if tuned is not None:
        columns += [
            (f"Formation energy, {tuned.name}", lambda each: placed(each, tuned.hull)[0]),
            (f"Above hull, {tuned.name}", lambda each: placed(each, tuned.hull)[1]),
            (f"Volume, {tuned.name}, %", lambda each: volume(each, tuned.cells.get(each.identity))),
            (f"a, b, c, {tuned.name}, %", lambda each: lengths(each, tuned.cells.get(each.identity))),
        ]
    return table_of(
        f"Energies of {result.energies[-1].of} by {_short(result)} and by {_potentials(result, tuned)}, each on a hull "
        f"of its own, and cells of the latter relative to those of {_short(result)}.",
        result.structures,
        [*columns, ("State", _state)],
        numeric=(*range(3, 9), *([10, 11, 12] if tuned is not None else [])),
    )


def _volume(cell: CalculatedCell | None) -> str:
    return UNKNOWN if cell is None else number(cell.volume_A3_per_atom, 4)


def _state(each: ByReference) -> str:
    if each.relaxed is None:
        return "single point"
    return f"{'relaxed' if each.relaxed.converged else 'not converged'} in {plural(each.relaxed.n_steps, 'step')}"


def _gap_table(result: DftResult, tuned: _FineTuned | None) -> Table:
    rows = [(kind, gap) for kind in result.energies for gap in kind.gaps]
    by_tuned: list[tuple[str, Callable[[tuple[ReferenceEnergies, PolymorphGap]], str]]] = []
    if tuned is not None:
        by_tuned = [(f"{tuned.name}, meV/atom", lambda row: milli(tuned.gap_eV_per_atom(row[1])))]
    return table_of(
        "Polymorphs at equal composition, the lowest ordering of each; below zero the first one is favoured.",
        rows,
        [
            ("Composition", lambda row: formula_text(row[1].formula)),
            ("Difference", lambda row: f"E({row[1].crystal}) − E({row[1].other})"),
            ("Of", lambda row: row[0].of),
            (f"{_short(result)}, meV/atom", lambda row: milli(row[1].eV_per_atom)),
            (f"{_short(result)}, meV/f.u.", lambda row: milli(row[1].eV_per_formula_unit)),
            (f"{result.potential}, meV/atom", lambda row: milli(row[1].potential_eV_per_atom)),
            *by_tuned,
        ],
        numeric=(3, 4, 5, 6)[: 3 + len(by_tuned)],
    )


def _order_table(result: DftResult) -> Table:
    rows = [(kind, group) for kind in result.energies for group in kind.ranking.groups if group.n > 1]
    return table_of(
        f"Agreement of {result.potential} with {_short(result)} on the order of the orderings. Residual: what a shift "
        "for each element leaves of their mean difference.",
        rows,
        [
            ("Composition", lambda row: formula_text(row[1].formula)),
            ("Energies of", lambda row: row[0].of),
            ("Orderings", lambda row: whole_text(row[1].n)),
            ("Spearman ρ", lambda row: number(row[1].spearman.value, 2)),
            ("95 % interval", lambda row: interval(row[1].spearman.low, row[1].spearman.high)),
            ("Same lowest", lambda row: "yes" if row[1].same_lowest else "no"),
            ("Residual, meV/atom", lambda row: number(row[1].mean_difference_left_meV_per_atom, 2)),
        ],
        numeric=(2, 3, 6),
    )


def _csv(result: DftResult, tuned: _FineTuned | None) -> CsvTable:
    formation = {kind.of: kind.formation_eV_per_atom for kind in result.energies}

    def cell(own: CalculatedCell | None) -> Cells:
        return (None,) * 7 if own is None else (*own.lengths_A, *own.angles_deg, own.volume_A3_per_atom)

    def by_tuned(each: ByReference) -> Cells:
        if tuned is None:
            return (None,) * 9
        entry = tuned.hull.get(each.identity)
        formation_eV_per_atom = None if entry is None else entry.formation_energy_eV_per_atom
        return (tuned.name, formation_eV_per_atom, *cell(tuned.cells.get(each.identity)))

    def relaxed(each: ByReference) -> Cells:
        done = each.relaxed
        if done is None:
            return (None,) * 13
        steps = done.n_steps, done.n_evaluations, done.converged
        return (done.energy_eV_per_atom, *cell(done.cell), done.largest_force_eV_per_A, *steps, done.key)

    return csv_table(
        "dft.csv",
        ("crystal", "composition", "ordering"),
        [
            ((each.identity.material.crystal, each.identity.material.composition_label, each.identity.id), each)
            for each in result.structures
        ],
        [
            ("formula", lambda each: each.formula),
            ("n_atoms", lambda each: each.n_atoms),
            ("potential", lambda _: result.potential),
            ("potential_eV_per_atom", lambda each: each.potential_eV_per_atom),
            ("potential_formation_eV_per_atom", lambda each: each.potential_formation_eV_per_atom),
            (tuple(f"potential_{name}" for name in _CELL), lambda each: cell(each.potential_cell)),
            ("method", lambda _: _method(result)),
            ("single_point_eV_per_atom", lambda each: each.single_point_eV_per_atom),
            ("single_point_formation_eV_per_atom", lambda e: formation["single points"].get(e.identity)),
            ("single_point_key", lambda each: each.single_point_key),
            ("relaxed_formation_eV_per_atom", lambda e: formation.get("relaxed structures", {}).get(e.identity)),
            (
                (
                    *("relaxed_eV_per_atom", *(f"relaxed_{name}" for name in _CELL), "largest_force_eV_per_A"),
                    *("n_steps", "n_evaluations", "converged", "relaxed_key"),
                ),
                relaxed,
            ),
            (
                ("repeated_by", "repeated_formation_eV_per_atom", *(f"repeated_{name}" for name in _CELL)),
                by_tuned,
            ),
        ],
    )


def _gap_csv(result: DftResult, tuned: _FineTuned | None) -> CsvTable:
    def identity(gap: PolymorphGap) -> Cells:
        return (" ".join(value.label for value in gap.point), gap.formula, gap.crystal, gap.other)

    return csv_table(
        "dft_polymorphs.csv",
        ("composition", "formula", "crystal", "other_crystal"),
        [(identity(gap), (kind, gap)) for kind in result.energies for gap in kind.gaps],
        [
            ("energies_of", lambda row: row[0].of),
            ("difference_eV_per_atom", lambda row: row[1].eV_per_atom),
            ("difference_eV_per_formula_unit", lambda row: row[1].eV_per_formula_unit),
            ("potential", lambda _: result.potential),
            ("potential_difference_eV_per_atom", lambda row: row[1].potential_eV_per_atom),
            ("repeated_by", lambda _: None if tuned is None else tuned.name),
            ("repeated_difference_eV_per_atom", lambda row: None if tuned is None else tuned.gap_eV_per_atom(row[1])),
        ],
    )
