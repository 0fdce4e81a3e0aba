"""The doubts about a campaign's results that only the campaign can know, in words.

Those that can be read off the numbers themselves (few hops, short runs, few labels, failures, extrapolation) are added
by :func:`superionic.report.summary.statements`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from superionic.transport.analysis import MOVING_FRAMEWORK

if TYPE_CHECKING:
    from superionic.campaign.schema import CampaignFile

_SMALL_CELL = 100
_DRIFTING = 0.02

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
        ("train", _about_training),
        ("validate", _about_errors),
        ("transport", _about_runs),
        ("analyse", _about_framework),
    ):
        if stage in stages:
            found += judge(stages[stage])
    if file.train is None:
        found.append(("info", "No fine-tuning in this campaign: all dynamics are by the pretrained potential."))
    return [{"severity": severity, "statement": statement} for severity, statement in found]


def _about_orderings(summary: Mapping[str, Any]) -> Iterator[Doubt]:
    for space in summary["spaces"]:
        name = f"{space['formula']} ({space['crystal']})"
        if space["method"] == "sample":
            text = (
                f"{name}: {space['listed']} of {space['distinct']:.4g} distinct "
                "orderings were looked at, drawn at random; a lower one may exist."
            )
            yield "info", text
        if space["method"] == "monte-carlo":
            yield from _about_monte_carlo(name, space["evidence"])
        if space["method"] == "search":
            evidence = space["evidence"]
            agreed = f"{evidence['agreeing_on_the_lowest']} of {evidence['searches']} independent searches"
            if evidence["converged"]:
                yield (
                    "info",
                    f"{name}: the orderings of lowest Ewald energy were searched; {agreed} agree on the lowest.",
                )
            else:
                text = f"{name}: only {agreed} found the same lowest Ewald energy; a lower ordering is likely."
                yield "caution", text
        if space["tie"] is not None:
            tie = space["tie"]
            text = (
                f"{name}: {tie['members']:,} orderings share the Ewald energy at which the choice ends, and "
                f"{tie['taken']} of them were taken, spread evenly; point charges cannot tell them apart."
            )
            yield "info", text
        if space["skipped_compositions"]:
            text = (
                f"{name}: {space['skipped_compositions']} compositions nearer to the refinement were passed over, as "
                f"they cannot keep like ions {space['min_distance_A']:g} Å apart."
            )
            yield "caution", text


def _about_monte_carlo(name: str, evidence: Mapping[str, Any]) -> Iterator[Doubt]:
    by = evidence["energy"]
    if "dielectric" in evidence:
        by = f"{by} with a relative permittivity of {evidence['dielectric']:g}"
    text = (
        f"{name}: the orderings are {evidence['independent_draws']} independent draws at "
        f"{evidence['temperature_K']:g} K by {by}, without vibrations; they are not the lowest ones."
    )
    yield "info", text
    if evidence.get("surrogate_converged") is False:
        error = evidence["surrogate_error_meV_per_atom"]
        told = "is not known" if error is None else f"is {error:.2g} meV/atom"
        text = (
            f"{name}: the error of the fit to the potential on orderings that it had not seen {told}, and "
            f"{evidence['tolerance_meV_per_atom']:g} were asked for; raise `max_rounds`, `batch` or `pair_cutoff_A`."
        )
        yield "caution", text
    failed = evidence.get("evaluations_failed", 0)
    if failed:
        yield "caution", f"{name}: {failed} of {evidence['evaluations']} energies for Monte Carlo failed."
    left = evidence.get("evaluations_in_which_an_ion_left_its_site", 0)
    if left:
        text = (
            f"{name}: in {left} of {evidence['evaluations']} relaxations for Monte Carlo an ion moved more than 1 Å; "
            "their energies may be those of other orderings."
        )
        yield "caution", text
    for flag in evidence["flags"]:
        yield "caution", f"{name}: Monte Carlo: {flag}"


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
    for text in summary["cautions"]:
        yield "caution", f"Fine-tuned potential: {text}."


def _about_runs(summary: Mapping[str, Any]) -> Iterator[Doubt]:
    runs = summary["runs"]
    if runs and min(run["n_atoms"] for run in runs) < _SMALL_CELL:
        atoms = min(run["n_atoms"] for run in runs)
        yield "caution", f"The simulation cell has {atoms} atoms; finite-size effects on diffusion are likely."
    drifting = [run for run in runs if run["npt_drift"] is not None and abs(run["npt_drift"]) > _DRIFTING]
    if drifting:
        worst = max(abs(run["npt_drift"]) for run in drifting)
        text = (
            f"In {len(drifting)} of {len(runs)} transport runs the volume had not come to rest at the end of the NPT "
            f"part (it still changed by up to {100 * worst:.0f} %), and conductivity depends strongly on volume."
        )
        yield "warning", text


def _about_framework(summary: Mapping[str, Any]) -> Iterator[Doubt]:
    moving = [run for run in summary["runs"] if (run["framework_moved"] or 0.0) > MOVING_FRAMEWORK]
    if moving:
        temperatures = ", ".join(f"{t:g}" for t in sorted({run["temperature_K"] for run in moving}))
        most = max(run["framework_moved"] for run in moving)
        text = (
            f"In {len(moving)} of {len(summary['runs'])} runs (at {temperatures} K) atoms of the framework left their "
            f"sites, up to {100 * most:.0f} % of them: it may be melting there."
        )
        yield "warning", text
