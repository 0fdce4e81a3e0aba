from __future__ import annotations

import numpy as np
import pytest

from superionic.errors import EngineError, PotentialError
from superionic.potentials import proof
from superionic.potentials.base import describe_potential, load_potential
from superionic.potentials.proof import prove, record_of

MODELS = [
    ("pair", "born-mayer"),
    ("chgnet", "0.3.0"),
    ("chgnet", "r2scan"),
    ("sevennet", "7net-0"),
    ("sevennet", "7net-l3i5"),
    ("sevennet", "7net-mf-0/PBE"),
    ("sevennet", "7net-mf-0/R2SCAN"),
    ("nequix", "nequix-omat-1"),
    ("diep", "diep_fold1"),
    ("nequix", "nequix-mp-1"),
]


def test_pair_proves_itself():
    result = prove({"potential": "pair"})
    assert result["differences"]["energy_eV_per_atom"] < 1e-6
    assert result["version"] == result["version_on_record"]


@pytest.mark.parametrize(("name", "model"), MODELS)
def test_every_model_has_a_record_with_its_checkpoint(name, model):
    record = record_of(name, model)
    assert record["checkpoint_sha256"] == describe_potential(name, model).checkpoint_sha256
    assert np.shape(record["forces_eV_per_A"]) == (30, 3)


def test_records_show_the_correction_that_separates_the_conventions():
    difference = (record_of("chgnet")["energy_eV"] - record_of("sevennet")["energy_eV"]) / 18
    # MP2020 lowers a chloride by 0.614 eV per Cl; the two models agree to a few meV otherwise.
    assert difference == pytest.approx(-0.614, abs=0.02)


@pytest.mark.parametrize("options", [{"charge_scale": 1.001}, {"cutoff_A": 8.05}])
def test_a_silently_wrong_potential_is_refused(monkeypatch, options):
    wrong = load_potential("pair", **options)
    monkeypatch.setattr(proof, "load_potential", lambda *a, **k: wrong)
    with pytest.raises(EngineError, match="silently wrong") as caught:
        prove({"potential": "pair"})
    assert "install superionic again" in caught.value.fix


def test_not_a_number_is_refused(monkeypatch):
    monkeypatch.setattr(
        proof,
        "compare",
        lambda *a: dict.fromkeys(("energy_eV_per_atom", "force_eV_per_A", "stress_eV_per_A3"), float("nan")),
    )
    with pytest.raises(EngineError, match="silently wrong"):
        prove({"potential": "pair"})


def test_unknown_potential():
    with pytest.raises(PotentialError):
        prove({"potential": "nope"})
