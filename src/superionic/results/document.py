"""The file ``results.json``: its version, its JSON schema, and the conversion of results to text and back.

The file holds the results (:class:`superionic.results.campaign.Results`) field by field: ``results.analyse.runs[0]
.analysis`` in Python is ``.analyse.runs[0].analysis`` in the file. Arrays are nested lists; non-finite numbers are the
texts ``"Infinity"``, ``"-Infinity"`` and ``"NaN"``.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Union

import numpy as np

from superionic.errors import StorageError
from superionic.execution.codec import LEFT_OUT, ShapeError, field_hints, from_tree, plain_json, to_tree
from superionic.foreign import read_regular
from superionic.results.campaign import Results

FORMAT: Final = "superionic results"
MAX_BYTES: Final = 1_000_000_000
"""Size above which a file is not read; the results of a campaign have some megabytes."""

VERSION: Final = 2
"""Version of the layout of ``results.json``. Version 1, of superionic 0.1, was untyped and had no number."""

T = typing.TypeVar("T")


def to_json(value: Any, *, kind: str = FORMAT) -> str:
    """Return results as the text of a JSON file: the same results give the same bytes."""
    head = {"format": kind, "version": VERSION}
    return json.dumps(head | plain_json(to_tree(value)), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def from_json(text: str, *, where: str = "results.json") -> Results:
    """Read the text of a ``results.json``.

    Raises
    ------
    StorageError
        If the text is not such a file, or of another version; the error says what to do.
    """
    return read_json(text, Results, kind=FORMAT, where=where)


def read_json(text: str, cls: type[T], *, kind: str, where: str) -> T:
    """Read the text that :func:`to_json` made of a value of this class; errors as in :func:`from_json`."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StorageError(f"the file is not JSON: {error}", where=where, fix="write the report again") from error
    if not isinstance(tree, dict) or tree.get("format") != kind:
        if isinstance(tree, dict) and "stages" in tree and "superionic" in tree:
            raise StorageError(
                f"these results were written by superionic {tree['superionic']}, in a layout without types",
                where=where,
                fix="run `superionic report CAMPAIGN` once more: it writes them again from the run folder",
            )
        raise StorageError(f"the file does not hold {kind}", where=where, fix="name a results.json of a report")
    if tree.get("version") != VERSION:
        newer = isinstance(tree.get("version"), int) and tree["version"] > VERSION
        raise StorageError(
            f"the layout of these results has version {tree.get('version')}; this superionic reads version {VERSION}",
            where=where,
            fix="update superionic" if newer else "run `superionic report CAMPAIGN` once more",
        )
    body = {name: item for name, item in tree.items() if name not in ("format", "version")}
    try:
        read: T = from_tree(body, cls, "results")
    except ShapeError as error:
        raise StorageError(f"the results are damaged: {error}", where=where, fix="write the report again") from error
    return read


def read_results(path: Path | str) -> Results:
    """Read a ``results.json`` from disk; errors as in :func:`from_json`, or if there is no such file."""
    return read_file(path, Results, kind=FORMAT, fix="run the campaign first")


def read_file(path: Path | str, cls: type[T], *, kind: str, fix: str) -> T:
    """Read a file written by :func:`to_json`; ``fix`` says what to do if there is none."""
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8")
    except OSError as error:
        raise StorageError(f"there are no results: {error.strerror}", where=str(path)[:200], fix=fix) from error
    except UnicodeDecodeError as error:
        raise StorageError(f"the file does not hold {kind}: it is not UTF-8 text", where=str(path), fix=fix) from error
    return read_json(text, cls, kind=kind, where=str(path))


# ---- schema ---------------------------------------------------------------------------------------------------------


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of ``results.json`` (draft 2020-12), derived from the types of the results."""
    definitions: dict[str, Any] = {}
    schema = _of_class(Results, definitions)
    schema["properties"] = {"format": {"const": FORMAT}, "version": {"const": VERSION}, **schema["properties"]}
    schema["required"] = ["format", "version", *schema["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Results of a superionic campaign",
        **schema,
        "$defs": dict(sorted(definitions.items())),
    }


_SCALARS: Final[dict[Any, dict[str, Any]]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"anyOf": [{"type": "number"}, {"enum": ["Infinity", "-Infinity", "NaN"]}]},
    type(None): {"type": "null"},
}


def _of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a type hint; classes are defined once, under their names."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    schema: dict[str, Any] = _SCALARS.get(hint, {})
    if origin is Literal:
        schema = {"enum": list(arguments)}
    elif origin in (Union, types.UnionType):
        schema = {"anyOf": [_of(option, definitions) for option in arguments]}
    elif hint is np.ndarray or origin is np.ndarray:
        schema = {"type": "array", "description": "numbers, nested as deep as the array has dimensions"}
    elif origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        items = [_of(item, definitions) for item in arguments]
        schema = {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    elif origin in (tuple, list, Sequence):
        schema = {"type": "array", "items": _of(arguments[0], definitions)}
    elif origin in (dict, Mapping):
        schema = {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    elif isinstance(hint, type) and "variants" in vars(hint):
        options = [_of(option, definitions) for option in vars(hint)["variants"]()]
        schema = {"anyOf": options} if options else {"not": {}}
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
        schema = {"$ref": f"#/$defs/{_defined(hint, definitions)}"}
    return schema


def _defined(cls: type, definitions: dict[str, Any]) -> str:
    """Define a class, and return its name; a second class of the same name is prefixed by its module's."""
    name = cls.__name__
    module = f"{cls.__module__}.{cls.__qualname__}"
    if name in definitions and definitions[name].get("title") != module:
        name = f"{cls.__module__.rpartition('.')[2]}.{name}"
    if name not in definitions:
        definitions[name] = {"title": module}  # first, so that a recursive class terminates
        definitions[name] |= _of_class(cls, definitions)
    return name


def _of_class(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    properties = {name: _of(hint, definitions) for name, hint in field_hints(cls).items()}
    summary = (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")
    left_out = {field.name for field in dataclasses.fields(cls) if LEFT_OUT in field.metadata}
    return {
        "type": "object",
        "description": summary,
        "properties": properties,
        "required": [name for name in properties if name not in left_out],
        "additionalProperties": False,
    }
