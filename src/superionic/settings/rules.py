"""Sections of the campaign file, and rules about values of it that are seen together.

A rule is a method of the section that it is about, marked by :func:`rule`. What else of the file it needs it takes as
parameters, named as the file names them::

    @rule
    def _window_fits_the_runs(self, transport: TransportSettings | None) -> Iterator[Problem]: ...

Rules see typed values only. Where a file has values of a wrong type or size, they see a *draft* of it: the same
sections without these values. A rule ends where it asks for one of them; that mistake is reported by itself.
"""

from __future__ import annotations

import difflib
import inspect
import math
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

Place = tuple[str | int, ...]
"""Keys and list positions that lead to a value of the file."""

LEAST_NUMBER: Final = 1e-20
MOST_NUMBER: Final = 1e12
"""Sizes of the numbers of a campaign file; what is beyond is no length, time, energy or count, but a slip."""

_LONGEST_WORD: Final = 100
_LONGEST_SHOWN: Final = 400


@dataclass(frozen=True)
class Problem:
    """One mistake in a campaign file.

    Attributes
    ----------
    path
        Keys and list positions that lead to the value at fault; as a rule gives it, from its section on.
    message
        What is wrong, in one sentence.
    hint
        What to do about it; empty where the message says it.
    at_key
        The key itself is at fault (an unknown key), not its value.
    missing_file
        The file that is not there, if that is the mistake: another name nearby may be meant.
    """

    path: Place
    message: str
    hint: str = ""
    at_key: bool = False
    missing_file: Path | None = None

    @property
    def dotted(self) -> str:
        """The path as people write it: ``crystals[0].file``."""
        text = ""
        for step in self.path:
            text += f"[{step}]" if isinstance(step, int) else (f".{step}" if text else step)
        return text


def missing_file(path: Place, name: str, *, is_folder: bool | None = False) -> Iterator[Problem]:
    """Yield the problem of a file that is not there, or that is a folder where it must not be, or none where it must.

    Parameters
    ----------
    path, name
        The place in the file, and the absolute path that stands there.
    is_folder
        Whether it must be a folder; None for either.
    """
    file = Path(name)
    try:
        exists, folder = file.exists(), file.is_dir()
        if folder if is_folder else file.is_file() or (is_folder is None and exists):
            return
        what = "is no folder" if is_folder else "is a folder" if folder else "is no ordinary file"
        what = what if exists else "does not exist"
    except (OSError, ValueError):
        what = "is not a valid path"
    hint = "paths are relative to the campaign file"
    yield Problem(path, f"the file {shortened(name)} {what}", hint, missing_file=file)


def shortened(text: str) -> str:
    """Return a piece of the file, or a path, as it may be shown: no longer than a line or two."""
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the nearest choice, or an empty text where none is near."""
    if len(word) > _LONGEST_WORD:
        return ""
    lowered = {choice.lower(): choice for choice in reversed(list(choices))}
    near = difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.6)
    return f"did you mean '{lowered[near[0]]}'?" if near else ""


def no_such(kind: str, name: str, choices: Iterable[str], path: Place) -> Problem:
    """Return the problem of a name that is none of its choices, with the nearest of them or all."""
    known = list(choices)
    hint = did_you_mean(name, known) or f"choose one of: {', '.join(known)}"
    return Problem(path, f"there is no {kind} '{name}'", hint)


@dataclass(frozen=True)
class Reading:
    """How a file is validated: the context of pydantic's validation.

    Attributes
    ----------
    folder
        Folder that paths of the file are relative to; None leaves them as they are.
    is_draft
        Leave out what is at fault, instead of refusing the file.
    """

    folder: Path | None = None
    is_draft: bool = False

    @classmethod
    def of(cls, info: ValidationInfo) -> Reading:
        """Return that of a validation under way."""
        return info.context if isinstance(info.context, Reading) else cls()


@dataclass(frozen=True)
class FileName:
    """Mark a text that names a file: its validation makes the path absolute.

    Attributes
    ----------
    words
        Texts that stand for something else than a file.
    """

    words: tuple[str, ...] = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self._absolute, handler(source))

    def _absolute(self, name: str, info: ValidationInfo) -> str:
        folder = Reading.of(info).folder
        if folder is None or name in self.words:
            return name
        try:
            return str(folder / Path(name).expanduser())
        except RuntimeError:  # the ~ of somebody unknown stays
            return str(folder / name)


class _Mark(Enum):
    AT_FAULT = "at fault"


_AT_FAULT: Final = _Mark.AT_FAULT
"""Stands for a value that a draft leaves out."""


class AtFaultError(Exception):
    """A rule asks for a value that is at fault itself."""


class _PartialMapping(dict[str, Any]):
    """A mapping of a draft of which some values are at fault."""

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        if value is _AT_FAULT:
            raise AtFaultError(key)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        value = super().get(key, default)
        return self[key] if value is _AT_FAULT else value

    def values(self) -> Any:
        return [self[key] for key in self]

    def items(self) -> Any:
        return [(key, self[key]) for key in self]


class Section(BaseModel):
    """Base of every section of a campaign file: frozen, strict, and without unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
        use_attribute_docstrings=False,
    )

    def is_sound(self, name: str) -> bool:
        """Return whether a draft has a value; a whole section always has."""
        return name in vars(self)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:  # reached only for what is not there
            if name in type(self).model_fields:
                raise AtFaultError(name)
            return super().__getattr__(name)

    @field_validator("*", mode="wrap")
    @classmethod
    def _sound_value(cls, raw: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Refuse numbers of no sensible size, and leave out of a draft what is at fault."""

        def validated(value: Any) -> Any:
            result = handler(value)
            _demand_sensible(result, cls, str(info.field_name))
            return result

        if not Reading.of(info).is_draft:
            return validated(raw)
        if raw is _AT_FAULT:
            return raw
        try:
            return validated(raw)
        except ValidationError as error:
            faults = error.errors(include_url=False)
            entries = {fault["loc"][0] if fault["loc"] else None for fault in faults}
            if not isinstance(raw, Mapping) or not entries <= set(raw):
                return _AT_FAULT
            keys = {fault["loc"][0] for fault in faults if fault["loc"][-1] == "[key]"}
        try:
            rest = validated({key: value for key, value in raw.items() if key not in entries})
        except ValidationError:
            return _AT_FAULT
        return _PartialMapping({key: rest.get(key, _AT_FAULT) for key in raw if key not in keys})

    @model_validator(mode="wrap")
    @classmethod
    def _sound_section(cls, raw: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """Make a draft of whatever is there, unknown keys left out."""
        if not Reading.of(info).is_draft or raw is None or isinstance(raw, cls):
            return handler(raw)
        keys = {field.alias or name: field for name, field in cls.model_fields.items()}
        if isinstance(raw, Mapping):
            given = {key: raw.get(key, _AT_FAULT) for key, field in keys.items() if key in raw or field.is_required()}
        else:
            given = dict.fromkeys(keys, _AT_FAULT)
        section = handler(given)
        for name in [name for name, value in vars(section).items() if value is _AT_FAULT]:
            del vars(section)[name]
        return section


Rule = Callable[..., Iterator[Problem]]


def rule(method: Rule) -> Rule:
    """Mark a method of a section as a rule: it yields what is wrong, with paths from the section on."""
    method.__dict__["is_rule"] = True
    return method


def rule_of_file(method: Rule) -> Rule:
    """Mark a rule that holds for a campaign file on a disk only, such as that files which it names are there.

    Its parameter `written` is the section as it stands in the file, without what presets add.
    """
    method.__dict__["of_file"] = True
    return rule(method)


def broken_rules(whole: Section, written: Mapping[str, Any] | None = None) -> Iterator[Problem]:
    """Yield what the rules of all sections say.

    Parameters
    ----------
    whole
        The campaign file, or a draft of it.
    written
        The plain values of the file as it is on disk, if it is: the rules of files hold, too.
    """
    for path, section in sections_in(whole):
        for method, names in _rules_of(type(section)):
            if "of_file" not in vars(method) or written is not None:
                yield from _said_by(method, names, section, path, whole, written)


def sections_in(section: Section, path: Place = ()) -> Iterator[tuple[Place, Section]]:
    """Yield a section and all sections in it, with their places."""
    yield path, section
    for name, field in type(section).model_fields.items():
        value = vars(section).get(name)
        entries: Iterable[tuple[Place, Any]] = [((), value)]
        if isinstance(value, tuple):
            entries = [((index,), entry) for index, entry in enumerate(value)]
        elif isinstance(value, dict):
            entries = [((key,), entry) for key, entry in dict.items(value)]
        for steps, entry in entries:
            if isinstance(entry, Section):
                yield from sections_in(entry, (*path, field.alias or name, *steps))


def files_in(whole: Section) -> Iterator[tuple[Place, Section, str]]:
    """Yield the files that a file refers to: the place, the section that names it, and the path, as validated."""
    for path, section in sections_in(whole):
        for name, field in type(section).model_fields.items():
            marks = [mark for mark in _marks_of(field.annotation, field.metadata) if isinstance(mark, FileName)]
            value = vars(section).get(name)
            if not marks or value is None:
                continue
            listed = (
                [((), value)] if isinstance(value, str) else [((index,), entry) for index, entry in enumerate(value)]
            )
            for step, file in listed:
                if file not in marks[0].words:
                    yield (*path, field.alias or name, *step), section, file


def _marks_of(annotation: Any, marks: Iterable[Any]) -> Iterator[Any]:
    """Yield what a type is annotated with, at any depth."""
    yield from marks
    for part in typing.get_args(annotation):
        yield from _marks_of(part, getattr(part, "__metadata__", ()))


def _said_by(
    method: Rule,
    names: tuple[str, ...],
    section: Section,
    path: Place,
    whole: Section,
    written: Mapping[str, Any] | None,
) -> Iterator[Problem]:
    try:
        values = {name: _at(written, path) if name == "written" else getattr(whole, name) for name in names}
        for problem in method(section, **values):
            yield replace(problem, path=(*path, *problem.path))
    except AtFaultError:
        return


def _at(written: Any, path: Place) -> Mapping[str, Any]:
    for step in path:
        written = written.get(step) if isinstance(written, Mapping) else None
    return written if isinstance(written, Mapping) else {}


@cache
def _rules_of(kind: type[Section]) -> tuple[tuple[Rule, tuple[str, ...]], ...]:
    """Return the rules of a kind of section, each with the names of what it takes."""
    methods = [method for base in reversed(kind.__mro__) for method in vars(base).values()]
    rules = [method for method in methods if inspect.isfunction(method) and "is_rule" in vars(method)]
    return tuple((method, tuple(inspect.signature(method).parameters)[1:]) for method in rules)


def _demand_sensible(value: Any, kind: type[Section], field: str) -> None:
    """Refuse numbers that are no length, time, energy or count of anything.

    Raises
    ------
    ValidationError
        With the places of all of them.
    """
    if AnySize in map(type, kind.model_fields[field].metadata):
        return
    wrong = [
        InitErrorDetails(
            type=PydanticCustomError("size", "no setting has a size {bound}", {"bound": bound}), loc=path, input=None
        )
        for path, bound in _sizes(value, ())
    ]
    if wrong:
        raise ValidationError.from_exception_data(kind.__name__, wrong)


class AnySize:
    """Mark a number that may have any size, such as a seed."""


def _sizes(value: Any, path: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, (tuple, list, dict)):
        for step, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _sizes(item, (*path, step))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if value == 0 or LEAST_NUMBER <= abs(value) <= MOST_NUMBER or (isinstance(value, float) and math.isnan(value)):
            return
        yield path, f"above {MOST_NUMBER:g}" if abs(value) > 1 else f"nearer to 0 than {LEAST_NUMBER:g}"
