"""One suite for every potential; run in the environment of its engine."""

from __future__ import annotations

import pytest

from superionic.potentials.base import describe_potential, potential_names
from superionic.potentials.conformance import conform

# Finite-difference errors scale with the precision of the energy; so do sums in another order.
DOUBLE = {"force": 1e-5, "stress": 1e-7, "same_energy": 1e-10, "same_force": 1e-8, "same_stress": 1e-10, "net": 1e-8}
SINGLE = {"force": 5e-3, "stress": 2e-5, "same_energy": 1e-6, "same_force": 2e-4, "same_stress": 1e-6, "net": 1e-4}


def judge(report, limits):
    assert report["mutated"] is False
    assert report["repeatable"] is True
    assert report["refuses_unknown_element"] is True
    assert report["no_stress_unless_asked"] is True
    assert report["energy_convention"]
    assert {"Li", "Y", "Cl"} <= set(report["elements"])
    assert report["force_eV_per_A"] < limits["force"]
    assert report["stress_eV_per_A3"] < limits["stress"]
    assert report["net_force_eV_per_A"] < limits["net"]
    assert report["without_stress_force_eV_per_A"] < limits["same_force"]
    for symmetry in ("permutation", "translation", "rotation", "extensivity"):
        assert report[f"{symmetry}_energy_eV_per_atom"] < limits["same_energy"], symmetry
        assert report[f"{symmetry}_force_eV_per_A"] < limits["same_force"], symmetry
        assert report[f"{symmetry}_stress_eV_per_A3"] < limits["same_stress"], symmetry


def test_pair():
    judge(conform({"potential": "pair", "step_A": 1e-4}), DOUBLE)


@pytest.mark.engine("chgnet")
@pytest.mark.parametrize(
    ("model", "options", "step_A", "limits"),
    [
        ("0.3.0", {"dtype": "float64"}, 1e-4, DOUBLE),
        ("0.3.0", {}, 5e-3, SINGLE),
        pytest.param("r2scan", {}, 5e-3, SINGLE, marks=pytest.mark.slow),
    ],
)
def test_chgnet(engine_call, model, options, step_A, limits):
    settings = {"potential": "chgnet", "model": model, "options": options, "step_A": step_A}
    judge(engine_call("chgnet", "superionic.potentials.conformance:conform", settings), limits)


@pytest.mark.slow
@pytest.mark.engine("sevennet")
@pytest.mark.parametrize("model", ["7net-0", "7net-mf-0/R2SCAN"])
def test_sevennet(engine_call, model):
    settings = {"potential": "sevennet", "model": model, "step_A": 5e-3}
    judge(engine_call("sevennet", "superionic.potentials.conformance:conform", settings), SINGLE)


def test_every_potential_declares_a_convention_without_its_engine():
    conventions = {name: describe_potential(name).energy_convention for name in potential_names()}
    assert len(set(conventions.values())) == len(conventions), "no two default models share a convention by accident"
