"""The training loop of MACE: one network, its data and its optimiser, epoch by epoch.

One head learns energies, forces and stresses of the labels, the other those of the replay data, by Adam with a cosine
learning rate and a running mean of the weights. Everything on which the next epoch depends is returned in
:class:`superionic.models.mace.state.TrainState`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from superionic.conventions import WINDOW_EV_PER_ATOM
from superionic.errors import CalculationFailed, StageError
from superionic.models.mace import graphs as mace_graphs
from superionic.models.mace import network as mace_network
from superionic.models.mace import weights as mace_weights
from superionic.models.mace.graphs import Graph
from superionic.models.mace.state import TrainOptions, TrainState
from superionic.training.dataset import LabelledSet, Targets
from superionic.training.loop import arrays, batches, learning_rate, moments, restore, shifted
from superionic.training.metrics import epoch_entry

EVALUATED_AT_A_TIME: Final = 16
"""Number of structures in a batch of an evaluation."""

EpochCallback = Callable[[int, int, float], None]


@dataclass(frozen=True)
class _Part:
    """A set prepared for the network: labels at its zero of energy, and neighbour graphs."""

    labels: LabelledSet
    graphs: list[Graph]
    head: int


class Run:
    """A network in training and its data, for the epochs of one segment."""

    def __init__(self, state: TrainState, train: LabelledSet, validation: LabelledSet | None) -> None:
        import torch

        self.options = state.options
        self.seed = state.seed
        self.settings = np.array(state.fixed[mace_weights.SETTINGS])
        self.network = mace_network.rebuild(state.fixed, state.trained, state.options, state.seed)
        self.trained = mace_network.trained_parameters(self.network, state.options)
        self.averaged = {name: torch.from_numpy(np.array(array)) for name, array in state.averaged.items()}
        is_double = mace_network.is_double(self.network)
        head = mace_weights.choose_head(list(self.network.heads), None)
        self.train = self._part(shifted(train, state.references), head, "the training set")
        self.validation = None
        if validation is not None and len(validation) > 0:
            self.validation = self._part(shifted(validation, state.references), head, "the validation set")
        self.replay = self._part(state.replay, 0, "the replay data") if state.replay is not None and is_double else None
        self.n_batches = math.ceil(len(train) / self.options.batch_size)
        groups = [
            {
                "params": [p for name, p in self.trained.items() if mace_network.decays(name) == decays],
                "weight_decay": self.options.weight_decay if decays else 0.0,
            }
            for decays in (True, False)
        ]
        self.optimiser = torch.optim.Adam(
            [group for group in groups if group["params"]],
            lr=self.options.learning_rate,
            amsgrad=self.options.amsgrad,
            foreach=False,
        )
        restore(self.optimiser, self.trained, state, state.largest_moments)

    def before(self, state: TrainState) -> TrainState:
        """Record the errors before training, and refuse labels with another zero of energy."""
        train = self._evaluate(self.train)
        if self.options.mode != "scratch":
            check_frame(train["mean_error_energy_meV_per_atom"], "training labels", self.options)
        entry = {
            "epoch": 0,
            "learning_rate": 0.0,
            "train": train,
            "replay": None if self.replay is None else self._evaluate(self.replay),
        }
        return self._record(state, entry)

    def epoch(self, state: TrainState, callback: EpochCallback) -> TrainState:
        """Train for one epoch."""
        epoch, steps, rate = state.epoch + 1, state.steps, 0.0
        summary = _Running(self.train.labels)
        replayed = None if self.replay is None else _Running(self.replay.labels)
        replay_batches = self._replay_batches(epoch)
        for batch in batches(len(self.train.labels), self.options.batch_size, [self.seed, epoch]):
            rate = learning_rate(self.options, steps, self.n_batches)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            self.optimiser.zero_grad(set_to_none=True)
            loss = self._learn(self.train, batch, 1.0, summary)
            if self.replay is not None and replayed is not None:
                self._learn(self.replay, next(replay_batches), self.options.replay_weight, replayed)
            self._step(steps + 1)
            steps += 1
            callback(steps, epoch, loss)
        state = replace(
            state,
            epoch=epoch,
            steps=steps,
            trained=arrays(self.trained),
            averaged=arrays(self.averaged),
            first_moments=moments(self.optimiser, self.trained, "exp_avg"),
            second_moments=moments(self.optimiser, self.trained, "exp_avg_sq"),
            largest_moments=moments(self.optimiser, self.trained, "max_exp_avg_sq"),
        )
        entry = {
            "epoch": epoch,
            "learning_rate": rate,
            "train": summary.result(),
            "replay": None if replayed is None else replayed.result(),
        }
        return self._record(state, entry)

    def _part(self, labels: LabelledSet, head: int, what: str) -> _Part:
        mace_graphs.check_elements(labels.structures, [int(z) for z in self.network.atomic_numbers], what)
        return _Part(labels, mace_graphs.graphs(self.network, labels.structures), head)

    def _replay_batches(self, epoch: int) -> Iterator[list[int]]:
        """Yield batches of the replay data endlessly, in an order that is a function of seed and epoch."""
        lap = 0
        while self.replay is not None:
            yield from batches(len(self.replay.labels), self.options.batch_size, [self.seed, epoch, lap, 1])
            lap += 1

    def _learn(self, part: _Part, batch: list[int], weight: float, summary: _Running) -> float:
        """Add the gradient of a batch, and return its loss."""
        output = mace_graphs.forward(self.network, [part.graphs[i] for i in batch], part.head, training=True)
        loss = mace_graphs.loss_of(output, part.labels.targets.subset(batch), self.options)
        value = float(loss.item())
        if not math.isfinite(value):
            raise CalculationFailed(
                "the loss of the training is not a finite number: the learning rate is too high, or a label is broken",
                {"learning_rate": self.options.learning_rate, "loss": value},
            )
        (weight * loss).backward()
        summary.add(batch, mace_graphs.targets([output]), value)
        return value

    def _step(self, n_updates: int) -> None:
        import torch

        if self.options.clip_gradient is not None:
            torch.nn.utils.clip_grad_norm_(list(self.trained.values()), self.options.clip_gradient, foreach=False)
        self.optimiser.step()
        if self.options.ema_decay is None:
            return
        # Otherwise the first means would be those of the start alone; the rule is that of torch_ema, which mace uses.
        decay = min(self.options.ema_decay, (1.0 + n_updates) / (10.0 + n_updates))
        with torch.no_grad():
            for name, mean in self.averaged.items():
                mean.add_(self.trained[name].detach() - mean, alpha=1.0 - decay)

    def _record(self, state: TrainState, entry: dict[str, Any]) -> TrainState:
        """Add an epoch to the history, and keep its weights if they are the best so far."""
        current = {name: parameter.detach().clone() for name, parameter in self.trained.items()}
        means = {name: mean.numpy() for name, mean in self.averaged.items()}
        mace_network.put(self.trained, means)
        entry["validation"] = None if self.validation is None else self._evaluate(self.validation)
        loss = None if entry["validation"] is None else entry["validation"]["loss"]
        if loss is None or state.best_loss is None or loss < state.best_loss:
            best = mace_network.complete(self.network, self.settings)
            state = replace(state, best_weights=best, best_epoch=state.epoch, best_loss=loss)
        mace_network.put(self.trained, {name: tensor.numpy() for name, tensor in current.items()})
        return replace(state, history=(*state.history, entry))

    def _evaluate(self, part: _Part) -> dict[str, Any]:
        predicted = mace_graphs.evaluate(self.network, part.graphs, part.head, EVALUATED_AT_A_TIME)
        reference = part.labels.targets
        loss = mace_graphs.loss_over(predicted, reference, self.options)
        return epoch_entry(loss, predicted, reference)


class _Running:
    """Predictions collected during an epoch: the last one for each structure."""

    def __init__(self, labelled: LabelledSet) -> None:
        self.reference = labelled.targets
        self.met: dict[int, tuple[float, npt.NDArray[np.float64], npt.NDArray[np.float64]]] = {}
        self.losses: list[tuple[float, int]] = []

    def add(self, batch: Sequence[int], predicted: Targets, loss: float) -> None:
        self.losses.append((loss, len(batch)))
        for position, index in enumerate(batch):
            self.met[index] = (
                float(predicted.energies_eV[position]),
                predicted.forces_eV_per_A[position],
                predicted.stresses_eV_per_A3[position],
            )

    def result(self) -> dict[str, Any]:
        order = sorted(self.met)
        energies, forces, stresses = zip(*(self.met[index] for index in order), strict=True)
        predicted = Targets(np.array(energies), tuple(forces), np.array(stresses))
        loss = sum(value * n for value, n in self.losses) / sum(n for _, n in self.losses)
        return epoch_entry(loss, predicted, self.reference.subset(order))


def check_frame(mean_error_meV_per_atom: float, what: str, options: TrainOptions) -> None:
    """Refuse labels with another zero of energy than the network.

    Parameters
    ----------
    mean_error_meV_per_atom
        Mean of prediction minus label.
    what
        ``"training labels"`` or ``"replay labels"``.
    options
        Options of the training.

    Raises
    ------
    StageError
        If the difference is too large to be learned by fine-tuning.
    """
    if abs(mean_error_meV_per_atom) <= 1.0e3 * WINDOW_EV_PER_ATOM:
        return
    fix = "Give the training set to start(), which fits the shift of each element"
    if what == "replay labels":
        fix = "Give labels of the checkpoint's own reference, or set replay_labels: foundation"
    elif options.e0s is not None:
        fix = "Correct e0s, or leave it out so that the shifts are fitted"
    raise StageError(
        f"The {what} lie {-1.0e-3 * mean_error_meV_per_atom:+.3f} eV/atom off the checkpoint's energies: they "
        "have another zero of energy.",
        fix=f"{fix}.",
    )
