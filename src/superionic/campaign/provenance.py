"""What an archive states about a campaign.

``provenance.json`` says how each result came about; ``ro-crate-metadata.json`` what is in the archive, by the RO-Crate
standard that repositories of data read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from superionic.execution.codec import canonical_json
from superionic.execution.engine_specs import ENGINES

if TYPE_CHECKING:
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    from superionic.execution.ledger import Ledger
    from superionic.execution.store import Kind
    from superionic.execution.task import Task
    from superionic.potentials.base import PotentialIdentity
    from superionic.stages.base import ChosenPotential

_CRATE_VERSION: Final = "1.1"
_PROFILE: Final = "https://w3id.org/ro/wfrun/process/0.5"
_SPDX: Final = "https://spdx.org/licenses/"
_FORMATS: Final = {
    ".cif": "chemical/x-cif",
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".txt": "text/plain",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zip": "application/zip",
}


@dataclass(frozen=True)
class Described:
    """A file of an archive, as its description names it.

    Attributes
    ----------
    name
        Its path in the archive.
    what
        What it is, in words.
    size_bytes, sha256
        Of its content.
    """

    name: str
    what: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Publication:
    """What only its authors know of a campaign.

    Attributes
    ----------
    title
        Of the data.
    authors
        Names.
    licence
        SPDX identifier or URL of the licence of the data; empty if not stated.
    """

    title: str
    authors: tuple[str, ...] = ()
    licence: str = ""


@dataclass(frozen=True)
class Contents:
    """The contents of an archive that are described individually.

    Attributes
    ----------
    inputs
        Files that it refers to.
    report
        Files of the report that are named one by one.
    records
        History and provenance.
    report_folder, results_folder
        The folders of the whole report, and of the results of all tasks; with ``/`` at the end.
    n_results
        Number of these.
    """

    campaign: Described
    inputs: tuple[Described, ...]
    report: tuple[Described, ...]
    records: tuple[Described, ...]
    report_folder: str
    results_folder: str
    n_results: int


@dataclass(frozen=True)
class EngineUsed:
    """An engine that tasks ran in.

    Attributes
    ----------
    name
        Its name; ``core`` is superionic's own environment.
    licence
        Of its code; None where superionic does not know it.
    identity
        What results depend on: the versions of its packages.
    """

    name: str
    licence: str | None
    identity: Mapping[str, Any]


@dataclass(frozen=True)
class TaskDone:
    """How one result came about: what the task was, what it read (keys of tasks), how it ended and what it cost."""

    key: str
    stage: str
    label: str
    outcome: Kind
    function: str
    version: int
    engine: str
    reads: tuple[str, ...]
    wall_s: float | None
    cpu_s: float | None
    gpu_s: float | None


@dataclass(frozen=True)
class Provenance:
    """How the results of a campaign came about: what ``provenance.json`` holds.

    Attributes
    ----------
    superionic
        The versions that ran it.
    engines, potentials
        What its tasks used.
    tasks
        Finished tasks; each stands after those whose results it reads.
    """

    superionic: tuple[str, ...]
    engines: tuple[EngineUsed, ...]
    potentials: Mapping[str, PotentialIdentity]
    tasks: tuple[TaskDone, ...]


def provenance(
    tasks: Mapping[str, Task[Any]],
    kinds: Mapping[str, Kind],
    ledger: Ledger,
    potentials: Mapping[str, ChosenPotential],
    versions: Sequence[str],
) -> Provenance:
    """Gather how the results came about.

    Parameters
    ----------
    tasks
        The tasks of a campaign by their keys, each after those whose results it reads.
    kinds
        How each finished task ended.
    potentials
        The potentials of the campaign.
    versions
        The versions of superionic that ran it.
    """
    finished: list[TaskDone] = []
    engines: dict[str, EngineUsed] = {}
    for key, task in tasks.items():
        if key not in kinds:
            continue
        spec = ENGINES.get(task.engine)
        used = EngineUsed(task.engine, None if spec is None else spec.licence, task.engine_identity)
        engines[f"{used.name} {canonical_json(dict(used.identity))}"] = used
        record = ledger.record(key)
        finished.append(
            TaskDone(
                key=key,
                stage=task.stage,
                label=task.label,
                outcome=kinds[key],
                function=task.function,
                version=task.version,
                engine=task.engine,
                reads=tuple(sorted(needed.key for needed in task.dependencies())),
                wall_s=None if record is None else record.wall_s,
                cpu_s=None if record is None else record.cpu_s,
                gpu_s=None if record is None else record.gpu_s,
            )
        )
    return Provenance(
        superionic=tuple(versions),
        engines=tuple(used for _, used in sorted(engines.items())),
        potentials={name: potential.identity for name, potential in potentials.items()},
        tasks=tuple(finished),
    )


def period(tasks: Mapping[str, Task[Any]], ledger: Ledger) -> tuple[str, str] | None:
    """Return when the first of the tasks began and the last ended, in UTC; None where the history does not know it."""
    records = [record for key in tasks if (record := ledger.record(key)) is not None]
    began = [record.started for record in records if record.started is not None]
    ended = [record.finished for record in records if record.finished is not None]
    if not ended:
        return None
    return _utc(min(began, default=min(ended))), _utc(max(ended))


def crate_metadata(
    contents: Contents, publication: Publication, made_by: Provenance, when: tuple[str, str] | None
) -> str:
    """Return the text of ``ro-crate-metadata.json``.

    Parameters
    ----------
    contents
        What is described.
    publication
        What its authors say of it.
    made_by
        What :func:`provenance` gave.
    when
        Beginning and end of the work, see :func:`period`.
    """
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version=_CRATE_VERSION)
    crate.name = publication.title
    crate.description = (
        "A campaign of superionic, from disordered crystals to ionic conductivities: the campaign file and what it "
        f"refers to, the report, and the {contents.n_results} results of all its tasks with their provenance. "
        "`superionic store import` makes a folder of it in which the campaign goes on where it ended."
    )
    crate.datePublished = _utc(datetime.now(UTC).timestamp()) if when is None else when[1]
    crate.root_dataset["conformsTo"] = crate.add(
        _entity(crate, _PROFILE, "CreativeWork", name="Process Run Crate", version=_PROFILE.rpartition("/")[2])
    )
    people = _add_people_and_licence(crate, publication)
    programs = _add_programs(crate, made_by)
    campaign = _add_file(crate, contents.campaign)
    inputs = [_add_file(crate, entry) for entry in contents.inputs]
    report = crate.add_dataset(
        dest_path=contents.report_folder,
        properties={"name": "report", "description": "Report of the campaign: page, tables, figures, results.json"},
    )
    report["hasPart"] = [_add_file(crate, entry) for entry in contents.report]
    results = crate.add_dataset(
        dest_path=contents.results_folder,
        properties={
            "name": "results",
            "description": f"{contents.n_results} results, each an archive named by the key of its task, with what "
            "it was made from (task.json), what it gave (result.json, arrays.npz), and its SHA-256 as comment",
        },
    )
    for entry in contents.records:
        _add_file(crate, entry)
    action = crate.add_action(
        programs[0],
        identifier="#campaign",
        object=[campaign, *inputs],
        result=[report, results],
        properties={
            "name": f"superionic run {PurePosixPath(contents.campaign.name).name}",
            "description": "All tasks of the campaign, in one run or several",
        },
    )
    if people:
        action["agent"] = people
    if when is not None:
        action["startTime"], action["endTime"] = when
    crate.root_dataset["mentions"] = _compact([action, *programs[1:]])
    return json.dumps(crate.metadata.generate(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _add_file(crate: ROCrate, entry: Described) -> Any:
    name = PurePosixPath(entry.name)
    properties = {
        "name": name.name,
        "description": entry.what,
        "contentSize": str(entry.size_bytes),
        "sha256": entry.sha256,
        "encodingFormat": _FORMATS.get(name.suffix.lower(), "application/octet-stream"),
    }
    return crate.add_file(dest_path=entry.name, properties=properties)


def _add_people_and_licence(crate: ROCrate, publication: Publication) -> Any:
    """Add authors and licence, and return the author, or the list of them."""
    people = [
        crate.add(_entity(crate, f"#author-{number}", "Person", name=name))
        for number, name in enumerate(publication.authors, 1)
    ]
    if people:
        crate.root_dataset["author"] = _compact(people)
    if not publication.licence:
        crate.license = "No licence is stated; ask the authors before you use the data."
    else:
        is_url = publication.licence.startswith(("http://", "https://"))
        place = publication.licence if is_url else _SPDX + publication.licence
        crate.license = crate.add(
            _entity(
                crate,
                place,
                "CreativeWork",
                name=publication.licence,
                description=f"Licence of the data: {publication.licence}",
            )
        )
    return _compact(people)


def _add_programs(crate: ROCrate, made_by: Provenance) -> Sequence[ContextEntity]:
    """Add superionic and the engines, superionic first."""
    version = ", ".join(made_by.superionic)
    programs = [
        _entity(
            crate,
            "#superionic",
            "SoftwareApplication",
            name="superionic",
            softwareVersion=version,
            license={"@id": _SPDX + "MIT"},
        )
    ]
    environments: dict[tuple[str, str], list[str]] = {}
    for engine in made_by.engines:
        of = f"{engine.name} (licence: {engine.licence})" if engine.licence else engine.name
        for package in sorted(engine.identity.get("packages", {}).items()):
            environments.setdefault(package, []).append(of)
    programs += [
        _entity(
            crate,
            f"https://pypi.org/project/{name}/{number}/",
            "SoftwareApplication",
            name=name,
            softwareVersion=number,
            description=f"In the environments of the engines {', '.join(engines)}",
        )
        for (name, number), engines in sorted(environments.items())
    ]
    return [crate.add(program) for program in programs]


def _entity(crate: ROCrate, identifier: str, kind: str, **properties: Any) -> ContextEntity:
    from rocrate.model.contextentity import ContextEntity

    return ContextEntity(crate, identifier, properties={"@type": kind, **properties})


def _compact(entities: list[Any]) -> Any:
    """Return one entity as itself and several as a list: how the standard writes values."""
    return entities[0] if len(entities) == 1 else entities


def _utc(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")
