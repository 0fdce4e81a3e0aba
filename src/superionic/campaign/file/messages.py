"""Turning pydantic's errors into problems that people can act on."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from superionic.campaign.file.schema import CampaignFile
from superionic.settings.rules import Place, Problem, did_you_mean

_NUMBER_WITH_UNIT = re.compile(r"\s*[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?\s*([A-Za-zÅ°µ/^%·-]+[0-9]*)\s*")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_BOUNDS: Final = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_REASONS: Final = (
    ("_K", "below 1 K nothing moves, above 10,000 K nothing is a crystal"),
    ("density_grid_A", "a finer grid has more points than fit in memory, a coarser one shows no sites"),
    ("_ps", "10 µs are 10,000,000 ps"),
)
"""Why the numbers of some keys have bounds, by how their names end."""
_EXPECTED: Final = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list in [ ]",
    "list_type": "a list in [ ]",
    "dict_type": "a section of `key: value` lines",
    "model_type": "a section of `key: value` lines",
    "model_attributes_type": "a section of `key: value` lines",
    "finite_number": "a finite number",
}


def validation_problems(
    error: ValidationError,
    raw: Mapping[str, Any],
    completed: Mapping[str, Any],
    root: type[BaseModel] = CampaignFile,
) -> list[Problem]:
    """Translate all errors of a validation.

    Parameters
    ----------
    error
        What pydantic raised for the completed file.
    raw, completed
        The file as written, and after presets and defaults.
    root
        Model of the whole file.

    Returns
    -------
    list of Problem
        One for each place; the alternatives of a union make one.
    """
    grouped: dict[Place, list[Problem]] = {}
    for entry in error.errors(include_url=False):
        for problem in _translate(dict(entry), raw, completed, root):
            grouped.setdefault(problem.path, []).append(problem)
    return [_one(problems) for problems in grouped.values()]


def _one(problems: list[Problem]) -> Problem:
    """Make one problem of the alternatives that failed at one place."""
    first = problems[0]
    parts = [re.fullmatch(r"(.+) is expected, not (.+)", problem.message, re.DOTALL) for problem in problems]
    expected = list(dict.fromkeys(part.group(1) for part in parts if part))
    if len(expected) > 1 and parts[0] is not None:
        expected = [part for part in expected if part != "a whole number" or "a number" not in expected]
        return Problem(first.path, f"{' or '.join(expected)} is expected, not {parts[0].group(2)}", first.hint)
    return first


def _translate(
    entry: dict[str, Any], raw: Mapping[str, Any], completed: Mapping[str, Any], root: type[BaseModel]
) -> Iterator[Problem]:
    kind, value, context = str(entry["type"]), entry.get("input"), entry.get("ctx") or {}
    location = tuple(entry["loc"])
    at_key = location[-1:] == ("[key]",)
    path = _path(location, completed, last=kind in {"missing", "extra_forbidden"})
    if not path and kind == "value_error":
        return  # the checks of values seen together, which are reported one by one
    if kind == "too_short" and _length(value) >= (context.get("min_length") or 0):
        return  # it has enough entries; pydantic leaves out those that are wrong, and they are reported themselves
    if kind == "literal_error" and isinstance(value, Mapping) and _model_at(path, root) is not None:
        return  # a word or a section can stand here, and it is a section; what is wrong in that is reported itself
    key = next((str(step) for step in reversed(path) if isinstance(step, str)), "")
    reason = next((text for ending, text in _REASONS if key.endswith(ending)), "")
    message, hint = _describe(kind, value, context, str(entry["msg"]), reason)
    if kind == "extra_forbidden":
        key = str(location[-1])
        hint = _unknown_key_hint(key, path[:-1], root)
        yield Problem(path, f"unknown key '{key}'", hint, at_key=True)
    elif kind == "missing":
        name = str(location[-1])
        note = _description(path, root)
        if path[0:1] and len(path) == 1 and raw.get(name) is None and name in raw:
            message = "this cannot be left out"
        else:
            message = f"the key '{name}' is missing" + (f" ({note})" if note else "")
        yield Problem(path, message)
    elif value is None and kind.endswith("_type") and kind.startswith("model") and len(path) == 1:
        yield Problem(path, "this section cannot be left out", f"write `{path[0]}: {{}}` for its defaults")
    else:
        yield Problem(path, message, hint, at_key=at_key)


def _bound(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _describe(kind: str, value: Any, context: Mapping[str, Any], fallback: str, reason: str = "") -> tuple[str, str]:
    shown = _shown(value)
    message = (fallback[:1].lower() + fallback[1:], "")
    if kind == "literal_error":
        choices = _choices(str(context.get("expected", "")))
        plain = ("must be one of " if len(choices) > 1 else "must be ") + ", ".join(choices)
        message = (f"{plain}; it is {shown}", did_you_mean(value, choices) if isinstance(value, str) else "")
    elif kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        message = (f"must be {word} {_bound(context.get(key))}; it is {shown}", reason)
    elif kind in _EXPECTED:
        message = (f"{_EXPECTED[kind]} is expected, not {shown}", _type_hint(kind, value))
    elif kind in {"too_short", "too_long"}:
        bound = context.get("min_length") if kind == "too_short" else context.get("max_length")
        word = "at least" if kind == "too_short" else "at most"
        message = (f"must have {word} {bound} {'entry' if bound == 1 else 'entries'}", "")
    elif kind == "string_too_short":
        message = ("must not be empty", "")
    elif kind == "string_pattern_mismatch":
        hint = "use letters, digits and . _ + - , beginning with a letter or a digit"
        message = (f"{shown} cannot be a name", hint)
    elif kind == "size":
        message = (fallback, "check the exponent, and the unit in the name")
    elif kind == "value_error":
        message = (str(context.get("error", fallback)), "")
    return message


def _type_hint(kind: str, value: Any) -> str:
    if kind in {"float_type", "int_type"} and isinstance(value, str):
        if _NUMBER.fullmatch(value.strip()):
            return "leave out the quotes"
        unit = _NUMBER_WITH_UNIT.fullmatch(value)
        return f"leave out '{unit.group(1)}': the unit stands in the name of the key" if unit else ""
    if kind == "bool_type" and isinstance(value, str) and value.lower() in {"yes", "no", "on", "off", "y", "n"}:
        return "write true or false"
    if kind == "tuple_type" and not isinstance(value, (dict, type(None))):
        return f"write [{value}]"
    if kind == "string_type" and isinstance(value, (int, float)):
        return f'write "{value}" in quotes' if not isinstance(value, bool) else "put the text in quotes"
    return ""


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (list, tuple, dict)) else 0


def _shown(value: Any) -> str:
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a section of keys"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    text = str(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    return f"'{text}'" if isinstance(value, str) else text


def _choices(expected: str) -> list[str]:
    """Read pydantic's "'a', 'b' or 'c'"."""
    quoted = re.findall(r"'([^']*)'", expected)
    return quoted or re.split(r", | or ", expected)


def _path(location: tuple[Any, ...], document: Any, *, last: bool) -> Place:
    """Drop from pydantic's location the steps that name alternatives of a type and not parts of the document."""
    path: list[str | int] = []
    here = document
    for index, step in enumerate(location):
        in_list = isinstance(here, (list, tuple)) and isinstance(step, int) and step < len(here)
        if in_list or (isinstance(here, Mapping) and step in here):
            path.append(step)
            here = here[step]
        elif last and index == len(location) - 1:
            path.append(step)
    return tuple(path)


def _model_at(path: Place, root: type[BaseModel]) -> type[BaseModel] | None:
    """Return the section model whose keys stand under a path of the file."""
    annotation: Any = root
    for step in path:
        if typing.get_origin(annotation) is dict:
            annotation = typing.get_args(annotation)[1]  # a name in a mapping of sections
            continue
        model = section_of(annotation)
        if model is not None and isinstance(step, str):
            field = _fields(model).get(step)
            if field is None:
                return None
            annotation = field.annotation
        # A list position leads to the model inside the same annotation.
    return section_of(annotation)


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model of the section, or of each of the sections, that a type stands for; None where it is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in {tuple, list, dict, typing.Union, types.UnionType, typing.Annotated}:
        return next((model for model in map(section_of, typing.get_args(annotation)) if model is not None), None)
    return None


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _unknown_key_hint(key: str, section: Place, root: type[BaseModel]) -> str:
    model = _model_at(section, root)
    near = did_you_mean(key, _fields(model)) if model is not None else ""
    if near:
        return near
    homes = [name for name in _fields(root) if key in _fields(_model_at((name,), root) or BaseModel)]
    if key in _fields(root):
        return f"'{key}' stands at the outermost level of the file"
    if homes:
        return f"'{key}' is a key of: {', '.join(homes)}"
    keys = [name for name in _fields(model) if name != "preset"] if model is not None else []
    return f"the keys here are: {', '.join(keys)}" if keys else ""


def _description(path: Place, root: type[BaseModel]) -> str:
    model = _model_at(path[:-1], root)
    field = _fields(model).get(str(path[-1])) if model is not None else None
    return (field.description or "").rstrip(".") if field is not None else ""
