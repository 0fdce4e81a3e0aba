"""Compiled loops give the same bits in the process that compiles them and in those that load them from the cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

ROOT = Path(__file__).parents[1]

SUMS = """
import sys

import numpy as np

from superionic.compiled import compiled, compiled_fast


@compiled
def in_order(x):
    total = 0.0
    for k in range(len(x)):
        total += x[k]
    return total


@compiled_fast
def in_any_order(x):
    return 2.0 * in_order(x)


x = np.random.default_rng(0).normal(size=10_000)
for name in sys.argv[1:]:
    print(name, float(globals()[name](x)).hex())
print("as it stands in_order", float(in_order.py_func(x)).hex())
"""

KERNELS = """
import hashlib
import sys

import numpy as np

from superionic.models.nep import kernels as nep
from superionic.models.nep.neighbours import NeighbourList
from superionic.potentials.reference import li3ycl6_cell
from superionic.transport.diffusion.msd_kernels import displacement_products

rng = np.random.default_rng(0)
atoms = li3ycl6_cell()
near = NeighbourList(6.0)
near.update(atoms.positions + 0.2 * rng.normal(size=(len(atoms), 3)), atoms.cell.array, atoms.pbc)
t, n_radial, k_radial, n_angular, k_angular, l_max, neurons = 3, 5, 9, 5, 9, 4, 20
dim, n = n_radial + n_angular * (l_max + 2), len(atoms)
types = np.searchsorted([3, 17, 39], atoms.numbers)
structure = (
    atoms.positions, types, near.first, near.neighbours, near.shift, near.shifts_A,
    np.array([6.0, 4.5]), np.array([n_radial, k_radial, n_angular, k_angular, l_max, 1, 1]),
)
expansion = rng.normal(size=(t, t, n_radial, k_radial)), rng.normal(size=(t, t, n_angular, k_angular))
scale = rng.uniform(0.02, 0.1, size=dim)
network = rng.normal(size=(t, neurons, dim)), rng.normal(size=(t, neurons)), rng.normal(size=(t, neurons))
bias = rng.normal(size=t)
repulsion = np.array([3.0, 17.0, 39.0]), np.full((t, t), 1.8), np.full((t, t), 3.0)


def evaluate():
    out = np.zeros(n), np.zeros((n, 3)), np.zeros((3, 3))
    nep.evaluate(*structure, *expansion, scale, *network, bias, *repulsion, *out)
    return dict(zip(["energies", "forces", "virial"], out))


def descriptors():
    out = np.zeros((n, dim))
    nep.descriptors(*structure, *expansion, out)
    return {"descriptors": out}


def parts():
    # What evaluate() calls, called from outside: in a process that loads, their own code is then loaded first.
    out = np.zeros((3, 24))
    nep.harmonics(0.36, 0.48, 0.8, 4, out[0])
    nep.chebyshev(0.3, 9, out[1], out[2])
    slope, switch = nep.harmonics_slope(0.36, 0.48, 0.8, 4, out[0]), nep.switch(2.5, 6.0)
    zbl = nep.zbl(2.0, 3.0, 17.0, 1.8, 3.0)
    return {"functions": out, "slope": np.array(slope), "switch": np.array(switch), "zbl": np.array(zbl)}


def displacements():
    out, walk = np.zeros((3, 6)), rng.normal(size=(50, 7, 3)).astype(np.float32)
    displacement_products(walk, np.arange(7), np.zeros((50, 3)), np.array([1, 5, 20]), np.array([1, 1, 2]), out)
    return {"displacements": out}


for name in sys.argv[1:]:
    for what, array in globals()[name]().items():
        assert np.isfinite(array).all() and array.any(), what
        print(what, hashlib.sha256(array.tobytes()).hexdigest())
kernels = [getattr(nep, name) for name in sys.argv[1:] if hasattr(nep, name)]
print("compiled here", sum(kernel.stats.cache_misses.total() for kernel in kernels))
"""


def run(folder: Path, script: str, *names: str, cache: str = "cache") -> dict[str, str]:
    """Lines of a script that calls these functions, in a process of its own with a cache of its own."""
    file = folder / "script.py"
    if not file.is_file():  # its time is part of the key of the cache
        file.write_text(script, encoding="utf-8")
    environment = dict(os.environ, PYTHONPATH=str(ROOT / "src"), NUMBA_CACHE_DIR=str(folder / cache))
    done = subprocess.run(
        [sys.executable, str(file), *names], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())


def test_a_sum_keeps_its_order_whoever_calls_it_first(tmp_path):
    outside_first = run(tmp_path, SUMS, "in_order", "in_any_order", cache="one")
    caller_first = run(tmp_path, SUMS, "in_any_order", "in_order", cache="other")
    assert caller_first == outside_first
    assert outside_first["in_order"] == outside_first["as it stands in_order"]
    assert run(tmp_path, SUMS, "in_any_order", "in_order", cache="one") == outside_first


@pytest.mark.slow
def test_kernels_give_the_bits_of_the_process_that_compiled_them(tmp_path):
    names = ["evaluate", "descriptors", "displacements", "parts"]
    compiling = run(tmp_path, KERNELS, *names)
    assert compiling.pop("compiled here") == "2"
    for order in (names, names[::-1]):
        loading = run(tmp_path, KERNELS, *order)
        assert loading.pop("compiled here") == "0"
        assert loading == compiling

    # In another cache, one process compiles the parts and the next one builds on what it loads of them.
    parts = run(tmp_path, KERNELS, "parts", cache="other")
    whole = run(tmp_path, KERNELS, "descriptors", cache="other")
    assert (parts.pop("compiled here"), whole.pop("compiled here")) == ("0", "1")
    assert parts | whole == {what: compiling[what] for what in parts | whole}
