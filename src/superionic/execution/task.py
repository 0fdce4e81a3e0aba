"""Tasks: functions of their inputs, identified by a hash.

A task's key is the SHA-256 of everything that its result depends on: the function and its version, the settings in
canonical form, the keys of the tasks that it reads, and the identity of the engine that runs it. The key is known
before anything runs, so a whole chain of tasks can be planned, compared with the store and resumed.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Concatenate, Generic, NoReturn, ParamSpec, Protocol, Self, TypeVar, cast, runtime_checkable

from superionic.execution.codec import canonical_json, field_hints, from_tree, to_tree

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
P = ParamSpec("P")


@dataclass(frozen=True)
class Context:
    """What a task function may use while it runs, besides its settings and inputs.

    Attributes
    ----------
    scratch
        A private folder, removed when the task ends.
    progress
        Callable ``progress(fraction, message)``; cheap enough to be called often.
    cache
        Objects that outlive a task, as long as the worker process does, such as loaded potentials.
    """

    scratch: Path
    progress: Callable[[float, str], None]
    cache: dict[str, Any]


@dataclass(frozen=True)
class Ref:
    """A part of another task's result, reached by following ``path`` from the result's root."""

    task: Task[Any]
    path: tuple[str | int, ...] = ()


class Part:
    """A part of a result that may not exist yet, written as if it did.

    ``task.result`` is one; its attributes and items are parts as well. To the type checker a part *is* the value that
    it stands for, so that access to a field which the result lacks is detected before anything runs. Parts can be
    passed to tasks and compared; anything else needs the value (:meth:`Runner.value_of`).
    """

    __slots__ = ("_ref",)

    def __init__(self, ref: Ref) -> None:
        self._ref = ref

    def __getattr__(self, name: str) -> Part:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, step: str | int) -> Part:
        return Part(Ref(self._ref.task, (*self._ref.path, step)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Part) and self._ref == other._ref

    def __hash__(self) -> int:
        return hash(self._ref)

    def __repr__(self) -> str:
        return f"Part({self._ref.task.label!r}, {list(self._ref.path)})"

    def _has_no_value(self, *_: object) -> NoReturn:
        raise TypeError(f"{self!r} is a part of a result that may not exist yet; use Runner.value_of for its value")

    __iter__ = __len__ = __bool__ = __float__ = __int__ = __index__ = __array__ = _has_no_value
    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __sub__ = __mul__ = __truediv__ = _has_no_value


def ref_of(part: object) -> Ref:
    """Return the reference behind a part.

    Raises
    ------
    TypeError
        If it is a value and not a part.
    """
    if not isinstance(part, Part):
        raise TypeError(f"{part!r} is not a part of a task's result")
    return part._ref


@dataclass(frozen=True, repr=False)
class Task(Generic[R_co]):
    """One unit of work, whose result is an ``R_co``.

    Attributes
    ----------
    stage
        The stage that it belongs to.
    label
        Its name for people: unique within a campaign and stable when settings change, so that two versions of one
        task can be compared.
    function
        ``module:name`` of a function ``f(settings, inputs, context) -> result``, in the form that enters keys.
    version
        Version of that function; raised when its results change.
    settings
        Plain JSON values.
    inputs
        References (:class:`Ref`), or lists of them, by name.
    engine, engine_identity
        The environment that runs it, and the versions and checksums that its result depends on.
    walltime_s
        Time limit; not part of the key.
    returns
        Type of the result, as which it is read from the store; not part of the key.
    moved_to
        Present ``module:name`` of the function, if it has moved since its name entered keys; not part of the key.
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
    returns: Any = Any
    moved_to: str | None = None

    @property
    def result(self) -> R_co:
        """The result, to be passed to other tasks as a whole or in parts (see :class:`Part`)."""
        return cast(R_co, Part(Ref(self)))

    def read(self, tree: Any) -> R_co:
        """Read a tree from the store as the type of the task's result."""
        return cast(R_co, from_tree(tree, self.returns, self.label))

    def __repr__(self) -> str:
        """Return one line, since a task holds those that it reads, and with them perhaps a whole campaign."""
        return f"Task({self.stage!r}, {self.label!r}, {self.function!r}, version={self.version})"

    def __getitem__(self, part: str | int) -> Ref:
        """Return a reference to one part of this task's result."""
        return Ref(self, (part,))

    def descriptor(self) -> dict[str, Any]:
        """Return everything that enters the key, as plain values."""
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

    def dependencies(self) -> Iterator[Task[Any]]:
        """Yield the tasks whose results this one reads, once each, in a fixed order."""
        yielded: set[str] = set()
        for name in sorted(self.inputs):
            for ref in refs_in(self.inputs[name]):
                if ref.task.key not in yielded:
                    yielded.add(ref.task.key)
                    yield ref.task

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and other.key == self.key


def _describe(value: Any) -> Any:
    if isinstance(value, Ref):
        return {"path": list(value.path), "task": value.task.key}
    return [_describe(item) for item in value]


def refs_in(value: Any) -> Iterator[Ref]:
    """Yield the references in an input, from lists of any depth."""
    if isinstance(value, Ref):
        yield value
    else:
        for item in value:
            yield from refs_in(item)


# ---- task functions -------------------------------------------------------------------------------------------------


@runtime_checkable
class TaskArgument(Protocol):
    """An argument of a task that itself divides its content into settings, which enter the key, and inputs."""

    def task_settings(self) -> dict[str, Any]:
        """Return its plain values, by their names in the settings of a task."""

    def task_inputs(self) -> dict[str, Any]:
        """Return its parts of other results, by their names in the inputs of a task."""

    @classmethod
    def from_task(cls, settings: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        """Rebuild the argument from all settings and inputs of a task, inside the worker."""


class ArgumentGroup:
    """Arguments shared by several tasks: fields of a frozen dataclass, each of which enters keys by itself."""

    def task_settings(self) -> dict[str, Any]:
        """Return the fields that are plain values."""
        return {name: value for name, value in vars(self).items() if not _holds_parts(value)}

    def task_inputs(self) -> dict[str, Any]:
        """Return the fields that are parts of other results."""
        return {name: value for name, value in vars(self).items() if _holds_parts(value)}

    @classmethod
    def from_task(cls, settings: Mapping[str, Any], inputs: Mapping[str, Any]) -> Self:
        """Rebuild the group inside the worker."""
        arguments, hints = {**settings, **inputs}, field_hints(cast(Any, cls))
        return cls(**{name: from_tree(arguments[name], hint, name) for name, hint in hints.items()})


@dataclass(frozen=True)
class Call(Generic[R_co]):
    """A task function with its arguments: values, or parts of other results; see :meth:`TaskFunction.of`."""

    function: TaskFunction[..., R_co]
    arguments: Mapping[str, Any]

    def settings_and_inputs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Divide the arguments into plain values and references.

        Raises
        ------
        TypeError
            If two arguments have the same place: a task has one potential, whose engine runs it.
        """
        settings: dict[str, Any] = {}
        inputs: dict[str, Any] = {}
        for name, value in self.arguments.items():
            if _divides_itself(type(value)):
                own = value.task_settings()
                if taken := [key for key in own if key in settings]:
                    raise TypeError(f"{self.function.name}: {name} has the place of another argument: {taken[0]}")
                settings |= {key: to_tree(item, name) for key, item in own.items()}
                inputs |= {key: _as_refs(item, key) for key, item in value.task_inputs().items()}
            elif _holds_parts(value):
                inputs[name] = _as_refs(value, name)
            else:
                settings[name] = to_tree(value, name)
        return settings, inputs


class TaskFunction(Generic[P, R_co]):
    """A module-level function that tasks run, made by :func:`task`.

    Calling it does the work at once; :meth:`of` builds the call for a task instead.

    Attributes
    ----------
    name
        ``module:name`` as it enters keys; the module is the present one, or ``KNOWN_AS`` if that module has moved.
    address
        ``module:name``, by which workers import it.
    version
        Raised when results change; part of the key.
    """

    def __init__(self, function: Callable[Concatenate[Context, P], R_co], version: int) -> None:
        self._function = function
        self.version = version
        module = vars(sys.modules[function.__module__])
        self.name = f"{module.get('KNOWN_AS', function.__module__)}:{function.__qualname__}"
        self.address = f"{function.__module__}:{function.__qualname__}"
        self.__doc__ = function.__doc__

    def __call__(self, context: Context, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Do the work."""
        return self._function(context, *args, **kwargs)

    def of(self, *args: P.args, **kwargs: P.kwargs) -> Call[R_co]:
        """Bind arguments for a task. None for an argument whose default is None is left out of the key."""
        if args:
            raise TypeError(f"{self.name} takes its arguments by name")
        arguments = {name: value for name, value in kwargs.items() if value is not None or not self._is_optional(name)}
        return Call(self, arguments)

    def _is_optional(self, name: str) -> bool:
        return self._parameters[name].default is None

    @cached_property
    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self._function).parameters

    @cached_property
    def hints(self) -> dict[str, Any]:
        """Types of the arguments and of the result, resolved."""
        return typing.get_type_hints(self._function)

    def perform(self, settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> R_co:
        """Do the work of a task, after reading its settings and inputs as the types of the function's arguments."""
        values = {**settings, **inputs}
        arguments: dict[str, Any] = {}
        for name, hint in self.hints.items():
            own: Any = next(
                (h for h in (hint, *typing.get_args(hint)) if isinstance(h, type) and _divides_itself(h)), None
            )
            if own is not None:
                arguments[name] = own.from_task(settings, inputs)
            elif name in values:
                arguments[name] = from_tree(values[name], hint, name)
        return self._function(context, **arguments)  # type: ignore[call-arg]


def task(*, version: int) -> Callable[[Callable[Concatenate[Context, P], R]], TaskFunction[P, R]]:
    """Turn a function ``f(context, *, …) -> result`` into one that tasks run.

    Its arguments are settings and the results (or parts of results) of other tasks; their types, and that of the
    result, must be ones that :func:`superionic.execution.codec.from_tree` reads and be importable where the task runs.

    Parameters
    ----------
    version
        Version of the results; raise it when they change, if only in the last digit, or when their shape does.
    """

    def decorate(function: Callable[Concatenate[Context, P], R]) -> TaskFunction[P, R]:
        return TaskFunction(function, version)

    return decorate


def _divides_itself(cls: type) -> bool:
    return all(hasattr(cls, name) for name in ("task_settings", "task_inputs", "from_task"))


def _holds_parts(value: Any) -> bool:
    if isinstance(value, (Part, Ref)):
        return True
    return isinstance(value, (list, tuple)) and any(_holds_parts(item) for item in value)


def _as_refs(value: Any, where: str) -> Any:
    if isinstance(value, Part):
        return ref_of(value)
    if isinstance(value, Ref):
        return value
    if isinstance(value, (list, tuple)):
        return [_as_refs(item, where) for item in value]
    raise TypeError(f"{where}: values and parts of other results are mixed in one argument")


def select(result: Any, path: Sequence[str | int]) -> Any:
    """Return the part of a result that ``path`` leads to.

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
