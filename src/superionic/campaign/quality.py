"""The doubts about a campaign's results that only the campaign can know, in words.

Those that can be read off the numbers themselves (few hops, short runs, few labels, failures, extrapolation) are added
by :func:`superionic.report.summary.statements`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from superionic.transport.analysis import MOVING_FRAMEWORK

if TYPE_CHECKING:
    from superionic.campaign.schema import CampaignFile

_SMALL_CELL = 100
_DRIFTING = 0.02
_FAR_OUTSIDE = 10.0
_BLIND = 0.3
"""Largest disagreement of a committee over its error on unseen labels, below which its agreement says little."""

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
        ("sample", _about_sampling),
        ("train", _about_training),
        ("validate", _about_errors),
        ("distil", _about_student),
        ("transport", _about_runs),
        ("analyse", _about_framework),
    ):
        if stage in stages:
            found += judge(stages[stage])
    found += _about_a_blind_committee(stages.get("sample", {}), stages.get("validate", {}))
    if file.train is None:
        whose = "a student of the pretrained potential" if file.distil is not None else "the pretrained potential"
        found.append(("info", f"No fine-tuning in this campaign: all dynamics are by {whose}."))
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


def _about_student(summary: Mapping[str, Any]) -> Iterator[Doubt]:
    failed = [item for item in summary["verdict"]["criteria"] if item["passed"] is False]
    if failed:
        named = "; ".join(f"{item['name']} ({item['words']})" for item in failed)
        if summary["required"]:
            text = (
                f"The student failed parity with its teacher, and nothing was computed with it: {named}. "
                f"{_way_out(failed)}, or let the teacher drive `transport` itself (`transport.potential`)."
            )
        else:
            text = (
                f"The student failed parity with its teacher: {named}. Its conductivities are no results until it "
                f"passes. {_way_out(failed)}."
            )
        yield "warning", text
    for item in summary["verdict"]["criteria"]:
        if item["passed"] is None:
            yield "caution", f"Of the student, the {item['name']} could not be compared: {item['words']}."
    transfer = summary["transfer"]
    if transfer is None:
        text = (
            "No diffusivity of the teacher is more than an upper bound, so that the error of the step to the student "
            "is not known and not in the error bars; lengthen `distil.production_ps` or raise `distil.temperatures_K`."
        )
        yield "caution", text
    else:
        seen = math.exp(min(transfer["ln_D_resolution"], 50.0))
        text = (
            f"Student and teacher were compared in runs of the teacher's length: a difference of less than a factor "
            f"of {seen:.2g} in the diffusivity could not have been seen."
        )
        yield "info", text
    for note in summary["data"]["notes"]:
        yield "info", f"Student: {note}"


def _way_out(failed: Sequence[Mapping[str, Any]]) -> str:
    """Say what mends a failed student."""
    names = {item["name"] for item in failed}
    if names & {"a clean run when hot", "runs that repeat the teacher's"}:
        return "Allow more `distil.explore.rounds`, or `labels_per_round`"
    if any(name.startswith("diffusivity") for name in names):
        return "Lengthen `distil.production_ps`, or give more data (`distil.data`)"
    return "Give more data (`distil.data`) or `distil.epochs`"


def _about_extrapolation(runs: Sequence[Mapping[str, Any]]) -> Iterator[Doubt]:
    graded = [run for run in runs if run.get("worst_extrapolation") is not None]
    far = [run for run in graded if run["worst_extrapolation"] > _FAR_OUTSIDE]
    if far:
        worst = max(run["worst_extrapolation"] for run in far)
        text = (
            f"In {len(far)} of {len(graded)} transport runs the student extrapolated far beyond its data (highest "
            f"grade {worst:.3g}, where {_FAR_OUTSIDE:g} is far): raise `distil.explore.temperature_K` or `length_ps`."
        )
        yield "warning", text


def _about_runs(summary: Mapping[str, Any]) -> Iterator[Doubt]:
    runs = summary["runs"]
    yield from _about_extrapolation(runs)
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


def _about_sampling(summary: Mapping[str, Any]) -> Iterator[Doubt]:
    runs = summary["runs"]
    torn = [run for run in runs if run["explored"] is not None]
    stopped = [run for run in runs if run["stopped"] is not None and run not in torn]
    if stopped:
        reasons = "; ".join(sorted({f"{run['run']}: {run['stopped']}" for run in stopped})[:3])
        count = f"{len(stopped)} of {len(runs) - len(torn)}"
        yield "caution", f"{count} sampling runs were stopped by a monitor, and sampled up to there ({reasons})."
    melted = [run for run in runs if any("melts" in flag for flag in run["flags"])]
    if melted:
        temperatures = ", ".join(f"{t:g}" for t in sorted({run["temperature_K"] for run in melted}))
        where = f"{len(melted)} of {len(runs)} sampling runs (at {temperatures} K)"
        yield "info", f"The framework left its sites in {where}: some labels are of a melt."
    learning = summary.get("learning")
    if learning is not None:
        last = learning["rounds"][-1]
        told = (
            f"{last['above']} of {last['looked_at']} frames in {last['length_ps']:.3g} ps were above the threshold, "
            f"the largest disagreement was {last['worst_eV_per_A']:.2g} eV/Å"
        )
        if learning["agrees"]:
            yield "info", f"The active loop ended since the committee agrees: {told}."
        else:
            yield "caution", f"The active loop ended before the committee agreed ({learning['ended']}): {told}."


def _about_a_blind_committee(sampling: Mapping[str, Any], errors: Mapping[str, Any]) -> Iterator[Doubt]:
    """Doubt a committee whose members disagree far less than they err on labels that none of them has seen."""
    learning = sampling.get("learning")
    if learning is None or not errors:
        return
    worst = 1.0e3 * learning["rounds"][-1]["worst_eV_per_A"]
    error = errors["after"]["rmse_force_meV_per_A"]
    if worst < _BLIND * error:
        text = (
            f"The committee disagrees by {worst:.2g} meV/Å at most, but errs by {error:.3g} on unseen labels: its "
            "members are too alike to tell where they are wrong. Train longer, or trust the error, not the agreement."
        )
        yield "caution", text


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
