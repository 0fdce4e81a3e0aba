"""Fixtures for all tests."""

from __future__ import annotations

import fcntl
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from superionic.errors import EngineError
from superionic.execution.engines import resolve_engine
from superionic.execution.worker import call_once
from superionic.execution.worker_process import WorkerProcess

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference data beside the repository; tests that need it skip where it is absent."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no reference data beside the repository")
    return folder


@pytest.fixture
def fake_vasp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Put tests/labels/fake_vasp.py in the place of VASP, with POTCARs of Li, Y and Cl."""
    for name, title in {"Li_sv": "10Sep2004", "Y_sv": "25May2007", "Cl": "06Sep2000"}.items():
        folder = tmp_path / "psp" / "potpaw_PBE.54" / name
        folder.mkdir(parents=True)
        (folder / "POTCAR").write_text(f"  PAW_PBE {name} {title}\n 3.0\n End of Dataset\n")
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "psp"))
    monkeypatch.setenv("SUPERIONIC_VASP", f"{sys.executable} {ROOT / 'tests' / 'labels' / 'fake_vasp.py'}")
    monkeypatch.delenv("FAKE_VASP", raising=False)
    return monkeypatch


@pytest.fixture(scope="session")
def engine_call() -> Iterator[Callable[..., Any]]:
    """Run a task function in an engine's environment: ``engine_call(engine, "module:name", settings, inputs)``.

    One worker is kept warm, of the engine that was called last: importing one takes up to ten seconds.
    """
    warm: dict[Path, WorkerProcess] = {}

    def call(engine: str, function: str, settings: Mapping[str, Any], inputs: Mapping[str, Any] | None = None) -> Any:
        python = resolve_engine(engine).python
        if python not in warm or not warm[python].is_there:
            close()
            warm[python] = WorkerProcess(python)
        return call_once(python, function, settings, inputs, worker=warm[python])

    def close() -> None:
        while warm:
            warm.popitem()[1].close()

    yield call
    close()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Return a folder by its name, which the first of the processes that share the tests out has filled."""
    common = tmp_path_factory.getbasetemp()
    if common.name.startswith("popen-"):  # one of several processes: their common folder
        common = common.parent

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder = common / name
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "made").exists():
                fill(folder)
                (folder / "made").touch()
        return folder

    return make


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let interrupts and hang-ups be heard here and in child processes, even in the background of a script or nohup."""
    ours = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in ours.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a process a file at a time; the files of ``tests/campaigns`` go together, as they share what is run."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):  # type: ignore[misc,unused-ignore]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return "tests/campaigns" if file.startswith("tests/campaigns/") else file

    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests of engines and of a browser that are not installed; files with slow tests come first.

    Several processes share the files out in this order, so none of them is left alone with a long one at the end.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    no_browser = shutil.which("chromium") is None or shutil.which("chromedriver") is None
    for item in items:
        if no_browser and item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason="chromium and chromedriver are not installed"))
        for marker in item.iter_markers("engine"):
            name = marker.args[0]
            try:
                resolve_engine(name)
            except EngineError:
                item.add_marker(pytest.mark.skip(reason=f"engine {name} is not installed"))
