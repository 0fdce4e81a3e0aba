"""A workbench whose tasks run in this process, through a real store."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from superionic.execution import worker
from superionic.execution.ledger import LEDGER, Ledger
from superionic.execution.runner import Runner, Slots
from superionic.execution.store import Store
from superionic.potentials.base import describe_potential
from superionic.stages.base import ChosenPotential, Workbench


class InThisProcess(Executor):
    """Runs each task at once, with the worker's own code, and notes which."""

    def __init__(self) -> None:
        self.cache: dict[str, Any] = {}
        self.made: list[str] = []

    def submit(self, _function: Any, request: Any, /, *_args: Any, **_kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(worker._answer(request, self.cache))
        self.made.append(request["function"].partition(":")[2])
        return future


@pytest.fixture(scope="module")
def workbench_of_module(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """Make a workbench with a pair potential that all tests of a module share."""
    folder = tmp_path_factory.mktemp("store")
    store, ledger = Store(folder), Ledger(folder / LEDGER)
    runner = Runner(store, ledger, executor=InThisProcess(), slots=Slots(1), python_of=lambda _engine: Path("x"))
    pair = ChosenPotential("pair", describe_potential("pair"))
    return Workbench(runner, 5, "Li", {"Li": 1.0, "Cl": -1.0}, {"pair": pair}, lambda _engine: {})


@pytest.fixture
def workbench(tmp_path: Path) -> Callable[..., Workbench]:
    """Make a workbench with a store of its own and some pair potentials."""

    def make(name: str = "store", **options: Any) -> Workbench:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        store, ledger = Store(folder), Ledger(folder / LEDGER)
        runner = Runner(store, ledger, executor=InThisProcess(), slots=Slots(1), python_of=lambda _engine: Path("x"))
        potentials = {
            title: ChosenPotential(title, replace(describe_potential("pair"), energy_convention=title), options=chosen)
            for title, chosen in {"pair": {}, "scaled": {"charge_scale": 0.5}, **options}.items()
        }
        return Workbench(runner, 3, "Li", {"Li": 1.0}, potentials, lambda _engine: {})

    return make
