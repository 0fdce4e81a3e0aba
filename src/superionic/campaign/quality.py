"""The doubts about a campaign's results, in words: what is statistically thin, stands in for something, or failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from superionic.campaign.schema import CampaignFile

_FEW_LABELS = 100
_FEW_TEST_STRUCTURES = 20
_FEW_TEMPERATURES = 4
_SHORT_RUN_PS = 100.0
_SMALL_CELL = 100

Doubt = tuple[str, str]


def doubts(file: CampaignFile, stages: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return ``severity`` (info, caution, warning) and ``statement`` of every doubt.

    Parameters
    ----------
    file
        The campaign file.
    stages
        Summaries of the stages that are done.
    """
    found: list[Doubt] = []
    for stage, judge in (
        ("enumerate", _about_orderings),
        ("rank", _about_relaxations),
        ("label", _about_labels),
        ("train", _about_training),
        ("validate", _about_errors),
        ("transport", _about_runs),
        ("analyse", _about_transport),
    ):
        if stage in stages:
            found += judge(stages[stage])
    for stage, summary in stages.items():
        if summary.get("failures"):
            found.append(("caution", f"{stage}: {len(summary['failures'])} calculations failed and are left out."))
    if file.train is None:
        found.append(("info", "No fine-tuning in this campaign: all dynamics are by the pretrained potential."))
    return [{"severity": severity, "statement": statement} for severity, statement in found]


def _about_orderings(summary: Mapping[str, Any]) -> Iterator[Doubt]:
    for space in summary["spaces"]:
        if space["method"] == "sample":
            text = (
                f"{space['formula']} ({space['crystal']}): {space['listed']} of {space['distinct']:.4g} distinct "
                "orderings were looked at, drawn at random; a lower one may exist."
            )
            yield "info", text


def _about_relaxations(summary: Mapping[str, Any]) -> Iterator[Doubt]:
    relaxed = [entry for entry in summary["entries"] if entry["relaxed_eV_per_atom"] is not None]
    loose = [entry for entry in relaxed if not entry["converged"]]
    if loose:
        yield "caution", f"{len(loose)} of {len(relaxed)} relaxations stopped before their force limit."


def _about_labels(summary: Mapping[str, Any]) -> Iterator[Doubt]:
    if summary["labeller"].get("stand_in"):
        text = (
            f"The labels come from another potential ({summary['labeller']['code']}), not from DFT: "
            "the fine-tuned potential can be no better than that."
        )
        yield "warning", text
    if summary["n_accepted"] < _FEW_LABELS:
        text = (
            f"Only {summary['n_accepted']} labels: enough to show the way, not to trust the fine-tuned potential "
            "(the papers use 150 to 2,500)."
        )
        yield "caution", text


def _about_training(summary: Mapping[str, Any]) -> Iterator[Doubt]:
    if summary["element_references_degenerate"]:
        text = (
            "The labels have too few compositions to tell the energies of the elements apart: only their sum over "
            "these compositions was fitted, and energies of other compositions keep the pretrained scale."
        )
        yield "info", text
    for note in summary["notes"]:
        yield "caution", note


def _about_errors(summary: Mapping[str, Any]) -> Iterator[Doubt]:
    if summary["set"] != "test":
        yield "caution", f"There was no test set; the errors are those of the {summary['set']} set."
    if summary["n_structures"] < _FEW_TEST_STRUCTURES:
        yield "caution", f"The errors of the potential rest on {summary['n_structures']} structures."
    for text in summary["cautions"]:
        yield "caution", f"Fine-tuned potential: {text}."


def _about_runs(summary: Mapping[str, Any]) -> Iterator[Doubt]:
    runs = summary["runs"]
    short = [run for run in runs if run["length_ps"] < _SHORT_RUN_PS]
    if short:
        text = (
            f"{len(short)} of {len(runs)} transport runs are shorter than {_SHORT_RUN_PS:g} ps. Their diffusivities "
            "are estimates with wide intervals, not results to publish."
        )
        yield "warning", text
    if runs and min(run["n_atoms"] for run in runs) < _SMALL_CELL:
        atoms = min(run["n_atoms"] for run in runs)
        yield "caution", f"The simulation cell has {atoms} atoms; finite-size effects on diffusion are likely."


def _about_transport(summary: Mapping[str, Any]) -> Iterator[Doubt]:
    if summary["runs"]:
        hops = [run["n_hops"] for run in summary["runs"]]
        if min(hops) < 50:
            yield "caution", f"The runs saw {min(hops)} to {max(hops)} hops each; few hops make wide intervals."
    for fit in summary["arrhenius"]:
        if len(fit["temperatures_K"]) < _FEW_TEMPERATURES:
            text = f"{fit['id']}: the activation energy rests on {len(fit['temperatures_K'])} temperatures."
            yield "caution", text
        for prediction in fit["predictions"]:
            if prediction["extrapolated"]:
                text = (
                    f"{fit['id']}: σ({prediction['temperature_K']:g} K) is extrapolated from "
                    f"{min(fit['temperatures_K']):g} K and above."
                )
                yield "caution", text
