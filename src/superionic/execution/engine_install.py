"""Installing an engine: a virtual environment, pinned versions, a proof, and only then the record that it exists.

Nothing here downloads CUDA on a machine without an NVIDIA card: before PyTorch is installed, pip is asked what it would
install, and if that includes NVIDIA's libraries (gigabytes), PyTorch's own index of CPU builds is used instead.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from superionic.engine_spec import DataSpec, EngineSpec, NativeBuild
from superionic.errors import EngineError
from superionic.execution.engine_specs import DATA, engine_spec
from superionic.execution.engines import (
    EngineLocation,
    Say,
    current_location,
    dispersion_pins,
    dispersion_problem,
    engine_folder,
    engine_python,
    environment_location,
    prove_engine,
    resolve_engine,
    write_record,
)
from superionic.execution.home import clean_environment, worker_environment
from superionic.execution.kept_files import keep
from superionic.foreign import sha256_of
from superionic.registry import models

TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's public index of builds without CUDA."""

# Older pips, asked to resolve without installing, download whole wheels first, CUDA's included.
_PIP = "pip==26.3"
_HEARTBEAT_S = 20.0
_TAIL_LINES = 12


def install_engine(
    name: str, *, say: Say = print, allow_cuda: bool = False, rebuild: bool = False, prove: bool = True
) -> EngineLocation:
    """Build the environment of an engine, unless it exists already.

    Parameters
    ----------
    name
        The engine.
    say
        Called with each line of progress.
    allow_cuda
        Accept the build of PyTorch that pip prefers, CUDA included, even if no NVIDIA card is visible.
    rebuild
        Rebuild the environment if it exists.
    prove
        Require the engine to reproduce the values on record before it counts as installed.

    Raises
    ------
    EngineError
        If the engine is unknown, something that it needs is missing, a step fails, or the proof fails. The error names
        the fix, and as ``where`` the log. The next call rebuilds an incomplete environment.
    """
    if name in DATA:
        return _install_data(DATA[name], say, rebuild=rebuild, prove=prove)
    spec = engine_spec(name)
    current = current_location(spec)
    if current is not None and not rebuild:
        say(f"{name}: {spec.requirement} is installed in this Python already, and is used here")
        return current
    folder = engine_folder(name)
    with _only_one_installer(folder, say):
        existing = environment_location(spec)
        if existing is not None and not rebuild:
            say(f"{name}: {spec.requirement} is installed already")
            if dispersion_problem(existing) is not None:
                with folder.with_name(f"{name}.log").open("a", encoding="utf-8") as log:
                    _add_dispersion(spec, existing.python, _Shell(name, log, say))
            return existing
        _demand_python(spec)
        _demand_space(spec, folder)
        if spec.native is not None and sys.version_info[:2] >= spec.native.from_python:
            _demand_native(spec, spec.native, say)
        with folder.with_name(f"{name}.log").open("w", encoding="utf-8") as log:
            return _make_environment(spec, folder, _Shell(name, log, say), allow_cuda=allow_cuda, prove=prove)


def nvidia_gpu_visible() -> bool:
    """Return whether the NVIDIA driver lists a card."""
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listing.returncode == 0 and "GPU " in listing.stdout


def cuda_packages(pip_report: Mapping[str, Any]) -> list[str]:
    """Return the names of CUDA packages in a report of ``pip install --dry-run --report``."""
    names = {str(item["metadata"]["name"]).lower() for item in pip_report["install"]}
    return sorted(name for name in names if name.startswith(("nvidia-", "cuda-")) and "nvidia-ml-py" not in name)


# ---- the steps -------------------------------------------------------------------------------------------------------


class _Shell:
    """Runs commands, logs their output, and reports progress."""

    def __init__(self, engine: str, log: TextIO, say: Say) -> None:
        self.engine = engine
        self._log = log
        self._say = say

    @property
    def log_path(self) -> str:
        return self._log.name

    def say(self, line: str) -> None:
        self._log.write(f"# {line}\n")
        self._say(f"{self.engine}: {line}")

    def run(self, arguments: Sequence[str], *, fix: str, env: Mapping[str, str] | None = None) -> str:
        """Run a command and return its standard output; raise EngineError with the end of its output if it fails."""
        self._log.write(f"$ {' '.join(arguments)}\n")
        self._log.flush()
        start = Path(self.log_path).stat().st_size
        began, next_report_s = time.monotonic(), _HEARTBEAT_S
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=self._log, env=env or _pip_environment()
            )
            try:
                while True:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(timeout=1.0)
                        break
                    if time.monotonic() - began > next_report_s:
                        self._say(f"{self.engine}: ... still running ({next_report_s:.0f} s)")
                        next_report_s += _HEARTBEAT_S
            except BaseException:
                process.terminate()
                process.wait()
                raise
            output.seek(0)
            text = output.read()
        if process.returncode != 0:
            self._log.write(text)
            self._log.flush()
            tail = _last_lines(Path(self.log_path), start)
            raise EngineError(
                f"The engine {self.engine!r} could not be installed; the last lines were:\n{tail}",
                where=self.log_path,
                fix=fix,
            )
        return text


def _install_data(spec: DataSpec, say: Say, *, rebuild: bool, prove: bool) -> EngineLocation:
    """Take a file out of a package of others, check it, and keep it where tasks look for it."""
    with contextlib.suppress(EngineError):
        if not rebuild:
            there = resolve_engine(spec.name)
            say(f"{spec.name}: installed already")
            return there
    say(f"{spec.name}: taking {spec.member} out of {spec.requirement} (licence {spec.licence})")
    with tempfile.TemporaryDirectory(prefix="superionic-data-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        ended = subprocess.run(
            [*command, *spec.wheel, "--dest", folder, spec.requirement],
            capture_output=True,
            text=True,
            errors="replace",
            env=_pip_environment(),
            stdin=subprocess.DEVNULL,
            check=False,
        )
        wheel = next(Path(folder).glob("*.whl"), None)
        file = Path(folder) / spec.member.rpartition("/")[2]
        by_hand = f"get {spec.requirement} from a package index where there is one, and name its {file.name} as `file`"
        if ended.returncode != 0 or wheel is None:
            tail = "\n".join(ended.stderr.splitlines()[-_TAIL_LINES:])
            raise EngineError(f"The package of {spec.name} cannot be downloaded:\n{tail}", fix=by_hand)
        try:
            with zipfile.ZipFile(wheel) as package:
                file.write_bytes(package.read(spec.member))
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise EngineError(f"{wheel.name} does not hold {spec.member}: {error}", fix=by_hand) from error
        if (digest := sha256_of(file)) != spec.sha256:
            raise EngineError(
                f"The file of {spec.name} in {wheel.name} is not the one on record: its SHA-256 is {digest}.",
                fix=by_hand,
            )
        keep(file)
    location = resolve_engine(spec.name)
    if prove:
        report = prove_engine(spec, location)
        say(f"{spec.name}: {report.message}")
        if not report.passed:
            raise EngineError(f"{spec.name} fails its proof: {report.message}", fix="do not trust it on this machine")
    say(f"{spec.name}: ready. Caution: {spec.caution}")
    return location


def _make_environment(
    spec: EngineSpec, folder: Path, shell: _Shell, *, allow_cuda: bool, prove: bool
) -> EngineLocation:
    retry = f"mend what the log reports (network, disk?), then run again: superionic engines install {spec.name}"
    shell.say(f"building an environment for {spec.requirement} (licence {spec.licence}) in {folder}")
    _remove(folder)
    shell.run(
        [sys.executable, "-m", "venv", str(folder)],
        fix="install the venv module of your Python (Debian, Ubuntu: apt-get install python3-venv), then run it again",
    )
    python = engine_python(folder)
    # Compiling all modules takes three times as long as unpacking them; the proof compiles those that are used.
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-compile"]
    for name, text in spec.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    shell.run([*pip, _PIP], fix=retry)
    torch = spec.pinned_version("torch")
    if torch is not None:
        _install_torch(torch, pip, shell, allow_cuda=allow_cuda, retry=retry)
        if spec.as_pinned:  # PyTorch's requirements depend on the build, so the pins cannot list them all
            shell.run([*pip, f"torch=={torch}"], fix=retry)
    shell.say(f"installing its packages (about {spec.size_GB:g} GB in the end)")
    if spec.build_environment:
        pins = folder / "pins-without-engine.txt"
        others = [line for line in spec.pins().splitlines() if line != spec.requirement]
        pins.write_text("\n".join(others) + "\n", encoding="utf-8")
        shell.run([*pip, "-r", str(pins)], fix=retry)
        shell.say(f"compiling {spec.requirement}")
        settings = {name: value.format(folder) for name, value in spec.build_environment.items()}
        build = [*pip, "--no-deps", "--no-build-isolation", "--no-cache-dir", spec.requirement]
        shell.run(build, fix=retry, env=_pip_environment() | settings)
    else:
        pins = folder / "pins.txt"
        pins.write_text(spec.pins(), encoding="utf-8")
        shell.run([*pip, *(["--no-deps"] if spec.as_pinned else []), "-r", str(pins)], fix=retry)
    _add_dispersion(spec, python, shell)
    versions = _import_and_ask(spec, python, shell)
    location = EngineLocation(
        spec.name, python, "environment", {"packages": {package: versions[package] for package in spec.main_packages}}
    )
    if prove:
        shell.say("testing it against the values on record")
        report = prove_engine(spec, location)
        shell.say(report.message)
        if not report.passed:
            raise EngineError(
                f"The engine {spec.name!r} is installed but fails its proof: {report.message}",
                where=shell.log_path,
                fix="do not trust it on this machine; please report this with the log",
            )
    write_record(spec, folder, versions)
    shell.say(f"ready: {', '.join(f'{package} {versions[package]}' for package in spec.main_packages)}")
    return location


def _add_dispersion(spec: EngineSpec, python: Path, shell: _Shell) -> None:
    """Add the library of the dispersion term to the environment of a model; without it all else works."""
    if not any(model.engine is not None and model.engine.name == spec.name for model in models().values()):
        return
    pins = [f"{name}=={version}" for name, version in dispersion_pins().items()]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", "--only-binary", ":all:"]
    try:
        shell.run([*pip, *pins], fix="do without dispersion terms in this engine")
    except EngineError:
        shell.say(f"{pins[0]}, by which dispersion terms are evaluated, cannot be added here; the engine is whole")
    else:
        shell.say(f"added {pins[0]}, by which dispersion terms are evaluated")


def _install_torch(version: str, pip: list[str], shell: _Shell, *, allow_cuda: bool, retry: str) -> None:
    """Install PyTorch's CPU build if pip by itself would install CUDA on a machine without a card."""
    if allow_cuda or nvidia_gpu_visible():
        shell.say("an NVIDIA card is visible or CUDA was allowed: installing the PyTorch that pip prefers")
        return
    shell.say(f"asking pip what torch=={version} would install")
    resolve = [*pip, "--dry-run", "--ignore-installed", "--report", "-", f"torch=={version}"]
    cuda = cuda_packages(json.loads(shell.run(resolve, fix=retry)))
    if not cuda:
        return
    shell.say(f"it would install CUDA ({len(cuda)} packages), but no NVIDIA card is visible: using the CPU build")
    shell.run(
        [*pip, "--no-deps", "--index-url", TORCH_CPU_INDEX, f"torch=={version}+cpu"],
        fix=(
            f"make PyTorch's index of CPU builds reachable ({TORCH_CPU_INDEX}), or download the wheel of "
            f"torch {version}+cpu elsewhere and set PIP_FIND_LINKS to its folder, or accept gigabytes of CUDA with "
            f"superionic engines install {shell.engine} --allow-cuda"
        ),
    )


def _import_and_ask(spec: EngineSpec, python: Path, shell: _Shell) -> dict[str, str]:
    """Import the engine in its environment and return the versions of its main packages and of Python."""
    program = (
        "import importlib, importlib.metadata, json, platform, sys\n"
        "importlib.import_module(sys.argv[1])\n"
        "versions = {name: importlib.metadata.version(name) for name in sys.argv[2:]}\n"
        "print(json.dumps(versions | {'python': platform.python_version()}))\n"
    )
    output = shell.run(
        [str(python), "-c", program, spec.module, *spec.main_packages],
        fix=f"run again: superionic engines install {spec.name}; if that does not help, please report it with the log",
        env=worker_environment(),
    )
    versions: dict[str, str] = json.loads(output.strip().splitlines()[-1])
    return versions


# ---- requirements on the machine -------------------------------------------------------------------------------------


def _demand_python(spec: EngineSpec) -> None:
    if spec.last_python is not None and not spec.fits_python(sys.version_info[:2]):
        last = ".".join(map(str, spec.last_python))
        raise EngineError(
            f"The engine {spec.name!r} cannot be installed for Python {sys.version_info[0]}.{sys.version_info[1]}: "
            f"its dependencies support Python up to {last}.",
            fix=f"install superionic with Python {last}, or do without this engine",
        )


def _demand_space(spec: EngineSpec, folder: Path) -> None:
    free_GB = shutil.disk_usage(folder.parent).free / 1e9
    needed_GB = 1.3 * spec.size_GB
    if free_GB < needed_GB:
        raise EngineError(
            f"The engine {spec.name!r} needs {needed_GB:.1f} GB of disk space, and {free_GB:.1f} GB are free.",
            where=str(folder.parent),
            fix="free some space, or set SUPERIONIC_HOME to a folder on a larger disk",
        )


def _demand_native(spec: EngineSpec, native: NativeBuild, say: Say) -> None:
    """Check for compiler, headers and libraries; install missing ones if this process may (root on Debian)."""
    complaint = _native_complaint(native)
    if complaint is None:
        return
    commands = [
        ["apt-get", "update"],
        ["apt-get", "install", "-y", "--no-install-recommends", *native.debian_packages],
    ]
    by_hand = " && ".join(" ".join(command) for command in commands)
    if not _may_use_apt():
        raise EngineError(
            f"The engine {spec.name!r} is compiled here, but this machine lacks something that it needs: {complaint}",
            fix=(
                f"on Debian or Ubuntu ask an administrator to run: {by_hand} - elsewhere install the same libraries "
                f"({', '.join(native.libraries) or 'none'}), their headers, those of Python, and g++; then run again: "
                f"superionic engines install {spec.name}"
            ),
        )
    say(f"{spec.name}: installing system packages with apt-get: {' '.join(native.debian_packages)}")
    for command in commands:
        completed = subprocess.run(
            [*command[:1], "-o", "DPkg::Lock::Timeout=300", *command[1:]],
            capture_output=True,
            text=True,
            errors="replace",
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if completed.returncode != 0:
            tail = "\n".join((completed.stdout + completed.stderr).splitlines()[-_TAIL_LINES:])
            raise EngineError(f"{' '.join(command)} failed:\n{tail}", fix=f"run by hand: {by_hand}")
    complaint = _native_complaint(native)
    if complaint is not None:
        raise EngineError(f"With the system packages installed, {spec.name!r} still cannot be compiled: {complaint}")


def _native_complaint(native: NativeBuild) -> str | None:
    """Compile and link the test program; return what the compiler complains about, or None."""
    include = [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]
    libraries = [f"-l{library}" for library in native.libraries]
    with tempfile.TemporaryDirectory(prefix="superionic-probe-") as folder:
        source = Path(folder) / "probe.cpp"
        source.write_text(native.source, encoding="utf-8")
        # A shared object, because symbols of Python itself are resolved only when it is loaded.
        command = ["g++", "-shared", "-fPIC", *include, str(source), *libraries, "-o", str(Path(folder) / "probe.so")]
        try:
            completed = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        except OSError:
            return "the compiler g++ is not installed"
    if completed.returncode == 0:
        return None
    errors = [line for line in completed.stderr.splitlines() if "error" in line or "cannot find" in line]
    return (errors or completed.stderr.splitlines() or ["g++ fails"])[0].strip()


def _may_use_apt() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


# ---- helpers ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _only_one_installer(folder: Path, say: Say) -> Iterator[None]:
    """Let one process at a time build this environment; the lock ends with the process that holds it."""
    import fcntl

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f"{folder.name}.lock").open("w")
    except OSError as error:
        raise EngineError(
            f"The folder for engines cannot be written: {error.strerror}.",
            where=str(folder.parent),
            fix="set SUPERIONIC_HOME to a folder that you may write",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"{folder.name}: another process is installing it; waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove(folder: Path) -> None:
    """Remove an environment, its record first, so that a kill cannot leave a damaged one that looks complete."""
    (folder / "engine.json").unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def _pip_environment() -> dict[str, str]:
    return clean_environment() | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def _last_lines(log: Path, start: int) -> str:
    lines = log.read_bytes()[start:].decode("utf-8", errors="replace").splitlines()
    lines = [line for line in lines if line.strip() and not line.startswith("WARNING:")]
    return "\n".join(lines[-_TAIL_LINES:])
