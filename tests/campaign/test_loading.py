"""Models for a notebook: in this process, or in a process of their engine, with the same answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from superionic import load_model
from superionic.campaign.loading import EngineProcess
from superionic.errors import EngineError, PotentialError
from superionic.execution.engines import EngineLocation, resolve_engine
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


@pytest.fixture
def process():
    """A process of the core's own environment, which stands in for that of an engine."""
    made = EngineProcess(resolve_engine("core"))
    yield made
    made.close()


def test_a_potential_in_another_process_says_the_same_bit_by_bit(process):
    remote, here = RemotePotential("pair", None, {"cutoff_A": 5.0}, process), load_potential("pair", cutoff_A=5.0)
    assert remote.identity == here.identity
    atoms = li3ycl6_cell()
    for stress in (True, False):
        theirs, ours = remote.evaluate(atoms, stress=stress), here.evaluate(atoms, stress=stress)
        assert theirs.energy_eV == ours.energy_eV
        assert np.array_equal(theirs.forces_eV_per_A, ours.forces_eV_per_A)
        assert (theirs.stress_eV_per_A3 is None) == (not stress)
    process.close()
    assert remote.evaluate(atoms).energy_eV == here.evaluate(atoms).energy_eV  # in a new process
    atoms.symbols[0] = "Ne"
    with pytest.raises(PotentialError, match="Ne"):
        remote.evaluate(atoms)


def test_an_interrupted_evaluation_leaves_no_answer_behind(process):
    remote, here = RemotePotential("pair", None, {"cutoff_A": 5.0}, process), load_potential("pair", cutoff_A=5.0)
    atoms = li3ycl6_cell()

    class Interrupted(Mapping):
        """Inputs at which Ctrl-C is pressed."""

        def __getitem__(self, name):
            raise KeyboardInterrupt

        def __iter__(self):
            raise KeyboardInterrupt

        def __len__(self):
            return 1

    with pytest.raises(KeyboardInterrupt):
        process({"name": "pair", "model": None, "options": {}}, Interrupted())
    atoms.positions[0] += 0.1
    assert remote.evaluate(atoms).energy_eV == here.evaluate(atoms).energy_eV


def test_a_python_that_is_not_there_names_the_fix():
    gone = EngineProcess(EngineLocation("chgnet", Path("/nowhere/bin/python"), "environment", {}))
    with pytest.raises(EngineError, match="cannot be started") as caught:
        RemotePotential("chgnet", None, {}, gone)
    assert caught.value.fix == "superionic engines install chgnet"


@pytest.mark.slow
@pytest.mark.engine("chgnet")
def test_chgnet_reproduces_its_record_through_its_engine():
    record = record_of("chgnet")
    atoms = li3ycl6_cell()
    prediction = load_model("chgnet").evaluate(atoms)
    assert prediction.energy_eV == pytest.approx(record["energy_eV"], abs=1e-3)
    assert prediction.forces_eV_per_A == pytest.approx(np.array(record["forces_eV_per_A"]), abs=1e-3)
