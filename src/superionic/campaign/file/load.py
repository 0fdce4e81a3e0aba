"""Loading a campaign file: all mistakes at once, each with its place, what is wrong and what to do.

The steps are: text, YAML, presets and defaults, types and ranges, values seen together, files that must exist. A
mistake in one step does not hide those of the next where they can still be seen.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from superionic.campaign.file.messages import validation_problems
from superionic.campaign.file.presets import complete
from superionic.campaign.file.schema import CampaignFile, draft_of
from superionic.campaign.file.yaml_text import Document, Position, parse_yaml
from superionic.errors import CampaignFileError, explained
from superionic.foreign import read_regular
from superionic.settings.rules import Problem, Reading, broken_rules, did_you_mean, shortened

MAX_BYTES: Final = 2_000_000
MAX_SHOWN: Final = 40
"""Mistakes shown at once: one screen."""

REFERENCE: Final = "docs/campaign-file.md describes every key; `superionic init` writes a file to start from."


def load_campaign(path: str | Path) -> CampaignFile:
    """Read and validate a campaign file.

    Parameters
    ----------
    path
        A YAML 1.2 file. Paths in it are relative to its folder; in the result they are absolute.

    Returns
    -------
    CampaignFile
        The campaign, with its presets and defaults filled in.

    Raises
    ------
    CampaignFileError
        If the file cannot be read or has mistakes. The message lists all of them, each with line and column, the
        dotted path of the value, what is wrong with it and what to do.
    """
    source = Path(path)
    return parse_campaign(read_text(source), source)


def demand_own_name(path: Path, name: str) -> None:
    """Check that no other campaign file of the folder has this name: both would write the same run folder.

    Raises
    ------
    CampaignFileError
        If one has.
    """
    for other in sorted({*path.parent.glob("*.yaml"), *path.parent.glob("*.yml")}):
        try:
            if other.resolve() == path.resolve():
                continue
            text = read_regular(other, MAX_BYTES).decode("utf-8")
        except (OSError, RuntimeError, UnicodeDecodeError):  # a link to itself is a RuntimeError
            continue  # whatever it is, it is no campaign file that could be run
        if "superionic" not in text or name not in text:
            continue
        value = parse_yaml(text).value
        if isinstance(value, Mapping) and "superionic" in value and value.get("name") == name:
            raise CampaignFileError(
                f"{other.name} is a campaign of the same name, {name!r}: both would write runs/{name}",
                where=f"{path}: name",
                fix="give one of them another `name`, or another folder with --run-folder",
            )


def parse_campaign(text: str, path: str | Path) -> CampaignFile:
    """Validate the text of a campaign file as if it stood at ``path``; see :func:`load_campaign`."""
    source = Path(path)
    document = parse_yaml(text)
    if not document.problems or document.value is not None:
        if not isinstance(document.value, dict):
            message = "the file is empty" if document.value is None else "the file is not a mapping of keys to values"
            document.problems.append((Problem((), message), document.values.get((), Position(1, 1))))
        else:
            campaign, problems = _validate(document.value, source)
            if campaign is not None and not problems and not document.problems:
                return campaign
            document.problems.extend((problem, document.place(problem)) for problem in problems)
    raise error_of(document, source)


def read_text(source: Path, *, what: str = "campaign file", reference: str = REFERENCE) -> str:
    """Read a text file that people write.

    Raises
    ------
    CampaignFileError
        If it is absent, a folder, too large, not readable, or not text.
    """
    where = shortened(str(source))
    try:
        exists, is_folder = source.exists(), source.is_dir()
    except (OSError, ValueError) as error:  # a name that no file can have
        raise CampaignFileError(
            f"The {what} cannot be read: {getattr(error, 'strerror', None) or error}.",
            where=where,
            fix="Check the path.",
        ) from error
    if not exists:
        near = did_you_mean(source.name, _neighbours(source.parent)) if source.parent.is_dir() else ""
        fix = "Check the path" + (f"; {near}" if near else f". {reference}")
        raise CampaignFileError(f"The {what} does not exist.", where=where, fix=fix)
    if is_folder:
        inside = sorted(entry.name for entry in source.iterdir() if entry.suffix in {".yaml", ".yml"})
        fix = f"Name the file in it: {', '.join(inside[:5])}." if inside else "Name a YAML file."
        raise CampaignFileError(f"The {what} is a folder.", where=where, fix=fix)
    try:
        content = read_regular(source, MAX_BYTES)
    except OSError as error:
        reason, fix = explained(error)
        raise CampaignFileError(f"The {what} cannot be read: {reason}.", where=where, fix=fix) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise CampaignFileError(
            f"The {what} is not UTF-8 text.",
            where=f"{where}:{line}",
            fix="Save it as UTF-8, or name another file.",
        ) from error
    bad = next((i for i, sign in enumerate(text) if ord(sign) < 32 and sign not in "\t\n\r"), None)
    if bad is not None:
        line = text[:bad].count("\n") + 1
        raise CampaignFileError(
            f"The {what} is not text; it holds control characters.",
            where=f"{where}:{line}",
            fix="Name a YAML file.",
        )
    return text


@functools.lru_cache(maxsize=8)
def _neighbours(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file())[:2000]
    except (OSError, ValueError):
        return []


def _validate(raw: dict[str, Any], source: Path) -> tuple[CampaignFile | None, list[Problem]]:
    """Return the campaign, or its mistakes if it has any."""
    folder, completed = source.absolute().parent, complete(raw)
    try:
        campaign = CampaignFile.model_validate(completed, context=Reading(folder))
    except ValidationError as error:
        problems = validation_problems(error, raw, completed)
        places = {problem.path for problem in problems}
        broken = broken_rules(draft_of(completed, folder), raw)
        return None, [*problems, *(problem for problem in broken if problem.path not in places)]
    return campaign, list(broken_rules(campaign, raw))


def error_of(
    document: Document, source: Path, *, what: str = "campaign file", reference: str = REFERENCE
) -> CampaignFileError:
    """Make one error of all problems, in the order of their places."""
    ordered = sorted(document.problems, key=lambda entry: (entry[1].line, entry[1].column))
    distinct = {(place, problem.dotted, problem.message): (place, problem) for problem, place in ordered}
    lines = [_line(source, place, problem) for place, problem in list(distinct.values())[:MAX_SHOWN]]
    if len(distinct) > MAX_SHOWN:
        lines.append(f"  ... and {len(distinct) - MAX_SHOWN} more")
    count = f"{len(distinct)} mistakes" if len(distinct) > 1 else "a mistake"
    return CampaignFileError(
        f"The {what} has {count}:\n" + "\n".join(lines),
        where=shortened(str(source)),
        fix=f"Correct the above. {reference}",
    )


def _line(source: Path, place: Position, problem: Problem) -> str:
    hint, file = problem.hint, problem.missing_file
    if file is not None:
        hint = did_you_mean(file.name, _neighbours(file.parent)) or hint
    parts = [f"{shortened(source.name)}:{place.line}:{place.column} "]
    parts += [shortened(f"{problem.dotted}:")] if problem.path else []
    parts += [shortened(problem.message), *([f"({shortened(hint)})"] if hint else [])]
    return "  " + " ".join(parts)
