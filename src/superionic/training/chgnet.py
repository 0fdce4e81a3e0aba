"""Fine-tuning of CHGNet in segments that resume exactly.

Energy (per atom), forces and stress are fitted with a Huber loss and Adam under a cosine learning rate, as CHGNet was
trained (Deng et al., Nat. Mach. Intell. 5, 1031 (2023); paper B keeps all of it but batch size, epochs, initial
learning rate and number of frozen layers). Magnetic moments are no target.

CHGNet's own trainer cannot be stopped and resumed without a trace, so the loop is ours: the order of the batches is a
function of seed and epoch, the learning rate of the step, and weights and moments of Adam travel in
:class:`TrainState` bit for bit. On one CPU thread k segments equal one long run exactly.

The per-element shift between the labels and CHGNet's own energies (Materials Project corrections against raw energies
of a PAW code) must be taken off the labels: either beforehand, or here, where :func:`start` fits it on the training
part and :func:`train_epochs` takes it off training and validation labels alike. The fine-tuned model stays in CHGNet's
energy frame.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import CalculationFailed, CampaignFileError, EngineError
from superionic.labels.base import Progress
from superionic.training.chgnet_state import FREEZE, MODELS, TrainOptions, TrainState
from superionic.training.dataset import ElementReferences, LabelledSet, Targets, fit_element_references
from superionic.training.metrics import errors
from superionic.units import GPA_PER_EV_PER_A3

if TYPE_CHECKING:
    import torch

__all__ = ["MODELS", "TrainOptions", "TrainState", "predict", "start", "train_epochs"]


def start(
    model: str | None = None,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    seed: int,
    options: TrainOptions | None = None,
    train: LabelledSet | None = None,
) -> TrainState:
    """Begin a fine-tuning.

    Parameters
    ----------
    model
        Published model, see :data:`MODELS`; 0.3.0 by default.
    weights
        Weights of an earlier fine-tuning to begin from (a further rung of a ladder); the published ones by default.
    seed
        Seed of the order of the batches.
    options
        How to train.
    train
        The training part, to fit the per-element shifts of its labels on; without it labels must be in CHGNet's frame.

    Raises
    ------
    EngineError
        If CHGNet cannot be imported here.
    """
    network = _network(model, weights)
    published = _arrays(network.state_dict())
    references = None
    if train is not None:
        predicted = _predict(network, _graphs(network, train.structures), batch_size=16)
        references = fit_element_references(train.targets.energies_eV - predicted.energies_eV, train.compositions())
    return TrainState(
        model=_model_name(model),
        seed=seed,
        options=TrainOptions() if options is None else options,
        epoch=0,
        weights=published,
        first_moments={},
        second_moments={},
        steps=0,
        best_weights=published,
        best_epoch=0,
        best_loss=None,
        references=references,
        history=(),
    )


def train_epochs(
    state: TrainState,
    train: LabelledSet,
    validation: LabelledSet | None,
    n_epochs: int,
    options: TrainOptions | None = None,
    *,
    progress: Progress | None = None,
) -> TrainState:
    """Train for one segment.

    Parameters
    ----------
    state
        Where the training stands; not changed.
    train, validation
        Labels as they came from the reference; the shifts in ``state`` are taken off here. ``None`` or an empty
        validation part: the last weights count as the best.
    n_epochs
        Epochs of this segment. Fewer are done if the training is finished before.
    options
        Those that the training began with, if they are to be checked.
    progress
        Called after each step of Adam.

    Returns
    -------
    TrainState
        The state after the segment.

    Raises
    ------
    CalculationFailed
        If the loss is not finite any more (a learning rate that is too high, or a broken label).
    EngineError
        If CHGNet cannot be imported here.
    ValueError
        If ``options`` are not those of ``state``.
    """
    import torch

    if options is not None and options != state.options:
        raise ValueError("options cannot change in the course of a training")
    network = _network(state.model, state.weights)
    fitted = _shifted(train, state.references)
    graphs = _graphs(network, fitted.structures)
    held_out = None if validation is None or len(validation) == 0 else _shifted(validation, state.references)
    held_out_graphs = [] if held_out is None else _graphs(network, held_out.structures)
    trained = _trained_parameters(network, state.options.freeze)
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
            weights=_arrays(network.state_dict()),
            first_moments=_moments(optimiser, trained, "exp_avg"),
            second_moments=_moments(optimiser, trained, "exp_avg_sq"),
        )
        state = _record(state, network, entry, held_out, held_out_graphs)
    return state


def predict(
    structures: Sequence[Atoms],
    *,
    model: str | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    batch_size: int = 16,
) -> Targets:
    """Evaluate CHGNet on many structures, in its own energy frame.

    Parameters
    ----------
    structures
        Periodic structures.
    model, weights
        Published model, and the weights that replace its own.
    batch_size
        Structures evaluated at a time.
    """
    network = _network(model, weights)
    return _predict(network, _graphs(network, structures), batch_size)


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
    network: Any, optimiser: torch.optim.Optimizer, graphs: list[Any], reference: Targets, options: TrainOptions
) -> tuple[float, Targets]:
    """Take one step of Adam; give the loss and the predictions before it."""
    optimiser.zero_grad(set_to_none=True)
    output = _forward(network, graphs)
    loss = _loss(output, reference, options)
    value = float(loss.item())
    if not math.isfinite(value):
        raise CalculationFailed(
            "the loss of the training is not a finite number", {"learning_rate": options.learning_rate}
        )
    loss.backward()  # type: ignore[no-untyped-call,unused-ignore]
    optimiser.step()
    return value, _targets([output])


def _loss(output: Mapping[str, Any], reference: Targets, options: TrainOptions) -> torch.Tensor:
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


def _evaluate(network: Any, graphs: Sequence[Any], labelled: LabelledSet, options: TrainOptions) -> dict[str, Any]:
    """Loss and metrics over a set with the weights as they are."""
    import torch

    predicted = _predict(network, graphs, batch_size=16)
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
    state: TrainState, network: Any, entry: dict[str, Any], held_out: LabelledSet | None, graphs: Sequence[Any]
) -> TrainState:
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


def _learning_rate(options: TrainOptions, step: int, n_batches: int) -> float:
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


def _model_name(model: str | None) -> str:
    name = "0.3.0" if model is None else model
    if name not in MODELS:
        raise CampaignFileError(
            f"CHGNet has no model called {name!r} to begin from.", fix=f"Choose one of: {', '.join(MODELS)}."
        )
    return name


def _network(model: str | None, weights: Mapping[str, np.ndarray] | None) -> Any:
    """Load CHGNet on one CPU thread, with other weights if given."""
    name = _model_name(model)
    try:
        import torch
        from chgnet.model import CHGNet
    except ModuleNotFoundError as error:
        raise EngineError(
            f"Training CHGNet needs the module {error.name}, which is not installed in this environment.",
            fix="Install its engine: superionic engines install chgnet",
        ) from error
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(io.StringIO()):  # it announces its number of parameters each time
        network = CHGNet.load(model_name=name, use_device="cpu", verbose=False)
    if weights is not None:
        network.load_state_dict({key: torch.from_numpy(np.array(array)) for key, array in weights.items()})
    return network


def _graphs(network: Any, structures: Sequence[Atoms]) -> list[Any]:
    from pymatgen.core import Structure

    graphs = []
    for number, atoms in enumerate(structures):
        structure = Structure(np.asarray(atoms.cell), atoms.get_chemical_symbols(), atoms.get_scaled_positions())
        try:
            graphs.append(network.graph_converter(structure))
        except (RuntimeError, ValueError) as error:
            raise CalculationFailed(
                f"structure number {number} of the set has no CHGNet graph: {error}",
                {"formula": atoms.get_chemical_formula()},
            ) from error
    return graphs


def _forward(network: Any, graphs: list[Any]) -> dict[str, Any]:
    """Energies per atom (eV), forces (eV/Å) and stresses (GPa) as tensors that can be differentiated."""
    with warnings.catch_warnings():
        # Of chgnet: it makes a tensor of volumes from tensors that require gradients; volumes need none here.
        warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad", category=UserWarning)
        output: dict[str, Any] = network(graphs, task="efs")
    return output


def _predict(network: Any, graphs: Sequence[Any], batch_size: int) -> Targets:
    outputs = [
        _forward(network, list(graphs[first : first + batch_size])) for first in range(0, len(graphs), batch_size)
    ]
    return _targets(outputs)


def _targets(outputs: Sequence[Mapping[str, Any]]) -> Targets:
    energies: list[float] = []
    forces: list[npt.NDArray[np.float64]] = []
    stresses: list[npt.NDArray[np.float64]] = []
    for output in outputs:
        per_atom = output["e"].detach().numpy().astype(np.float64)
        for position, (force, stress) in enumerate(zip(output["f"], output["s"], strict=True)):
            array = force.detach().numpy().astype(np.float64)
            tensor = stress.detach().numpy().astype(np.float64) / GPA_PER_EV_PER_A3
            symmetric = 0.5 * (tensor + tensor.T)
            energies.append(float(per_atom[position] * len(array)))
            forces.append(array)
            stresses.append(symmetric[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])
    return Targets(np.array(energies), tuple(forces), np.array(stresses).reshape(-1, 6))


def _trained_parameters(network: Any, freeze: str) -> dict[str, Any]:
    """Set what is trained, and give it by name in the order of the model."""
    frozen = ("composition_model", *FREEZE[freeze])
    trained = {}
    for name, parameter in network.named_parameters():
        keeps = any(name == prefix or name.startswith(f"{prefix}.") for prefix in frozen)
        parameter.requires_grad_(not keeps)
        if not keeps:
            trained[name] = parameter
    return trained


def _arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, npt.NDArray[np.float32]]:
    return {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}


def _moments(optimiser: torch.optim.Optimizer, trained: Mapping[str, Any], key: str) -> dict[str, Any]:
    state = {name: optimiser.state.get(parameter, {}) for name, parameter in trained.items()}
    return {name: values[key].numpy().copy() for name, values in state.items() if key in values}


def _restore(optimiser: torch.optim.Optimizer, trained: Mapping[str, Any], state: TrainState) -> None:
    import torch

    for name, first in state.first_moments.items():
        optimiser.state[trained[name]] = {
            "step": torch.tensor(float(state.steps), dtype=torch.float32),
            "exp_avg": torch.from_numpy(np.array(first)),
            "exp_avg_sq": torch.from_numpy(np.array(state.second_moments[name])),
        }
