"""Where a number comes from: the tree of tasks behind a result, with settings, versions, cost and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from superionic.errors import StorageError

if TYPE_CHECKING:
    from superionic.execution.ledger import Ledger, Record
    from superionic.execution.store import Store, StoredFile

_MOST_MATCHES = 25


@dataclass(frozen=True)
class Descriptor:
    """What a task was made from, which determines its key (see :meth:`superionic.execution.task.Task.descriptor`).

    Attributes
    ----------
    engine
        Name and versions of the environment that ran it.
    function, version
        The function called, and its version.
    inputs
        Plain values that refer to other tasks by their keys, by name.
    settings
        Plain values, by name.
    stage
        The stage that it belongs to.
    """

    engine: Mapping[str, Any]
    function: str
    inputs: Mapping[str, Any]
    settings: Mapping[str, Any]
    stage: str
    version: int

    def keys_of(self, name: str) -> tuple[str, ...]:
        """Return the keys of the tasks that an input refers to, each once, however they are nested."""
        return tuple(dict.fromkeys(_keys_in(self.inputs.get(name, ()))))

    @property
    def input_keys(self) -> tuple[str, ...]:
        """The keys of all tasks that it reads, each once."""
        return tuple(dict.fromkeys(_keys_in(self.inputs)))


def descriptor_of(key: str, store: Store) -> Descriptor | None:
    """Return what a stored result was made from; None if it is not there."""
    values = store.descriptor(key)
    return None if values is None else Descriptor(**values)


@dataclass(frozen=True)
class Explanation:
    """The provenance of one task, or the tasks that match the query.

    Attributes
    ----------
    record
        The task; None where several match.
    matches
        All that match.
    descriptor
        What it was made from; None before it is done.
    inputs
        Names of its inputs, with key and label of the tasks that they come from.
    file
        The archive of its result; None before it is done.
    """

    record: Record | None
    matches: tuple[Record, ...]
    descriptor: Descriptor | None = None
    inputs: Mapping[str, list[tuple[str, str]]] = field(default_factory=dict)
    file: StoredFile | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for ``--json``."""
        descriptor = {} if self.descriptor is None else vars(self.descriptor)
        return {
            "file": None if self.file is None else {**vars(self.file), "path": str(self.file.path)},
            "inputs": {name: [{"key": k, "label": label} for k, label in refs] for name, refs in self.inputs.items()},
            "matches": [{"key": r.key, "label": r.label, "stage": r.stage, "state": r.state} for r in self.matches],
            "task": None if self.record is None else {**self.record._asdict(), "descriptor": descriptor},
        }


def make_explanation(query: str, ledger: Ledger, store: Store) -> Explanation:
    """Find a task and what it was made from.

    Raises
    ------
    StorageError
        If nothing matches.
    """
    matches = ledger.find(query.strip())
    exact = [record for record in matches if record.label == query.strip() or record.key == query.strip()]
    if not matches:
        raise StorageError(
            f"nothing in this campaign has a key or a label like {query!r}",
            where="explain",
            fix="take a key from the report or from results.json, or words of a label from `superionic status --all`",
        )
    record = exact[-1] if exact else (matches[0] if len(matches) == 1 else None)
    if record is None:
        return Explanation(None, tuple(matches[:_MOST_MATCHES]))
    descriptor = descriptor_of(record.key, store)
    inputs = {} if descriptor is None else {name: descriptor.keys_of(name) for name in descriptor.inputs}
    labelled = {name: [(key, _label(key, ledger)) for key in keys] for name, keys in inputs.items()}
    return Explanation(record, tuple(matches[:_MOST_MATCHES]), descriptor, labelled, store.file(record.key))


def _label(key: str, ledger: Ledger) -> str:
    record = ledger.record(key)
    return "unknown" if record is None else f"{record.stage}: {record.label}"


def _keys_in(inputs: Any) -> list[str]:
    """Return the keys of the tasks that inputs of a descriptor refer to, however they are nested."""
    if isinstance(inputs, Mapping) and "task" in inputs:
        return [str(inputs["task"])]
    parts = inputs.values() if isinstance(inputs, Mapping) else inputs
    return [key for part in parts for key in _keys_in(part)]
