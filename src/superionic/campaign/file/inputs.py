"""The files that a campaign file refers to, and where they go when all is put into one folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from superionic.campaign.file.load import read_text
from superionic.campaign.file.schema import draft_of
from superionic.campaign.file.yaml_text import parse_yaml
from superionic.errors import CampaignFileError
from superionic.registry import find
from superionic.settings.inputs import PotentialInput
from superionic.settings.label import FinishedSettings
from superionic.settings.rules import Place, Section, files_in

ELSEWHERE: Final = "inputs"


@dataclass(frozen=True)
class GatheredInputs:
    """A campaign file that refers only to files beside or below it, and these files.

    Attributes
    ----------
    text
        Of the campaign file; None if it is unchanged.
    files
        Where each file goes, relative to the campaign file, and where it is.
    """

    text: str | None
    files: Mapping[str, Path]


def gather_inputs(campaign: Path, *, reserved: frozenset[str]) -> GatheredInputs:
    """Find the files that a campaign file refers to, and a place for each beside or below it.

    What lies there already keeps its place. What lies elsewhere goes to ``inputs/N/``, and the campaign file is changed
    accordingly. Names of files, and those of the folders of finished labels, are kept: they are on record.

    Parameters
    ----------
    reserved
        First parts of names that are taken.

    Raises
    ------
    CampaignFileError
        If a path is written in a way that cannot be replaced.
    """
    text = read_text(campaign)
    raw = parse_yaml(text).value
    folder = campaign.absolute().parent
    files: dict[str, Path] = {}
    moved: dict[Place, str] = {}
    for place, section, name in files_in(draft_of(raw, folder)):
        written, source = _value_at(raw, place), Path(name)
        labels = isinstance(section, FinishedSettings)
        where = PurePosixPath(written)
        # A finished label bears the name of its folder on record, and this folder may get another name.
        stays = not where.is_absolute() and where.parts and ".." not in where.parts and written == where.as_posix()
        stays = stays and where.parts[0] not in reserved and not written.startswith("~")
        if not stays or (labels and source.is_file() and len(where.parts) == 1):
            number = len(moved) + 1
            parents = [_name(source.parent)] if labels and source.is_file() else []
            where = PurePosixPath(ELSEWHERE, str(number), *parents, _name(source))
            moved[place] = where.as_posix()
        for inner, file in _files_of(source, section):
            files[(where / inner).as_posix() if inner else where.as_posix()] = file
    return GatheredInputs(_with_paths(text, raw, moved, campaign) if moved else None, files)


def _files_of(source: Path, section: Section) -> Iterator[tuple[str, Path]]:
    """Yield the file itself, or those of a folder that are read, by their paths in it."""
    from superionic.labels.imports import find_files

    if not source.is_dir():
        yield "", source
    elif isinstance(section, FinishedSettings):
        for file in find_files([source]):
            yield file.relative_to(source).as_posix(), file
    elif isinstance(section, PotentialInput) and (model := find(section.engine)) is not None:
        for name in model.members:
            yield name, source / name


def _with_paths(text: str, raw: Any, moved: Mapping[Place, str], campaign: Path) -> str:
    """Replace paths in the text of a campaign file, and leave every other character as it is."""
    document = parse_yaml(text)
    lines = text.split("\n")
    expected = raw
    for place, new in sorted(moved.items(), key=lambda entry: _position(document.values[entry[0]]), reverse=True):
        line, column = (number - 1 for number in _position(document.values[place]))
        old = _value_at(raw, place)
        spellings = (old, f"'{old}'", f'"{old}"')
        spelling = next((each for each in spellings if lines[line].startswith(each, column)), None)
        if spelling is not None:
            lines[line] = lines[line][:column] + json.dumps(new) + lines[line][column + len(spelling) :]
        expected = _replaced(expected, place, new)
    changed = "\n".join(lines)
    if parse_yaml(changed).value != expected:
        raise CampaignFileError(
            f"paths to files elsewhere ({', '.join(str(_value_at(raw, place)) for place in moved)}) cannot be replaced "
            "in the text of the campaign file",
            where=str(campaign),
            fix="write each on one line, without anchors; or put the files beside the campaign file",
        )
    return changed


def _name(path: Path) -> str:
    return path.name if path.name not in ("", "..") else path.resolve().name or "root"


def _position(place: Any) -> tuple[int, int]:
    return place.line, place.column


def _value_at(value: Any, place: Place) -> Any:
    for step in place:
        value = value[step]
    return value


def _replaced(value: Any, place: Place, new: str) -> Any:
    if not place:
        return new
    step, below = place[0], place[1:]
    if isinstance(value, Mapping):
        return {**value, step: _replaced(value[step], below, new)}
    return [_replaced(item, below, new) if index == step else item for index, item in enumerate(value)]
