"""Tasks: functions of their inputs, named by a hash.

A task's key is the SHA-256 of everything that its result depends on: the function and its version, the settings in
canonical form, the keys of the tasks that it reads, and the identity of the engine that runs it. The key is known
before anything runs, so a whole chain of tasks can be planned, compared with the store and resumed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from superionic.execution.codec import canonical_json


@dataclass(frozen=True)
class Context:
    """What a running task function may use besides its settings and inputs.

    Attributes
    ----------
    scratch
        A private folder that is removed when the task ends.
    progress
        Callable ``progress(fraction, message)``; cheap, may be called often.
    cache
        Lives as long as the worker process: loaded potentials are kept in it from task to task.
    """

    scratch: Path
    progress: Callable[[float, str], None]
    cache: dict[str, Any]


@dataclass(frozen=True)
class Ref:
    """A part of another task's result, found by walking ``path`` from the result's root."""

    task: Task
    path: tuple[str | int, ...] = ()


@dataclass(frozen=True, repr=False)
class Task:
    """One unit of work.

    Attributes
    ----------
    stage
        The stage that it belongs to.
    label
        What it is, for people: unique within a campaign and stable when settings change, so that two versions of one
        task can be compared.
    function
        ``module:name`` of a function ``f(settings, inputs, context) -> result``.
    version
        Version of that function; raised when its results change.
    settings
        Plain JSON values.
    inputs
        Names to :class:`Ref`, or lists of them.
    engine, engine_identity
        The environment that runs it, and the versions and checksums that its result depends on.
    walltime_s
        Longest time that it may take; not part of the key.
    """

    stage: str
    label: str
    function: str
    version: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Ref | Sequence[Ref]] = field(default_factory=dict)
    engine: str = "core"
    engine_identity: Mapping[str, Any] = field(default_factory=dict)
    walltime_s: float | None = None

    def __repr__(self) -> str:
        """Return a line: tasks hold the tasks before them, and a whole campaign is too long to print."""
        return f"Task({self.stage!r}, {self.label!r}, {self.function!r}, version={self.version})"

    def __getitem__(self, part: str | int) -> Ref:
        """Refer to one part of this task's result."""
        return Ref(self, (part,))

    def descriptor(self) -> dict[str, Any]:
        """Return all that the key is made of, as plain values."""
        return {
            "engine": {"name": self.engine, **self.engine_identity},
            "function": self.function,
            "inputs": {name: _describe(value) for name, value in self.inputs.items()},
            "settings": dict(self.settings),
            "stage": self.stage,
            "version": self.version,
        }

    @cached_property
    def key(self) -> str:
        """SHA-256 of :meth:`descriptor`, in hexadecimal."""
        return hashlib.sha256(canonical_json(self.descriptor()).encode()).hexdigest()

    def dependencies(self) -> Iterator[Task]:
        """Yield the tasks whose results this one reads, once each, in a fixed order."""
        seen: set[str] = set()
        for name in sorted(self.inputs):
            value = self.inputs[name]
            for ref in [value] if isinstance(value, Ref) else value:
                if ref.task.key not in seen:
                    seen.add(ref.task.key)
                    yield ref.task

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and other.key == self.key


def _describe(value: Ref | Sequence[Ref]) -> Any:
    if isinstance(value, Ref):
        return {"path": list(value.path), "task": value.task.key}
    return [_describe(item) for item in value]


def select(result: Any, path: Sequence[str | int]) -> Any:
    """Walk ``path`` into a result.

    Raises
    ------
    KeyError
        If the result has no such part.
    """
    for step in path:
        try:
            result = result[step]
        except (KeyError, IndexError, TypeError) as error:
            raise KeyError(f"the result has no part {list(path)}") from error
    return result
