"""The result of an enumeration: plain values for JSON and files, structures for further calculations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superionic.enumeration.chosen import ChosenOrderings
from superionic.enumeration.counted import CountedSpace
from superionic.errors import CompositionError
from superionic.execution.codec import to_tree
from superionic.shown import Shown
from superionic.version import __version__

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, eq=False)
class EnumeratedPoint:
    """One composition in one supercell.

    Parameters
    ----------
    label
        The grid point, such as ``"x=3"``; empty without axes.
    counted
        The space and its size.
    chosen
        Orderings of it, if any were requested.
    """

    label: str
    counted: CountedSpace
    chosen: ChosenOrderings | None = None

    def atoms(self, provenance: Mapping[str, Any]) -> list[Any]:
        """Return the chosen orderings as ``ase.Atoms``, with their provenance in ``info``."""
        if self.chosen is None:
            return []
        frames = self.chosen.atoms(self.counted.space)
        for frame in frames:
            frame.info.update(provenance)
            if self.label:
                frame.info["grid_point"] = self.label
        return frames

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; docs/how-to/enumerate.md explains them."""
        space, count = self.counted.space, self.counted.count
        composition = space.composition
        fraction, allowed = self.counted.fraction, self.counted.allowed
        values: dict[str, Any] = {
            "grid_point": self.label,
            "formula": composition.formula,
            "supercell": [list(row) for row in space.sites.supercell.matrix],
            "multiplicity": space.sites.supercell.multiplicity,
            "n_sites": space.sites.n_sites,
            "n_atoms": sum(composition.totals.values()),
            "group_order": count.group_order,
            "raw": count.raw,
            "distinct": count.distinct,
            "composition": [
                {"name": name, "sites": len(group), "counts": dict(counts)}
                for name, group, counts in zip(composition.names, composition.groups, composition.counts, strict=True)
            ],
            "deviation": composition.deviation,
            "lost": dict(composition.lost),
            "skipped_compositions": self.counted.skipped,
            "min_distance_A": space.min_distance_A,
            "excluded_pairs": len(space.exclusions),
            "blocked_sites": int(space.blocked.sum()),
            "raw_allowed": None if allowed is None else allowed.raw,
            "distinct_allowed": None if allowed is None else allowed.distinct,
            "allowed_fraction": None
            if fraction is None
            else {"value": fraction.fraction, "error": fraction.standard_error, "upper_bound95": fraction.upper_bound},
            "plan": {"method": self.counted.plan.method, "reason": self.counted.plan.reason},
        }
        if self.chosen is not None:
            values.update(_chosen_values(self.chosen))
        return values


def _chosen_values(chosen: ChosenOrderings) -> dict[str, Any]:
    values: dict[str, Any] = {
        "method": chosen.method,
        "ewald_eV": [float(e) for e in chosen.energies_eV],
        "degeneracies": [int(g) for g in chosen.table.degeneracies],
        "symbols": list(chosen.table.symbols),
        "codes": ["".join(_DIGITS[c] for c in row) for row in chosen.table.codes],
        "looked_at": chosen.looked_at,
        "evidence": to_tree(chosen.evidence),
        "superperiodic": None if chosen.superperiodic is None else [bool(s) for s in chosen.superperiodic],
        "times_drawn": None if chosen.times_drawn is None else [int(t) for t in chosen.times_drawn],
        "tie": to_tree(chosen.tie),
        "histogram": to_tree(chosen.histogram),
        "mean_eV": chosen.mean_eV,
        "standard_deviation_eV": chosen.standard_deviation_eV,
    }
    return values


@dataclass(frozen=True)
class RefusedPoint:
    """A grid point or supercell that is left out.

    Parameters
    ----------
    label
        The grid point, such as ``"x=3"``; empty without axes.
    supercell
        The supercell, if it was given.
    error
        The reason, the place, and the fix.
    """

    label: str
    supercell: str | None
    error: CompositionError

    @property
    def place(self) -> str:
        """The grid point, or the supercell where there are no axes."""
        return self.label or f"supercell {self.supercell}"

    def __str__(self) -> str:
        fix = "" if self.error.fix is None else f" Fix: {self.error.fix}"
        return f"{self.place}: {self.error.message}{fix}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        error = self.error
        return {
            "grid_point": self.label,
            "supercell": self.supercell,
            "reason": error.message,
            "where": error.where,
            "fix": error.fix,
        }


@dataclass(frozen=True, eq=False, repr=False)
class Enumeration(Shown):
    """The result of :func:`superionic.enumerate_orderings`.

    Parameters
    ----------
    file
        Name of the crystal file.
    crystal
        Name, space group and formula of the crystal, as plain values.
    oxidation_states
        Charges in e, and where they come from, as plain values.
    coupling
        The sites that share their counts.
    points
        One for each supercell and grid point that fits.
    refused
        The others, with the reason why they do not fit.
    """

    file: str
    crystal: Mapping[str, Any]
    oxidation_states: Mapping[str, Any]
    coupling: Any
    points: tuple[EnumeratedPoint, ...]
    refused: tuple[RefusedPoint, ...] = ()

    @property
    def n_chosen(self) -> int:
        """Number of orderings that were chosen, over all points."""
        return sum(len(point.chosen) for point in self.points if point.chosen is not None)

    def atoms(self) -> list[Any]:
        """Return all chosen orderings as ``ase.Atoms``; ``info`` holds the properties and provenance of each."""
        provenance = {"source": self.file, "superionic": __version__}
        return [frame for point in self.points for frame in point.atoms(provenance)]

    def write(self, path: str | Path) -> list[Path]:
        """Write the chosen orderings in the format given by the suffix (.extxyz, .cif, .vasp).

        Returns
        -------
        list of Path
            The files written.
        """
        from superionic.structures.io.writing import write_structures

        return write_structures(path, self.atoms())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: those of the first point at the top, all points under ``points`` if there are more."""
        points = [point.to_dict() for point in self.points]
        return {
            "superionic": __version__,
            "file": self.file,
            **self.crystal,
            "oxidation_states": dict(self.oxidation_states),
            "coupling": self.coupling,
            **points[0],
            **({"points": points} if len(points) > 1 else {}),
            **({"refused": [refusal.to_dict() for refusal in self.refused]} if self.refused else {}),
        }

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield str(self.crystal["refined_formula"]), f"{self.crystal['spacegroup']}, {self.file}"
        for point in self.points[:3]:
            counted, chosen = point.counted, point.chosen
            number = "not counted exactly" if counted.distinct is None else f"{_count_text(counted.distinct)} distinct"
            where = f"{point.label} in {counted.space.sites.supercell}".strip()
            yield where, f"{counted.composition.formula}: {number} of {_count_text(counted.count.raw)}"
            if chosen is not None and len(chosen):
                lowest, highest = float(chosen.energies_eV.min()), float(chosen.energies_eV.max())
                yield f"{len(chosen)} by {chosen.method}:", f"{lowest:.4f} to {highest:.4f} eV (point charges)"
        if len(self.points) > 3:
            yield "and", f"{len(self.points) - 3} more points"
        if self.refused:
            yield "left out", f"{len(self.refused)} (see .refused)"

    def _records(self) -> Iterator[dict[str, Any]]:
        for point in self.points:
            head = {"grid_point": point.label} if point.label else {}
            if point.chosen is not None:
                yield from (head | about for about in point.chosen.records(point.counted.space))
                continue
            values = point.to_dict() | {"supercell": str(point.counted.space.sites.supercell)}
            fraction = point.counted.fraction
            values["allowed_fraction"] = None if fraction is None else fraction.fraction
            yield {name: value for name, value in values.items() if not isinstance(value, list | dict)}


def _count_text(number: int) -> str:
    return f"{number:,}" if number < 10**9 else f"{float(number):.3g}" if number < 10**300 else "over 1e300"
