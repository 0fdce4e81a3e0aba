"""Training of the student: a neuroevolution potential fitted to its teacher by gradient descent, on one core, no torch.

The loss is a weighted mean of squared errors of energy per atom, forces and virial per atom. Its gradient by a
parameter θ needs ∂F/∂θ; since F = -∂E/∂x, the sum Σ ΔF·∂F/∂θ is the change of ∂E/∂θ when all atoms move along -ΔF. So
one central difference of the energy's own gradient, along the one direction that the errors of forces and virial
prescribe, gives the whole gradient (Pearlmutter's product, by finite differences): three passes over a structure,
whatever the number of parameters.

A training runs in segments and is the same, bit for bit, however it is cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import CalculationFailed, PotentialError, StageError
from superionic.models.nep.model import LEARNED, NepModel
from superionic.models.nep.neighbours import NeighbourList
from superionic.models.nep.potential import NepPotential
from superionic.models.nep.state import Arrays, Epoch, EpochErrors, NepOptions, NepState, zeros_like
from superionic.potentials.base import PotentialIdentity
from superionic.potentials.checkpoints import by_number
from superionic.training.active_set import active_inverse
from superionic.training.dataset import LabelledSet, Targets, fit_element_references
from superionic.units import GPA_PER_EV_PER_A3

__all__ = ["NepOptions", "NepState", "continue_with", "finish", "predict", "start", "train_epochs"]

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[float, str], None]

# Length of the move along the errors, in Å: the central difference is right to about 1e-6 of the gradient.
_MOVE_A = 2.0e-4
_BETAS = (0.9, 0.999)
_CLIP = 10.0


def start(train: LabelledSet, options: NepOptions, seed: int) -> NepState:
    """Begin a training.

    Parameters
    ----------
    train
        The training part: it decides elements, energy references, scales of the descriptors and reach of the core.
    options
        Form of the student and how it learns.
    seed
        Of the first weights and of the order of the batches; students of other seeds make a committee.

    Raises
    ------
    StageError
        If the training part is empty.
    """
    if len(train) == 0:
        raise StageError("There is nothing to train the student on.", fix="Let the teacher label some structures.")
    rng = np.random.Generator(np.random.PCG64(seed))
    numbers = sorted({int(number) for atoms in train.structures for number in atoms.numbers})
    n_radial, k_radial, n_angular, k_angular, l_max, four, five = options.shape
    t, dim = len(numbers), n_radial + n_angular * (l_max + four + five)
    references = fit_element_references(train.targets.energies_eV, train.compositions())
    # A short range of the shortest distances fixes the core, before anything is learned around it.
    outer = _zbl_reach(train, numbers, options)
    model = NepModel(
        numbers=np.array(numbers),
        shape=np.array(options.shape),
        cutoffs_A=np.array([options.cutoff_radial_A, options.cutoff_angular_A]),
        c_radial=rng.standard_normal((t, t, n_radial, k_radial)) / math.sqrt(k_radial),
        c_angular=rng.standard_normal((t, t, n_angular, k_angular)) / math.sqrt(k_angular),
        w0=rng.standard_normal((t, options.n_neurons, dim)) / math.sqrt(dim),
        b0=rng.uniform(-1.0, 1.0, (t, options.n_neurons)),
        w1=rng.standard_normal((t, options.n_neurons)) * (0.3 / math.sqrt(options.n_neurons)),
        bias_eV=np.zeros(t),
        scale=np.ones(dim),
        zbl_inner_A=0.6 * outer,
        zbl_outer_A=outer,
        active_inverse=np.zeros(0),
    )
    # Descriptors are brought to unit spread about their means; the networks see what differs from those.
    potential = NepPotential(_identity(model), model)
    by_type: list[list[FloatArray]] = [[] for _ in range(t)]
    for atoms in train.structures:
        values = potential.descriptors(atoms)
        types = model.types_of(atoms.numbers)
        for kind in range(t):
            by_type[kind].append(values[types == kind])
    joined = [np.concatenate(parts) for parts in by_type]
    spread = np.sqrt(np.mean([np.var(values, axis=0) for values in joined], axis=0))
    scale = 1.0 / np.maximum(spread, 1.0e-8)
    centre = np.array([values.mean(axis=0) * scale for values in joined])
    b0 = model.b0 + np.einsum("tmd,td->tm", model.w0, centre)
    model = replace(
        model,
        scale=scale,
        b0=b0,
        bias_eV=np.array([-references.eV_per_atom.get(symbol, 0.0) for symbol in model.elements]),
    )
    return NepState(
        options=options,
        seed=seed,
        model=model,
        centre=centre,
        first_moments=zeros_like(model),
        second_moments=zeros_like(model),
        steps=0,
        epoch=0,
        schedule_from=0,
        best_model=model,
        best_epoch=0,
        best_loss=None,
        history=(),
    )


def continue_with(state: NepState, *, epochs: int, learning_rate: float | None = None) -> NepState:
    """Continue a finished training, usually with more data: ``epochs`` more, at a learning rate that decays again.

    It starts from the best student so far, whose loss is measured anew, since the data may differ.
    """
    options = replace(
        state.options,
        epochs=state.epoch + epochs,
        learning_rate=state.options.learning_rate if learning_rate is None else learning_rate,
    )
    return replace(
        state,
        options=options,
        model=state.best_model,
        first_moments=zeros_like(state.model),
        second_moments=zeros_like(state.model),
        schedule_from=state.steps,
        best_epoch=state.epoch,
        best_loss=None,
    )


def train_epochs(
    state: NepState,
    train: LabelledSet,
    validation: LabelledSet | None,
    n_epochs: int,
    options: NepOptions | None = None,
    *,
    progress: Progress | None = None,
) -> NepState:
    """Train for one segment.

    Parameters
    ----------
    state
        The training so far; not modified.
    train, validation
        Labels by the teacher. ``None`` or an empty validation part: the last student counts as the best.
    n_epochs
        Epochs of this segment. Fewer are done if the training is finished before.
    options
        Options with which the training began, if they are to be checked.
    progress
        Called after each epoch.

    Raises
    ------
    CalculationFailed
        If the loss is no longer finite (a learning rate that is too high, or a broken label).
    PotentialError
        If the data contain an element that the student does not cover.
    ValueError
        If ``options`` are not those of ``state``.
    """
    if options is not None and options != state.options:
        raise ValueError("options cannot change during a training")
    settings = state.options
    last = min(state.epoch + n_epochs, settings.epochs)
    data = _prepare(train, state.model)
    checks = [] if validation is None else _prepare(validation, state.model)
    steps_per_epoch = -(-len(data) // settings.batch_size)
    parameters = state.model.kernel_arrays()
    first = {name: np.array(value) for name, value in state.first_moments.items()}
    second = {name: np.array(value) for name, value in state.second_moments.items()}
    # The total of the schedule: what was done of it before, and the epochs that remain.
    total = state.steps - state.schedule_from + steps_per_epoch * (settings.epochs - state.epoch)
    step, best, best_epoch, best_loss = state.steps, state.best_model, state.best_epoch, state.best_loss
    history = list(state.history)
    model = state.model
    for epoch in range(state.epoch + 1, last + 1):
        order = np.random.Generator(np.random.PCG64([state.seed, epoch])).permutation(len(data))
        sums = np.zeros(5)
        rate = 0.0
        for begin in range(0, len(order), settings.batch_size):
            step += 1
            rate = _learning_rate(settings, step - state.schedule_from, total)
            batch = [data[k] for k in order[begin : begin + settings.batch_size]]
            gradient = zeros_like(state.model)
            for item in batch:
                sums += _add_gradient(parameters, item, settings, 1.0 / len(batch), gradient)
            if not np.isfinite(sums).all():
                raise CalculationFailed(
                    "the student's loss is no longer finite; lower the learning rate or look at the labels",
                    {"epoch": epoch, "step": step},
                )
            _adam(parameters, gradient, first, second, step - state.schedule_from, rate, state.centre)
        model = replace(state.model, **{name: parameters[name] for name in LEARNED})
        learned, checked = _named(sums / len(data)), None
        if checks:
            measured = np.zeros(5)
            for item in checks:
                measured += _loss(item, settings, *_evaluated(parameters, item))[0]
            checked = _named(measured / len(checks))
        loss = None if checked is None else checked.loss
        history.append(Epoch(epoch, rate, learned, checked))
        if loss is None or best_loss is None or loss < best_loss:
            best, best_epoch, best_loss = model, epoch, loss
        if progress is not None:
            force = (checked or learned).rmse_force_eV_per_A
            message = f"epoch {epoch} of {settings.epochs}, {1000.0 * force:.0f} meV/Å"
            progress((epoch - state.epoch) / max(1, last - state.epoch), message)
    return replace(
        state,
        model=model,
        first_moments=first,
        second_moments=second,
        steps=step,
        epoch=max(last, state.epoch),
        best_model=best,
        best_epoch=best_epoch,
        best_loss=best_loss,
        history=tuple(history),
    )


def finish(state: NepState, train: LabelledSet) -> dict[str, npt.NDArray[Any]]:
    """Return best student as arrays for ``load_potential("nep", weights=...)``, and the active set of ``train``."""
    bare = state.best_model
    potential = NepPotential(_identity(bare), bare)
    t = len(bare.numbers)
    features: list[list[FloatArray]] = [[] for _ in range(t)]
    for atoms in train.structures:
        types = bare.types_of(atoms.numbers)
        values = np.column_stack([potential.descriptors(atoms), np.ones(len(atoms))])
        for kind in range(t):
            features[kind].append(values[types == kind])
    inverse = np.array([active_inverse(np.concatenate(parts)) for parts in features])
    return replace(bare, active_inverse=inverse).to_arrays()


def predict(model: NepModel | Mapping[str, npt.NDArray[Any]], structures: Sequence[Atoms]) -> Targets:
    """Evaluate structures, as :func:`superionic.training.metrics.errors` compares them."""
    read = model if isinstance(model, NepModel) else NepModel.from_arrays(model)
    potential = NepPotential(_identity(read), read)
    predictions = [potential.evaluate(atoms) for atoms in structures]
    return Targets(
        np.array([each.energy_eV for each in predictions]),
        tuple(each.forces_eV_per_A for each in predictions),
        np.array([np.zeros(6) if each.stress_eV_per_A3 is None else each.stress_eV_per_A3 for each in predictions]),
    )


# ---- one structure ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Item:
    """A structure ready for the kernels, with its labels."""

    positions: FloatArray
    types: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    neighbours: npt.NDArray[np.int64]
    shift: npt.NDArray[np.int64]
    shifts: FloatArray
    energy: float
    forces: FloatArray
    virial: FloatArray | None
    volume: float
    weight: float
    soft: float


def _prepare(part: LabelledSet, model: NepModel) -> list[_Item]:
    # The list reaches a little beyond the cutoff, for the moves of the central difference.
    cutoff = float(model.cutoffs_A[0]) + 0.05
    items = []
    for k, atoms in enumerate(part.structures):
        unknown = sorted(set(atoms.get_chemical_symbols()) - set(model.elements))
        if unknown:
            raise PotentialError(
                f"The student knows {', '.join(model.elements)}, and the data has {', '.join(unknown)}.",
                fix="Begin the training anew with data of all elements.",
            )
        pairs = NeighbourList(cutoff, 0.0)
        positions = np.ascontiguousarray(atoms.positions, dtype=np.float64)
        pairs.update(positions, np.array(atoms.cell.array), np.array(atoms.pbc, dtype=bool))
        forces = part.targets.forces_eV_per_A[k]
        stress = part.targets.stresses_eV_per_A3[k]
        virial = None
        volume = float(atoms.get_volume()) if atoms.pbc.all() else 0.0
        if np.isfinite(stress).all() and volume > 0.0:
            virial = stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]] * volume
        soft = float(np.mean(forces**2))
        items.append(
            _Item(
                positions,
                model.types_of(atoms.numbers),
                pairs.first,
                pairs.neighbours,
                pairs.shift,
                pairs.shifts_A,
                float(part.targets.energies_eV[k]),
                forces,
                virial,
                volume,
                1.0,
                soft,
            )
        )
    return items


def _evaluated(parameters: Mapping[str, npt.NDArray[Any]], item: _Item) -> tuple[float, FloatArray, FloatArray]:
    from superionic.models.nep import kernels as nep_kernels

    n = len(item.types)
    energies, forces, virial = np.zeros(n), np.zeros((n, 3)), np.zeros((3, 3))
    nep_kernels.evaluate(
        item.positions,
        item.types,
        item.first,
        item.neighbours,
        item.shift,
        item.shifts,
        parameters["cutoffs_A"],
        parameters["shape"],
        parameters["c_radial"],
        parameters["c_angular"],
        parameters["scale"],
        parameters["w0"],
        parameters["b0"],
        parameters["w1"],
        parameters["bias_eV"],
        parameters["charges"],
        parameters["zbl_inner_A"],
        parameters["zbl_outer_A"],
        energies,
        forces,
        virial,
    )
    return float(energies.sum()), forces, 0.5 * (virial + virial.T)


def _loss(item: _Item, options: NepOptions, energy: float, forces: FloatArray, virial: FloatArray) -> Any:
    """Errors, and the loss with its derivatives by energy, forces (per component) and virial."""
    n = len(item.types)
    counts = 1.0 / (1.0 + item.soft / options.soft_force_eV_per_A**2)
    per_atom = (energy - item.energy) / n
    force_errors = forces - item.forces
    by_energy = counts * options.energy_weight * 2.0 * per_atom / n
    by_force = counts * options.force_weight * 2.0 / (3 * n) * force_errors
    energy2, force2 = per_atom**2, float(np.mean(force_errors**2))
    by_virial, virial2, stress2 = None, 0.0, 0.0
    if item.virial is not None:
        virial_errors = (virial - item.virial) / n
        by_virial = counts * options.stress_weight * 2.0 / (9 * n) * virial_errors
        virial2 = float(np.mean(virial_errors**2))
        stress2 = virial2 * (n / item.volume) ** 2
    loss = counts * (options.energy_weight * energy2 + options.force_weight * force2 + options.stress_weight * virial2)
    return np.array([loss, energy2, force2, stress2, counts]), by_energy, by_force, by_virial


def _add_gradient(
    parameters: Mapping[str, npt.NDArray[Any]],
    item: _Item,
    options: NepOptions,
    share: float,
    gradient: Arrays,
) -> FloatArray:
    """Add one structure's share of the loss's gradient; return its loss and squared errors."""
    from superionic.models.nep import kernels as nep_kernels

    energy, forces, virial = _evaluated(parameters, item)
    loss, by_energy, by_force, by_virial = _loss(item, options, energy, forces, virial)
    if not np.isfinite(loss).all():
        return np.asarray(loss)
    # dL = by_force·dF + by_virial:dW with F = -dE/dx, W = dE/dε: the derivative of dE/dθ along this motion.
    strain = np.zeros((3, 3)) if by_virial is None else by_virial
    moves = item.positions @ strain - by_force
    shift_moves = item.shifts @ strain
    longest = float(np.sqrt(np.max(np.sum(moves**2, axis=1))))
    if by_virial is not None:
        longest = max(longest, float(np.abs(strain).sum()) * float(parameters["cutoffs_A"][0]))
    length = _MOVE_A / longest if longest > 0.0 else 0.0
    slope = 0.0 if length == 0.0 else 0.5 / length
    for sign in (1.0, -1.0):
        nep_kernels.add_gradient(
            share * (0.5 * by_energy + sign * slope),
            item.positions + (sign * length) * moves,
            item.types,
            item.first,
            item.neighbours,
            item.shift,
            item.shifts + (sign * length) * shift_moves,
            parameters["cutoffs_A"],
            parameters["shape"],
            parameters["c_radial"],
            parameters["c_angular"],
            parameters["scale"],
            parameters["w0"],
            parameters["b0"],
            parameters["w1"],
            parameters["bias_eV"],
            gradient["c_radial"],
            gradient["c_angular"],
            gradient["w0"],
            gradient["b0"],
            gradient["w1"],
            gradient["bias_eV"],
        )
    return np.asarray(loss)


def _named(means: FloatArray) -> EpochErrors:
    return EpochErrors(
        loss=float(means[0]),
        rmse_energy_eV_per_atom=math.sqrt(means[1]),
        rmse_force_eV_per_A=math.sqrt(means[2]),
        rmse_stress_GPa=GPA_PER_EV_PER_A3 * math.sqrt(means[3]),
    )


# ---- descent ------------------------------------------------------------------------------------------------------


def _learning_rate(options: NepOptions, step: int, total: int) -> float:
    """Linear rise, then half a cosine from the first to the final rate."""
    if step <= options.warmup_steps:
        return options.learning_rate * step / options.warmup_steps
    fraction = min(1.0, (step - options.warmup_steps) / max(1, total - options.warmup_steps))
    low, high = options.final_learning_rate, options.learning_rate
    return low + 0.5 * (high - low) * (1.0 + math.cos(math.pi * fraction))


def _adam(
    parameters: Arrays,
    gradient: Arrays,
    first: Arrays,
    second: Arrays,
    step: int,
    rate: float,
    centre: FloatArray,
) -> None:
    """One step of Adam (Kingma and Ba, 2015) in place, in parameters about the centre of the descriptors.

    With b = b0 - w0·centre as the parameter instead of b0, a change of w0 at constant b leaves the mean input alone;
    far better conditioned, since descriptors of dense matter vary little about large means.
    """
    gradient["w0"] = gradient["w0"] + gradient["b0"][:, :, None] * centre[:, None, :]
    norm = math.sqrt(sum(float(np.sum(value**2)) for value in gradient.values()))
    factor = min(1.0, _CLIP / norm) if norm > 0.0 else 1.0
    for name in LEARNED:
        g = gradient[name] * factor
        first[name] *= _BETAS[0]
        first[name] += (1.0 - _BETAS[0]) * g
        second[name] *= _BETAS[1]
        second[name] += (1.0 - _BETAS[1]) * g * g
        mean = first[name] / (1.0 - _BETAS[0] ** step)
        width = np.sqrt(second[name] / (1.0 - _BETAS[1] ** step)) + 1.0e-12
        change = rate * mean / width
        if name == "w0":
            parameters["b0"] -= np.einsum("tmd,td->tm", change, centre)
        parameters[name] -= change


def _zbl_reach(train: LabelledSet, numbers: Sequence[int], options: NepOptions) -> FloatArray:
    """Where ZBL of each pair of elements ends: a fraction of their shortest distance in the training set, in Å."""
    t = len(numbers)
    place = {number: k for k, number in enumerate(numbers)}
    shortest = np.full((t, t), np.inf)
    for atoms in train.structures:
        pairs = NeighbourList(options.longest_zbl_A / options.contact_fraction + 0.5, 0.0)
        positions = np.ascontiguousarray(atoms.positions, dtype=np.float64)
        pairs.update(positions, np.array(atoms.cell.array), np.array(atoms.pbc, dtype=bool))
        kinds = np.array([place[int(number)] for number in atoms.numbers])
        centre = np.repeat(np.arange(len(atoms)), np.diff(pairs.first))
        vectors = positions[pairs.neighbours] + pairs.shifts_A[pairs.shift] - positions[centre]
        distances = np.linalg.norm(vectors, axis=1)
        np.minimum.at(shortest, (kinds[centre], kinds[pairs.neighbours]), distances)
    shortest = np.minimum(shortest, shortest.T)
    reach: FloatArray = np.minimum(options.contact_fraction * shortest, options.longest_zbl_A)
    return reach


def _identity(model: NepModel) -> PotentialIdentity:
    return PotentialIdentity("nep", "student", "", "", "", "", by_number(model.elements), "")
