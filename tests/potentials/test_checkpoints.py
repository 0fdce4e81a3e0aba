from __future__ import annotations

import hashlib

import numpy as np
import pytest
from ase import Atoms

from superionic.conventions import MP_RAW
from superionic.errors import CalculationFailed, PotentialError
from superionic.execution import kept_files
from superionic.potentials import checkpoints
from superionic.potentials.base import describe_potential, load_potential
from superionic.potentials.checkpoints import Statement, checksum, demand_trust, stated
from superionic.potentials.reference import li3ycl6_cell


def test_checksums_of_files_and_folders_are_those_under_which_they_are_kept(tmp_path):
    (tmp_path / "a").write_bytes(b"weights")
    (tmp_path / "b").write_bytes(b"settings")
    assert checksum(tmp_path / "a") == hashlib.sha256(b"weights").hexdigest()
    both = checksum(tmp_path, ("a", "b"))
    assert both == kept_files._checksum(tmp_path, ("a", "b"))
    (tmp_path / "b").write_bytes(b"settings ")
    assert checksum(tmp_path, ("a", "b")) != both
    with pytest.raises(PotentialError, match="cannot be read") as caught:
        checksum(tmp_path / "c")
    assert caught.value.where == str(tmp_path / "c")


def test_a_pickle_is_taken_only_by_its_checksum():
    sha256 = "ab" * 32
    demand_trust("x.model", sha256, sha256.upper(), instead="")
    for said in (None, "cd" * 32):
        with pytest.raises(PotentialError, match="would run code") as caught:
            demand_trust("x.model", sha256, said, instead="Convert it.")
        assert sha256 in caught.value.message
        assert caught.value.fix.startswith("Convert it.")
        assert f"trust_sha256: {sha256}" in caught.value.fix


def test_what_is_on_record_cannot_be_contradicted():
    known = Statement("M3GNet", MP_RAW, "PBE")

    def said(convention, on_record=None, sha256="0"):
        return stated(sha256, on_record, {"energy_convention": convention}, engine="matgl", model=None)

    assert said(None, known) is known
    assert said(MP_RAW, known) is known
    with pytest.raises(PotentialError, match="whose energies are 'MP raw PBE"):
        said("MatPES PBE", known)
    with pytest.raises(PotentialError, match="energy convention of this"):
        said(None)
    with pytest.raises(PotentialError, match="not an energy convention") as caught:
        said("MatPES-PBE")
    assert "did you mean 'MatPES PBE'" in caught.value.fix
    assert said("own: mine", sha256="12" * 32).model == "file 121212121212"


def test_wrapping_and_voigt_order():
    atoms = Atoms("Li", positions=[[-1.0, 12.0, 3.0]], cell=[10, 10, 10], pbc=[True, False, True])
    assert checkpoints.wrapped_fractions(atoms, "x") == pytest.approx(np.array([[0.9, 1.2, 0.3]]))
    assert checkpoints.voigt(np.arange(9.0).reshape(3, 3)).tolist() == [0, 4, 8, 6, 4, 2]
    atoms.set_cell([10, 10, 0])
    with pytest.raises(CalculationFailed, match="a volume"):
        checkpoints.wrapped_fractions(atoms, "x")
    atoms.positions[0, 0] = np.inf
    with pytest.raises(CalculationFailed, match="finite"):
        checkpoints.wrapped_fractions(atoms, "x")


@pytest.mark.parametrize("name", ["mace", "matgl", "ase"])
def test_adapters_without_weights_describe_themselves_but_load_nothing(name):
    identity = describe_potential(name)
    assert identity.elements == ()
    assert identity.energy_convention == checkpoints.NOT_STATED
    assert identity.engine == {"ase": "core"}.get(name, name)


def test_matgl_folders_are_described_without_matgl(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"")
    with pytest.raises(PotentialError, match=r"no model\.json"):
        describe_potential("matgl", file=str(tmp_path))
    model = '{"kwargs": {"model": {"@class": "%s", "init_args": {"element_types": ["Y", "Li", "Cl"]}}%s}}'
    (tmp_path / "model.json").write_text(model % ("MEGNet", ""))
    with pytest.raises(PotentialError, match="not supported: MEGNet"):
        describe_potential("matgl", file=str(tmp_path))
    (tmp_path / "model.json").write_text(model % ("TensorNet", ', "calc_repuls": true'))
    with pytest.raises(PotentialError, match="repulsion"):
        describe_potential("matgl", file=str(tmp_path))
    (tmp_path / "model.json").write_text(model % ("TensorNet", ""))
    with pytest.raises(PotentialError, match="energy convention of this"):
        describe_potential("matgl", file=str(tmp_path))
    identity = describe_potential("matgl", file=str(tmp_path), energy_convention="own: mine")
    assert identity.elements == ("Li", "Cl", "Y")
    assert identity.checkpoint_sha256 == checksum(tmp_path, ("model.json", "state.pt"))


def test_published_folders_are_known_by_their_checksum(shared):
    folder = shared / "models" / "M3GNet-MP-2021.2.8-PES"
    if not folder.is_dir():
        pytest.skip("no model files beside the repository")
    identity = describe_potential("matgl", file=str(folder))
    assert (identity.model, identity.energy_convention) == ("M3GNet-MP-2021.2.8", MP_RAW)
    assert len(identity.elements) == 89


# ---- ASE calculators ----


def test_a_calculator_that_nobody_registered():
    with pytest.raises(PotentialError, match="No installed package registers a calculator 'nope'"):
        load_potential("ase", calculator="nope", elements=["Li"], energy_convention="own: x")
    with pytest.raises(PotentialError, match="No ASE calculator is named"):
        load_potential("ase")


class Point:
    name, value = "fake", "fake_package:make"

    class dist:  # noqa: N801 - as importlib.metadata calls it
        name, version = "fake-package", "1.2"

    def __init__(self, make):
        self.make = make

    def load(self):
        return self.make


@pytest.fixture
def register(monkeypatch):
    from superionic.models.ase import potential as ase_calculator

    return lambda make: monkeypatch.setattr(ase_calculator, "entry_points", lambda group: [Point(make)])


OPTIONS = {"calculator": "fake", "elements": ["Cl", "Li", "Y"], "energy_convention": "own: x"}


def test_a_calculator_states_what_it_cannot_tell(register):
    from superionic.errors import EngineError

    register(lambda: load_potential("pair").calculator(stress=False))
    for missing in ("elements", "energy_convention"):
        with pytest.raises(PotentialError, match="must state the elements and the energy convention"):
            load_potential("ase", **{key: value for key, value in OPTIONS.items() if key != missing})
    potential = load_potential("ase", version="fake-package 1.2", **OPTIONS)
    assert potential.identity.elements == ("Li", "Cl", "Y")
    assert potential.identity.version == "fake-package 1.2"
    assert potential.identity.checkpoint_sha256 == describe_potential("ase", **OPTIONS).checkpoint_sha256
    assert describe_potential("ase", scale=2, **OPTIONS).checkpoint_sha256 != potential.identity.checkpoint_sha256
    assert potential.evaluate(li3ycl6_cell(), stress=False).energy_eV == pytest.approx(-203.449479, abs=1e-4)
    with pytest.raises(PotentialError, match="gives no stress"):
        potential.evaluate(li3ycl6_cell())
    with pytest.raises(EngineError, match=r"planned with fake-package 1\.1"):
        load_potential("ase", version="fake-package 1.1", **OPTIONS)
    register(lambda: None)
    with pytest.raises(EngineError, match="not return an ASE calculator"):
        load_potential("ase", **OPTIONS)
    register(lambda: 1 / 0)
    with pytest.raises(EngineError, match="ZeroDivisionError"):
        load_potential("ase", **OPTIONS)


def test_a_calculator_that_fails_is_a_failed_calculation(register):
    from ase.calculators.calculator import Calculator, CalculatorSetupError

    class Broken(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, *args, **kwargs):
            raise CalculatorSetupError("no basis")

    register(Broken)
    with pytest.raises(CalculationFailed, match="no basis"):
        load_potential("ase", **OPTIONS).evaluate(li3ycl6_cell(), stress=False)
