"""Loading a campaign file: all mistakes at once, each with its place, what is wrong and what to do.

The steps are: text, YAML, presets and defaults, types and ranges, values seen together, files that must exist. A
mistake in one step does not hide those of the next where they can still be seen.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from superionic.campaign.load_messages import validation_problems
from superionic.campaign.schema import CampaignFile
from superionic.campaign.schema_checks import cross_problems
from superionic.campaign.schema_presets import complete
from superionic.campaign.yaml_text import Document, Position, parse_yaml
from superionic.errors import CampaignFileError, explained
from superionic.foreign import open_regular, read_regular
from superionic.registry import find
from superionic.settings.base import Problem, did_you_mean
from superionic.settings.distil import idle_distil_problems
from superionic.settings.enumerate import idle_problems

MAX_BYTES: Final = 2_000_000
_LONGEST_SHOWN: Final = 400
_LONGEST_HEAD: Final = 1_000_000
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
    """See that no other campaign file of the folder has this name: both would write the same run folder.

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
            problems = [*problems, *_idle(document.value)]
            if campaign is not None and not problems and not document.problems:
                return campaign
            document.problems.extend((problem, document.place(problem)) for problem in problems)
    raise error_of(document, source)


def _idle(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Find settings without effect, among those that stand in the file."""
    written = raw.get("enumerate")
    if isinstance(written, Mapping):
        used = complete(raw).get("enumerate")
        yield from idle_problems(written, (used or {}).get("method", "auto") if isinstance(used, Mapping) else "auto")
    distil = raw.get("distil")
    if isinstance(distil, Mapping):
        filled = complete(raw).get("distil")
        yield from idle_distil_problems(distil, filled if isinstance(filled, Mapping) else distil)


def read_text(source: Path, *, what: str = "campaign file", reference: str = REFERENCE) -> str:
    """Return the text of a file that people write, or say why it is none.

    Raises
    ------
    CampaignFileError
        If it is absent, a folder, too large, not readable, or not text.
    """
    where = short(str(source))
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


def short(text: str) -> str:
    """Return a piece of the file, or a path, as it may be shown: no longer than a line or two."""
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


@functools.lru_cache(maxsize=8)
def _neighbours(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file())[:2000]
    except (OSError, ValueError):
        return []


def _placed(folder: Path, name: str) -> Path:
    """Return a path of the file as an absolute one; a ``~`` of somebody unknown stays."""
    try:
        return folder / Path(name).expanduser()
    except RuntimeError:
        return folder / name


def _validate(raw: dict[str, Any], source: Path) -> tuple[CampaignFile | None, list[Problem]]:
    missing = list(_missing_files(raw, source.absolute().parent))
    completed = complete(_with_absolute_files(raw, source.absolute().parent))
    problems = [*cross_problems(completed), *missing]
    try:
        campaign = CampaignFile.model_validate(completed)
    except ValidationError as error:
        found = validation_problems(error, raw, completed)
        places = {problem.path for problem in found}
        return None, [*found, *(problem for problem in problems if problem.path not in places)]
    return (campaign if not problems else None), problems


def _file_entries(raw: Mapping[str, Any]) -> Iterator[tuple[tuple[str, Any], dict[str, Any]]]:
    for section in ("crystals", "references", "potentials"):
        entries = raw.get(section)
        listed = enumerate(entries) if isinstance(entries, list) else []
        for index, entry in entries.items() if isinstance(entries, dict) else listed:
            if isinstance(entry, dict) and isinstance(entry.get("file"), str) and entry["file"]:
                yield (section, index), entry


def _with_absolute_files(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = {
        key: copy.copy(value) if isinstance(value, (list, dict)) else value for key, value in raw.items()
    }
    for (section, index), entry in _file_entries(raw):
        result[section][index] = {**entry, "file": str(_placed(folder, entry["file"]))}
    files = _finished_files(raw)
    if files:
        absolute = [str(_placed(folder, file)) for file in files]
        result["label"]["finished"] = {**result["label"]["finished"], "files": absolute}
    replay = _replay_file(raw)
    if replay is not None:
        result["train"]["replay"] = str(_placed(folder, replay))
    return result


def _finished_files(raw: Mapping[str, Any]) -> list[str]:
    """Files and folders of finished labels, where they are a list of texts."""
    label = raw.get("label")
    finished = label.get("finished") if isinstance(label, dict) else None
    files = finished.get("files") if isinstance(finished, dict) else None
    return files if isinstance(files, list) and all(isinstance(file, str) and file for file in files) else []


def _replay_file(raw: Mapping[str, Any]) -> str | None:
    """File of replay data of the training, where there is one."""
    from superionic.training.base import FOUNDATION

    train = raw.get("train")
    replay = train.get("replay") if isinstance(train, dict) else None
    return replay if isinstance(replay, str) and replay not in ("", FOUNDATION) else None


def named_files(raw: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the files and folders that the plain value of a campaign file refers to: place in the file, and path."""
    for place, entry in _file_entries(raw):
        yield (*place, "file"), entry["file"]
    for index, file in enumerate(_finished_files(raw)):
        yield ("label", "finished", "files", index), file
    if (replay := _replay_file(raw)) is not None:
        yield ("train", "replay"), replay


def _missing_files(raw: Mapping[str, Any], folder: Path) -> Iterator[Problem]:
    hints = 0
    for (section, index), entry in _file_entries(raw):
        file = _placed(folder, entry["file"])
        try:
            model = find(entry.get("engine"))
            wanted = Path.is_dir if model is not None and model.members else Path.is_file
            if wanted(file):
                continue
            what = "is a folder" if file.is_dir() else "is no folder" if file.exists() else "does not exist"
        except (OSError, ValueError):
            what = "is not a valid path"
        hints += 1  # what is shown has hints; to look for thousands takes minutes
        near = did_you_mean(file.name, _neighbours(file.parent)) if hints <= MAX_SHOWN else ""
        hint = near or "paths are relative to the campaign file"
        yield Problem((section, index, "file"), f"the file {short(str(file))} {what}", hint)
    for index, name in enumerate(_finished_files(raw)):
        try:
            what = "" if _placed(folder, name).exists() else "does not exist"
        except (OSError, ValueError):
            what = "is not a valid path"
        if what:
            hint = "paths are relative to the campaign file"
            yield Problem(("label", "finished", "files", index), f"{short(str(folder / name))} {what}", hint)
    replay = _replay_file(raw)
    if replay is not None:
        yield from _replay_problems(raw, _placed(folder, replay))


def _replay_problems(raw: Mapping[str, Any], file: Path) -> Iterator[Problem]:
    """Look at the first structure of the replay data: training is far away, and the wrong file is named quickly."""
    place = ("train", "replay")
    try:
        with open_regular(file) as lines:
            count, comment = (lines.readline(_LONGEST_HEAD).decode("utf-8") for _ in range(2))
    except (OSError, ValueError):
        hint = did_you_mean(file.name, _neighbours(file.parent)) or "name an extended XYZ file, or write foundation"
        yield Problem(place, f"the file {short(str(file))} cannot be read", hint)
        return
    options = raw["train"].get("options")
    needed = ["Lattice="]
    if not isinstance(options, dict) or options.get("replay_labels") != "foundation":
        needed += ["energy", "forces"]
    missing = [word for word in needed if word not in comment]
    if not count.strip().isdigit() or "Lattice=" in missing:
        yield Problem(place, f"{short(file.name)} is no extended XYZ file", "write it as ASE does")
    elif missing:
        hint = "give labels, or let the checkpoint label them: `options: {replay_labels: foundation}`"
        yield Problem(place, f"the first structure of {file.name} has no {' and no '.join(missing)}", hint)


def error_of(
    document: Document, source: Path, *, what: str = "campaign file", reference: str = REFERENCE
) -> CampaignFileError:
    """Make one error of all problems, in the order of their places."""
    lines: dict[str, None] = {}
    for problem, place in sorted(document.problems, key=lambda entry: (entry[1].line, entry[1].column)):
        name = f"{problem.dotted}: " if problem.path else ""
        hint = f" ({short(problem.hint)})" if problem.hint else ""
        line = f"  {short(source.name)}:{place.line}:{place.column}  {short(name)}{short(problem.message)}{hint}"
        lines[line] = None
    count = f"{len(lines)} mistakes" if len(lines) > 1 else "a mistake"
    shown = list(lines)[:MAX_SHOWN]
    if len(lines) > MAX_SHOWN:
        shown.append(f"  ... and {len(lines) - MAX_SHOWN} more")
    return CampaignFileError(
        f"The {what} has {count}:\n" + "\n".join(shown), where=short(str(source)), fix=f"Mend the above. {reference}"
    )
