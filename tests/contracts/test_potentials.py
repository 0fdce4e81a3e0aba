"""One suite for every potential; run in the environment of its engine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from superionic.conventions import is_convention
from superionic.models.ase import potential as ase_calculator
from superionic.potentials.base import describe_potential, potential_names
from superionic.potentials.conformance import DOUBLE, SINGLE, broken, conform

# M3GNet and TensorNet spread over 400 and 700 edges in single precision; scale of energies 4.6 and 3.1 eV.
SINGLE_MATGL = {**SINGLE, "same_energy": 1e-5, "same_force": 1e-3, "same_stress": 5e-6, "net": 1e-3}

CONFORM_ALL = "superionic.potentials.conformance:conform_all"


def run(potential, model=None, step_A=1e-4, **options):
    return {"potential": potential, "model": model, "options": options, "step_A": step_A}


def judge(report, limits):
    assert broken(report, limits) == []


def judge_all(reports, limits):
    assert len(reports) == len(limits)
    for report, limit in zip(reports, limits, strict=True):
        judge(report, limit)


def test_pair():
    judge(conform(run("pair")), DOUBLE)


def test_a_model_of_another_package():
    pytest.importorskip("toy_model", reason="not installed: pip install --no-deps tests/models/toy_model")
    judge(conform(run("toy")), DOUBLE)


def test_what_is_broken_is_named():
    report = conform(run("pair"))
    assert broken(report | {"repeatable": False}) == ["a second evaluation differs"]
    assert broken(report | {"stress_eV_per_A3": float("nan")}) == ["stress_eV_per_A3 is nan"]
    assert broken(report | {"energy_convention": "x"}) == ["'x' is no energy convention"]


def test_any_ase_calculator_that_a_package_registers(monkeypatch):
    def make(charge_scale=1.0):
        from superionic.potentials.base import load_potential

        return load_potential("pair", charge_scale=charge_scale).calculator()

    point = SimpleNamespace(
        name="fake",
        value="fake_package:make",
        dist=SimpleNamespace(name="fake-package", version="1.2"),
        load=lambda: make,
    )
    monkeypatch.setattr(
        ase_calculator, "entry_points", lambda group: [point] if group == "superionic.potentials" else []
    )
    options = {"calculator": "fake", "elements": ["Li", "Y", "Cl"], "energy_convention": "own: rigid ions"}
    judge(conform(run("ase", charge_scale=0.9, **options)), DOUBLE)


@pytest.mark.engine("chgnet")
def test_chgnet(engine_call):
    runs = [run("chgnet", "0.3.0", precision="float64"), run("chgnet", "0.3.0", 5e-3)]
    judge_all(engine_call("chgnet", CONFORM_ALL, {"runs": runs}), [DOUBLE, SINGLE])


@pytest.mark.slow
@pytest.mark.engine("chgnet")
def test_chgnet_r2scan(engine_call):
    judge_all(engine_call("chgnet", CONFORM_ALL, {"runs": [run("chgnet", "r2scan", 5e-3)]}), [SINGLE])


@pytest.mark.slow
@pytest.mark.engine("sevennet")
def test_sevennet(engine_call):
    runs = [run("sevennet", "7net-0", 5e-3), run("sevennet", "7net-mf-0/R2SCAN", 5e-3)]
    judge_all(engine_call("sevennet", CONFORM_ALL, {"runs": runs}), [SINGLE, SINGLE])


@pytest.mark.slow
@pytest.mark.engine("mace")
def test_mace(engine_call):
    runs = [run("mace", "test", precision="float64"), run("mace", "test", 5e-3)]
    judge_all(engine_call("mace", CONFORM_ALL, {"runs": runs}), [DOUBLE, SINGLE])


@pytest.mark.slow
@pytest.mark.engine("matgl")
def test_matgl(engine_call):
    runs = [run("matgl", name, step, precision=precision)
            for name in ("test-m3gnet", "test-tensornet")
            for precision, step in (("float64", 1e-4), ("float32", 5e-3))]  # fmt: skip
    judge_all(engine_call("matgl", CONFORM_ALL, {"runs": runs}), [DOUBLE, SINGLE_MATGL] * 2)


@pytest.mark.slow
@pytest.mark.engine("matgl")
def test_matgl_with_published_weights(engine_call, shared):
    folders = [shared / "models" / name for name in ("M3GNet-MP-2021.2.8-PES", "TensorNet-MatPES-PBE-v2025.1-PES")]
    if not all(folder.is_dir() for folder in folders):
        pytest.skip("no model files beside the repository")
    runs = [run("matgl", None, 5e-3, file=str(folder)) for folder in folders]
    judge_all(engine_call("matgl", CONFORM_ALL, {"runs": runs}), [SINGLE_MATGL, SINGLE_MATGL])


@pytest.mark.slow
@pytest.mark.engine("diep")
def test_diep(engine_call):
    # Single precision of a total energy of -258 eV, not of the sum over sites.
    limits = {**SINGLE, "same_energy": 5e-6}
    judge_all(engine_call("diep", CONFORM_ALL, {"runs": [run("diep", None, 5e-3)]}), [limits])


@pytest.mark.slow
@pytest.mark.engine("nequix")
def test_nequix(engine_call):
    judge_all(engine_call("nequix", CONFORM_ALL, {"runs": [run("nequix", "test", 5e-3)]}), [SINGLE])


@pytest.mark.slow
@pytest.mark.engine("nequix")
def test_nequix_with_published_weights(engine_call, shared):
    file = shared / "models" / "nequix" / "nequix-omat-1.nqx"
    if not file.is_file():
        pytest.skip("no model files beside the repository")
    judge_all(engine_call("nequix", CONFORM_ALL, {"runs": [run("nequix", None, 5e-3, file=str(file))]}), [SINGLE])


@pytest.mark.parametrize("name", sorted({*potential_names()} - {"ase", "mace", "matgl", "nep"}))
def test_potentials_with_weights_declare_a_convention_without_their_engine(name):
    assert is_convention(describe_potential(name).energy_convention)


def test_default_models_share_no_convention_by_accident():
    conventions = [describe_potential(name).energy_convention for name in ("chgnet", "pair", "sevennet")]
    assert len(set(conventions)) == len(conventions)
