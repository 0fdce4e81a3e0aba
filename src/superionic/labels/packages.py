"""Data packages: labels in extended XYZ, exact, each frame with its provenance.

One frame is one label. The comment line has ``Lattice``, ``Properties``, ``pbc``, ``energy`` (the one whose derivatives
the forces are) and ``stress`` (ASE's sign, eV/Å³, nine components) as every reader of extended XYZ knows them,
and three additional JSON texts: ``provenance``, ``diagnostics`` and ``origin`` (the group of snapshots that it belongs
to, the file it came from and its checksum). Numbers are written with as many digits as a double needs, so that reading
restores them bit for bit; ASE's own writer prints eight digits.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from ase import Atoms

from superionic.errors import CalculationFailed, storage_error
from superionic.labels.base import Label, canonical_settings_json, renewed_provenance
from superionic.labels.frame_values import LabelKeys, LabelledFrame, labelled_frames

_JSON: Final = "_JSON "
FACTS: Final = ("run", "ordering", "phase", "composition", "round", "temperature_K")
"""Facts about a structure that a package may carry, as plain entries of the comment line."""
MOMENTS: Final = "magnetic_moments_muB"
"""Diagnostic that holds magnetic moments, one number or three per atom."""
_PROPERTIES: Final = "species:S:1:pos:R:3:forces:R:3"
_FULL: Final = ((0, 5, 4), (5, 1, 3), (4, 3, 2))  # places of the Voigt components in the 3×3 tensor


@dataclass(frozen=True)
class Entry:
    """One label of a package.

    Attributes
    ----------
    atoms
        The structure, without a calculator.
    group
        Its trajectory or other common origin; entries of one group are correlated.
    source
        Name and ``sha256`` of the file that it came from, if known.
    facts
        Further facts about the structure, out of :data:`FACTS`: ``run`` (its trajectory), ``ordering``, ``phase``,
        ``composition``, ``round`` of a learning loop, ``temperature_K``.
    not_taken
        Keys of stresses in its frame that come from another method than its energy and forces.
    """

    atoms: Atoms
    label: Label
    group: str
    source: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    not_taken: tuple[str, ...] = ()


def write_package(
    path: Path, entries: Sequence[Entry], isolated_atoms_eV: Mapping[str, float] = MappingProxyType({})
) -> None:
    """Write a package; the same entries give the same bytes.

    Parameters
    ----------
    isolated_atoms_eV
        Energies of isolated atoms, appended to the labels as frames of one atom in a box, as is usual in the field.
    """
    text = "".join([*map(_frame, entries), *(_alone(*each) for each in isolated_atoms_eV.items())])
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise storage_error(error, where=path, doing="write the labels") from error


def read_package(
    path: Path, stated: Mapping[str, Any] | None = None, keys: LabelKeys | None = None
) -> Iterator[Entry | CalculationFailed]:
    """Read the frames of an extended XYZ file, each as an entry or as the reason why it is rejected.

    Parameters
    ----------
    stated
        Provenance for frames without one: whoever states it answers for convergence too.
    keys
        Keys of the values, if not those that :mod:`superionic.labels.frame_values` chooses.

    Raises
    ------
    CalculationFailed
        If the file as a whole cannot be read.
    """
    for frame in labelled_frames(path, keys):
        try:
            yield frame if isinstance(frame, CalculationFailed) else _entry(frame, path, stated)
        except CalculationFailed as failure:
            yield failure
        except (TypeError, ValueError) as error:  # a comment line that is not that of a package
            number = frame.number if isinstance(frame, LabelledFrame) else "?"
            yield CalculationFailed(f"frame {number} has a damaged comment line ({type(error).__name__}: {error})")


def _alone(symbol: str, energy_eV: float) -> str:
    return (
        f'1\nLattice="20 0 0 0 20 0 0 0 20" Properties={_PROPERTIES} energy={energy_eV!r} config_type=IsolatedAtom '
        f'pbc="T T T"\n{symbol} 0.0 0.0 0.0 0.0 0.0 0.0\n'
    )


def _frame(entry: Entry) -> str:
    atoms, label = entry.atoms, entry.label
    moments = np.array(label.diagnostics.get(MOMENTS, ()), dtype=np.float64)
    moments = (
        moments.reshape(len(atoms), -1) if moments.size in (len(atoms), 3 * len(atoms)) else np.empty((len(atoms), 0))
    )
    column = f":magmoms:R:{moments.shape[1]}" if moments.size else ""
    words = [
        f'Lattice="{_numbers(np.asarray(atoms.cell).ravel())}"',
        f"Properties={_PROPERTIES}{column}",
        f"energy={label.energy_eV!r}",
    ]
    if label.stress_eV_per_A3 is not None:
        tensor = [label.stress_eV_per_A3[place] for row in _FULL for place in row]
        words.append(f'stress="{_numbers(np.array(tensor))}"')
    words.append('pbc="T T T"')
    for name in FACTS:
        if name in entry.facts:
            value = entry.facts[name]
            words.append(f'{name}="{value}"' if isinstance(value, str) else f"{name}={value!r}")
    origin = {"group": entry.group, "source": dict(entry.source)}
    for name, values in (("provenance", label.provenance), ("diagnostics", label.diagnostics), ("origin", origin)):
        text = canonical_settings_json(values).replace("\\", "\\\\").replace('"', '\\"')
        words.append(f'{name}="{_JSON}{text}"')
    lines = [str(len(atoms)), " ".join(words)]
    for symbol, *numbers in zip(
        atoms.get_chemical_symbols(), atoms.positions, label.forces_eV_per_A, moments, strict=True
    ):
        lines.append(f"{symbol} {_numbers(np.concatenate(numbers))}")
    return "\n".join(lines) + "\n"


def _numbers(values: Any) -> str:
    return " ".join(repr(float(value)) for value in values)


def _entry(frame: LabelledFrame, path: Path, stated: Mapping[str, Any] | None) -> Entry:
    atoms, number = frame.atoms, frame.number
    info = {name: _parsed(value) for name, value in atoms.info.items()}
    provenance, diagnostics = info.get("provenance"), info.get("diagnostics", {})
    if not (isinstance(provenance, dict) and "settings_hash" in provenance):
        if stated is None:
            raise CalculationFailed(
                f"frame {number} does not state its method: give code, version, functional and energy convention"
            )
        provenance, diagnostics = dict(stated), {"converged": True, "stated": True}
        if frame.moments_muB is not None:
            diagnostics[MOMENTS] = frame.moments_muB.tolist()
    provenance = renewed_provenance(provenance)
    origin = info.get("origin", {})
    if not isinstance(diagnostics, dict) or not isinstance(origin, dict):
        raise CalculationFailed(f"frame {number} has diagnostics or an origin that are not JSON objects")
    bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=np.array(atoms.cell), pbc=atoms.pbc)
    return Entry(
        bare,
        Label(frame.energy_eV, frame.forces_eV_per_A, frame.stress_eV_per_A3, provenance, diagnostics),
        str(origin.get("group") or path.name),
        dict(origin.get("source") or {}),
        {name: _plain(info[name]) for name in FACTS if name in info},
        frame.not_taken,
    )


def _plain(value: Any) -> str | int | float:
    return value if isinstance(value, str) else int(value) if float(value).is_integer() else float(value)


def _parsed(value: Any) -> Any:
    """Parse a JSON text, which some versions of ASE parse themselves and others leave as text."""
    if isinstance(value, str) and value.startswith(_JSON.strip()):
        return json.loads(value.removeprefix(_JSON.strip()))
    return value
