"""Nequix's adapter against Nequix's own calculator on published weights, in its environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import numpy as np
import pytest

from superionic.conventions import MP_RAW, OMAT24
from superionic.errors import EngineError, PotentialError
from superionic.execution.engines import resolve_engine
from superionic.models.nequix.potential import padded
from superionic.potentials.base import describe_potential, load_potential

SCRIPT = r"""
import json, os, sys, warnings
from pathlib import Path
import numpy as np
from superionic.errors import EngineError, PotentialError
from superionic.potentials.base import load_potential
from superionic.potentials.reference import li3ycl6_cell
folder, file, report = Path(sys.argv[1]), sys.argv[2], {}
atoms = li3ycl6_cell()
with warnings.catch_warnings():
    warnings.simplefilter("error")
    small = load_potential("nequix", model="test")
    first = small.evaluate(atoms)
    others = [atoms, atoms[:7]]
    many = small.evaluate_many(others)
alone = [small.evaluate(other) for other in others]
def apart(a, b):
    return [abs(a.energy_eV - b.energy_eV) / len(a.forces_eV_per_A),
            float(np.abs(a.forces_eV_per_A - b.forces_eV_per_A).max()),
            float(np.abs(a.stress_eV_per_A3 - b.stress_eV_per_A3).max())]
report["together"] = [apart(a, b) for a, b in zip(many, alone)]
# What came before leaves no trace.
report["repeats"] = bool(np.array_equal(small.evaluate(atoms).forces_eV_per_A, first.forces_eV_per_A))
report["environment"] = [os.environ.get(name) for name in ("NPROC", "XLA_FLAGS", "JAX_PLATFORMS")]
cut = folder / "cut.nqx"
for key, action in {
    "device": lambda: load_potential("nequix", model="test", device="cuda"),
    "offline": lambda: load_potential("nequix"),
    "cut": lambda: load_potential("nequix", file=str(cut), energy_convention="own: x"),
}.items():
    cut.write_bytes(Path(file).read_bytes()[:500000] if file else b"")
    try:
        action()
    except (EngineError, PotentialError) as error:
        report[key] = [error.message, error.fix, str(error.where)]
if file:
    from nequix.calculator import NequixCalculator
    from superionic.potentials.proof import prove_file
    told = prove_file({"potential": "nequix", "options": {"file": file}})
    report["proof"] = [told["basis"], told["energy_eV_per_atom"]]
    theirs = li3ycl6_cell()
    theirs.calc = NequixCalculator(model_path=file, use_kernel=False)
    report["theirs"] = [
        abs(theirs.get_potential_energy() - told["energy_eV"]) / 30,
        float(np.abs(theirs.get_forces() - told["forces_eV_per_A"]).max()),
        float(np.abs(theirs.get_stress() - told["stress_eV_per_A3"]).max())]
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def report(root, tmp_path_factory):
    file = root.parent / "shared" / "models" / "nequix" / "nequix-mp-1.nqx"
    folder = tmp_path_factory.mktemp("nequix")
    # A home without the package's own cache, and a network that is not there.
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    environment |= {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    command = [str(resolve_engine("nequix").python), "-c", SCRIPT, str(folder), str(file) if file.is_file() else ""]
    out = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout.splitlines()[-1])


with_nequix = [pytest.mark.slow, pytest.mark.engine("nequix")]


class TestInItsEnvironment:
    pytestmark = with_nequix

    def test_their_calculator_gives_the_same(self, report):
        if "theirs" not in report:
            pytest.skip("no model files beside the repository")
        energy_eV_per_atom, force_eV_per_A, stress_eV_per_A3 = report["theirs"]
        assert energy_eV_per_atom < 1e-6
        assert force_eV_per_A < 5e-5
        assert stress_eV_per_A3 < 1e-6
        assert report["proof"] == ["values on record", pytest.approx(-4.25, abs=0.02)]

    def test_together_they_give_what_each_gives_alone(self, report):
        for energy_eV_per_atom, force_eV_per_A, stress_eV_per_A3 in report["together"]:
            assert energy_eV_per_atom < 1e-6
            assert force_eV_per_A < 1e-4
            assert stress_eV_per_A3 < 1e-6

    def test_what_was_evaluated_before_leaves_no_trace(self, report):
        assert report["repeats"]

    def test_it_leaves_the_environment_as_it_was(self, report):
        assert report["environment"] == [None, None, None]

    def test_no_network_says_where_to_get_the_file_and_how_to_name_it(self, report):
        message, fix, where = report["offline"]
        assert "nequix-omat-1 is not here, and cannot be downloaded" in message
        assert where.startswith("https://github.com/atomicarchitects/nequix/")
        assert "`file: nequix-omat-1.nqx`" in fix

    def test_a_device_that_is_not_there(self, report):
        assert "no device 'cuda'" in report["device"][0]

    def test_half_a_file_is_refused(self, report):
        assert "Nequix" in report["cut"][0]
        assert report["cut"][2].endswith("cut.nqx")


def written(folder, **changes):
    settings = {
        "atomic_numbers": [17, 3, 39], "cutoff": 6.0, "hidden_irreps": "8x0e", "lmax": 1, "n_layers": 1,
        "radial_basis_size": 8, "radial_mlp_size": 8, "radial_mlp_layers": 2, "radial_polynomial_p": 6.0,
        "mlp_init_scale": 4.0, "index_weights": False, "layer_norm": True, "shift": 0.0, "scale": 1.0,
        "avg_n_neighbors": 20.0, **changes,
    }  # fmt: skip
    file = folder / "mine.nqx"
    file.write_text(json.dumps({name: value for name, value in settings.items() if value is not None}) + "\n")
    return file


def test_a_file_is_described_without_nequix(tmp_path):
    file = written(tmp_path)
    with pytest.raises(PotentialError, match="energy convention of this"):
        describe_potential("nequix", file=str(file))
    identity = describe_potential("nequix", "mine", file=str(file), energy_convention="own: mine")
    assert identity.elements == ("Li", "Cl", "Y")
    assert (identity.model, identity.engine) == ("mine", "nequix")
    before = identity.checkpoint_sha256
    written(tmp_path, shift=0.1)
    assert describe_potential("nequix", file=str(file), energy_convention="own: mine").checkpoint_sha256 != before


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"cutoff": None}, "does not say cutoff"),
        ({"atomic_numbers": [0]}, "elements"),
        ({"atomic_numbers": 3}, "Nequix"),
    ],
)
def test_what_is_no_file_of_nequix_is_refused(tmp_path, changes, match):
    with pytest.raises(PotentialError, match=match):
        describe_potential("nequix", file=str(written(tmp_path, **changes)), energy_convention="own: x")


def test_a_file_that_is_not_there_and_one_of_another_kind(tmp_path):
    with pytest.raises(PotentialError, match="cannot be read"):
        describe_potential("nequix", file=str(tmp_path / "none.nqx"))
    (tmp_path / "a.pt").write_bytes(b"\x80\x02}q")
    with pytest.raises(PotentialError, match="no model of Nequix"):
        describe_potential("nequix", file=str(tmp_path / "a.pt"))


def test_published_models_are_known_by_name_and_by_checksum(shared, tmp_path):
    for name, convention in (("nequix-omat-1", OMAT24), ("nequix-mp-1", MP_RAW)):
        by_name = describe_potential("nequix", name)
        assert (by_name.energy_convention, len(by_name.elements)) == (convention, 89)
        source = shared / "models" / "nequix" / f"{name}.nqx"
        if source.is_file():
            shutil.copy(source, tmp_path / "renamed.nqx")
            assert describe_potential("nequix", file=str(tmp_path / "renamed.nqx")) == by_name
            with pytest.raises(PotentialError, match="whose energies are"):
                describe_potential("nequix", file=str(source), energy_convention="MatPES PBE")
    assert describe_potential("nequix") == describe_potential("nequix", "nequix-omat-1")
    with pytest.raises(PotentialError, match="no model 'nequix-9'"):
        describe_potential("nequix", "nequix-9")


def test_without_its_engine_it_says_what_to_install():
    with pytest.raises((EngineError, PotentialError)) as caught:
        load_potential("nequix", model="test", weights={"a": np.zeros(1)})
    assert "takes no weights" in caught.value.message


@pytest.mark.parametrize("steps", [2, 4, 8])
def test_shapes_are_few_and_never_too_small(steps):
    sizes = np.arange(1, 100_000)
    shapes = np.array([padded(int(size), steps) for size in sizes])
    assert np.all(shapes >= sizes)
    assert np.all(shapes <= sizes * (1 + 1 / steps))
    assert len(np.unique(shapes)) <= steps * 18 + 2
    assert all(padded(int(shape), steps) == shape for shape in np.unique(shapes))
