from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from superionic.errors import CalculationFailed, EngineError, PotentialError
from superionic.potentials import base
from superionic.potentials.base import (
    BasePotential,
    Potential,
    Prediction,
    describe_potential,
    evaluate_each,
    load_potential,
    potential_names,
    weights_sha256,
)
from superionic.potentials.reference import li3ycl6_cell
from superionic.registry import models


def test_names_and_descriptions():
    own = {name for name in potential_names() if models()[name].is_own}
    assert own >= {"ase", "chgnet", "mace", "matgl", "nep", "nequix", "pair", "sevennet"}
    assert describe_potential("chgnet").energy_convention == "MP2020-corrected PBE(+U)"
    assert describe_potential("chgnet", "r2scan").energy_convention == "MP r2SCAN (CHGNet)"
    assert describe_potential("sevennet").energy_convention == "MP raw PBE(+U)"
    assert describe_potential("sevennet", "7net-mf-0/R2SCAN").energy_convention == "MP r2SCAN (SevenNet)"
    assert len(describe_potential("chgnet").elements) == 89
    assert describe_potential("pair").engine == "core"


@pytest.mark.parametrize(("name", "model"), [("chgne", None), ("chgnet", "9.9"), ("sevennet", "x"), ("pair", "x")])
def test_unknown_names_say_what_there_is(name, model):
    with pytest.raises(PotentialError) as caught:
        describe_potential(name, model)
    assert caught.value.fix


def test_describing_imports_no_engine():
    code = (
        "import sys; from superionic.potentials.base import *; "
        "[describe_potential(n) for n in potential_names()]; "
        "print([m for m in ('torch', 'chgnet', 'sevenn', 'pymatgen', 'pydantic', 'spglib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_missing_engine_names_its_installation(monkeypatch):
    class Adapter:
        describe = staticmethod(lambda model=None, **options: describe_potential("pair"))

        @staticmethod
        def load(model, **options):
            raise ModuleNotFoundError("no", name="chgnet")

    real = base._adapter
    monkeypatch.setattr(base, "_adapter", lambda name: Adapter if name == "chgnet" else real(name))
    with pytest.raises(EngineError, match="chgnet") as caught:
        load_potential("chgnet")
    assert "superionic engines install" in caught.value.fix


def test_calculator_equals_evaluation_and_caches():
    potential = load_potential("pair")
    assert isinstance(potential, Potential)
    atoms = li3ycl6_cell()
    atoms.calc = potential.calculator()
    prediction = potential.evaluate(li3ycl6_cell())
    assert atoms.get_potential_energy() == prediction.energy_eV
    assert np.array_equal(atoms.get_forces(), prediction.forces_eV_per_A)
    assert np.array_equal(atoms.get_stress(), prediction.stress_eV_per_A3)
    assert atoms.calc.n_evaluations == 1
    atoms.positions[0, 0] += 0.1
    atoms.get_forces()
    assert atoms.calc.n_evaluations == 2


def test_calculator_without_stress_refuses_it():
    atoms = li3ycl6_cell()
    atoms.calc = load_potential("pair").calculator(stress=False)
    atoms.get_forces()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_calculator_stops_at_numbers_that_are_not_finite():
    class Broken(BasePotential):
        def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
            return Prediction(float("nan"), np.zeros((len(atoms), 3)))

    atoms = li3ycl6_cell()
    atoms.calc = Broken(describe_potential("pair")).calculator(stress=False)
    with pytest.raises(CalculationFailed, match="finite"):
        atoms.get_potential_energy()


def test_predictions_are_frozen_copies_of_checked_shapes():
    forces = np.ones((2, 3))
    prediction = Prediction(1, forces, np.zeros(6))
    forces[0, 0] = 5.0
    assert prediction.forces_eV_per_A[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        prediction.forces_eV_per_A[0, 0] = 2.0
    with pytest.raises(ValueError, match="shape"):
        Prediction(1.0, np.ones(3))
    with pytest.raises(ValueError, match="shape"):
        Prediction(1.0, np.ones((1, 3)), np.ones((3, 3)))


def test_hash_of_weights_depends_on_values_names_and_types_not_on_order():
    a, b = np.arange(3.0), np.ones((2, 2), dtype=np.float32)
    digest = weights_sha256({"a": a, "b": b})
    assert digest == weights_sha256({"b": b, "a": a})
    assert digest != weights_sha256({"a": a.astype(np.float32), "b": b})
    assert digest != weights_sha256({"a": b, "b": a})


def test_structures_are_evaluated_together_and_one_that_fails_costs_itself_alone():
    pair, atoms = load_potential("pair"), li3ycl6_cell()
    lost = atoms.copy()
    lost.positions[0] = np.nan

    class Together(BasePotential):
        together = 2
        sizes = []  # noqa: RUF012 - of the batches that were asked for

        def evaluate(self, atoms, *, stress=True):
            if not np.isfinite(atoms.positions).all():
                raise CalculationFailed("a position is no number", {})
            return pair.evaluate(atoms, stress=stress)

        def evaluate_many(self, structures, *, stress=True):
            self.sizes.append(len(structures))
            return super().evaluate_many(structures, stress=stress)

    made = list(evaluate_each(Together(pair.identity), [atoms, lost, atoms, atoms, atoms]))
    assert Together.sizes == [2, 2, 1]
    assert [type(each) for each in made] == [Prediction, CalculationFailed, Prediction, Prediction, Prediction]
    expected = pair.evaluate(atoms)
    assert all(each.energy_eV == expected.energy_eV for each in made if isinstance(each, Prediction))
    assert len(list(evaluate_each(pair, [atoms, atoms]))) == 2
