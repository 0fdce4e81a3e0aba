"""The gate that a user's checkpoint must pass, on fakes whose mistakes are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from superionic.conventions import MATPES_PBE, MP2020, MP_RAW
from superionic.errors import EngineError
from superionic.potentials import proof
from superionic.potentials.base import BasePotential, Prediction, load_potential
from superionic.potentials.proof import prove_file
from superionic.potentials.reference import cell_of, li3ycl6_cell


class Fake(BasePotential):
    """The pair potential with its energies moved to where a universal potential's would be, and a flaw if wanted."""

    def __init__(self, *, energy_eV_per_atom, convention, flaw="", elements=("Li", "Cl", "Y"), sha256="f" * 64):
        self.pair = load_potential("pair")
        identity = replace(self.pair.identity, name="matgl", model="M3GNet-MP-2021.2.8", version="4.1.2")
        super().__init__(
            replace(identity, energy_convention=convention, elements=elements, checkpoint_sha256=sha256, engine="matgl")
        )
        structure = cell_of(elements)
        self.shift = energy_eV_per_atom - self.pair.evaluate(structure).energy_eV / len(structure)
        self.flaw, self.calls = flaw, 0

    def evaluate(self, atoms, *, stress=True):
        self.calls += 1
        result = self.pair.evaluate(atoms, stress=stress)
        energy, forces = result.energy_eV + self.shift * len(atoms), np.array(result.forces_eV_per_A)
        if self.flaw == "random":
            energy += 1e-3 * self.calls
        if self.flaw == "nan":
            forces[3, 1] = np.nan
        if self.flaw == "forces":
            forces *= 1.1
        if self.flaw == "order":
            energy += 1e-3 * float(atoms.numbers @ np.arange(len(atoms)))
        return Prediction(energy, forces, result.stress_eV_per_A3)


def settings(first_use=None):
    return {"potential": "matgl", "options": {"file": "somewhere"}, "first_use": first_use}


def use(monkeypatch, **fake):
    potential = Fake(**fake)
    monkeypatch.setattr(proof, "load_potential", lambda *a, **k: potential)
    return potential


def test_a_sound_file_is_taken_and_what_it_gave_is_told(monkeypatch):
    use(monkeypatch, energy_eV_per_atom=-4.30, convention=MP_RAW)
    measured = prove_file(settings())
    assert measured["basis"] == "plausible"
    assert measured["energy_eV_per_atom"] == pytest.approx(-4.30)
    assert measured["identity"]["elements"] == ["Li", "Cl", "Y"]
    again = prove_file(settings(measured))
    assert again["basis"] == "first use"
    assert again["differences"]["energy_eV_per_atom"] < 1e-12


@pytest.mark.parametrize("energy", [-1.9, -3.1])
@pytest.mark.parametrize("convention", [MP_RAW, MATPES_PBE])
def test_matgls_trap_is_refused_with_the_reason(monkeypatch, energy, convention):
    potential = use(monkeypatch, energy_eV_per_atom=energy, convention=convention)
    # The trap: nothing but the energy is wrong.
    assert proof.force_error(potential, li3ycl6_cell(), potential.evaluate(li3ycl6_cell())) < 0.01
    with pytest.raises(EngineError) as caught:
        prove_file(settings())
    assert f"gives {energy:.2f} eV/atom for the stored Li9Y3Cl18 cell" in caught.value.message
    assert "version 4.1.2" in caught.value.message
    assert "the weights do not fit the program" in caught.value.message
    assert "do not use the file" in caught.value.fix


def test_a_file_on_record_must_give_its_record(monkeypatch):
    known = proof.record_of("matgl", "test-m3gnet") | {}
    records = {"matgl:M3GNet-MP-2021.2.8": {**known, "checkpoint_sha256": "f" * 64}}
    monkeypatch.setattr(proof, "_records", lambda name: records)
    use(monkeypatch, energy_eV_per_atom=-1.9, convention=MP_RAW)
    with pytest.raises(EngineError, match=r"silently wrong.*the stored cell has -1\.900 eV/atom and not"):
        prove_file(settings())


def test_corrected_energies_are_not_taken_for_raw_ones(monkeypatch):
    use(monkeypatch, energy_eV_per_atom=-4.617, convention=MP_RAW)
    with pytest.raises(EngineError, match="or the convention is another one"):
        prove_file(settings())
    use(monkeypatch, energy_eV_per_atom=-4.617, convention=MP2020)
    assert prove_file(settings())["basis"] == "plausible"


def test_another_version_of_the_engine_must_give_what_the_first_use_gave(monkeypatch):
    use(monkeypatch, energy_eV_per_atom=-7.0, convention="own: SCAN")
    first = prove_file(settings())
    use(monkeypatch, energy_eV_per_atom=-7.001, convention="own: SCAN")
    with pytest.raises(EngineError, match=r"silently wrong.*first use"):
        prove_file(settings(first))


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        ("random", "two different results"),
        ("nan", "not finite"),
        ("forces", "not the derivatives of its energy"),
        ("order", "another order"),
    ],
)
def test_flaws_are_named(monkeypatch, flaw, reason):
    use(monkeypatch, energy_eV_per_atom=-4.3, convention=MP_RAW, flaw=flaw)
    with pytest.raises(EngineError, match=reason):
        prove_file(settings())


def test_a_potential_of_other_elements_is_judged_on_a_like_cell(monkeypatch):
    use(monkeypatch, energy_eV_per_atom=-1.0, convention=MP_RAW, elements=("O", "Mg"))
    assert prove_file(settings())["basis"] == "plausible"
    cell = cell_of(("O", "Mg"))
    assert set(cell.get_chemical_symbols()) == {"O", "Mg"}
    assert cell.get_all_distances(mic=True)[np.triu_indices(30, 1)].min() > 1.4
    assert cell_of(("H", "Cl", "Y", "Li")) == li3ycl6_cell()
