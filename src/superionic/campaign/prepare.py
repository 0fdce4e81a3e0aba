"""What must be there before a campaign computes: its engines installed, and its users' checkpoints proved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superionic.conventions import CONVENTIONS
from superionic.errors import EngineError, PotentialError
from superionic.execution.engines import CORE, dispersion_problem, resolve_engine
from superionic.execution.kept_files import first_use, keep, note_first_use
from superionic.potentials.dispersion import missing_library
from superionic.potentials.exported import is_exported
from superionic.registry import models

if TYPE_CHECKING:
    from superionic.campaign.file.schema import CampaignFile
    from superionic.stages.base import ChosenPotential

PROVE = "superionic.potentials.proof:prove"
PROOF = "superionic.potentials.proof:prove_file"


def choose_potential(
    name: str, engine: str, model: str | None, options: Mapping[str, Any], *, where: str
) -> ChosenPotential:
    """Describe a potential; the options with which tasks load it name files by their checksum.

    Parameters
    ----------
    name
        The campaign's name for it.
    engine, model
        Name in the registry, and model of that name.
    options
        Options with ``file`` as a path.
    where
        Place in the campaign file, for messages.

    Raises
    ------
    PotentialError
        If there is no such potential, model or file, or the options do not fit.
    """
    from superionic.potentials.base import describe_potential, dispersion_of
    from superionic.stages.base import ChosenPotential

    settings = dict(options)
    try:
        identity = describe_potential(engine, model, **settings)
        if settings.get("dispersion") is not None:
            bare = {name: value for name, value in settings.items() if name != "dispersion"}
            term = dispersion_of(settings["dispersion"], describe_potential(engine, model, **bare))
            settings["dispersion"] = term.to_dict()  # complete, as keys have it
    except PotentialError as error:
        raise PotentialError(error.message, where=error.where or where, fix=error.fix) from error
    except TypeError as error:
        raise PotentialError(
            f"an option is not known to the engine {engine}: {error}", where=where, fix="correct `options`"
        ) from error
    data = models()[engine].data_named(model)
    if "file" in settings:
        members = () if is_exported(settings["file"]) else models()[engine].members
        settings["file"] = keep(settings["file"], members)
    elif data is not None:
        settings["file"] = data.kept_name  # it is there once it is installed, as an engine is
    if engine == "ase":
        settings["version"] = identity.version  # a calculator of another version is another potential
    return ChosenPotential(name, identity, identity.model, settings)


def cautions(potentials: Mapping[str, ChosenPotential]) -> dict[str, str]:
    """Return what users should know about potentials before using them, by their names in the campaign."""
    by_name = {}
    for name, potential in potentials.items():
        data = potential.data
        caution = models()[potential.identity.name].caution if data is None else data.caution
        if caution is not None:
            by_name[name] = caution
    return by_name


def refuse_moving_cells(file: CampaignFile, potentials: Mapping[str, ChosenPotential]) -> None:
    """Raise PotentialError where a cell would follow the stress of a potential that is unfit for it."""
    first = next(iter(file.potentials), None)
    rank, sample, distil = file.rank, file.sample, file.distil
    for name, potential in potentials.items():
        data = potential.data
        if data is None or not data.rigid_cell:
            continue
        ranks = rank is not None and (rank.potential or first) == name
        uses = []
        if rank is not None and rank.relax_cell:
            compares = name in rank.compare_with and rank.compare_after == "relaxation"
            if ranks or compares:
                uses.append("rank.relax_cell: false")
        if sample is not None and sample.npt_ps > 0 and (sample.potential == name or (not sample.potential and ranks)):
            uses.append("sample.npt_ps: 0")
        trained = distil is not None or file.train is not None
        if any(
            series.potential == name or (series.potential is None and not trained and ranks)
            for series in file.transport_series
            if series.npt_ps > 0
        ):
            uses.append("transport.npt_ps: 0")
        if file.volumes is not None and (file.volumes.potential or first) == name:
            uses.append("volumes: null")
        last = list(file.potentials)[-1]
        if distil is not None and name in {teacher or last for teacher in distil.all_teachers}:
            uses.append("another distil.teacher")
        if uses:
            raise PotentialError(
                f"the cell would follow the pressure of {name}, which is unfit for that: {data.caution}",
                where=f"potentials.{name}",
                fix=f"keep the cell as it was refined ({', '.join(uses)}), or choose another potential",
            )


def needed_engines(file: CampaignFile, potentials: Mapping[str, ChosenPotential]) -> list[str]:
    """Return the engine environments that a campaign needs, in alphabetical order."""
    needed = {potential.engine for potential in potentials.values()}
    for potential in potentials.values():
        data = potential.data
        if data is not None and potential.options.get("file") == data.kept_name:
            needed.add(data.name)
    needed |= {method.engine for method in file.reference_methods.values()} & {"gpaw", "tblite"}
    needed |= {stage.md_engine for stage in (file.sample, *file.transport_series) if stage is not None} & {"lammps"}
    return sorted(needed - {CORE})


def missing_engines(engines: Sequence[str]) -> list[str]:
    """Return the engines that are not installed in their pinned versions."""
    missing = []
    for name in engines:
        try:
            resolve_engine(name)
        except EngineError:
            missing.append(name)
    return missing


def require_engines(engines: Sequence[str]) -> None:
    """Raise EngineError if engines are missing; it names the one command that installs them all."""
    missing = missing_engines(engines)
    if len(missing) == 1:
        resolve_engine(missing[0])
    if missing:
        raise EngineError(
            f"The engines {', '.join(missing)} are not installed, or not in their pinned versions.",
            fix=f"superionic engines install {' '.join(missing)}, or superionic run --install-engines",
        )


def require_dispersion(file: CampaignFile, potentials: Mapping[str, ChosenPotential]) -> None:
    """Raise EngineError if a dispersion term is asked for in an environment without its library."""
    engines = {potential.engine for potential in potentials.values() if "dispersion" in potential.options}
    engines |= {name for method in file.reference_methods.values() for name in method.dispersion_engines}
    for name in sorted(engines):
        location = resolve_engine(name)
        problem = dispersion_problem(location)
        if problem is not None:
            raise missing_library(problem, str(location.python))


def install_engines(
    engines: Sequence[str], say: Callable[[str], None], *, allow_cuda: bool = False, rebuild: bool = False
) -> None:
    """Install engines, two at a time: one unpacks while the other compiles; then download weights that they lack."""
    from concurrent.futures import ThreadPoolExecutor

    from superionic.execution.engine_install import install_engine

    with ThreadPoolExecutor(max_workers=2) as pool:
        jobs = [pool.submit(install_engine, name, say=say, allow_cuda=allow_cuda, rebuild=rebuild) for name in engines]
        for job in jobs:
            job.result()
    for name in engines:
        if name in models():
            fetch_weights(name, say)


def fetch_weights(name: str, say: Callable[[str], None]) -> None:
    """Have an installed engine download weights that its package leaves out, and prove them; say where that fails."""
    from superionic.execution.worker import call_once

    for one in models()[name].measured:
        if not one.file or Path(one.file).expanduser().is_file():
            continue
        say(f"{name}: downloading the weights of {one.model}")
        try:
            call_once(resolve_engine(name).python, PROVE, {"potential": name, "models": [one.model]})
        except EngineError as error:
            again = f"superionic engines install {name}, where there is a network"
            say(f"{name}: without {one.model}: {error.message} {error.fix or again}")
        else:
            say(f"{name}: {one.model} is here and gives the values on record")


def prove_files(potentials: Mapping[str, ChosenPotential]) -> None:
    """Prove the checkpoints that users brought, each once for each version of its engine, and their ASE calculators.

    Calculators that state a convention of their own are not evaluated here: nothing is known to compare them with, and
    one may be a DFT code.

    Raises
    ------
    EngineError
        If one fails its proof (see :func:`superionic.potentials.proof.prove_file`).
    PotentialError
        If one cannot be loaded.
    """
    from superionic.execution.worker import call_once

    for potential in (with_term.bare for with_term in potentials.values()):  # the file is proved, not the term
        if "file" in potential.options:
            prove_file(potential.identity.name, potential.model, potential.options, potential.engine)
        elif potential.identity.name == "ase" and potential.identity.energy_convention in CONVENTIONS:
            settings = {"potential": "ase", "model": potential.model, "options": potential.options}
            call_once(resolve_engine(potential.engine).python, PROOF, settings)


def prove_file(name: str, model: str | None, options: Mapping[str, Any], engine: str) -> dict[str, Any]:
    """Prove a checkpoint unless this version of its engine has done so, and note what it gave at its first use.

    Parameters
    ----------
    name, model, options
        Of the potential, as tasks have them.

    Returns
    -------
    dict
        The note: energy, forces and stress of the stored cell, identity, basis and versions that proved it.
    """
    from superionic.execution.worker import call_once

    location = resolve_engine(engine)
    place, file = _note_name(name, options), str(options["file"])
    first_note = first_use(file, place)
    how = {"engine": location.identity, "options": {**options, "file": ""}}
    if first_note is not None and how in first_note["proved"]:
        return first_note
    proof = call_once(
        location.python, PROOF, {"potential": name, "model": model, "options": dict(options), "first_use": first_note}
    )
    values = {
        **{key: proof[key] for key in ("basis", "differences", "energy_eV", "energy_eV_per_atom", "identity")},
        "forces_eV_per_A": proof["forces_eV_per_A"].tolist(),
        "stress_eV_per_A3": proof["stress_eV_per_A3"].tolist(),
    }
    note = {
        **(values if first_note is None else first_note),
        "proved": [*([] if first_note is None else first_note["proved"]), how],
    }
    note_first_use(file, place, note)
    return note


def known_elements(name: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Elements of a checkpoint as its first use showed them; empty before that, or without a file."""
    if "file" not in options:
        return ()
    note = first_use(options["file"], _note_name(name, options))
    return () if note is None else tuple(note["identity"]["elements"])


def check_file(engine: str, model: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Prove one checkpoint outside a campaign; see :func:`prove_file`."""
    potential = choose_potential(engine, engine, model, options, where="--file")
    return prove_file(engine, potential.model, potential.options, potential.engine)


def _note_name(potential: str, options: Mapping[str, Any]) -> str:
    """Name of the note: one for each part of a checkpoint that gives energies of its own."""
    part = options.get("modal")
    return potential if part is None else f"{potential}-{hashlib.sha256(json.dumps(part).encode()).hexdigest()[:8]}"
