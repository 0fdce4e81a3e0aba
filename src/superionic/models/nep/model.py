"""Parameters of a neuroevolution potential (NEP), and the file that GPUMD, LAMMPS and calorine read.

A NEP (Fan et al., Phys. Rev. B 104, 104309 (2021); J. Chem. Phys. 157, 114801 (2022)) is a network of one hidden layer
on invariants of the neighbourhood, one network for each element. Each element has an energy bias of its own, which a
student needs that serves a whole composition axis. The core is ZBL's repulsion with cutoffs for each pair of elements
(the format's flexible ZBL).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers, chemical_symbols

from superionic.errors import PotentialError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LEARNED = ("c_radial", "c_angular", "w0", "b0", "w1", "bias_eV")
"""Names of the arrays that training changes."""

MOST_ANGULAR = 16
"""Most angular functions that can be evaluated; GPUMD takes no more than 13."""

_ZBL = (0.18175, 3.1998, 0.50986, 0.94229, 0.28022, 0.4029, 0.02817, 0.20162)
_ALWAYS_ON = 20.0  # tanh of this is 1 to the last digit of double precision
_MOST_FLEXIBLE = 10  # elements
_HEADERS = ("nep4", "nep4_zbl", "nep5", "nep5_zbl")


@dataclass(frozen=True, eq=False)
class NepModel:
    """A neuroevolution potential as plain arrays.

    Attributes
    ----------
    numbers
        Atomic numbers of the elements, shape (n_types,), in the order of the types.
    shape
        Seven integers: radial functions and their basis, angular functions and their basis, l_max (1 to 4), and 0 or 1
        for the four-body (l = 2) and five-body (l = 1) invariants.
    cutoffs_A
        Radial and angular cutoff in Å, shape (2,).
    c_radial, c_angular
        Coefficients of the radial functions, shape (n_types, n_types, n_functions, n_basis); [own, neighbour].
    w0, b0, w1
        Network: shape (n_types, n_neurons, dim), (n_types, n_neurons), (n_types, n_neurons).
    bias_eV
        Energy taken off each atom by element, shape (n_types,), in eV.
    scale
        Factor of each descriptor, shape (dim,).
    zbl_inner_A, zbl_outer_A
        ZBL is whole below the inner and absent beyond the outer distance, shape (n_types, n_types), in Å; outer 0 for
        none.
    active_inverse
        Inverse of the active set's matrix of each element, shape (n_types, dim + 1, dim + 1), for the extrapolation
        grade; of size 0 if there is none.
    """

    numbers: IntArray
    shape: IntArray
    cutoffs_A: FloatArray
    c_radial: FloatArray
    c_angular: FloatArray
    w0: FloatArray
    b0: FloatArray
    w1: FloatArray
    bias_eV: FloatArray
    scale: FloatArray
    zbl_inner_A: FloatArray
    zbl_outer_A: FloatArray
    active_inverse: FloatArray

    def __post_init__(self) -> None:
        for field in fields(self):
            kind = np.int64 if field.name in ("numbers", "shape") else np.float64
            array = np.array(getattr(self, field.name), dtype=kind, order="C")
            array.setflags(write=False)
            object.__setattr__(self, field.name, array)
        t, dim = len(self.numbers), self.dim
        n_radial, k_radial, n_angular, k_angular, l_max = (int(value) for value in self.shape[:5])
        neurons = self.w0.shape[1] if self.w0.ndim == 3 else 0
        expected: dict[str, tuple[int, ...]] = {
            "shape": (7,),
            "cutoffs_A": (2,),
            "c_radial": (t, t, n_radial, k_radial),
            "c_angular": (t, t, n_angular, k_angular),
            "w0": (t, neurons, dim),
            "b0": (t, neurons),
            "w1": (t, neurons),
            "bias_eV": (t,),
            "scale": (dim,),
            "zbl_inner_A": (t, t),
            "zbl_outer_A": (t, t),
        }
        if self.active_inverse.size:
            expected["active_inverse"] = (t, dim + 1, dim + 1)
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise PotentialError(
                    f"The array {name} of the NEP has shape {getattr(self, name).shape} instead of {shape}.",
                    fix="Give the arrays that superionic.models.nep.fit.finish returned, complete and unchanged.",
                )
        if not 1 <= l_max <= 4:
            raise PotentialError(f"A NEP with l_max = {l_max} cannot be evaluated here.", fix="Use l_max from 1 to 4.")
        if n_angular > MOST_ANGULAR:
            raise PotentialError(
                f"A NEP with {n_angular} angular functions cannot be evaluated here.",
                fix=f"Use at most {MOST_ANGULAR} (n_max up to {MOST_ANGULAR - 1}).",
            )
        if not 0.0 < self.cutoffs_A[1] <= self.cutoffs_A[0]:
            raise PotentialError("The angular cutoff of a NEP must be positive and not beyond the radial one.")

    @property
    def dim(self) -> int:
        """Number of descriptors."""
        n_radial, _, n_angular, _, l_max, four, five = (int(value) for value in self.shape)
        return n_radial + n_angular * (l_max + four + five)

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols in the order of the types."""
        return tuple(chemical_symbols[number] for number in self.numbers)

    def types_of(self, numbers: npt.ArrayLike) -> IntArray:
        """Return the type of each atom, shape (n_atoms,).

        Raises
        ------
        PotentialError
            If an element is not covered.
        """
        table = np.full(len(chemical_symbols), -1, dtype=np.int64)
        table[self.numbers] = np.arange(len(self.numbers))
        types = table[np.asarray(numbers, dtype=np.int64)]
        if (types < 0).any():
            missing = sorted({chemical_symbols[number] for number in np.asarray(numbers)[types < 0]})
            raise PotentialError(
                f"This NEP does not know {', '.join(missing)}, only {', '.join(self.elements)}.",
                fix="Choose a potential that covers these elements.",
            )
        return types

    def of_types(self, types: IntArray) -> NepModel:
        """Give the potential of these types alone, in this order."""
        if np.array_equal(types, np.arange(len(self.numbers))):
            return self
        square = np.ix_(types, types)
        return replace(
            self,
            numbers=self.numbers[types],
            c_radial=self.c_radial[square],
            c_angular=self.c_angular[square],
            w0=self.w0[types],
            b0=self.b0[types],
            w1=self.w1[types],
            bias_eV=self.bias_eV[types],
            zbl_inner_A=self.zbl_inner_A[square],
            zbl_outer_A=self.zbl_outer_A[square],
            active_inverse=self.active_inverse[types] if self.active_inverse.size else self.active_inverse,
        )

    def kernel_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return writable copies by name for the compiled loops, which would be compiled again for frozen arrays."""
        return self.to_arrays() | {"charges": self.numbers.astype(np.float64)}

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all arrays by name, from which :meth:`from_arrays` makes the same potential."""
        return {field.name: np.array(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> NepModel:
        """Invert :meth:`to_arrays`.

        Raises
        ------
        PotentialError
            If an array is missing or of a wrong shape.
        """
        names = [field.name for field in fields(cls)]
        missing = [name for name in names if name not in arrays]
        if missing:
            raise PotentialError(
                f"The weights are not those of a NEP: {', '.join(missing)} missing.",
                fix="Give the arrays that superionic.models.nep.fit.finish returned, complete and unchanged.",
            )
        return cls(**{name: np.asarray(arrays[name]) for name in names})

    # ---- the file ----------------------------------------------------------------------------------------------------

    def to_text(self) -> str:
        """Return the text of a ``nep.txt`` (NEP4); the active set has no place in it.

        NEP4 has one bias for all elements, so that of each element is written as a further neuron that is always on. Up
        to ten elements, the size of GPUMD's array, each pair of elements has its own ZBL cutoffs; beyond, all must
        share one pair of cutoffs.

        Raises
        ------
        PotentialError
            If that cannot be written for so many elements.
        """
        t = len(self.numbers)
        n_radial, k_radial, n_angular, k_angular, l_max, four, five = (int(value) for value in self.shape)
        with_zbl = bool((self.zbl_outer_A > 0.0).any())
        shared = with_zbl and t > _MOST_FLEXIBLE
        inner_A, outer_A = float(self.zbl_inner_A[0, 0]), float(self.zbl_outer_A[0, 0])
        if shared and not (np.all(self.zbl_inner_A == inner_A) and np.all(self.zbl_outer_A == outer_A)):
            raise PotentialError(
                f"A nep.txt of {t} elements cannot hold ZBL cutoffs of their own for each pair: codes read them for "
                f"{_MOST_FLEXIBLE} elements at most.",
                where="nep.txt",
                fix=f"Train a potential of at most {_MOST_FLEXIBLE} elements, or one without ZBL (longest_zbl_A: 0).",
            )
        lines = [f"nep4{'_zbl' if with_zbl else ''} {t} {' '.join(self.elements)}"]
        if with_zbl:
            lines.append(f"zbl {inner_A:.10g} {outer_A:.10g}" if shared else "zbl 0 0")
        # The two numbers after the cutoffs size GPUMD's neighbour lists.
        lines += [
            f"cutoff {self.cutoffs_A[0]:.10g} {self.cutoffs_A[1]:.10g} 400 200",
            f"n_max {n_radial - 1} {n_angular - 1}",
            f"basis_size {k_radial - 1} {k_angular - 1}",
            f"l_max {l_max} {2 * four} {five}",
            f"ANN {self.w0.shape[1] + 1} 0",
        ]
        values: list[FloatArray] = []
        for kind in range(t):
            values += [self.w0[kind].ravel(), np.zeros(self.dim)]
            values += [self.b0[kind], np.array([-_ALWAYS_ON]), self.w1[kind], -self.bias_eV[kind : kind + 1]]
        values.append(np.zeros(1))
        values += [self.c_radial.transpose(2, 3, 0, 1).ravel(), self.c_angular.transpose(2, 3, 0, 1).ravel()]
        values.append(self.scale)
        if with_zbl and not shared:
            for first in range(t):
                for second in range(first, t):
                    outer = max(float(self.zbl_outer_A[first, second]), 1.0e-3)
                    values.append(np.array([min(self.zbl_inner_A[first, second], 0.5 * outer), outer, *_ZBL]))
        lines += [f"{value:.16e}" for value in np.concatenate(values)]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_text(cls, text: str, where: str | None = None) -> NepModel:
        """Read the text of a ``nep.txt`` (NEP4 or NEP5 for energies; global or flexible ZBL).

        Raises
        ------
        PotentialError
            If the text is not of that kind, or holds too few or too many numbers.
        """
        # A universal potential has 700,000 numbers, one a line, which are split at once.
        begin = re.search(r"^\s*[-+.\d]", text, re.MULTILINE)
        end = len(text) if begin is None else begin.start()
        lines = [line.split() for line in text[:end].splitlines() if line.strip()]
        fix = "Give an energy model that GPUMD or superionic wrote (nep4, nep4_zbl, nep5 or nep5_zbl)."
        try:
            return cls(**_parse(lines, text[end:].split()))
        except PotentialError as error:
            raise PotentialError(error.message, where=where, fix=error.fix or fix) from error
        except (ValueError, IndexError, KeyError) as error:
            raise PotentialError(f"The file is not a readable nep.txt: {error}.", where=where, fix=fix) from error


def _parse(lines: list[list[str]], numbers: list[str]) -> dict[str, Any]:
    kind, t = lines[0][0], int(lines[0][1])
    if kind not in _HEADERS:
        raise ValueError(f"it begins with {kind!r}")
    symbols = lines[0][2:]
    if len(symbols) != t or any(symbol not in atomic_numbers for symbol in symbols):
        raise ValueError("its first line does not name its elements")
    head = {name: words for name, *words in lines[1:]}
    values = np.array([float(number) for number in numbers])
    if len(head["cutoff"]) != 4:
        raise ValueError("it has cutoffs by element, which are not supported here")
    cutoffs = [float(word) for word in head["cutoff"][:2]]
    n_radial, n_angular = (int(word) + 1 for word in head["n_max"])
    k_radial, k_angular = (int(word) + 1 for word in head["basis_size"])
    l_words = [int(word) for word in head["l_max"]]
    if any(l_words[3:]):
        raise ValueError("it has invariants beyond q_222 and q_1111, which are not supported here")
    l_max, four, five = l_words[0], int(l_words[1] > 0), int(len(l_words) > 2 and l_words[2] > 0)
    neurons = int(head["ANN"][0])
    dim = n_radial + n_angular * (l_max + four + five)
    position = 0

    def take(*shape: int) -> FloatArray:
        nonlocal position
        size = int(np.prod(shape))
        if position + size > len(values):
            raise ValueError("it holds too few numbers")
        position += size
        return values[position - size : position].reshape(shape)

    w0, b0, w1, bias = [], [], [], []
    for _ in range(t):
        w0.append(take(neurons, dim))
        b0.append(take(neurons))
        w1.append(take(neurons))
        bias.append(float(take(1)[0]) if kind.startswith("nep5") else 0.0)
    common = float(take(1)[0])
    c_radial = take(n_radial, k_radial, t, t).transpose(2, 3, 0, 1)
    c_angular = take(n_angular, k_angular, t, t).transpose(2, 3, 0, 1)
    scale = take(dim)
    inner, outer = np.zeros((t, t)), np.zeros((t, t))
    if kind.endswith("_zbl"):
        zbl_cutoffs_A = [float(word) for word in head["zbl"]]
        if len(zbl_cutoffs_A) != 2:
            raise ValueError("its ZBL cutoffs follow covalent radii, which is not supported here")
        inner[:], outer[:] = zbl_cutoffs_A
        if zbl_cutoffs_A == [0.0, 0.0]:
            for first in range(t):
                for second in range(first, t):
                    pair = take(10)
                    if not np.allclose(pair[2:], _ZBL):
                        raise ValueError("its flexible ZBL has fitted screening, which is not supported here")
                    inner[first, second] = inner[second, first] = pair[0]
                    outer[first, second] = outer[second, first] = pair[1]
    if position != len(values):
        raise ValueError("it holds more numbers than its header describes")
    return {
        "numbers": [atomic_numbers[symbol] for symbol in symbols],
        "shape": [n_radial, k_radial, n_angular, k_angular, l_max, four, five],
        "cutoffs_A": cutoffs,
        "c_radial": c_radial,
        "c_angular": c_angular,
        "w0": np.array(w0),
        "b0": np.array(b0),
        "w1": np.array(w1),
        "bias_eV": np.array(bias) + common,
        "scale": scale,
        "zbl_inner_A": inner,
        "zbl_outer_A": outer,
        "active_inverse": np.zeros(0),
    }
