"""The training loop that trainers share: Adam under a cosine learning rate, in segments that resume exactly.

Trainers of the libraries cannot be stopped and resumed without a trace, so the loop is ours: the order of the batches
is a function of seed and epoch, the learning rate of the step, and weights and moments of Adam travel in
:class:`superionic.training.state.LoopState` bit for bit. On one CPU thread k segments equal one long run exactly.
What is of one potential alone is behind :class:`Network`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import CalculationFailed
from superionic.labels.base import Progress
from superionic.training.dataset import ElementReferences, LabelledSet, Targets, fit_element_references
from superionic.training.metrics import errors
from superionic.training.state import Arrays, LoopOptions
from superionic.units import GPA_PER_EV_PER_A3

if TYPE_CHECKING:
    import torch


class Network(Protocol):
    """A network of one potential, loaded on one CPU thread, as the loop sees it.

    Attributes
    ----------
    module
        The ``torch.nn.Module``; its whole state dict are the weights.
    always_frozen
        Beginnings of names of parameters that are never trained.
    """

    module: Any
    always_frozen: tuple[str, ...]

    def graphs(self, structures: Sequence[Atoms]) -> list[Any]:
        """Prepare structures, once for all epochs."""
        ...

    def forward(self, graphs: list[Any], *, trainable: bool = True) -> Mapping[str, Any]:
        """Evaluate; ``trainable``: so that a loss can be differentiated.

        Returns ``e``, energies per atom in eV of shape (n,); ``f``, forces in eV/Å, one array for each structure; and
        ``s``, stresses in GPa of ASE's sign, each of shape (3, 3).
        """
        ...

    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        """Replace all weights."""
        ...


def begin(
    network: Network,
    state_class: type[Any],
    *,
    model: str,
    seed: int,
    options: LoopOptions,
    train: LabelledSet | None,
    file: str | None = None,
) -> Any:
    """Make the state before the first epoch.

    Parameters
    ----------
    network
        With the weights to begin from.
    state_class
        Class of the state.
    model, file, seed, options
        What the state keeps.
    train
        The training part, to fit the per-element shifts of its labels on; without it labels must be in the network's
        own frame.
    """
    references = None
    if train is not None:
        predicted = predict(network, network.graphs(train.structures))
        references = fit_element_references(train.targets.energies_eV - predicted.energies_eV, train.compositions())
    if options.initial == "random":
        randomise(network, seed)  # in the pretrained frame, which the energies of elements that stay have
    weights = _arrays(network.module.state_dict())
    return state_class(
        model=model,
        seed=seed,
        options=options,
        epoch=0,
        weights=weights,
        first_moments={},
        second_moments={},
        steps=0,
        best_weights=weights,
        best_epoch=0,
        best_loss=None,
        references=references,
        history=(),
        file=file,
    )


def randomise(network: Network, seed: int) -> None:
    """Draw the weights of all layers that know how to anew, as their library does before a training from scratch."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        for name, module in network.module.named_modules():
            frozen = any(name == start or name.startswith(f"{start}.") for start in network.always_frozen)
            if not frozen and hasattr(module, "reset_parameters"):
                module.reset_parameters()


def run_epochs(
    network: Network,
    state: Any,
    train: LabelledSet,
    validation: LabelledSet | None,
    n_epochs: int,
    options: LoopOptions | None = None,
    *,
    progress: Progress | None = None,
) -> Any:
    """Train for one segment; parameters and errors as ``train_epochs`` of :mod:`superionic.training.base`.

    Raises
    ------
    CalculationFailed
        If the loss is not finite any more (a learning rate that is too high, or a broken label).
    ValueError
        If ``options`` are not those of ``state``.
    """
    import torch

    if options is not None and options != state.options:
        raise ValueError("options cannot change in the course of a training")
    network.load(state.weights)
    module = network.module
    fitted = _shifted(train, state.references)
    graphs = network.graphs(fitted.structures)
    held_out = None if validation is None or len(validation) == 0 else _shifted(validation, state.references)
    held_out_graphs = [] if held_out is None else network.graphs(held_out.structures)
    trained = _trained_parameters(network, state.options)
    optimiser = torch.optim.Adam(list(trained.values()), lr=state.options.learning_rate, foreach=False)
    _restore(optimiser, trained, state)
    if state.epoch == 0 and not state.history:
        before = _entry(0, 0.0, _evaluate(network, graphs, fitted, state.options))
        state = _record(state, network, before, held_out, held_out_graphs)

    last = min(state.epoch + n_epochs, state.options.epochs)
    n_batches = math.ceil(len(fitted) / state.options.batch_size)
    n_planned = max(1, (last - state.epoch) * n_batches)
    first_step = state.steps
    while state.epoch < last and not state.stopped_early:
        epoch = state.epoch + 1
        summary = _Running(fitted)
        steps = state.steps
        for batch in _batches(len(fitted), state.options.batch_size, state.seed, epoch):
            rate = _learning_rate(state.options, steps, n_batches)
            for group in optimiser.param_groups:
                group["lr"] = rate
            loss, predicted = _step(
                network, optimiser, [graphs[i] for i in batch], fitted.targets.subset(batch), state.options
            )
            summary.add(batch, predicted, loss)
            steps += 1
            if progress is not None:
                progress((steps - first_step) / n_planned, f"epoch {epoch}/{state.options.epochs}, loss {loss:.4f}")
        entry = _entry(epoch, rate, summary.result())
        state = replace(
            state,
            epoch=epoch,
            steps=steps,
            weights=_arrays(module.state_dict()),
            first_moments=_moments(optimiser, trained, "exp_avg"),
            second_moments=_moments(optimiser, trained, "exp_avg_sq"),
        )
        state = _record(state, network, entry, held_out, held_out_graphs)
    return state


class _Running:
    """Predictions gathered on the way through an epoch, in the order of the set."""

    def __init__(self, labelled: LabelledSet) -> None:
        self.reference = labelled.targets
        n = len(labelled)
        self.energies = np.zeros(n)
        self.forces: list[npt.NDArray[np.float64]] = [np.zeros((0, 3))] * n
        self.stresses = np.full((n, 6), np.nan)
        self.loss = 0.0

    def add(self, batch: Sequence[int], predicted: Targets, loss: float) -> None:
        self.loss += loss * len(batch) / len(self.energies)
        for position, index in enumerate(batch):
            self.energies[index] = predicted.energies_eV[position]
            self.forces[index] = predicted.forces_eV_per_A[position]
            self.stresses[index] = predicted.stresses_eV_per_A3[position]

    def result(self) -> dict[str, Any]:
        predicted = Targets(self.energies, tuple(self.forces), self.stresses)
        return {"loss": self.loss, **errors(predicted, self.reference).to_dict()}


def _step(
    network: Network, optimiser: torch.optim.Optimizer, graphs: list[Any], reference: Targets, options: LoopOptions
) -> tuple[float, Targets]:
    """Take one step of Adam; give the loss and the predictions before it."""
    optimiser.zero_grad(set_to_none=True)
    output = network.forward(graphs)
    loss = _loss(output, reference, options)
    value = float(loss.item())
    if not math.isfinite(value):
        raise CalculationFailed(
            "the loss of the training is not a finite number", {"learning_rate": options.learning_rate}
        )
    loss.backward()  # type: ignore[no-untyped-call,unused-ignore]
    optimiser.step()
    return value, _targets(output)


def _loss(output: Mapping[str, Any], reference: Targets, options: LoopOptions) -> torch.Tensor:
    """Weighted sum of mean Huber losses of energy per atom (eV), force (eV/Å) and stress components (GPa)."""
    import torch

    energies = torch.tensor(reference.energies_eV / reference.n_atoms, dtype=torch.float32)
    forces = torch.tensor(np.concatenate(reference.forces_eV_per_A), dtype=torch.float32)
    huber = torch.nn.HuberLoss(delta=options.huber_delta)
    loss = options.energy_weight * huber(output["e"], energies)
    loss = loss + options.force_weight * huber(torch.cat(list(output["f"])), forces)
    present = np.isfinite(reference.stresses_eV_per_A3).all(axis=1)
    if options.stress_weight > 0.0 and present.any():
        tensors = GPA_PER_EV_PER_A3 * reference.stresses_eV_per_A3[present][:, [0, 5, 4, 5, 1, 3, 4, 3, 2]]
        stresses = torch.tensor(tensors.reshape(-1, 3, 3), dtype=torch.float32)
        predicted = torch.stack([output["s"][i] for i in np.flatnonzero(present)])
        loss = loss + options.stress_weight * huber(predicted, stresses)
    return loss


def _evaluate(network: Network, graphs: Sequence[Any], labelled: LabelledSet, options: LoopOptions) -> dict[str, Any]:
    """Loss and metrics over a set with the weights as they are."""
    import torch

    predicted = predict(network, graphs)
    output = {
        "e": torch.tensor(predicted.energies_eV / predicted.n_atoms, dtype=torch.float32),
        "f": [torch.tensor(array, dtype=torch.float32) for array in predicted.forces_eV_per_A],
        "s": torch.tensor(
            GPA_PER_EV_PER_A3 * predicted.stresses_eV_per_A3[:, [0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(-1, 3, 3),
            dtype=torch.float32,
        ),
    }
    loss = float(_loss(output, labelled.targets, options).item())
    return {"loss": loss, **errors(predicted, labelled.targets).to_dict()}


def _entry(epoch: int, rate: float, train: Mapping[str, Any]) -> dict[str, Any]:
    return {"epoch": epoch, "learning_rate": rate, "train": dict(train), "validation": None}


def _record(
    state: Any, network: Network, entry: dict[str, Any], held_out: LabelledSet | None, graphs: Sequence[Any]
) -> Any:
    """Add an epoch to the history, and keep its weights if they are the best so far."""
    if held_out is None:
        return replace(
            state, history=(*state.history, entry), best_weights=state.weights, best_epoch=state.epoch, best_loss=None
        )
    entry["validation"] = _evaluate(network, graphs, held_out, state.options)
    loss = entry["validation"]["loss"]
    state = replace(state, history=(*state.history, entry))
    if state.best_loss is None or loss < state.best_loss:
        return replace(state, best_weights=state.weights, best_epoch=state.epoch, best_loss=loss)
    return state


def _learning_rate(options: LoopOptions, step: int, n_batches: int) -> float:
    """Cosine from the initial rate to its decay fraction over all epochs, step by step."""
    lowest = options.decay_fraction * options.learning_rate
    phase = min(1.0, step / (options.epochs * n_batches))
    return lowest + 0.5 * (options.learning_rate - lowest) * (1.0 + math.cos(math.pi * phase))


def _batches(n: int, size: int, seed: int, epoch: int) -> Iterator[list[int]]:
    """Order of the structures in an epoch: a function of seed and epoch alone."""
    order = np.random.default_rng([seed, epoch]).permutation(n)
    for first in range(0, n, size):
        yield [int(index) for index in order[first : first + size]]


def _shifted(labelled: LabelledSet, references: ElementReferences | None) -> LabelledSet:
    return labelled if references is None else labelled.shifted(references)


def predict(network: Network, graphs: Sequence[Any], batch_size: int = 4) -> Targets:
    """Evaluate prepared structures, few at a time."""
    batches = [list(graphs[first : first + batch_size]) for first in range(0, len(graphs), batch_size)]
    parts = [_targets(network.forward(batch, trainable=False)) for batch in batches]
    return Targets(
        np.concatenate([part.energies_eV for part in parts] or [np.zeros(0)]),
        tuple(forces for part in parts for forces in part.forces_eV_per_A),
        np.concatenate([part.stresses_eV_per_A3 for part in parts] or [np.zeros((0, 6))]),
    )


def _targets(output: Mapping[str, Any]) -> Targets:
    energies: list[float] = []
    forces: list[npt.NDArray[np.float64]] = []
    stresses: list[npt.NDArray[np.float64]] = []
    per_atom = output["e"].detach().numpy().astype(np.float64)
    for position, (force, stress) in enumerate(zip(output["f"], output["s"], strict=True)):
        array = force.detach().numpy().astype(np.float64)
        tensor = stress.detach().numpy().astype(np.float64) / GPA_PER_EV_PER_A3
        symmetric = 0.5 * (tensor + tensor.T)
        energies.append(float(per_atom[position] * len(array)))
        forces.append(array)
        stresses.append(symmetric[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])
    return Targets(np.array(energies), tuple(forces), np.array(stresses).reshape(-1, 6))


def _trained_parameters(network: Network, options: LoopOptions) -> dict[str, Any]:
    """Set what is trained, and give it by name in the order of the model."""
    frozen = (*network.always_frozen, *options.freezes[options.freeze])
    trained = {}
    for name, parameter in network.module.named_parameters():
        keeps = any(name == prefix or name.startswith(f"{prefix}.") for prefix in frozen)
        parameter.requires_grad_(not keeps)
        if not keeps:
            trained[name] = parameter
    return trained


def _arrays(tensors: Mapping[str, torch.Tensor]) -> Arrays:
    return {name: tensor.detach().numpy().copy() for name, tensor in tensors.items() if hasattr(tensor, "detach")}


def _moments(optimiser: torch.optim.Optimizer, trained: Mapping[str, Any], key: str) -> dict[str, Any]:
    state = {name: optimiser.state.get(parameter, {}) for name, parameter in trained.items()}
    return {name: values[key].numpy().copy() for name, values in state.items() if key in values}


def _restore(optimiser: torch.optim.Optimizer, trained: Mapping[str, Any], state: Any) -> None:
    import torch

    for name, first in state.first_moments.items():
        optimiser.state[trained[name]] = {
            "step": torch.tensor(float(state.steps), dtype=torch.float32),
            "exp_avg": torch.from_numpy(np.array(first)),
            "exp_avg_sq": torch.from_numpy(np.array(state.second_moments[name])),
        }
