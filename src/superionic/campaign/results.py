"""From what the stages gave to ``results.json``: one tree of plain values, with the doubts in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from superionic import __version__
from superionic.campaign.flow import merged

if TYPE_CHECKING:
    from superionic.campaign.flow import Flow
    from superionic.campaign.schema import CampaignFile

_FEW_LABELS = 100
_SHORT_RUN_PS = 100.0


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
    for stage, results in flow.results.items():
        if stage in ("rank", "hull"):
            stages[stage] = dict(results[-1].summary if stage == "hull" else results[0].summary)
            if len(results) > 1:
                stages[f"{stage}_{'before' if stage == 'hull' else 'again'}"] = dict(
                    results[0 if stage == "hull" else -1].summary
                )
        else:
            stages[stage] = merged(results)
    results = {
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
        "quality": _quality(file, stages),
        "settings": {stage: file.stage_settings(stage) for stage in file.stages},
        "stages": stages,
        "superionic": __version__,
        "title": file.report.title or file.name,
        "warnings": _warnings(file, flow),
    }
    if "analyse" in stages:
        stages["analyse"]["comparison"] = _comparison(stages["analyse"])
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


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-._=" else "_" for c in text)


def _quality(file: CampaignFile, stages: Mapping[str, Any]) -> list[dict[str, str]]:
    """State in words what the numbers cannot carry."""
    said: list[tuple[str, str]] = []
    for space in stages.get("enumerate", {}).get("spaces", []):
        if space["method"] == "sample":
            said.append(
                (
                    "info",
                    f"{space['formula']} ({space['crystal']}): {space['listed']} of {space['distinct']:.4g} distinct "
                    "orderings were looked at, drawn at random; a lower one may exist.",
                )
            )
    relaxed = [e for e in stages.get("rank", {}).get("entries", []) if e["relaxed_eV_per_atom"] is not None]
    loose = [entry["id"] for entry in relaxed if not entry["converged"]]
    if loose:
        said.append(("caution", f"{len(loose)} of {len(relaxed)} relaxations stopped before their force limit."))
    label, train = stages.get("label"), stages.get("train")
    if label is not None:
        if label["labeller"].get("stand_in"):
            said.append(
                (
                    "warning",
                    f"The labels come from another potential ({label['labeller']['code']}), not from DFT: "
                    "the fine-tuned potential can be no better than that.",
                )
            )
        if label["n_accepted"] < _FEW_LABELS:
            said.append(
                (
                    "caution",
                    f"Only {label['n_accepted']} labels: enough to show the way, not to trust the fine-tuned potential "
                    "(the papers use 150 to 2,500).",
                )
            )
    if train is not None and train["element_references_degenerate"]:
        said.append(
            (
                "info",
                "All labels have one composition ratio, so the energies of the elements cannot be told apart: "
                "only a shift per formula was fitted, and energies of other compositions keep the pretrained scale.",
            )
        )
    validate = stages.get("validate")
    if validate is not None:
        if validate["set"] != "test":
            said.append(("caution", f"There was no test set; the errors are those of the {validate['set']} set."))
        if validate["n_structures"] < 20:
            said.append(("caution", f"The errors of the potential rest on {validate['n_structures']} structures."))
        said += [("caution", f"Fine-tuned potential: {text}.") for text in validate["cautions"]]
    runs = stages.get("analyse", {}).get("runs", [])
    lengths = {run["run"]: run["length_ps"] for run in stages.get("transport", {}).get("runs", [])}
    short = [run for run in runs if lengths.get(run["run"], 0.0) < _SHORT_RUN_PS]
    if short:
        fewest = min(run["n_hops"] for run in short)
        said.append(
            (
                "warning",
                f"{len(short)} of {len(runs)} transport runs are shorter than {_SHORT_RUN_PS:g} ps (fewest hops: {fewest}). "
                "Their diffusivities are estimates with wide intervals, not results to publish.",
            )
        )
    atoms = [run["n_atoms"] for run in stages.get("transport", {}).get("runs", [])]
    if atoms and min(atoms) < 100:
        said.append(
            ("caution", f"The simulation cell has {min(atoms)} atoms; finite-size effects on diffusion are likely.")
        )
    for fit in stages.get("analyse", {}).get("arrhenius", []):
        points = len(fit["temperatures_K"])
        if points < 4:
            said.append(("caution", f"{fit['id']}: the activation energy rests on {points} temperatures."))
        said += [
            (
                "caution",
                f"{fit['id']}: σ({prediction['temperature_K']:g} K) is extrapolated from "
                f"{min(fit['temperatures_K']):g} K and above.",
            )
            for prediction in fit["predictions"]
            if prediction["extrapolated"]
        ]
    for stage in ("enumerate", "rank", "sample", "transport", "analyse"):
        failures = stages.get(stage, {}).get("failures", [])
        if failures:
            said.append(("caution", f"{stage}: {len(failures)} calculations failed and are left out."))
    if file.train is None:
        said.append(("info", "No fine-tuning in this campaign: all dynamics are by the pretrained potential."))
    return [{"severity": severity, "statement": statement} for severity, statement in said]


def _warnings(file: CampaignFile, flow: Flow) -> list[str]:
    undone = [stage for stage in file.stages if stage != "report" and stage not in flow.results]
    return [f"Not done yet: {', '.join(undone)}."] if undone else []


def _comparison(analysed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Put published values next to ours, for the formulas and quantities that both have."""
    from superionic.references import lookup

    rows = []
    for fit in analysed["arrhenius"]:
        for quantity, ours in (
            ("activation_energy", fit["Ea_eV"]),
            ("conductivity", (fit["sigma_300K_mS_per_cm"] or {}).get("value")),
        ):
            if ours is None:
                continue
            for value in lookup(fit["formula"], quantity=quantity):
                if quantity == "conductivity" and value.temperature_K not in (None, 300.0):
                    continue
                rows.append(
                    {
                        "bound": value.bound,
                        "doi": value.doi,
                        "formula": fit["formula"],
                        "id": fit["id"],
                        "kind": value.kind,
                        "method": value.method,
                        "ours": ours,
                        "published": value.value,
                        "quantity": quantity if quantity == "activation_energy" else "conductivity at 300 K",
                        "source": value.source,
                        "unit": value.unit,
                    }
                )
    return rows
