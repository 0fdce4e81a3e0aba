"""Tables of sites, jumps and percolation."""

from __future__ import annotations

from superionic.report.table import Table, cell, cut
from superionic.report.values import Record, Results, bounds, mapping, numbers, real, records, text
from superionic.report.words import interval, number, whole_text


def occupancies(results: Results) -> Table | None:
    """Return how full each kind of site is, and how long ions stay."""
    refined = any("refined_occupancy" in kind for run in _runs(results) for kind in records(run, "site_kinds"))
    rows = [
        [
            cell(run, "run"),
            text(kind, "label"),
            whole_text(real(kind, "n_sites")),
            number(real(kind, "occupancy"), 3),
            *([number(real(kind, "refined_occupancy"), 3)] if refined else []),
            number(real(kind, "residence_ps"), 3),
            interval(*bounds(kind, "residence_interval68_ps")),
        ]
        for run in _runs(results)
        for kind in records(run, "site_kinds")
    ]
    columns = [
        "Run", "Kind of site", "Sites", "Ions on one", *(["In the crystal"] if refined else []), "Mean stay, ps",
        "68 % interval, ps",
    ]  # fmt: skip
    kept, more = cut(rows, "sites in results.json")
    return Table("Occupancy of the sites.", columns, kept, frozenset(range(2, len(columns))), more) if rows else None


def _runs(results: Results) -> list[Record]:
    return results.records("analyse", "migration")


def jumps(results: Results) -> Table | None:
    """Return the rates of the jumps between kinds of sites."""
    rows = [
        [
            cell(run, "run"),
            f"{text(kind, 'start')} → {text(kind, 'end')}",
            number(real(kind, "length_A"), 3),
            whole_text(real(kind, "count")),
            number(real(kind, "rate_per_ps"), 3),
            interval(*bounds(kind, "interval68_per_ps")),
        ]
        for run in _runs(results)
        for kind in records(run, "jump_kinds")[:12]
    ]
    columns = ["Run", "Jump", "Length, Å", "Seen", "Rate of an ion there, ps⁻¹", "68 % interval, ps⁻¹"]
    kept, more = cut(rows, "jump_kinds in results.json")
    return Table("Jumps between sites.", columns, kept, frozenset({2, 3, 4, 5}), more) if rows else None


def percolation(results: Results) -> Table | None:
    """Return the barriers at which the density spans the crystal, and what the jumps connect."""
    rows = []
    for run in _runs(results):
        found = mapping(run, "percolation")
        barriers, errors = numbers(found, "barriers_eV"), numbers(found, "barrier_errors_eV")
        if len(barriers) != 3 or len(errors) != 3:
            continue
        axes = {str(axis) for cluster in records(run, "clusters") for axis in cluster.get("axes", [])}
        rows.append(
            [
                cell(run, "run"),
                *(
                    "not spanned" if b is None else number(b, 3) + (f" ± {number(e, 1)}" if e is not None else "")
                    for b, e in zip(barriers, errors, strict=True)
                ),
                ", ".join(sorted(axes)) or "none",
                number(real(run, "back_jumps"), 2),
                number(real(mapping(run, "tracer_factor"), "value"), 2),
            ]
        )
    columns = [
        "Run", "Barrier along a, eV", "along b, eV", "along c, eV", "Jumps connect", "Back jumps, share", "D*/D_J",
    ]  # fmt: skip
    caption = (
        "Percolation: the barrier, from the densest place, above which the density goes on without end along each axis."
    )
    kept, more = cut(rows, "percolation in results.json")
    return Table(caption, columns, kept, frozenset({1, 2, 3, 5, 6}), more) if rows else None
