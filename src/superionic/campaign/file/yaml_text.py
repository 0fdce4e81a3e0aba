"""Reading YAML 1.2 text into plain values that remember their places.

``ruamel.yaml`` parses; scalars are resolved here by the core schema of YAML 1.2, so that ``1e-4`` is a number and the
elements ``No`` and ``Y`` are text. Tags are refused: nothing in a campaign file can make an object or run code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from superionic.settings.rules import Place, Problem

MAX_VALUES: Final = 20_000
"""Values in one file, aliases expanded; what has more is not a campaign file (it may be an attack by aliases)."""

MAX_DEPTH: Final = 30

MAX_MARKS: Final = 100
"""Exclamation marks in one word; a tag has one or two, and tags are refused."""

MAX_DIGITS: Final = 300
"""Characters of a number; what is longer is read as text."""

_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_STANDARD_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Position:
    """Line and column in the file, both counted from 1."""

    line: int
    column: int


@dataclass
class Document:
    """The plain value of a YAML text, the places of its parts, and what is wrong with it.

    Attributes
    ----------
    value
        Mappings, lists, text, numbers, truth values and None.
    keys, values
        Place of the key, and of the value, at each path.
    problems
        Mistakes of the YAML itself, with their places.
    """

    value: Any = None
    keys: dict[Place, Position] = field(default_factory=dict)
    values: dict[Place, Position] = field(default_factory=dict)
    problems: list[tuple[Problem, Position]] = field(default_factory=list)

    def place(self, problem: Problem) -> Position:
        """Return the place of a problem: its own, or that of the nearest part around it that the text has."""
        if problem.at_key and problem.path in self.keys:
            return self.keys[problem.path]
        if problem.path in self.values:
            return self.values[problem.path]
        path = problem.path[:-1]
        while path and path not in self.values:
            path = path[:-1]
        return self.keys.get(path) or self.values.get(path) or Position(1, 1)


def parse_yaml(text: str) -> Document:
    """Parse YAML 1.2 text.

    Parameters
    ----------
    text
        The text of one document.

    Returns
    -------
    Document
        With `problems` where the text is not sound; its value is then as much as could be read (None after a syntax
        error).
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    document = Document()
    word = next((word for word in text.split() if word.count("!") > MAX_MARKS), None)
    if word is not None:  # over which ruamel.yaml would sit for minutes
        place = Position(text.count("\n", 0, text.index(word)) + 1, 1)
        message = f"one word has {word.count('!'):,} exclamation marks"
        document.problems.append((Problem((), message, "a campaign file holds plain values only"), place))
        return document
    try:
        _check_size(text)
        node = YAML(typ="safe", pure=True).compose(text)
    except _TooMuchError as error:
        document.problems.append((Problem((), "the text has too many values, or is nested too deeply"), error.args[0]))
        return document
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Position(mark.line + 1, mark.column + 1) if mark is not None else Position(1, 1)
        document.problems.append((Problem((), *_explain(error, text, place)), place))
        return document
    except (YAMLError, ValueError) as error:
        document.problems.append((Problem((), f"this is not YAML: {str(error).splitlines()[0]}"), Position(1, 1)))
        return document
    if node is not None:
        try:
            document.value = _Builder(document).build(node, (), 0)
        except _TooMuchError as error:
            message = "there are too many values, or they are nested too deeply"
            document.problems.append((Problem((), message), error.args[0]))
    return document


def _check_size(text: str) -> None:
    """Raise :class:`_TooMuchError` at the first place that is too much, before time is lost on the rest."""
    from ruamel.yaml import YAML

    depth = 0
    for count, event in enumerate(YAML(typ="safe", pure=True).parse(text)):
        kind = type(event).__name__
        depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
        # A value has a key, a list or section two ends; the stream and the document count as depth, too.
        if depth > MAX_DEPTH + 2 or count > 3 * MAX_VALUES:
            raise _TooMuchError(Position(event.start_mark.line + 1, event.start_mark.column + 1))


def _explain(error: Any, text: str, place: Position) -> tuple[str, str]:
    """Describe a YAML syntax error, and its remedy."""
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    reason = str(error.problem or error.context or "it cannot be parsed")
    if "\t" in line and ("\\t" in reason or line[: len(line) - len(line.lstrip())].count("\t")):
        return "a tab is used for indentation", "indent with spaces"
    if "another document" in reason or "single document" in str(error.context):
        return "the file holds more than one YAML document", "keep what stands before the second `---`"
    if "mapping values are not allowed" in reason:
        return "a `:` stands where no key is possible", "check the indentation, and put text that holds `: ` in quotes"
    if "undefined alias" in reason:
        return reason, "define the anchor with & first, or put text that starts with * in quotes"
    start = error.context_mark
    if start is not None and start.line + 1 < place.line:
        reason += f"; what is not closed here begins in line {start.line + 1}"
    return f"this is not YAML: {reason}", "check indentation, brackets, quotes and colons here"


class _TooMuchError(Exception):
    """The text stands for more values than a campaign file can have, or for values without end."""


class _Builder:
    """Turns a tree of YAML nodes into plain values, noting the places."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0
        self.open: list[int] = []  # ids of the nodes around the present one: an alias to one of them has no end

    def build(self, node: Any, path: Place, depth: int) -> Any:
        place = Position(node.start_mark.line + 1, node.start_mark.column + 1)
        self.document.values[path] = place
        self.count += 1
        if self.count > MAX_VALUES or depth > MAX_DEPTH or id(node) in self.open:
            raise _TooMuchError(place)
        self.open.append(id(node))
        try:
            if type(node).__name__ == "ScalarNode":
                return self.scalar(node, path, place)
            if self.refused_tag(node, path, place, {"map", "seq"}):
                return None
            if type(node).__name__ == "SequenceNode":
                return [self.build(child, (*path, index), depth + 1) for index, child in enumerate(node.value)]
            return dict(self.entries(node, path, depth))
        finally:
            self.open.pop()

    def entries(self, node: Any, path: Place, depth: int) -> Iterator[tuple[str, Any]]:
        places: dict[str, Position] = {}
        for key_node, child in node.value:
            place = Position(key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if type(key_node).__name__ != "ScalarNode":
                self.problem(path, "a key must be text", place)
                continue
            key = str(key_node.value)
            plain = self.scalar(key_node, (*path, key), place)
            if not isinstance(plain, str):
                self.problem((*path, key), f"a key must be text; '{key}' is not", place)
                continue
            if key in places:
                message = f"the key '{key}' stands here for the second time; the first is in line {places[key].line}"
                self.problem((*path, key), message, place, "keep one of them")
                continue
            places[key] = place
            self.document.keys[(*path, key)] = place
            value = self.build(child, (*path, key), depth + 1)
            if value is None:  # an empty value would stand where the next key begins
                self.document.values[(*path, key)] = place
            yield key, value

    def refused_tag(self, node: Any, path: Place, place: Position, allowed: set[str]) -> bool:
        tag = str(node.tag) if node.tag is not None else ""
        if tag in {"", "!"} or tag.removeprefix(_STANDARD_TAG) in allowed:
            return False
        shown = tag.replace(_STANDARD_TAG, "!!")
        self.problem(path, f"the tag {shown} is not allowed", place, "a campaign file holds plain values only")
        return True

    def scalar(self, node: Any, path: Place, place: Position) -> Any:
        text = str(node.value)
        # The parser resolves plain scalars by its own rules first; only those tags can stand on a plain value.
        plain = node.style is None
        resolved = {"str", "int", "float", "bool", "null", "timestamp", "merge", "value"}
        if self.refused_tag(node, path, place, resolved if plain else {"str"}):
            return None
        return plain_scalar(text) if plain else text

    def problem(self, path: Place, message: str, place: Position, hint: str = "") -> None:
        self.document.problems.append((Problem(path, message, hint), place))


def plain_scalar(text: str) -> str | int | float | bool | None:
    """Resolve an unquoted scalar by the core schema of YAML 1.2."""
    value: str | int | float | bool | None = text
    if text in _NULL:
        value = None
    elif text in _TRUE or text in _FALSE:
        value = text in _TRUE
    elif len(text) > MAX_DIGITS:
        value = text
    elif _INTEGER.fullmatch(text):
        value = int(text)
    elif _OCTAL_OR_HEX.fullmatch(text):
        value = int(text, 0)
    elif text.lower() in _SPECIAL:
        value = float(_SPECIAL[text.lower()])
    elif _FLOAT.fullmatch(text):
        value = float(text)
    return value
