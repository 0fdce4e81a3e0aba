"""Loading a campaign file: all mistakes at once, each with its place, what is wrong and what to do.

The steps are: text, YAML, presets and defaults, types and ranges, values seen together, files that must exist. A
mistake in one step does not hide those of the next where they can still be seen.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from superionic.campaign.load_messages import validation_problems
from superionic.campaign.schema import STAGES, CampaignFile
from superionic.campaign.schema_checks import cross_problems
from superionic.campaign.schema_presets import complete
from superionic.campaign.yaml_text import Document, Place, parse_yaml
from superionic.errors import CampaignFileError
from superionic.settings.base import Problem, did_you_mean
from superionic.settings.potentials import FOLDER_ENGINES

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
    """See that no other campaign file of the folder has this name: both would write the same run folder.

    Raises
    ------
    CampaignFileError
        If one has.
    """
    for other in sorted({*path.parent.glob("*.yaml"), *path.parent.glob("*.yml")}):
        try:
            if other.resolve() == path.resolve() or other.stat().st_size > MAX_BYTES:
                continue
            text = other.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
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
            document.problems.append((Problem((), message), document.values.get((), Place(1, 1))))
        else:
            campaign, problems = _validate(document.value, source)
            if campaign is not None and not document.problems:
                return campaign
            document.problems.extend((problem, document.place(problem)) for problem in problems)
    raise error_of(document, source)


def read_text(source: Path, *, what: str = "campaign file", reference: str = REFERENCE) -> str:
    """Return the text of a file that people write, or say why it is none.

    Raises
    ------
    CampaignFileError
        If it is absent, a folder, too large, not readable, or not text.
    """
    where = str(source)
    if not source.exists():
        near = did_you_mean(source.name, _neighbours(source.parent)) if source.parent.is_dir() else ""
        fix = "Check the path" + (f"; {near}" if near else f". {reference}")
        raise CampaignFileError(f"The {what} does not exist.", where=where, fix=fix)
    if source.is_dir():
        inside = sorted(entry.name for entry in source.iterdir() if entry.suffix in {".yaml", ".yml"})
        fix = f"Name the file in it: {', '.join(inside[:5])}." if inside else "Name a YAML file."
        raise CampaignFileError(f"The {what} is a folder.", where=where, fix=fix)
    try:
        if not source.is_file() or source.stat().st_size > MAX_BYTES:
            raise CampaignFileError(f"This is not a {what} (too large, or not a file).", where=where, fix=reference)
        content = source.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise CampaignFileError(
            f"The {what} cannot be read: {reason}.", where=where, fix="Check the permissions of the file."
        ) from error
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


def _neighbours(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file())[:2000]
    except OSError:
        return []


def _validate(raw: dict[str, Any], source: Path) -> tuple[CampaignFile | None, list[Problem]]:
    missing = list(_missing_files(raw, source.absolute().parent))
    completed = complete(_with_absolute_files(raw, source.absolute().parent), STAGES)
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
        result[section][index] = {**entry, "file": str(folder / Path(entry["file"]).expanduser())}
    files = _finished_files(raw)
    if files:
        absolute = [str(folder / Path(file).expanduser()) for file in files]
        result["label"]["finished"] = {**result["label"]["finished"], "files": absolute}
    replay = _replay_file(raw)
    if replay is not None:
        result["train"]["replay"] = str(folder / Path(replay).expanduser())
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


def _missing_files(raw: Mapping[str, Any], folder: Path) -> Iterator[Problem]:
    for (section, index), entry in _file_entries(raw):
        file = folder / Path(entry["file"]).expanduser()
        try:
            wanted = Path.is_dir if entry.get("engine") in FOLDER_ENGINES else Path.is_file
            if wanted(file):
                continue
            what = "is a folder" if file.is_dir() else "is no folder" if file.exists() else "does not exist"
        except (OSError, ValueError):
            what = "is not a valid path"
        hint = did_you_mean(file.name, _neighbours(file.parent)) or "paths are relative to the campaign file"
        yield Problem((section, index, "file"), f"the file {file} {what}", hint)
    for index, name in enumerate(_finished_files(raw)):
        if not (folder / Path(name).expanduser()).exists():
            hint = "paths are relative to the campaign file"
            yield Problem(("label", "finished", "files", index), f"{folder / name} does not exist", hint)
    replay = _replay_file(raw)
    if replay is not None:
        yield from _replay_problems(raw, folder / Path(replay).expanduser())


def _replay_problems(raw: Mapping[str, Any], file: Path) -> Iterator[Problem]:
    """Look at the first structure of the replay data: training is far away, and the wrong file is named quickly."""
    place = ("train", "replay")
    try:
        with file.open(encoding="utf-8") as lines:
            count, comment = lines.readline(), lines.readline()
    except (OSError, ValueError):
        hint = did_you_mean(file.name, _neighbours(file.parent)) or "name an extended XYZ file, or write foundation"
        yield Problem(place, f"the file {file} cannot be read", hint)
        return
    options = raw["train"].get("options")
    needed = ["Lattice="]
    if not isinstance(options, dict) or options.get("replay_labels") != "foundation":
        needed += ["energy", "forces"]
    missing = [word for word in needed if word not in comment]
    if not count.strip().isdigit() or "Lattice=" in missing:
        yield Problem(place, f"{file.name} is no extended XYZ file", "write it as ASE does")
    elif missing:
        hint = "give labels, or let the checkpoint label them: `options: {replay_labels: foundation}`"
        yield Problem(place, f"the first structure of {file.name} has no {' and no '.join(missing)}", hint)


def error_of(
    document: Document, source: Path, *, what: str = "campaign file", reference: str = REFERENCE
) -> CampaignFileError:
    """Make one error of all problems, in the order of their places."""
    lines: list[str] = []
    for problem, place in sorted(document.problems, key=lambda entry: (entry[1].line, entry[1].column)):
        name = f"{problem.dotted}: " if problem.path else ""
        hint = f" ({problem.hint})" if problem.hint else ""
        line = f"  {source.name}:{place.line}:{place.column}  {name}{problem.message}{hint}"
        if line not in lines:
            lines.append(line)
    count = f"{len(lines)} mistakes" if len(lines) > 1 else "a mistake"
    if len(lines) > MAX_SHOWN:
        lines = [*lines[:MAX_SHOWN], f"  ... and {len(lines) - MAX_SHOWN} more"]
    return CampaignFileError(
        f"The {what} has {count}:\n" + "\n".join(lines), where=str(source), fix=f"Mend the above. {reference}"
    )
