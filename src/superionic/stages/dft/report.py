"""What the report shows of the stage: energies and cells by the reference method beside those by the potential."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from superionic.report.csv_tables import Cells, CsvTable, csv_table
from superionic.report.plots import GREY, Panel, Plot, Series, parity_series, pick, pick_marker, xy
from superionic.report.section import Paragraph, Section, shown
from superionic.report.sections.stability import hull_bars, hull_over_share
from superionic.report.table import Table, table_of
from superionic.report.words import UNKNOWN, formula_text, interval, listing, milli, number, plural, whole_text
from superionic.results.campaign import Statement
from superionic.stages.dft.result import ByReference, CalculatedCell, DftResult, PolymorphGap, ReferenceEnergies

TITLE = "Lowest orderings by DFT"
_FAR_PERCENT: Final = 5.0
"""Volumes and lengths by a pretrained CHGNet were within this of DFT's (paper B, figure S4)."""
_CELL: Final = ("a_A", "b_A", "c_A", "alpha_deg", "beta_deg", "gamma_deg", "volume_A3_per_atom")


def words(result: DftResult) -> str:
    """Summarise the stage in one line."""
    counts = plural(len(result.structures), "single point"), plural(len(_relaxed(result)), "relaxation")
    done = f"{listing(counts)} by {_method(result)}"
    far = [abs(percent) for each in result.structures if (percent := each.volume_percent) is not None]
    return f"{done}; volumes by {result.potential} within {number(max(far), 2)} %" if far else done


def section(result: DftResult) -> Section:
    """Show energies, hull, polymorphs and cells."""
    last = result.energies[-1]
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
            _gap_plot(result, last),
            _cell_plot(result),
            _table(result),
            _gap_table(result),
            _order_table(result),
        ),
        [_csv(result), *([_gap_csv(result)] if any(kind.gaps for kind in result.energies) else [])],
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


def _gap_plot(result: DftResult, kind: ReferenceEnergies) -> Plot:
    """Draw E(crystal) − E(other) against the composition, where one axis varies."""
    axes = {value.axis for gap in kind.gaps for value in gap.point}
    series = []
    for index, crystal in enumerate(dict.fromkeys(gap.crystal for gap in kind.gaps if len(axes) == 1)):
        own = sorted((gap for gap in kind.gaps if gap.crystal == crystal), key=lambda gap: gap.point[0].value)
        x, name = [gap.point[0].value for gap in own], f"E({crystal}) − E({own[0].other})"
        by_dft = [1000.0 * gap.eV_per_atom for gap in own]
        by_potential = [1000.0 * gap.potential_eV_per_atom for gap in own]
        colour = pick(index + 2)
        series += [
            Series(x, by_dft, f"{name}, {_short(result)}", colour=colour, marker=pick_marker(index), size=9),
            Series(
                x, by_potential, f"{name}, {result.potential}", colour=colour, marker=pick_marker(index), filled=False
            ),
            Series(x, by_dft, "", "line", colour, dash="dot", width=1.2, legend=False),
        ]
    if series:
        ends = [value for each in series for value in each.x if value is not None]
        series.insert(0, Series([min(ends), max(ends)], [0.0, 0.0], "", "line", GREY, width=1.0, legend=False))
    return Plot(
        "dft_polymorphs",
        f"Competing polymorphs by {_short(result)}",
        f"Energy between the lowest orderings of two crystals at equal composition, of {kind.of} by {_short(result)} "
        f"and by {result.potential}; below zero the first crystal is favoured. The dotted line only guides the eye.",
        [Panel(series, f"{''.join(axes)} per formula unit", "energy difference (meV/atom)")] if series else [],
        columns=1,
        height=340,
    )


def _cell_plot(result: DftResult) -> Plot:
    pairs = [(each.relaxed.cell, each.potential_cell) for each in result.structures if each.relaxed is not None]

    def panel(of: str, unit: str, values: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> Panel:
        series = [
            Series(*xy(points), label, colour=pick(index), marker=pick_marker(index), legend=bool(label))
            for index, (label, points) in enumerate(values)
        ]
        labels = f"{of}, {_short(result)} ({unit})", f"{of}, {result.potential} ({unit})"
        return Panel(series if pairs else [], *labels, square=True)

    volumes = [(dft.volume_A3_per_atom, own.volume_A3_per_atom) for dft, own in pairs]
    lengths = [(n, [(dft.lengths_A[i], own.lengths_A[i]) for dft, own in pairs]) for i, n in enumerate("abc")]
    angles = [(n, [(dft.angles_deg[i], own.angles_deg[i]) for dft, own in pairs]) for i, n in enumerate("αβγ")]
    return Plot(
        "dft_cells",
        "Relaxed cells",
        f"Cells relaxed by {_short(result)} and, before, by {result.potential}: volume, lengths and angles of the "
        "supercell.",
        [panel("volume", "Å³/atom", [("", volumes)]), panel("length", "Å", lengths), panel("angle", "°", angles)],
        columns=3,
        height=340,
    )


def _table(result: DftResult) -> Table:
    formation = result.energies[-1].formation_eV_per_atom
    above = {}
    if (diagram := result.energies[-1].diagram) is not None:
        above = {entry.identity: entry.e_above_hull_eV_per_atom for entry in diagram.entries}

    def lengths(each: ByReference) -> str:
        if each.relaxed is None:
            return UNKNOWN
        pairs = zip(each.potential_cell.lengths_A, each.relaxed.cell.lengths_A, strict=True)
        return ", ".join(number(100.0 * (own / dft - 1.0), 2) for own, dft in pairs)

    return table_of(
        f"Energies of {result.energies[-1].of} by {_short(result)} and by {result.potential}, each on a hull of its "
        f"own, and cells of {result.potential} relative to those of {_short(result)}.",
        result.structures,
        [
            ("Composition", lambda each: formula_text(each.formula)),
            ("Crystal", lambda each: each.identity.material.crystal),
            ("Ordering", lambda each: each.identity.id),
            (f"Formation energy, {_short(result)}, meV/atom", lambda each: milli(formation.get(each.identity))),
            (f"Formation energy, {result.potential}", lambda each: milli(each.potential_formation_eV_per_atom)),
            (f"Above hull, {_short(result)}, meV/atom", lambda each: milli(above.get(each.identity))),
            (f"Above hull, {result.potential}", lambda each: milli(each.potential_above_hull_eV_per_atom)),
            (f"Volume, {_short(result)}, Å³/atom", lambda each: _volume(each.relaxed.cell if each.relaxed else None)),
            ("Volume, %", lambda each: number(each.volume_percent, 2)),
            ("a, b, c, %", lengths),
            ("State", _state),
        ],
        numeric=range(3, 9),
    )


def _volume(cell: CalculatedCell | None) -> str:
    return UNKNOWN if cell is None else number(cell.volume_A3_per_atom, 4)


def _state(each: ByReference) -> str:
    if each.relaxed is None:
        return "single point"
    return f"{'relaxed' if each.relaxed.converged else 'not converged'} in {plural(each.relaxed.n_steps, 'step')}"


def _gap_table(result: DftResult) -> Table:
    rows = [(kind, gap) for kind in result.energies for gap in kind.gaps]
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
        ],
        numeric=(3, 4, 5),
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


def _csv(result: DftResult) -> CsvTable:
    formation = {kind.of: kind.formation_eV_per_atom for kind in result.energies}

    def cell(own: CalculatedCell) -> Cells:
        return (*own.lengths_A, *own.angles_deg, own.volume_A3_per_atom)

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
        ],
    )


def _gap_csv(result: DftResult) -> CsvTable:
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
        ],
    )
