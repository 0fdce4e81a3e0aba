"""Energy, forces and stress of the frames of an extended XYZ file, all from one set of keys.

Files in the field may carry several values: those of the reference method, and those that some model predicted for the
same structure. If the reference is marked (``REF_energy``, ``dft_forces``), unmarked values are a model's. So values
are taken from one *set* of keys, which share their mark, and never from two:

- keys given to the reader, else
- the marked set, if there is one (``REF_``, ``DFT_``, or a code or functional, ``vasp_``, ``PBE_``; in upper or
  lower case, also as a suffix), else
- the unmarked one (``energy``, ``forces``, ``stress``, ``virial``), unless a set with an unknown mark has other values,
  which may be those of the reference; a model's name or ``pred_`` shows that they are not.

Units stated in a file are respected: a frame that names others than eV and Å is refused.

The free energy takes precedence over the energy: the forces are its derivatives (with ASE, ``energy`` of VASP is
the one extrapolated to zero smearing). A virial is that of the whole cell in eV, with stress = −virial/volume.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import atomic_numbers

from superionic.errors import CalculationFailed
from superionic.structures.io.frames import frame_of, texts_of

FloatArray = npt.NDArray[np.float64]

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "energy": ("free_energy", "energy"),
    "forces": ("forces", "force"),
    "stress": ("stress",),
    "virial": ("virial", "virials"),
}
"""Names of the values, in lower case and without a mark; of several the first is used."""
_MARKS: Final = (
    "ref", "dft", "vasp", "cp2k", "qe", "espresso", "gpaw", "castep", "abinit", "aims", "siesta", "orca", "qm",
    "pbe", "pbesol", "scan", "r2scan", "abinitio", "reference", "target", "true",
)  # fmt: skip
_OF_MODELS: Final = re.compile(
    r"mace|chgnet|m3gnet|sevenn|matter|orb|nequip|allegro|nequix|deep|^dp|nep|gap|^ace|mtp|snap|schnet|painn|grace|pet|"
    r"uma|eqv2|emt|lj|pair|model|pred|ml|nn|calc|baseline|zbl|d3|d4|disp|vdw|init|delta|error|diff|resid",
    re.IGNORECASE,
)
"""Marks of values that are not the reference: predictions, and parts or differences of energies."""
_OTHER_UNITS: Final = re.compile(
    r"hartree|rydberg|\bry\b|\bha\b|bohr|\ba\.?u\.?\b|atomic_units|kcal|kj|\bmev\b|joule|gpa|kbar|per_atom",
    re.IGNORECASE,
)
_OF_NAME: Final = {name: kind for kind, names in _NAMES.items() for name in names}
_LIKE: Final = re.compile(r"energ|force|stress|virial", re.IGNORECASE)
OF_SIX: Final = "stress_of_six_numbers"
"""Key under which a stress of six numbers is set aside."""
_SIX: Final = re.compile(r"""(^|\s)(stress)=["\[{]+([^"\]}]*)["\]}]+""", re.IGNORECASE)
_ALONE_A: Final = 7.0
"""A single atom whose cell vectors are all longer than this is isolated."""
_SAME_ENERGY_EV: Final = 1.0e-3
_ASYMMETRY: Final = 0.05
_DISAGREEMENT: Final = 0.02
_SMALLEST_STRESS_EV_PER_A3: Final = 1.0e-5


@dataclass(frozen=True)
class LabelKeys:
    """Keys given to the reader; None leaves the choice to the rule above."""

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    virial: str | None = None


@dataclass(frozen=True)
class LabelledFrame:
    """A frame and its values.

    Attributes
    ----------
    number
        Position in the file, from 0.
    atoms
        The structure, as ASE reads it.
    mark
        Mark of its keys: ``"ref"``, ``"dft"``, ``""``; ``"given"`` for keys of no set.
    energy_eV, forces_eV_per_A, stress_eV_per_A3
        Energy of the cell; forces, shape (n_atoms, 3); stress in Voigt order, shape (6,), or None.
    not_taken
        Keys of stresses and virials that were not used although the frame has no other, as they belong to another set.
    moments_muB
        Magnetic moments of the same set, shape (n_atoms,) or (n_atoms, 3); None if there are none.
    """

    number: int
    atoms: Atoms
    mark: str
    energy_eV: float
    forces_eV_per_A: FloatArray
    stress_eV_per_A3: FloatArray | None
    not_taken: tuple[str, ...] = ()
    moments_muB: FloatArray | None = None


class IsolatedAtom(CalculationFailed):
    """A single atom in a box, which carries the energy of an element (E0) and is not a label of a crystal.

    Attributes
    ----------
    energy_eV
        Its energy; None if the frame has none.
    mark
        Mark of the energy's key, as in :class:`LabelledFrame`.
    """

    def __init__(
        self, symbol: str, number: int | None = None, energy_eV: float | None = None, mark: str | None = None
    ) -> None:
        what = "it" if number is None else f"frame {number}"
        self.symbol, self.number, self.energy_eV, self.mark = symbol, number, energy_eV, mark
        known = "" if energy_eV is None else f": its energy, {energy_eV:.6g} eV, is the reference of the element (E0)"
        super().__init__(f"{what} is an isolated atom ({symbol}), not a label of a crystal{known}")


def labelled_frames(path: Path, keys: LabelKeys | None = None) -> Iterator[LabelledFrame | CalculationFailed]:
    """Read the frames of an extended XYZ file, each with its values or as the reason why it has none.

    A frame that cannot be read is skipped alone; after one that is cut off nothing is read. One file is read from one
    set of keys: if some frames are marked, unmarked ones are not labels.

    Raises
    ------
    CalculationFailed
        If there is no complete frame.
    """
    keys_used = LabelKeys() if keys is None else keys
    read: list[LabelledFrame | CalculationFailed] = []
    texts = texts_of(path)
    while True:
        number = len(read)
        try:
            text = _next(texts, number)
        except CalculationFailed as failure:
            if not read:
                raise
            read.append(failure)
            break
        if text is None:
            break
        try:
            read.append(_frame(number, _atoms(_without_six(text, keys_used), number), keys_used))
        except CalculationFailed as failure:
            read.append(failure)
    marks = list(dict.fromkeys(frame.mark for frame in read if isinstance(frame, LabelledFrame)))
    mark_used = next((mark for mark in marks if mark), "")
    for number, frame in enumerate(read):
        if isinstance(frame, IsolatedAtom) and marks and frame.mark not in (mark_used, "given"):
            yield IsolatedAtom(frame.symbol, frame.number)  # its energy comes from another method than the labels
        elif isinstance(frame, LabelledFrame) and frame.mark != mark_used:
            own, rest = (_mark_words(mark) for mark in (frame.mark, mark_used))
            yield CalculationFailed(
                f"frame {number} has its values under {own}, and other frames of the file under {rest}: they may be of "
                "another method (--energy-key and --forces-key say which to take)"
            )
        else:
            yield frame


def _next(texts: Iterator[str], number: int) -> str | None:
    """Return the text of the next frame, or None after the last."""
    try:
        return next(texts, None)
    except OSError as error:
        raise CalculationFailed(f"the file cannot be read: {error.strerror or error}") from error
    except Exception as error:  # not text, or compressed and damaged
        raise _unreadable(number, error) from error


def _atoms(text: str, number: int) -> Atoms:
    try:
        _demand_last_number(text)
        return frame_of(text)
    except Exception as error:  # a file of any content; ASE raises errors of every kind
        raise _unreadable(number, error) from error


def _demand_last_number(text: str) -> None:
    """Refuse a frame whose last number may be cut off: its line has no end, and it is shorter than those above."""
    if text.endswith("\n"):
        return
    _, comment, *lines = text.split("\n")
    last, *others = [words[-1] for line in reversed(lines) if (words := line.split())]
    if '"_JSON ' in comment or (others and len(last) < min(map(len, others))):  # our own packages end with a line break
        raise ValueError("its last line has no end, and its last number may have lost digits")


def _without_six(text: str, keys: LabelKeys) -> str:
    """Move a stress of six numbers to another key: codes do not agree on their order, and ASE cannot read it."""
    head, _, rest = text.partition("\n")
    comment, _, atoms = rest.partition("\n")
    named = keys.stress is not None and keys.stress.lower() == "stress"

    def changed(match: re.Match[str]) -> str:
        words = match[3].replace(",", " ").split()
        if len(words) != 6:
            return match[0]
        if not named:
            return f'{match[1]}{OF_SIX}="{" ".join(words)}"'
        nine = " ".join(words[place] for row in ((0, 5, 4), (5, 1, 3), (4, 3, 2)) for place in row)
        return f'{match[1]}{match[2]}="{nine}"'

    return f"{head}\n{_SIX.sub(changed, comment)}\n{atoms}"


def _unreadable(number: int, error: Exception) -> CalculationFailed:
    return CalculationFailed(f"frame {number} is cut off or not extended XYZ ({type(error).__name__}: {error})")


def _mark_words(mark: str) -> str:
    return f"keys with {mark.upper()}" if mark else "keys without a mark"


def _frame(number: int, atoms: Atoms, keys: LabelKeys) -> LabelledFrame:
    if len(atoms) == 1 and is_alone(atoms):
        raise _isolated(number, atoms, keys)
    _demand_units(number, atoms)
    values = _values_of(atoms)
    sets: dict[str, dict[str, str]] = {}
    for key in values:
        place = _place(key)
        if place is not None:
            mark, kind, rank = place
            present = sets.setdefault(mark, {}).get(kind)
            if present is None or rank < _rank(present):
                sets[mark][kind] = key
    mark, own = _choose_keys(number, sets, keys, values)
    missing = [kind for kind in ("energy", "forces") if kind not in own]
    if missing:
        raise CalculationFailed(f"frame {number} has no {' and no '.join(missing)}{_others(values, own)}")
    stress = _stress(number, atoms, own, values)
    not_taken = tuple(
        key
        for other, named in sets.items()
        for kind, key in named.items()
        if stress is None and kind in ("stress", "virial") and other != mark
    )
    energy, forces = _energy(number, own["energy"], values), _forces(number, own["forces"], values, len(atoms))
    if mark == "" and keys == LabelKeys():
        _demand_one_method(number, energy, forces, values)
    _demand_all_forces(number, atoms, forces)
    if stress is None and OF_SIX in values:
        not_taken += (OF_SIX,)
    return LabelledFrame(
        number, atoms, mark, energy, forces, stress, not_taken, _moments(values, mark, own["forces"], len(atoms))
    )


def _moments(values: Mapping[str, Any], mark: str, forces_key: str, n_atoms: int) -> FloatArray | None:
    """Return the magnetic moments under the same mark as the forces, or None."""
    lower = {key.lower(): key for key in values}
    for name in ("magmoms", "magmom", "magnetic_moments"):
        marked = re.sub(r"forces?", name, forces_key.lower()) if mark else name
        if marked in lower:
            moments = _numbers(values[lower[marked]])
            if moments is not None and moments.shape in ((n_atoms,), (n_atoms, 3)):
                return moments
    return None


def _values_of(atoms: Atoms) -> dict[str, Any]:
    return {**atoms.arrays, **atoms.info, **(atoms.calc.results if atoms.calc is not None else {})}


def _isolated(number: int, atoms: Atoms, keys: LabelKeys) -> IsolatedAtom:
    """Read the energy of an isolated atom: from the key given, a marked one, or the plain one."""
    values = _values_of(atoms)
    energy_keys: dict[str, str] = {}
    for key in values:
        place = _place(key)
        if (
            place is not None
            and place[1] == "energy"
            and (place[0] not in energy_keys or place[2] < _rank(energy_keys[place[0]]))
        ):
            energy_keys[place[0]] = key
    marked = [mark for mark in energy_keys if mark]
    mark = marked[0] if len(marked) == 1 else "" if not marked and "" in energy_keys else None
    energy_key = keys.energy if keys.energy in values else None if mark is None else energy_keys[mark]
    numbers = None if energy_key is None else _numbers(values[energy_key])
    energy = float(numbers.ravel()[0]) if numbers is not None and numbers.size == 1 else None
    return IsolatedAtom(str(atoms.symbols[0]), number, energy, "given" if keys.energy in values else mark)


def element_energies(atom_energies: Iterable[tuple[str, float]]) -> tuple[dict[str, float], str | None]:
    """Return the energy of each element from those of isolated atoms, and a remark on those that do not agree."""
    energies: dict[str, float] = {}
    several: set[str] = set()
    for symbol, energy in atom_energies:
        if abs(energies.setdefault(symbol, energy) - energy) > _SAME_ENERGY_EV:
            several.add(symbol)
    consistent = {
        symbol: energies[symbol] for symbol in sorted(energies, key=atomic_numbers.__getitem__) if symbol not in several
    }
    if not several:
        return consistent, None
    return (
        consistent,
        f"isolated atoms of {', '.join(sorted(several))} have several energies, so none of them is a reference",
    )


def not_taken_words(keys: Collection[str]) -> str:
    """Return a remark on the stresses of a file that were not used, with the reason and the option that uses them."""
    others = sorted(key for key in keys if key != OF_SIX)
    words = (
        [f"{', '.join(others)} is of another method than energy and forces (--stress-key takes it)"] if others else []
    )
    if len(others) < len(keys):
        words.append(
            "it has six numbers, in an order that codes do not agree on (--stress-key stress: xx yy zz yz xz xy)"
        )
    return f"stress is not read: {'; '.join(words)}"


def _demand_units(number: int, atoms: Atoms) -> None:
    """Refuse a frame that states other units than eV and Å."""
    for key, value in atoms.info.items():
        if "unit" in key.lower() and isinstance(value, str) and _OTHER_UNITS.search(value):
            raise CalculationFailed(
                f"frame {number} states {key}={_shown(value)}: give energies in eV, forces in eV/Å and stress in eV/Å³"
            )


def _demand_one_method(number: int, energy: float, forces: FloatArray, values: Mapping[str, Any]) -> None:
    """Refuse plain values if others with an unknown mark may be those of the reference."""
    for key in values:
        match = re.fullmatch(r"(?:(\w+)_(?:free_)?energy|(?:free_)?energy_(\w+))", key, re.IGNORECASE)
        mark = "" if match is None else (match[1] or match[2])
        if not mark or mark.lower() == "free" or _OF_MODELS.search(mark):
            continue
        names = {name.lower() for word in _NAMES["forces"] for name in (f"{mark}_{word}", f"{word}_{mark}")}
        other = next((name for name in values if name.lower() in names), None)
        if other is None:
            continue
        own, theirs = _numbers(values[key]), _numbers(values[other])
        if own is None or theirs is None or theirs.shape != forces.shape:
            continue
        if not (np.allclose(own, energy, atol=1.0e-6) and np.allclose(theirs, forces, atol=1.0e-6)):
            raise CalculationFailed(
                f"frame {number} has values of several methods (energy and {key}): say which with --energy-key and "
                "--forces-key"
            )


def _demand_all_forces(number: int, atoms: Atoms, forces: FloatArray) -> None:
    """Refuse a frame whose fixed atoms have no forces; ASE makes constraints of the column ``move_mask``."""
    from ase.constraints import FixAtoms, FixCartesian

    for constraint in atoms.constraints:
        if not isinstance(constraint, (FixAtoms, FixCartesian)):
            continue
        fixed = np.asarray(constraint.index).ravel()
        mask = np.asarray(constraint.mask if isinstance(constraint, FixCartesian) else [True] * 3, dtype=bool)
        if forces.any() and len(fixed) and not forces[fixed][:, mask].any():
            raise CalculationFailed(
                f"frame {number}: the forces on its {len(fixed)} fixed atoms (move_mask) are set to 0, so they are not "
                "those of the method"
            )


def is_alone(atoms: Atoms) -> bool:
    """Return whether a single atom in a cell is isolated: by its own statement, or far from all its images."""
    stated = str(atoms.info.get("config_type", "")).lower().replace("_", "").replace(" ", "") == "isolatedatom"
    if stated or not atoms.pbc.all():
        return True
    lengths = np.linalg.norm(np.asarray(atoms.cell), axis=1)
    return bool(lengths.min() > _ALONE_A)


def _place(key: str) -> tuple[str, str, int] | None:
    """Return mark, kind and rank of a key, or None if it is not a key of a label."""
    name = key.lower()
    for mark in _MARKS:
        if name.startswith(f"{mark}_"):
            name = name.removeprefix(f"{mark}_")
        elif name.endswith(f"_{mark}"):
            name = name.removesuffix(f"_{mark}")
        else:
            continue
        return (mark, _OF_NAME[name], _NAMES[_OF_NAME[name]].index(name)) if name in _OF_NAME else None
    return ("", _OF_NAME[name], _NAMES[_OF_NAME[name]].index(name)) if name in _OF_NAME else None


def _rank(key: str) -> int:
    place = _place(key)
    return 0 if place is None else place[2]


def _choose_keys(
    number: int, sets: Mapping[str, Mapping[str, str]], keys: LabelKeys, values: Mapping[str, Any]
) -> tuple[str, dict[str, str]]:
    """Choose the set of keys; see the top of the module."""
    keys_given: dict[str, str] = {
        entry.name: key for entry in fields(keys) if (key := getattr(keys, entry.name)) is not None
    }
    absent = sorted(key for key in keys_given.values() if key not in values)
    if absent:
        raise CalculationFailed(f"frame {number} has no {' and no '.join(absent)}{_others(values, {})}")
    if "energy" in keys_given or "forces" in keys_given:
        places = [_place(keys_given[kind]) for kind in ("energy", "forces") if kind in keys_given]
        marks = {None if place is None else place[0] for place in places}
        shared = marks.pop() if len(marks) == 1 else None
        own = dict(sets.get(shared, {})) if shared is not None else {}
        mark = "given" if shared is None else shared
    else:
        marked = [mark for mark in sets if mark]
        if len(marked) > 1:
            words = " and ".join(sets[mark][kind] for mark in marked for kind in list(sets[mark])[:1])
            raise CalculationFailed(
                f"frame {number} has values of several methods ({words}): say which with --energy-key and --forces-key"
            )
        mark = marked[0] if marked else ""
        own = dict(sets.get(mark, {}))
        lacking = [kind for kind in ("energy", "forces") if kind not in own]
        if mark and lacking:
            has = ", ".join(own.values())
            raise CalculationFailed(
                f"frame {number} has {has}, but no {' and no '.join(lacking)} with the same mark: what else it has may "
                "be of another method (--energy-key and --forces-key say which to take)"
            )
    if "stress" in keys_given or "virial" in keys_given:
        own = {kind: key for kind, key in own.items() if kind not in ("stress", "virial")}
    return mark, {**own, **keys_given}


def _others(values: Mapping[str, Any], own: Mapping[str, str]) -> str:
    """List keys that look like those of a label, for a user who has to name them."""
    like = sorted(key for key in values if _LIKE.search(key) and key not in own.values())
    return f" (there is {', '.join(like[:6])}: name them with --energy-key, --forces-key, ...)" if like else ""


def _shown(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else f"{text[:37]}..."


def _numbers(value: Any) -> FloatArray | None:
    """Return a value as numbers, or None if it is something else; a logical T is not the number 1."""
    array = np.asarray(value)
    return array.astype(np.float64) if array.dtype.kind in "fiu" else None


def _energy(number: int, key: str, values: Mapping[str, Any]) -> float:
    numbers = _numbers(values[key])
    if numbers is None or numbers.size != 1:
        raise CalculationFailed(f"frame {number}: {key} is {_shown(values[key])!r}, which is not one number")
    return float(numbers.ravel()[0])


def _forces(number: int, key: str, values: Mapping[str, Any], n_atoms: int) -> FloatArray:
    forces = _numbers(values[key])
    if forces is None or forces.shape != (n_atoms, 3):
        raise CalculationFailed(f"frame {number}: {key} has not three numbers for each of the {n_atoms} atoms")
    return forces


def _stress(number: int, atoms: Atoms, own: Mapping[str, str], values: Mapping[str, Any]) -> FloatArray | None:
    stress = None if "stress" not in own else _tensor(number, own["stress"], values, voigt=True)
    if "virial" not in own:
        return stress
    volume = float(abs(np.linalg.det(np.asarray(atoms.cell))))
    if volume < 1.0e-6:
        raise CalculationFailed(f"frame {number}: {own['virial']} is meaningless without a cell")
    of_virial = -_tensor(number, own["virial"], values, voigt=False) / volume
    if stress is None:
        return of_virial
    size = max(float(np.abs(stress).max()), float(np.abs(of_virial).max()), _SMALLEST_STRESS_EV_PER_A3)
    if float(np.abs(stress - of_virial).max()) > _DISAGREEMENT * size:
        raise CalculationFailed(
            f"frame {number}: {own['stress']} is not -{own['virial']}/volume, so one of them is in another unit or of "
            "another sign: say which to take with --stress-key or --virial-key"
        )
    return stress


def _tensor(number: int, key: str, values: Mapping[str, Any], *, voigt: bool) -> FloatArray:
    """Return nine numbers, or six in Voigt order, as xx, yy, zz, yz, xz, xy."""
    numbers = _numbers(values[key])
    if numbers is not None and voigt and numbers.shape == (6,):
        return numbers
    if numbers is None or numbers.size != 9:
        raise CalculationFailed(
            f"frame {number}: {key} is {_shown(values[key])!r}, which is not nine numbers"
            + (" (codes do not agree on an order of six)" if numbers is not None and numbers.size == 6 else "")
        )
    tensor = numbers.reshape(3, 3)
    size = max(float(np.abs(tensor).max()), _SMALLEST_STRESS_EV_PER_A3)
    if float(np.abs(tensor - tensor.T).max()) > _ASYMMETRY * size:
        raise CalculationFailed(f"frame {number}: {key} is not symmetric")
    symmetric = 0.5 * (tensor + tensor.T)
    return np.asarray(symmetric[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]], dtype=np.float64)
