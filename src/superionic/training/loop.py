"""The training loop shared by trainers: Adam with a cosine learning rate, in segments that resume exactly.

The libraries' own trainers cannot be stopped and resumed without a trace, hence this loop: the order of the batches is
a function of seed and epoch, the learning rate one of the step, and :class:`superionic.training.state.LoopState`
carries weights and Adam's moments bit for bit. On one CPU thread, k segments equal one long run exactly. Whatever is
specific to a potential is behind :class:`Network`. MACE, whose two heads learn from two sets at once (paper A), has a
loop of its own, :mod:`superionic.models.mace.loop`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import CalculationFailed, CampaignFileError, EngineError, PotentialError
from superionic.labels.base import Progress
from superionic.training.dataset import ElementReferences, LabelledSet, Targets, fit_element_references
from superionic.training.metrics import epoch_entry
from superionic.training.state import AdamState, LoopOptions, LoopState
from superionic.units import GPA_PER_EV_PER_A3

if TYPE_CHECKING:
    import torch

P = TypeVar("P")

_AT_A_TIME: Final = 4


class Network(ABC):
    """The network of a potential, loaded on one CPU thread, as the loop uses it.

    Attributes
    ----------
    name
        Name of its model.
    module
        The ``torch.nn.Module``; the weights are its whole state dict.
    always_frozen
        Name prefixes of parameters that are never trained.
    """

    name: str
    module: Any
    always_frozen: tuple[str, ...] = ()

    @abstractmethod
    def graphs(self, structures: Sequence[Atoms]) -> list[Any]:
        """Prepare structures, once for all epochs."""

    @abstractmethod
    def forward(self, graphs: list[Any], *, trainable: bool = True) -> Mapping[str, Any]:
        """Evaluate structures, with gradients of the weights if ``trainable``.

        Return ``e``, energies per atom in eV, of shape (n,); ``f``, forces in eV/Å, one array for each structure; and
        ``s``, stresses in GPa with ASE's sign, each of shape (3, 3).
        """

    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        """Replace all weights."""
        import torch

        self.module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})


def adapter(load: Callable[..., P], model: str | None, file: str | None, **options: Any) -> P:
    """Load a potential as a campaign does, so that the potential trained is the one evaluated.

    The energy convention of a file need not be stated: the shift of the labels compensates for it.
    """
    own_file: dict[str, Any] = {} if file is None else {"file": file, **options}
    try:
        return load(model, **own_file)
    except PotentialError:
        if file is None:
            raise
        return load(model, energy_convention="own: not stated", **own_file)


@dataclass(frozen=True)
class Trainer:
    """The functions of a trainer (see :mod:`superionic.training.base`) for a network with one head.

    Attributes
    ----------
    network
        Loads the network, from a model's name, a user's file or both, and the options of the training.
    options, state
        The trainer's own classes.
    engine
        Name of the engine.
    one_head
        Reason why it takes no replay data, as the beginning of a sentence.
    """

    network: Callable[[str | None, str | None, Any], Network]
    options: type[LoopOptions]
    state: type[LoopState]
    engine: str
    one_head: str

    def start(
        self,
        model: str | None = None,
        *,
        file: str | None = None,
        weights: Mapping[str, np.ndarray] | None = None,
        seed: int,
        options: Any = None,
        train: LabelledSet | None = None,
        replay: LabelledSet | None = None,
    ) -> LoopState:
        """Begin a fine-tuning.

        Parameters
        ----------
        model
            Name of a published model, or with ``file`` a name for that model.
        file
            The user's own model, for potentials that allow one.
        weights
            Initial weights, from an earlier fine-tuning (a previous rung of a ladder); by default the model's own.
        seed
            Seed of the order of the batches.
        options
            Options of the training.
        train
            The training set, to whose labels per-element shifts are fitted; without it, labels must have the
            network's own zero of energy.
        replay
            Must be None.

        Raises
        ------
        EngineError
            If the engine cannot be imported here.
        PotentialError
            If there is no such model, or the file is not one.
        CampaignFileError
            If the trainer cannot start from the model, or replay data are given.
        """
        if replay is not None:
            raise CampaignFileError(
                f"{self.one_head}, so it cannot train on replay data beside the labels.",
                where="train.replay",
                fix="Leave replay out (freeze more layers to forget less), or train MACE.",
            )
        options = self.options() if options is None else options
        network = self._open(model, file, options, weights)
        references = None
        if train is not None:
            predicted = _predicted(network, network.graphs(train.structures))
            references = fit_element_references(train.targets.energies_eV - predicted.energies_eV, train.compositions())
        if options.initial == "random":
            _randomise(
                network, seed
            )  # after the shifts: the energies of elements, which stay, have the pretrained zero
        first = arrays(network.module.state_dict())
        return self.state(
            model=network.name,
            seed=seed,
            options=options,
            epoch=0,
            weights=first,
            first_moments={},
            second_moments={},
            steps=0,
            best_weights=first,
            best_epoch=0,
            best_loss=None,
            references=references,
            history=(),
            file=file,
        )

    def train_epochs(
        self,
        state: Any,
        train: LabelledSet,
        validation: LabelledSet | None,
        n_epochs: int,
        options: LoopOptions | None = None,
        *,
        progress: Progress | None = None,
    ) -> LoopState:
        """Train for one segment.

        Parameters
        ----------
        state
            The state so far; it is not modified.
        train, validation
            Labels as the reference gave them; the shifts in ``state`` are subtracted here. Without a validation set
            (``None`` or empty), the last weights count as the best.
        n_epochs
            Number of epochs of this segment; fewer are done if the training finishes earlier.
        options
            Options with which the training began, if they are to be checked.
        progress
            Called after each step of Adam.

        Returns
        -------
        LoopState
            The state after the segment.

        Raises
        ------
        CalculationFailed
            If the loss is no longer finite (a learning rate too high, or a broken label), or a structure has no graph.
        EngineError
            If the engine cannot be imported here.
        ValueError
            If ``options`` are not those of ``state``.
        """
        import torch

        if options is not None and options != state.options:
            raise ValueError("options cannot change during a training")
        network = self._open(state.model, state.file, state.options, state.weights)
        module = network.module
        fitted = shifted(train, state.references)
        graphs = network.graphs(fitted.structures)
        held_out = None if validation is None or len(validation) == 0 else shifted(validation, state.references)
        held_out_graphs = [] if held_out is None else network.graphs(held_out.structures)
        trained = _trained_parameters(network, state.options)
        optimiser = torch.optim.Adam(list(trained.values()), lr=state.options.learning_rate, foreach=False)
        restore(optimiser, trained, state)
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
            for batch in batches(len(fitted), state.options.batch_size, [state.seed, epoch]):
                rate = learning_rate(state.options, steps, n_batches)
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
                weights=arrays(module.state_dict()),
                first_moments=moments(optimiser, trained, "exp_avg"),
                second_moments=moments(optimiser, trained, "exp_avg_sq"),
            )
            state = _record(state, network, entry, held_out, held_out_graphs)
        after: LoopState = state
        return after

    def predict(
        self,
        structures: Sequence[Atoms],
        *,
        model: str | None = None,
        file: str | None = None,
        weights: Mapping[str, np.ndarray] | None = None,
    ) -> Targets:
        """Evaluate the network on many periodic structures, with its own zero of energy; see :meth:`start`."""
        network = self._open(model, file, self.options(), weights)
        return _predicted(network, network.graphs(structures))

    def _open(
        self, model: str | None, file: str | None, options: LoopOptions, weights: Mapping[str, np.ndarray] | None
    ) -> Network:
        try:
            network = self.network(model, file, options)
        except ModuleNotFoundError as error:
            raise EngineError(
                f"{self.options.training} needs the module {error.name}, which is not installed in this environment.",
                fix=f"Install its engine: superionic engines install {self.engine}",
            ) from error
        if weights is not None:
            network.load(weights)
        return network


def _randomise(network: Network, seed: int) -> None:
    """Draw new weights for all layers that can reset theirs, as their library does before training from scratch."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        for name, module in network.module.named_modules():
            frozen = any(name == start or name.startswith(f"{start}.") for start in network.always_frozen)
            if not frozen and hasattr(module, "reset_parameters"):
                module.reset_parameters()


class _Running:
    """Predictions collected during an epoch, in the order of the set."""

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
        return epoch_entry(self.loss, predicted, self.reference)


def _step(
    network: Network, optimiser: torch.optim.Optimizer, graphs: list[Any], reference: Targets, options: LoopOptions
) -> tuple[float, Targets]:
    """Take one step of Adam; return the loss and the predictions before it."""
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
    """Return the weighted sum of mean Huber losses of energy per atom (eV), forces (eV/Å) and stresses (GPa)."""
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
    """Return loss and metrics over a set with the current weights."""
    import torch

    predicted = _predicted(network, graphs)
    output = {
        "e": torch.tensor(predicted.energies_eV / predicted.n_atoms, dtype=torch.float32),
        "f": [torch.tensor(array, dtype=torch.float32) for array in predicted.forces_eV_per_A],
        "s": torch.tensor(
            GPA_PER_EV_PER_A3 * predicted.stresses_eV_per_A3[:, [0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(-1, 3, 3),
            dtype=torch.float32,
        ),
    }
    loss = float(_loss(output, labelled.targets, options).item())
    return epoch_entry(loss, predicted, labelled.targets)


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


def learning_rate(options: Any, step: int, n_batches: int) -> float:
    """Return the learning rate of a step: a cosine from the initial rate to its decay fraction over all epochs."""
    highest, lowest = float(options.learning_rate), float(options.decay_fraction * options.learning_rate)
    phase = min(1.0, step / (options.epochs * n_batches))
    return lowest + 0.5 * (highest - lowest) * (1.0 + math.cos(math.pi * phase))


def batches(n: int, size: int, seed: Sequence[int]) -> Iterator[list[int]]:
    """Yield the batches of an epoch, in an order that depends on the seed alone."""
    order = np.random.default_rng(list(seed)).permutation(n)
    for first in range(0, n, size):
        yield [int(index) for index in order[first : first + size]]


def shifted(labelled: LabelledSet, references: ElementReferences | None) -> LabelledSet:
    """Subtract the per-element shifts, if there are any."""
    return labelled if references is None else labelled.shifted(references)


def _predicted(network: Network, graphs: Sequence[Any]) -> Targets:
    """Evaluate prepared structures, a few at a time."""
    few = [list(graphs[first : first + _AT_A_TIME]) for first in range(0, len(graphs), _AT_A_TIME)]
    parts = [_targets(network.forward(batch, trainable=False)) for batch in few]
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
    """Mark the parameters to train, and return them by name in the order of the model."""
    frozen = (*network.always_frozen, *options.freezes[options.freeze])
    trained = {}
    for name, parameter in network.module.named_parameters():
        keeps = any(name == prefix or name.startswith(f"{prefix}.") for prefix in frozen)
        parameter.requires_grad_(not keeps)
        if not keeps:
            trained[name] = parameter
    return trained


def arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, npt.NDArray[Any]]:
    """Copy tensors into arrays; other entries of a state dict are left out."""
    return {name: tensor.detach().numpy().copy() for name, tensor in tensors.items() if hasattr(tensor, "detach")}


def moments(optimiser: Any, trained: Mapping[str, Any], key: str) -> dict[str, npt.NDArray[Any]]:
    """Copy one kind of Adam's moments, by name of the parameter."""
    state = {name: optimiser.state.get(parameter, {}) for name, parameter in trained.items()}
    return {name: values[key].numpy().copy() for name, values in state.items() if key in values}


def restore(
    optimiser: Any, trained: Mapping[str, Any], state: AdamState, largest: Mapping[str, npt.NDArray[Any]] | None = None
) -> None:
    """Restore Adam's moments from a state; ``largest`` are the largest second moments of amsgrad."""
    import torch

    kinds = {"exp_avg": state.first_moments, "exp_avg_sq": state.second_moments, "max_exp_avg_sq": largest or {}}
    for name in state.first_moments:
        optimiser.state[trained[name]] = {
            "step": torch.tensor(float(state.steps), dtype=torch.float32),
            **{kind: torch.from_numpy(np.array(of_kind[name])) for kind, of_kind in kinds.items() if name in of_kind},
        }
