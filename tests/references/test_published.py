from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from superionic.errors import AnalysisError, CompositionError
from superionic.references import all_values, compare, lookup
from superionic.references.values import UNITS

SHARED = Path(__file__).parents[3] / "shared" / "reference" / "published_values.yaml"


def one(formula, **wanted):
    values = [v for v in lookup(formula) if all(getattr(v, key) == value for key, value in wanted.items())]
    assert len(values) == 1, values
    return values[0]


def test_formula_order_does_not_matter():
    assert lookup("Li3YCl6") == lookup("YLi3Cl6") == lookup("Cl18Y3Li9") != []
    assert lookup("Li6InYBr6Cl6") == lookup("Li3In0.5Y0.5Br3Cl3") != []


def test_unknown_compounds_give_nothing_and_nonsense_is_refused():
    assert lookup("NaCl") == []
    with pytest.raises(CompositionError):
        lookup("not a formula")


def test_headline_values():
    demo = one("Li3YCl6", quantity="conductivity", pressure_GPa=1.0)
    assert (demo.value, demo.unit, demo.temperature_K, demo.kind) == (15.7, "mS/cm", 300.0, "calculated")
    assert demo.doi == "10.48550/arXiv.2510.09861"
    energy = one("Li3YBr6", quantity="activation_energy", pressure_GPa=1.0)
    assert (energy.value, energy.error, energy.unit) == (0.36, 0.02, "eV")
    assert one("Li3YCl6", quantity="volume_per_atom", temperature_K=400.0, kind="measured").value == 22.1
    best = one("Li3In0.5Y0.5Br3Cl3", quantity="conductivity")
    assert (best.value, best.temperature_K, best.doi) == (620.0, 800.0, "10.1039/d5ta05321h")
    ends = {v.bound: v.value for v in lookup("Li3InCl6", quantity="conductivity", kind="measured")}
    assert ends == {"lower": 0.79, "upper": 4.03}
    alpha = lookup("Li3PS4", polymorph="alpha")
    assert {v.kind: v.value for v in alpha} == {"calculated": 0.26, "measured": 0.20}


def test_every_value_is_well_formed():
    values = all_values()
    assert len(set(values)) == len(values)
    for value in values:
        assert value.unit == UNITS[value.quantity]
        assert value.source
        assert value.method
        for doi in (value.reported_in, value.doi):
            assert doi is None or re.fullmatch(r"10\.\d{4,}/\S+", doi)
        if value.quantity in ("conductivity", "volume_per_atom"):
            assert value.value > 0
            assert value.temperature_K is not None


@pytest.mark.skipif(not SHARED.exists(), reason="the published values of ../shared are not here")
def test_covers_the_transport_and_volume_values_of_the_shared_file():
    from ruamel.yaml import YAML

    shared = YAML(typ="safe", pure=True).load(SHARED.read_text(encoding="utf-8"))
    missing = []

    def expect(formula, quantity, number, temperature=None, polymorph=None):
        found = lookup(formula, quantity=quantity, polymorph=polymorph)
        if not any(v.value == pytest.approx(number) and (temperature in (None, v.temperature_K)) for v in found):
            missing.append((formula, quantity, number))

    for formula, methods in shared["volume_A3_per_atom"].items():
        for volumes in methods.values():
            for temperature, volume in volumes.items():
                expect(formula, "volume_per_atom", volume, float(temperature))
    for name, methods in shared["transport"].items():
        polymorph = name.split("-")[0] if "-" in name else name.partition("_")[2] or None
        formula = name.rpartition("-")[2].partition("_")[0]
        for rows in methods.values():
            for row in rows if isinstance(rows, list) else [rows]:
                for key, numbers in row.items():
                    for number in numbers if isinstance(numbers, list) else [numbers]:
                        if key == "Ea_eV":
                            expect(formula, "activation_energy", number, polymorph=polymorph)
                        elif key in {"Ef_meV_per_atom", "Ef_DFT_meV_per_atom"}:
                            expect(formula, "formation_energy", number)
                        elif key.startswith("sigma"):
                            temperature = float(re.findall(r"sigma(\d+)K", key)[0])
                            factor = 1000.0 if "_S_per_cm" in key and "_mS_" not in key else 1.0
                            expect(formula, "conductivity", number * factor, temperature)
    for formula in shared["stability"]["LIYBC_Li3InxY1-xBr6yCl6-6y"]["stable"]:
        expect(formula, "energy_above_hull", 0.0)
    assert missing == []


def test_errors_of_the_shared_file_are_kept():
    assert {v.error for v in lookup("Li3YCl6", quantity="activation_energy")} == {None, 0.01}
    assert one("Li4GeO4", quantity="activation_energy", kind="calculated").error == 0.27


def test_comparison_measures():
    measured = one("Li3YBr6", quantity="conductivity", value=4.7)
    sigma = compare(47.0, measured)
    assert sigma.measure == "decades"
    assert sigma.difference == pytest.approx(1.0)
    assert sigma.expected_scatter == pytest.approx(0.85)
    assert compare(47.0, measured, error=47.0 * 2.302585092994046).expected_scatter == pytest.approx(
        (1 + 0.85**2) ** 0.5
    )
    volume = compare(22.0 * 1.02, one("Li3YCl6", quantity="volume_per_atom", method="X-ray diffraction"))
    assert (volume.measure, volume.expected_scatter) == ("percent", None)
    assert volume.difference == pytest.approx(2.0)
    energy = compare(0.27, one("Li3YCl6", quantity="activation_energy", pressure_GPa=1.0), error=0.03)
    assert energy.measure == "difference"
    assert energy.difference == pytest.approx(0.03)
    assert energy.expected_scatter == pytest.approx((0.01**2 + 0.03**2) ** 0.5)
    with pytest.raises(AnalysisError):
        compare(0.0, measured)
    with pytest.raises(AnalysisError):
        compare(float("nan"), one("Li4GeO4", quantity="activation_energy", kind="measured"))


def test_references_import_no_heavy_library():
    code = (
        "import sys, superionic.references; superionic.references.lookup('Li3YCl6');"
        "print([m for m in ('pymatgen', 'ase', 'numpy', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
