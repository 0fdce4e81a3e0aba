"""The reference of the campaign file, written from its schema so that the two cannot part.

``python -m superionic.campaign.file.reference docs`` writes ``campaign-file.md`` (the part below its marker) and
``campaign.schema.json`` into a folder; the tests prove that both are in step.
"""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from superionic.campaign.file.messages import section_of
from superionic.campaign.file.presets import CRYSTALS, presets
from superionic.campaign.file.schema import CampaignFile, json_schema
from superionic.registry import find
from superionic.settings.base import Matrix, StageSection
from superionic.settings.stages import OPTIONAL, sections

MARKER: Final = "<!-- From here on this page is written from the schema; see superionic/campaign/file/reference.py. -->"
MARKDOWN_FILE: Final = "campaign-file.md"
SCHEMA_FILE: Final = "campaign.schema.json"


def reference_markdown() -> str:
    """Return the reference part of the page: one table for each section of the file."""
    lines = [MARKER, "", "## The outermost level", ""]
    lines += _table(CampaignFile, None)
    for path, model in _sections(CampaignFile, ""):
        lines += ["", f"## `{path}`", "", _first_paragraph(model), ""]
        section = path.removesuffix("[]")
        lines += _table(model, section if issubclass(model, StageSection) or section == CRYSTALS else None)
    return "\n".join(lines) + "\n"


def schema_text() -> str:
    """Return the JSON schema as the text of its file."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def write_reference(folder: Path) -> None:
    """Write the schema, and the reference part of the page below what is written by hand, into a folder."""
    page = folder / MARKDOWN_FILE
    by_hand = page.read_text(encoding="utf-8").split(MARKER)[0] if page.exists() else "# The campaign file\n\n"
    page.write_text(by_hand + reference_markdown(), encoding="utf-8")
    (folder / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")


def _sections(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield every section of a model with its place, such as ``crystals[]``, ``potentials.NAME``, ``label.vasp``."""
    for name, field in model.model_fields.items():
        inner = section_of(field.annotation)
        if inner is not None:
            kind = typing.get_origin(field.annotation)
            place = path + (field.alias or name) + {tuple: "[]", dict: ".NAME"}.get(kind or model, "")
            yield place, inner
            yield from _sections(inner, f"{place}.")


def _first_paragraph(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


def _table(model: type[BaseModel], stage: str | None) -> list[str]:
    shown = presets() if stage is not None else {}
    names = ["key", "value", "default", *shown, "meaning"]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for name, field in model.model_fields.items():
        if name == "preset" and stage is not None:
            continue
        key = field.alias or name
        set_by = [_code(sections.get(stage or "", {}).get(key, _NOTHING)) for sections in shown.values()]
        meaning = (field.description or "").replace("|", "\\|")
        default = _stage_default(key) if model is CampaignFile and key in sections() else _default(field)
        cells = [f"`{key}`", _kind(field).replace("|", "\\|"), default, *set_by, meaning]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


_NOTHING: Final = object()


def _code(value: Any) -> str:
    return "" if value is _NOTHING else f"`{json.dumps(value, ensure_ascii=False)}`"


def _stage_default(stage: str) -> str:
    return "left out" if stage in OPTIONAL else "its defaults"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return ""
    if isinstance(value, BaseModel) or (isinstance(value, dict) and value):
        return "its defaults"
    if isinstance(value, tuple) and len(value) == 3 and all(isinstance(row, tuple) for row in value):
        return "`" + "x".join(str(value[i][i]) for i in range(3)) + "`"
    return _code(value)


def _kind(field: FieldInfo) -> str:
    """Describe the values that a field takes."""
    kinds = list(dict.fromkeys(_words(field.annotation)))
    bounds = [_bound(entry) for entry in field.metadata]
    return " or ".join(kinds) + "".join(f", {bound}" for bound in bounds if bound)


def _words(annotation: Any) -> Iterator[str]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    simple = {int: "whole number", float: "number", str: "text", bool: "true/false", type(None): "null"}
    if annotation in simple:
        yield simple[annotation]
    elif origin is Literal:  # of models those that come with superionic
        yield from (f"`{word}`" for word in arguments if (model := find(word)) is None or model.is_own)
    elif annotation == typing.get_args(Matrix)[0]:
        yield "supercell"
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "section"
    elif origin is tuple:
        yield "list of " + " or ".join(dict.fromkeys(_words(arguments[0])))
    elif origin is dict:
        yield "mapping to " + " or ".join(dict.fromkeys(_words(arguments[1])))
    else:  # Annotated types and unions
        for argument in arguments if origin is not typing.Annotated else arguments[:1]:
            yield from _words(argument)


def _bound(entry: Any) -> str:
    for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤")):
        value = getattr(entry, name, None)
        if value is not None:
            return f"{sign} {value:g}" if isinstance(value, float) else f"{sign} {value}"
    return ""


if __name__ == "__main__":
    write_reference(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
