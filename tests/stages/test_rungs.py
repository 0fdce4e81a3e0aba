"""The rungs of a ladder on the same test sets, and the choice between them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase import Atoms

from superionic.labels.base import Label
from superionic.results.learning import RungErrors
from superionic.stages.fitting import Data
from superionic.stages.rungs import best_round, evenly_between, rung_errors_task
from superionic.training.dataset import ElementReferences, Targets
from superionic.training.metrics import errors

CELL = np.diag([4.0, 4.0, 4.0])


def measured(energy_meV, force_meV):
    known = Targets(np.zeros(1), (np.zeros((1, 3)),), np.full((1, 6), np.nan))
    off = Targets(np.array([1e-3 * energy_meV]), (np.full((1, 3), 1e-3 * force_meV),), np.full((1, 6), np.nan))
    return errors(off, known, softness=False)


def rows(**of_set):
    return [
        RungErrors(number, None if number == 0 else 200.0 * number, name, measured(*pair))
        for name, pairs in of_set.items()
        for number, pair in enumerate(pairs)
    ]


def test_the_best_rung_has_the_smallest_ratios_whatever_the_units():
    # Ratios to the smallest: rung 1 has 4 and 1, rung 2 has 1 and 2, rung 3 has 2 and 1.5: products 4, 2, 3.
    table = [(0.1, 1.0), (4.0, 100.0), (1.0, 200.0), (2.0, 150.0)]
    assert best_round(rows(a=table)) == 2
    # A second set on which it does badly outweighs that: products 4, 18, 3.
    other = [(1.0, 1.0), (1.0, 1.0), (9.0, 1.0), (1.0, 1.0)]
    assert best_round(rows(a=table, b=other)) == 3
    assert best_round(rows(a=[(1.0, 1.0)])) is None  # the pretrained potential is no rung
    assert best_round(rows(a=[(1.0, 1.0)] * 3)) == 2  # of equals the later one


def test_three_of_eleven_compositions_are_those_of_paper_b():
    between = [0.5 * k for k in range(1, 12)]  # x = 0.5 to 5.5: the end members are sampled
    assert [between[i] for i in evenly_between(11, 3)] == [1.5, 3.0, 4.5]
    assert evenly_between(2, 5) == [0, 1]
    assert evenly_between(4, 0) == []


def test_labels_are_brought_to_the_zero_of_each_rung(tmp_path):
    structures = [
        Atoms(symbols, positions=np.arange(6.0).reshape(2, 3), cell=CELL, pbc=True)
        for symbols in ("LiCl", "LiBr", "LiF")
    ]
    zero = {"Li": 1.0, "Cl": -2.0, "Br": 0.5}  # what a rung has learned of the labels' zero, in eV; it has seen no F
    forces = np.ones((2, 3))
    labels = [
        Label(energy, forces, np.zeros(6), {"settings_hash": "a"})
        for energy in (10.0 + zero["Li"] + zero["Cl"], 20.0 + zero["Li"] + zero["Br"], 30.0)
    ]
    predicted = Targets(np.array([10.0, 20.002, 30.0]), (0.5 * forces, forces, forces), np.zeros((3, 6)))
    result = rung_errors_task(
        None,
        data=Data(structures, labels),
        predicted=[predicted],
        references=[ElementReferences(zero, 3, 0.0)],
        sets=["ends", "mixtures", "unknown"],
    )
    (ends, mixtures, unknown) = result.errors[0]
    assert ends.mae_energy_meV_per_atom == pytest.approx(0.0, abs=1e-9)
    assert ends.force_slope == pytest.approx(0.5)
    assert mixtures.mae_energy_meV_per_atom == pytest.approx(1.0)  # 2 meV of two atoms
    assert unknown is None
    assert math.isclose(mixtures.mae_force_meV_per_A, 0.0)
    # The energies per atom stand at the zero of the labels: 9 and 21.5 eV of two atoms, the second 2 meV too high.
    assert result.labels_eV_per_atom == pytest.approx((4.5, 10.75, 15.0))
    ((first, second, third),) = result.predicted_eV_per_atom
    assert (first, second) == pytest.approx((4.5, 10.751))
    assert third is None
