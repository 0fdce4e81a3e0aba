"""Models for a notebook: in this process, or in a process of their engine, with the same answers."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from superionic import load_model
from superionic.errors import PotentialError
from superionic.execution.worker import call_once
from superionic.execution.worker_process import WorkerProcess
from superionic.potentials.base import load_potential
from superionic.potentials.proof import record_of
from superionic.potentials.reference import li3ycl6_cell
from superionic.potentials.remote import RemotePotential


def test_what_needs_no_engine_is_loaded_here():
    model = load_model("pair", cutoff_A=5.0)
    assert model.identity == load_potential("pair", cutoff_A=5.0).identity
    assert not isinstance(model, RemotePotential)


def test_names_that_there_are_not_are_refused():
    with pytest.raises(PotentialError, match="no potential called 'chgnett'"):
        load_model("chgnett")


def test_a_potential_in_another_process_says_the_same_bit_by_bit():
    worker = WorkerProcess(Path(sys.executable))
    try:
        ask = partial(call_once, Path(sys.executable), "superionic.potentials.remote:answer", worker=worker)
        remote, here = RemotePotential("pair", None, {"cutoff_A": 5.0}, ask), load_potential("pair", cutoff_A=5.0)
        assert remote.identity == here.identity
        atoms = li3ycl6_cell()
        for stress in (True, False):
            theirs, ours = remote.evaluate(atoms, stress=stress), here.evaluate(atoms, stress=stress)
            assert theirs.energy_eV == ours.energy_eV
            assert np.array_equal(theirs.forces_eV_per_A, ours.forces_eV_per_A)
            assert (theirs.stress_eV_per_A3 is None) == (not stress)
        atoms.symbols[0] = "Ne"
        with pytest.raises(PotentialError, match="Ne"):
            remote.evaluate(atoms)
    finally:
        worker.close()


@pytest.mark.slow
@pytest.mark.engine("chgnet")
def test_chgnet_reproduces_its_record_through_its_engine():
    record = record_of("chgnet")
    atoms = li3ycl6_cell()
    prediction = load_model("chgnet").evaluate(atoms)
    assert prediction.energy_eV == pytest.approx(record["energy_eV"], abs=1e-3)
    assert prediction.forces_eV_per_A == pytest.approx(np.array(record["forces_eV_per_A"]), abs=1e-3)
