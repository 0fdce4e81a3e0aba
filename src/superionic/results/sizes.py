"""Results of potentials trained on some of the labels: what of a campaign depends on their number."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.results.identity import Ordering, ReferencePhase
from superionic.results.learning import LabelledTestSet
from superionic.shown import Shown
from superionic.thermodynamics.rank_statistics import Correlation
from superionic.training.metrics import ErrorMetrics


@dataclass(frozen=True)
class SetErrors:
    """Errors of a potential on one test set, against labels at the potential's own zero of energy."""

    set: str
    errors: ErrorMetrics


@dataclass(frozen=True)
class OrderingHeight:
    """Energy of a relaxed structure above the hull by one potential.

    In a campaign without a hull it is that above the lowest ordering of its crystal and composition.
    """

    identity: Ordering | ReferencePhase
    formula: str
    above_eV_per_atom: float


@dataclass(frozen=True)
class OrderChange:
    """How another potential orders the same structures.

    Attributes
    ----------
    n
        Number of structures that both potentials relaxed.
    spearman
        Rank correlation of their energies above the hull; its value is None where one of the two rankings is all ties.
    mean_change_meV_per_atom, largest_change_meV_per_atom
        Mean and largest absolute change of these energies; None without any structure.
    n_compared, n_same_lowest
        Crystals and compositions with several orderings, and those of them whose lowest one is the same.
    """

    n: int
    spearman: Correlation
    mean_change_meV_per_atom: float | None
    largest_change_meV_per_atom: float | None
    n_compared: int
    n_same_lowest: int


@dataclass(frozen=True)
class SizedModel:
    """A potential trained on some of the labels, or on all.

    Attributes
    ----------
    n_labels
        Number of labels in its training set; 0 for the potential that sampled.
    potential
        Its name in the campaign, by which series of runs name it.
    best_epoch, epochs
        Epoch whose weights are used, and number of epochs; None for the potential that sampled.
    key
        Key of the task that gave the weights; None for the potential that sampled.
    errors
        Its errors on each test set.
    heights
        Energies above the hull of the structures relaxed by it; empty if they were not.
    stable
        Reduced formulas on its hull; empty without one.
    order
        How it orders the structures, against the potential of all labels; None for that one, and where either ranked
        none.
    not_ranked
        Why it has no energies; empty if it has.
    """

    n_labels: int
    potential: str
    best_epoch: int | None
    epochs: int | None
    key: str | None
    errors: tuple[SetErrors, ...]
    heights: tuple[OrderingHeight, ...] = ()
    stable: tuple[str, ...] = ()
    order: OrderChange | None = None
    not_ranked: str = ""

    @property
    def best_is_last(self) -> bool:
        """Whether the last epoch was the best, so that the training might have gone on to improve."""
        return self.best_epoch is not None and self.best_epoch == self.epochs


@dataclass(frozen=True)
class LeftOutSize:
    """A number of labels that no potential was trained on, its name, and why."""

    n_labels: int
    potential: str
    reason: str


@dataclass(frozen=True, repr=False)
class SizesResult(Shown):
    """Potentials trained on nested parts of the labels, beside the one trained on all.

    Attributes
    ----------
    sets
        The test sets on which all are compared.
    n_validation
        Number of labels that choose the best epoch of each.
    models
        The potentials, by ascending numbers of labels; the last is that of all labels, `fine-tuned`.
    left_out
        Numbers of labels that were asked for in vain.
    key
        Key of the task that calculated the errors.
    """

    sets: tuple[LabelledTestSet, ...]
    n_validation: int
    models: tuple[SizedModel, ...]
    left_out: tuple[LeftOutSize, ...]
    key: str

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the potentials that were not trained on all labels, and of those that were asked for in vain."""
        return (*(model.potential for model in self.models[:-1]), *(each.potential for each in self.left_out))
