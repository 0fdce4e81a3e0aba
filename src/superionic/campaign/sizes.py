"""Potentials trained on some of the labels (`learn.sizes`), carried on to what users judge by (paper A, figure 2d)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from superionic.errors import StageError
from superionic.execution.task import ref_of
from superionic.registry import models
from superionic.results.sizes import LeftOutSize, OrderingHeight, SetErrors, SizedModel, SizesResult
from superionic.settings.base import at_size
from superionic.stages import rungs, train
from superionic.stages.agreement import order_change_task
from superionic.stages.base import FINE_TUNED, Candidate, grouped, lowest_of_each

if TYPE_CHECKING:
    from superionic.campaign.walk import Walk
    from superionic.results.ranking import RankResult
    from superionic.settings.rank import RankSettings
    from superionic.stages.base import ChosenPotential, Snapshot, Weights, WithCandidates
    from superionic.stages.hull import HullOutput

    Place = Callable[
        [RankSettings, Sequence[Candidate], Sequence[Candidate], ChosenPotential, str],
        tuple[WithCandidates[RankResult], HullOutput | None],
    ]


def train_on_sizes(
    walk: Walk,
    sizes: Sequence[int],
    whole: train.TrainOutput,
    labelled: Sequence[Snapshot],
    untrained: ChosenPotential,
    trained: ChosenPotential,
    sets: Mapping[str, Sequence[Snapshot]],
) -> None:
    """Train on parts of the labels, compare all potentials on the test sets, and add them to the outputs of the walk.

    That a size cannot be trained is recorded, and no reason to stop.

    Parameters
    ----------
    sizes
        Numbers of labels, ascending; 0 is the untrained potential.
    whole, labelled
        The training of the campaign that goes on, and its labels.
    untrained, trained
        The potential that sampled, and the one trained on all labels.
    sets
        Labelled snapshots by the name of their test set.
    """
    settings = walk.file.train
    assert settings is not None  # noqa: S101 - rules of the campaign file
    bench = walk.bench.at("train")
    fits, left_out = train.on_sizes(settings, bench, labelled, whole, [size for size in sizes if size])
    datasets, described = [], list[SizedModel]()
    potentials: dict[str, ChosenPotential] = {}
    if 0 in sizes:
        potentials[at_size(0)] = replace(untrained, name=at_size(0))
        datasets.append(whole.dataset)
        described.append(SizedModel(0, at_size(0), None, None, None, ()))
    for fit in fits:
        if fit.outcome.failure is not None:
            left_out[fit.size] = f"its training failed: {fit.outcome.failure.reason}"
            continue
        name, finished = at_size(fit.size), fit.outcome.value
        potentials[name] = _with_weights(trained, name, fit.outcome.task.result.weights)
        datasets.append(fit.dataset)
        key = fit.outcome.task.key
        described.append(SizedModel(fit.size, name, finished.best_epoch, finished.epochs, key, ()))
    result = whole.result
    epochs = max((record.epoch for record in result.history), default=result.best_epoch)
    described.append(SizedModel(result.n_train, FINE_TUNED, result.best_epoch, epochs, result.key, ()))
    every = [*potentials.values(), trained]
    named = [(each.name, each.bare, dataset) for each, dataset in zip(every, [*datasets, whole.dataset], strict=True)]
    compared = rungs.errors_on_sets(bench, "sizes", named, sets)
    table = bench.runner.one(compared).errors
    walk.outputs.sized.update(potentials)
    walk.outputs.sizes.append(
        SizesResult(
            sets=rungs.described(sets),
            n_validation=result.n_validation,
            models=tuple(
                replace(
                    model,
                    errors=tuple(SetErrors(name, of) for name, of in zip(sets, row, strict=True) if of is not None),
                )
                for model, row in zip(described, table, strict=True)
            ),
            left_out=tuple(LeftOutSize(size, at_size(size), reason) for size, reason in sorted(left_out.items())),
            key=compared.key,
        )
    )


def _with_weights(trained: ChosenPotential, name: str, weights: Weights) -> ChosenPotential:
    identity = trained.identity
    if models()[identity.name].from_labels:
        identity = replace(identity, checkpoint_sha256=ref_of(weights).task.key)
    return replace(trained, name=name, identity=identity, weights=weights)


def rank_by_sizes(walk: Walk, ranked: Sequence[Candidate], trained: ChosenPotential, place: Place) -> None:
    """Relax the lowest orderings by each potential, place them on hulls of their own, and compare their order.

    Parameters
    ----------
    ranked
        Orderings and reference phases as the first ranking left them.
    trained
        The potential of all labels.
    place
        Relaxes orderings and phases by a potential, and places them on a hull where the campaign has one.
    """
    if not walk.outputs.sizes:
        return
    result = walk.outputs.sizes[-1]
    lowest = lowest_of_each(ranked, walk.file.rank.relax_top)
    phases = [candidate for candidate in ranked if candidate.is_reference]
    # Orderings start relaxed; equal ones are not merged, so that all potentials have the same ones.
    unmerged = {"duplicate_tolerance_meV_per_atom": 0.0, "duplicate_volume_tolerance_percent": 0.0}
    settings = walk.file.rank.model_copy(update={"method": "relax-all", "warm_start": 0, **unmerged})
    by_name = {**walk.outputs.sized, trained.name: trained}

    def placed(model: SizedModel) -> SizedModel:
        words = f"by {model.potential}"
        try:
            relaxed, hull = place(settings, lowest, phases, by_name[model.potential], words)
        except StageError as error:
            return replace(model, not_ranked=error.message)
        if hull is None:
            return replace(model, heights=_above_the_lowest(relaxed.candidates))
        entries = hull.result.entries
        heights = [OrderingHeight(each.identity, each.formula, each.e_above_hull_eV_per_atom) for each in entries]
        stable = dict.fromkeys(each.formula for each in entries if each.stable)
        return replace(model, heights=tuple(heights), stable=tuple(stable))

    *some, whole = (placed(model) for model in result.models)
    walk.outputs.sizes[-1] = replace(result, models=(*(_compared(walk, model, whole) for model in some), whole))


def _above_the_lowest(relaxed: Sequence[Candidate]) -> tuple[OrderingHeight, ...]:
    energies = [(each, each.relaxed_eV_per_atom) for each in relaxed if not each.is_reference]
    known = [(each, energy) for each, energy in energies if energy is not None]
    groups = grouped(known, lambda one: one[0].material)
    lowest = {material: min(energy for _, energy in group) for material, group in groups.items()}
    return tuple(OrderingHeight(each.identity, each.formula, energy - lowest[each.material]) for each, energy in known)


def _compared(walk: Walk, model: SizedModel, whole: SizedModel) -> SizedModel:
    """Compare the order of structures with that by the potential of all labels."""
    if not model.heights or not whole.heights:
        return model
    of_whole = {each.identity: each.above_eV_per_atom for each in whole.heights}
    common = [each for each in model.heights if each.identity in of_whole]
    bench = walk.bench.at("rank")
    change = bench.task(
        f"order by {model.potential}",
        order_change_task.of(
            identities=[each.identity for each in common],
            first_eV_per_atom=[of_whole[each.identity] for each in common],
            second_eV_per_atom=[each.above_eV_per_atom for each in common],
            seed=bench.seed_for("order", model.potential),
        ),
    )
    return replace(model, order=bench.runner.one(change))
