"""The transport runs of a campaign as input of LAMMPS or GPUMD."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from superionic.errors import PotentialError, StageError, SuperionicError, storage_error
from superionic.settings.base import STUDENT, is_trained

if TYPE_CHECKING:
    from superionic.campaign.file.schema import CampaignFile
    from superionic.campaign.flow import Flow
    from superionic.settings.transport import TransportSettings

Format = Literal["lammps", "gpumd"]


def export_runs(file: CampaignFile, flow: Flow, form: str, folder: Path) -> list[Path]:
    """Write one folder for each run: ordering, temperature, replica and, where there are several, series.

    Parameters
    ----------
    flow
        A walk through its stages, at least to ``rank``.
    form
        ``"lammps"`` or ``"gpumd"``.
    folder
        Folder to write to; created if missing. Files of the same names are overwritten.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    StageError
        If the campaign has no transport, or has not come far enough.
    PotentialError
        If the other program cannot evaluate the potential.
    """
    from ase.build import make_supercell

    from superionic.dynamics import export
    from superionic.stages import transport

    if form not in get_args(Format):
        raise SuperionicError(f"There is no format {form!r}.", where="--format", fix="Choose lammps or gpumd.")
    if file.transport is None:
        raise StageError("This campaign has no transport runs.", where="transport", fix="Add `transport: {}`.")
    if not flow.outputs.ranked:
        raise StageError(
            "The orderings are not ranked yet.", where="rank", fix="Run first: superionic run CAMPAIGN --until rank"
        )
    written: list[Path] = []

    def write(path: Path, content: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        except OSError as error:
            raise storage_error(error, where=path, doing="write the runs") from error
        written.append(path)

    for settings in file.transport_series:
        name, options, text = _driver(settings, file, flow)
        if form == "gpumd" and text is None:
            raise PotentialError(
                f"GPUMD cannot evaluate the potential {name}.",
                fix="Distil a student of it (stage distil) and export that.",
            )
        plain = settings.model_dump(mode="json")
        series = "" if settings.name is None else f" {settings.name}"
        planned = itertools.product(
            transport.lowest_orderings(settings, flow.outputs.ranked), settings.temperatures_K, range(settings.replicas)
        )
        for candidate, temperature, replica in planned:
            atoms = make_supercell(flow.bench.runner.value_of(candidate.structure), settings.supercell)
            elements = export.elements_of(atoms) if text is None else _elements(text)
            label = f"{candidate.id} {temperature:g} K replica {replica + 1}{series}"
            seed = 1 + flow.bench.at("export").seed_for(label) % 900_000_000
            place = folder / "".join(c if c.isalnum() or c in "-._=" else "_" for c in label)
            section = transport.lengths_at(settings, temperature)
            lengths = {"nvt_equilibration_ps": section.nvt_equilibration_ps, "production_ps": section.production_ps}
            if form == "lammps":
                lines = export.lammps_potential(name, elements, options)
                write(place / "run.data", export.lammps_data(atoms, f"{label}, {file.name}", elements))
                content = export.lammps_input(plain, lengths, temperature, seed, "run.data", lines)
                write(place / "in.run", content)
                folders = [place]
            else:
                inputs = export.gpumd_inputs(plain, lengths, temperature, seed)
                for part, content in inputs.items():
                    write(place / part / "run.in", content)
                write(place / next(iter(inputs)) / "model.xyz", export.gpumd_model(atoms))
                folders = [place / part for part in inputs]
            if text is not None:
                for where in folders:
                    write(where / "nep.txt", text)
    return written


def _driver(settings: TransportSettings, file: CampaignFile, flow: Flow) -> tuple[str, dict[str, Any], str | None]:
    """Return name, options and (for a NEP) the text of ``nep.txt`` of the potential that drives a series of runs."""
    from superionic.models.nep.model import NepModel
    from superionic.models.nep.potential import NepPotential

    name = settings.potential
    if name == STUDENT or (name is None and file.distil is not None):
        students = flow.outputs.distil[-1].students if flow.outputs.distil else ()
        if not students:
            raise StageError(
                "There is no student yet.", where="distil", fix="Run first: superionic run CAMPAIGN --until distil"
            )
        return "nep", {}, NepModel.from_arrays(flow.bench.runner.one(students[0]).weights).to_text()
    if is_trained(name) or (name is None and file.train is not None):
        raise PotentialError(
            "The fine-tuned potential cannot be exported to another program.",
            where="transport.potential",
            fix="Distil a student of it (stage distil) and export that.",
        )
    entry = flow.bench.potentials[name or file.rank.potential or next(iter(file.potentials))]
    if "dispersion" in entry.options:
        raise PotentialError(
            f"The dispersion term of the potential {entry.name} cannot be exported to another program.",
            where=f"potentials.{entry.name}.dispersion",
            fix="Distil a student of it (stage distil), which learns the term, and export that.",
        )
    text = None
    if entry.identity.name == "nep":
        from superionic.execution.kept_files import with_stored_paths
        from superionic.potentials.base import load_potential

        potential = load_potential("nep", model=entry.model, **with_stored_paths(entry.options))
        text = potential.to_text() if isinstance(potential, NepPotential) else None
    return entry.identity.name, dict(entry.options), text


def _elements(text: str) -> list[str]:
    """Elements of a ``nep.txt``, in its order: the first line is ``nep4_zbl 3 Li Y Cl``."""
    return text.splitlines()[0].split()[2:]
