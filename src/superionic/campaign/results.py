"""From what the stages gave to ``results.json``: one tree of plain values, with the doubts in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from superionic import __version__
from superionic.campaign.flow import merged
from superionic.campaign.quality import doubts
from superionic.settings.base import STUDENT
from superionic.report.summary import statements
from superionic.report.values import Results

if TYPE_CHECKING:
    from superionic.campaign.flow import Flow
    from superionic.campaign.schema import CampaignFile


REFUSED: Final = "refused: student failed parity"
"""What ``status`` says where a student may not drive transport."""


def assemble(file: CampaignFile, flow: Flow) -> dict[str, Any]:
    """Return the results of a campaign, as far as it has come.

    Parameters
    ----------
    file
        The campaign file.
    flow
        A walk through its stages, whole or not.

    Returns
    -------
    dict
        Plain values; no dates and no timings, so that equal campaigns give equal bytes.
    """
    stages: dict[str, Any] = {}
    for stage, rounds in flow.results.items():
        if stage == "rank":
            stages["rank"] = dict(rounds[0].summary)
            if len(rounds) > 1:
                stages["rank_again"] = dict(rounds[-1].summary)
        elif stage == "hull":
            stages["hull"] = dict(rounds[-1].summary)
            if len(rounds) > 1:
                stages["hull_before"] = dict(rounds[0].summary)
        else:
            stages[stage] = merged(rounds)
    results: dict[str, Any] = {
        "campaign": file.name,
        "crystals": [
            {
                "formula": flow.crystals[entry.name].formula,
                "name": entry.name,
                "source": Path(entry.file).name,
                "spacegroup": flow.crystals[entry.name].spacegroup_symbol,
            }
            for entry in file.crystals
        ],
        "quality": doubts(file, stages),
        "settings": {stage: file.stage_settings(stage) for stage in file.stages},
        "stages": stages,
        "status": _status(file, flow),
        "superionic": __version__,
        "title": file.report.title or file.name,
        "warnings": _warnings(file, flow),
    }
    if "analyse" in stages:
        stages["analyse"]["comparison"] = _comparison(stages["analyse"])
    results["quality"] = [
        {"severity": statement.severity, "statement": statement.words} for statement in statements(Results(results))
    ]
    return results


def report_arrays(flow: Flow) -> dict[str, np.ndarray]:
    """Load the large arrays that the report draws."""
    from superionic.execution.task import select

    store = flow.bench.runner.store
    return {
        name: select(store.load(ref.task.key), ref.path)
        for results in flow.results.values()
        for result in results
        for name, ref in result.arrays.items()
    }


def write_structures(flow: Flow, folder: Path) -> list[Path]:
    """Write the relaxed orderings as extended XYZ and CIF, with energy, degeneracy and key."""
    from superionic.execution.task import select
    from superionic.structures.files import write_cif, write_extxyz

    ranked = flow.results.get("hull") or flow.results.get("rank")
    if not ranked:
        return []
    store = flow.bench.runner.store
    folder.mkdir(parents=True, exist_ok=True)
    structures = []
    names = ("degeneracy", "relaxed_eV_per_atom", "e_above_hull_eV_per_atom", "ewald_eV", "key")
    for candidate in ranked[-1].candidates:
        atoms = select(store.load(candidate.structure.task.key), candidate.structure.path).copy()
        atoms.calc = None
        atoms.info = {
            "id": candidate.id,
            **{name: candidate.facts[name] for name in names if candidate.facts.get(name) is not None},
        }
        structures.append(atoms)
    written = [folder / "relaxed.extxyz"]
    write_extxyz(written[0], structures)
    for atoms in structures:
        path = folder / (_file_name(atoms.info["id"]) + ".cif")
        write_cif(path, atoms, name=atoms.info["id"])
        written.append(path)
    return written


def write_students(flow: Flow, folder: Path) -> list[Path]:
    """Write the students as ``nep.txt`` files, for GPUMD, LAMMPS with NEP, or calorine."""
    from superionic.potentials.nep_model import NepModel

    distilled = flow.results.get("distil")
    if not distilled:
        return []
    store = flow.bench.runner.store
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, task in distilled[-1].tasks.items():
        path = folder / f"{_file_name(name)}.nep.txt"
        path.write_text(NepModel.from_arrays(store.load(task.key)["weights"]).to_text(), encoding="utf-8")
        written.append(path)
    return written


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-._=" else "_" for c in text)


def _warnings(file: CampaignFile, flow: Flow) -> list[str]:
    undone = [stage for stage in file.stages if stage != "report" and stage not in flow.results]
    if _status(file, flow) == REFUSED:
        undone = [stage for stage in undone if stage not in ("transport", "analyse")]
    return [f"Not done yet: {', '.join(undone)}."] if undone else []


def _status(file: CampaignFile, flow: Flow) -> str:
    """Say whether these are results: ``complete``, ``incomplete``, or refused since the student failed its gate."""
    judged = flow.results.get("distil")
    if judged and file.distil is not None and file.transport is not None and file.transport.potential == STUDENT:
        passed = judged[-1].summary["verdict"]["passed"]
        if not passed:
            return REFUSED if file.distil.require_parity else "student failed parity"
    done = all(stage in flow.results for stage in file.stages if stage != "report")
    return "complete" if done else "incomplete"


def _comparison(analysed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Put published values next to ours, for the formulas and quantities that both have."""
    from superionic.references import lookup

    rows = []
    for fit in analysed["arrhenius"]:
        activation = None if fit["Ea_eV"] is None else {"value": fit["Ea_eV"], "error": fit["Ea_error_eV"]}
        pairs = [(activation, value) for value in lookup(fit["formula"], quantity="activation_energy")]
        pairs += [
            (fit["sigma_300K_mS_per_cm"], value)
            for value in lookup(fit["formula"], quantity="conductivity")
            if value.temperature_K in (None, 300.0)
        ]
        rows += [
            {
                "bound": value.bound,
                "doi": value.doi,
                "formula": fit["formula"],
                "id": fit["id"],
                "kind": value.kind,
                "method": value.method,
                "ours": ours,
                "polymorph": value.polymorph,
                "pressure_GPa": value.pressure_GPa,
                "published": value.value,
                "quantity": value.quantity.replace("_", " "),
                "source": value.source,
                "temperature_K": value.temperature_K,
                "unit": value.unit,
            }
            for ours, value in pairs
            if ours is not None
        ]
    return rows
