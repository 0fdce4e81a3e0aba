from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import re
import subprocess
import sys
import zipfile
from types import MappingProxyType, SimpleNamespace

import pytest

from superionic.engine_spec import EngineSpec, NativeBuild
from superionic.errors import CalculationFailed, EngineError
from superionic.execution import engine_install, engine_specs, engines
from superionic.execution.engine_install import cuda_packages, install_engine
from superionic.execution.engine_specs import ENGINES, engine_spec
from superionic.execution.home import superionic_home, worker_environment
from superionic.registry import Model


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, request):
    """Engines of these tests live in a folder of their own, except where a test asks for the installed ones."""
    if request.node.get_closest_marker("engine") is None:
        monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "home with space"))
    return tmp_path / "home with space"


@dataclasses.dataclass(frozen=True)
class TinySpec(EngineSpec):
    """An engine of one file, installed by the real machinery from a wheel made here."""

    def pins(self) -> str:
        return "# a comment\ntinyengine==1.0\n"


TINY = TinySpec(
    name="tiny",
    requirement="tinyengine==1.0",
    module="tinyengine",
    purpose="tests",
    licence="MIT",
    main_packages=("tinyengine",),
    size_GB=0.001,
    proof="nowhere:prove",
)


def register(monkeypatch, spec):
    known = MappingProxyType({**ENGINES, spec.name: spec})
    monkeypatch.setattr(engine_specs, "ENGINES", known)
    monkeypatch.setattr(engines, "ENGINES", known)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "tinyengine-1.0-py3-none-any.whl", "w") as wheel:
        info = "tinyengine-1.0.dist-info"
        wheel.writestr("tinyengine.py", "energy_eV = -1.0\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinyengine\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"tinyengine.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setattr(engine_install, "_PIP", "pip")
    register(monkeypatch, TINY)
    return wheels


def fake_environment(spec, home, versions=None):
    python = home / "engines" / spec.name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    versions = versions or dict.fromkeys(spec.main_packages, "1.0")
    engines.write_record(spec, home / "engines" / spec.name, {**versions, "python": "3.11.7"})
    return python


# ---- the registry ----


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_pins_are_exact_and_hold_the_engine(name):
    spec = ENGINES[name]
    lines = [line for line in spec.pins().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines), "exact, without local versions"
    assert spec.requirement in lines
    assert all(spec.pinned_version(package) for package in spec.main_packages)
    assert len({line.partition("==")[0].lower() for line in lines}) == len(lines)


def test_pinned_version_of_what_is_not_pinned_is_none():
    assert ENGINES["gpaw"].pinned_version("torch") is None


def test_unknown_engine_is_an_error_that_names_the_known_ones():
    with pytest.raises(EngineError) as caught:
        engine_spec("vasp6")
    assert "chgnet, diep, gpaw, " in str(caught.value)
    assert "mace, matgl, nep89, nequix, sevennet" in str(caught.value)


def test_recipe_changes_with_a_pin_but_not_with_a_comment(monkeypatch):
    spec = ENGINES["chgnet"]
    before, text = spec.recipe_sha256(), spec.pins()
    monkeypatch.setattr(EngineSpec, "pins", lambda self: "# another comment\n" + text)
    assert spec.recipe_sha256() == before
    monkeypatch.setattr(EngineSpec, "pins", lambda self: text.replace("torch==2.", "torch==3."))
    assert spec.recipe_sha256() != before


# ---- finding engines ----


def test_home_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "x"))
    assert superionic_home() == tmp_path / "x"
    monkeypatch.delenv("SUPERIONIC_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert superionic_home() == tmp_path / "superionic"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert superionic_home() == tmp_path / ".local" / "share" / "superionic"


def test_core_is_this_interpreter():
    core = engines.resolve_engine("core")
    assert str(core.python) == sys.executable
    assert core.kind == "current"
    assert core.identity["packages"]["numpy"] == importlib.metadata.version("numpy")


def test_absent_engine_is_an_error_that_names_the_command(monkeypatch):
    register(monkeypatch, TINY)
    with pytest.raises(EngineError, match="not installed") as caught:
        engines.resolve_engine("tiny")
    assert caught.value.fix == "superionic engines install tiny"


def test_finished_environment_is_found(home, monkeypatch):
    register(monkeypatch, TINY)
    python = fake_environment(TINY, home)
    location = engines.resolve_engine("tiny")
    assert location == engines.EngineLocation("tiny", python, "environment", {"packages": {"tinyengine": "1.0"}})
    assert {status.name: status.state for status in engines.list_engines()}["tiny"] == "installed"


def test_identity_holds_neither_path_nor_python_nor_date(home, monkeypatch):
    register(monkeypatch, TINY)
    fake_environment(TINY, home)
    assert engines.resolve_engine("tiny").identity == {"packages": {"tinyengine": "1.0"}}


@pytest.mark.parametrize(
    ("damage", "state"),
    [
        (lambda folder: (folder / "engine.json").unlink(), "incomplete"),
        (lambda folder: (folder / "engine.json").write_text('{"format":'), "incomplete"),
        (lambda folder: (folder / "engine.json").write_text("[]"), "incomplete"),
        (lambda folder: (folder / "bin" / "python").unlink(), "outdated"),
        (
            lambda folder: (
                (folder / "bin" / "python").unlink(),
                (folder / "bin" / "python").symlink_to("/bin/sh"),
            ),
            "outdated",
        ),
        (
            lambda folder: (folder / "engine.json").write_text(
                json.dumps({**json.loads((folder / "engine.json").read_text()), "recipe_sha256": "0"})
            ),
            "outdated",
        ),
    ],
)
def test_damaged_environment_is_never_used(home, monkeypatch, damage, state):
    register(monkeypatch, TINY)
    fake_environment(TINY, home)
    damage(home / "engines" / "tiny")
    assert {status.name: status.state for status in engines.list_engines()}["tiny"] == state
    with pytest.raises(EngineError, match="superionic engines install tiny"):
        engines.resolve_engine("tiny")


def test_engine_of_the_pinned_version_is_used_in_this_interpreter(monkeypatch):
    version = importlib.metadata.version("numpy")
    here = dataclasses.replace(TINY, requirement=f"numpy=={version}", module="numpy", main_packages=("numpy",))
    register(monkeypatch, here)
    location = engines.resolve_engine("tiny")
    assert (location.kind, location.identity) == ("current", {"packages": {"numpy": version}})


def test_engine_of_another_version_is_not_used_in_this_interpreter(monkeypatch):
    register(monkeypatch, dataclasses.replace(TINY, requirement="numpy==1.0", module="numpy"))
    with pytest.raises(EngineError, match="not installed"):
        engines.resolve_engine("tiny")


def test_looking_for_engines_imports_nothing_heavy():
    program = (
        "import sys; from superionic.execution.engines import list_engines; list_engines();"
        "heavy = {'torch', 'numpy', 'ase', 'gpaw', 'chgnet', 'sevenn', 'pymatgen'} & set(sys.modules);"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_worker_environment_is_complete_passive_and_clean(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    environment = worker_environment()
    assert {environment[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "MKL")} == {"1"}
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["PYTHONHASHSEED"] == "0"
    assert "PATH" in environment
    assert "PYTHONPATH" not in environment
    assert worker_environment(threads=4)["OMP_NUM_THREADS"] == "4"


# ---- proving ----


@pytest.mark.parametrize(
    ("answer", "passed", "message"),
    [
        (
            {"differences": {"energy_eV_per_atom": 2e-9}},
            True,
            "reproduces the values on record; differs in energy_eV_per_atom by 2e-09",
        ),
        ({}, True, "reproduces the values on record"),
        (CalculationFailed("SCF did not converge"), False, "SCF did not converge"),
        (EngineError("worker died"), False, "worker died"),
    ],
)
def test_check_reports_what_the_proof_gave(home, monkeypatch, answer, passed, message):
    register(monkeypatch, TINY)
    python = fake_environment(TINY, home)

    def call_once(where, function, settings, inputs, *, threads):
        assert (where, function, threads) == (python, "nowhere:prove", 1)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("superionic.execution.worker.call_once", call_once)
    report = engines.check_engine("tiny")
    assert (report.passed, report.message) == (passed, message)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.engine(name)) for name in sorted(ENGINES)])
def test_installed_engine_reproduces_the_values_on_record(name):
    report = engines.check_engine(name)
    assert report.passed, report.message
    if name in ("chgnet", "sevennet"):  # of Li3YCl6, in their two conventions
        energy = {"chgnet": -4.6169, "sevennet": -4.2499}[name]
        assert report.values["energy_eV_per_atom"] == pytest.approx(energy, abs=1e-4)
        assert (report.values["energy_convention"] == "MP2020-corrected PBE(+U)") == (name == "chgnet")
    if name == "gpaw":
        assert report.values["deviations"]["energy_eV"] < 1e-4


# ---- installing ----


@pytest.mark.slow
def test_environment_is_made_once_it_proves_itself_and_over_what_a_kill_left(home, tiny, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    ruin = home / "engines" / "tiny" / "lib" / "left-over"
    ruin.parent.mkdir(parents=True)
    ruin.write_text("")
    proofs = iter([False, True])

    def prove(spec, location):
        return engines.EngineReport(spec.name, next(proofs), "energy is off by 2 eV", location, {})

    monkeypatch.setattr(engine_install, "prove_engine", prove)
    with pytest.raises(EngineError, match="fails its proof: energy is off by 2 eV"):
        install_engine("tiny", say=[].append)
    assert not ruin.exists()
    with pytest.raises(EngineError, match="partly installed"):
        engines.resolve_engine("tiny")

    location = install_engine("tiny", say=[].append)
    asked = [str(location.python), "-c", "import tinyengine; print(tinyengine.energy_eV)"]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip() == "-1.0"
    assert engines.resolve_engine("tiny") == location
    assert not list(home.rglob("engine.json.tmp"))

    lines: list[str] = []
    assert install_engine("tiny", say=lines.append) == location
    assert lines == ["tiny: tinyengine==1.0 is installed already"]

    # Were it the engine of a model, the library of dispersion would be added, also later, and change nothing else.
    monkeypatch.setattr(engine_install, "models", lambda: {"tiny": Model("tiny", "tiny", "tiny", 1.0, engine=TINY)})
    assert engines.dispersion_problem(location) == "is not installed"
    install_engine("tiny", say=lines.append)
    assert "cannot be added here; the engine is whole" in lines[-1]
    for pinned, version in engines.dispersion_pins().items():
        with zipfile.ZipFile(tiny / f"{pinned}-{version}-py3-none-any.whl", "w") as wheel:
            info = f"{pinned}-{version}.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {pinned}\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    assert install_engine("tiny", say=lines.append) == location
    assert "added dftd3" in lines[-1]
    assert engines.dispersion_problem(location) is None
    assert engines.resolve_engine("tiny") == location


@pytest.mark.slow
def test_failed_step_names_log_and_fix(home, tiny):
    next(tiny.iterdir()).unlink()
    with pytest.raises(EngineError, match=r"No matching distribution found for tinyengine==1\.0") as caught:
        install_engine("tiny", say=[].append, prove=False)
    assert caught.value.where == str(home / "engines" / "tiny.log")
    assert "superionic engines install tiny" in str(caught.value.fix)
    assert {status.name: status.state for status in engines.list_engines()}["tiny"] == "incomplete"


def test_a_python_that_is_too_new_is_said_before_anything_is_made(tiny, monkeypatch):
    spec = dataclasses.replace(TINY, last_python=(3, 10))
    assert spec.fits_python((3, 10))
    assert not spec.fits_python((3, 11))
    register(monkeypatch, spec)
    with pytest.raises(EngineError, match=r"support Python up to 3\.10") as caught:
        install_engine("tiny", say=[].append)
    assert "Python 3.10" in str(caught.value.fix)


@pytest.mark.slow
def test_pins_that_exclude_each_other_are_installed_as_they_stand(home, tiny, monkeypatch):
    wheel = next(tiny.iterdir())
    with zipfile.ZipFile(wheel) as old:
        members = {name: old.read(name) for name in old.namelist()}
    metadata = "tinyengine-1.0.dist-info/METADATA"
    members[metadata] += b"Requires-Dist: no-such-distribution\n"
    with zipfile.ZipFile(wheel, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    with pytest.raises(EngineError, match="no-such-distribution"):
        install_engine("tiny", say=[].append, prove=False)
    spec = dataclasses.replace(TINY, as_pinned=True)
    register(monkeypatch, spec)
    assert install_engine("tiny", say=[].append, prove=False).identity == {"packages": {"tinyengine": "1.0"}}
    assert spec.recipe_sha256() == TINY.recipe_sha256(), "how the same versions get there does not matter"


def test_full_disk_is_said_before_anything_is_downloaded(tiny, monkeypatch):
    monkeypatch.setattr(engine_install.shutil, "disk_usage", lambda _: SimpleNamespace(free=1e6))
    register(monkeypatch, dataclasses.replace(TINY, size_GB=1.5))
    with pytest.raises(EngineError, match=r"needs 2\.0 GB of disk space, and 0\.0 GB are free"):
        install_engine("tiny", say=[].append)


def test_unwritable_home_is_said(tmp_path, monkeypatch, tiny):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(EngineError, match="set SUPERIONIC_HOME"):
        install_engine("tiny", say=[].append)


# ---- no CUDA without a card ----

CPU_REPORT = {"install": [{"metadata": {"name": name}} for name in ("torch", "sympy", "nvidia-ml-py3")]}
CUDA_REPORT = {"install": [{"metadata": {"name": name}} for name in ("torch", "nvidia-cublas", "NVIDIA-NCCL-cu13")]}


class Recorder:
    engine = "chgnet"

    def __init__(self, report):
        self.report = report
        self.commands: list[list[str]] = []

    def say(self, line):
        pass

    def run(self, arguments, *, fix, env=None):
        self.commands.append(list(arguments))
        self.fix = fix
        return json.dumps(self.report)


def test_cuda_packages_are_told_from_others():
    assert cuda_packages(CPU_REPORT) == []
    assert cuda_packages(CUDA_REPORT) == ["nvidia-cublas", "nvidia-nccl-cu13"]


@pytest.mark.parametrize(
    ("report", "card", "allow_cuda", "n_commands"),
    [
        (CPU_REPORT, False, False, 1),
        (CUDA_REPORT, False, False, 2),
        (CUDA_REPORT, True, False, 0),
        (CUDA_REPORT, False, True, 0),
    ],
)
def test_cuda_is_taken_only_with_a_card_or_by_request(monkeypatch, report, card, allow_cuda, n_commands):
    monkeypatch.setattr(engine_install, "nvidia_gpu_visible", lambda: card)
    shell = Recorder(report)
    engine_install._install_torch("2.13.0", ["pip", "install"], shell, allow_cuda=allow_cuda, retry="again")
    assert len(shell.commands) == n_commands
    if n_commands:
        assert "--dry-run" in shell.commands[0]
    if n_commands == 2:
        assert shell.commands[1][-2:] == [engine_install.TORCH_CPU_INDEX, "torch==2.13.0+cpu"]
        assert "--allow-cuda" in shell.fix


@pytest.mark.parametrize(
    ("listing", "code", "visible"), [("GPU 0: NVIDIA H100 (UUID: x)\n", 0, True), ("", 0, False), ("GPU 0", 9, False)]
)
def test_card_is_seen_by_what_the_driver_lists(monkeypatch, listing, code, visible):
    answer = SimpleNamespace(stdout=listing, returncode=code)
    monkeypatch.setattr(engine_install.subprocess, "run", lambda *args, **kwargs: answer)
    assert engine_install.nvidia_gpu_visible() is visible


def test_without_the_driver_no_card_is_seen(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert engine_install.nvidia_gpu_visible() is False


# ---- what is compiled ----

MISSING = NativeBuild("#include <no_such_header.h>\n", ("nosuchlibrary",), ("g++", "libnosuch-dev"))


def test_missing_header_or_compiler_is_explained_to_who_is_not_root(monkeypatch, tiny, tmp_path):
    register(monkeypatch, dataclasses.replace(TINY, native=MISSING))
    monkeypatch.setattr(engine_install, "_may_use_apt", lambda: False)
    with pytest.raises(EngineError, match=r"no_such_header\.h") as caught:
        install_engine("tiny", say=[].append)
    assert "apt-get install -y --no-install-recommends g++ libnosuch-dev" in str(caught.value.fix)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"the compiler g\+\+ is not installed"):
        install_engine("tiny", say=[].append)


def test_missing_library_is_a_complaint_and_a_complete_machine_is_none():
    source = "int main() { return 0; }\n"
    assert engine_install._native_complaint(NativeBuild(source, (), ())) is None
    assert "nosuchlibrary" in str(engine_install._native_complaint(NativeBuild(source, ("nosuchlibrary",), ())))


def test_root_installs_system_packages_says_so_and_gives_the_reason_of_a_failure(monkeypatch, tiny):
    register(monkeypatch, dataclasses.replace(TINY, native=MISSING))
    monkeypatch.setattr(engine_install, "_may_use_apt", lambda: True)
    run, commands = subprocess.run, []

    def fake(command, **options):
        if command[0] != "apt-get":
            return run(command, **options)
        commands.append(command)
        return SimpleNamespace(returncode=100 * len(commands) - 100, stdout="", stderr="E: Unable to locate package")

    monkeypatch.setattr(engine_install.subprocess, "run", fake)
    lines: list[str] = []
    with pytest.raises(EngineError, match="Unable to locate package"):
        install_engine("tiny", say=lines.append)
    assert [command[3] for command in commands] == ["update", "install"]
    assert lines == ["tiny: installing system packages with apt-get: g++ libnosuch-dev"]
