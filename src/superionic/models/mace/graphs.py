"""Structures as inputs of MACE, in batches; predictions, and the loss over them.

There are two losses, by mace's names: ``"stress"`` is the weighted mean of squared errors of the energy per atom, force
components and stress components; ``"universal"`` (that of the MACE-MP models) uses Huber's function instead, with
δ = 0.01 eV/atom, eV/Å and eV/Å³, and a smaller δ for forces above 100 eV/Å. Weights of the stress are for GPa; mace's
are for eV/Å³, 160.2² = 25 669 times as large for the same loss. Structures without a stress do not enter its mean.

Energies are compared after the energies of atoms (E0) have been subtracted in double precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import chemical_symbols

from superionic.errors import CalculationFailed, PotentialError
from superionic.models.mace.state import TrainOptions
from superionic.potentials import checkpoints
from superionic.training.dataset import LabelledSet, Targets
from superionic.units import GPA_PER_EV_PER_A3

_DELTA: Final = 0.01
_FULL = [0, 5, 4, 5, 1, 3, 4, 3, 2]


@dataclass(frozen=True)
class Graph:
    """Neighbours of one structure.

    Attributes
    ----------
    tensors
        Inputs of the network, by name.
    species
        Index of each atom's element in the network's table, shape (n_atoms,).
    """

    tensors: Mapping[str, Any]
    species: npt.NDArray[np.int64]


def check_elements(structures: Sequence[Atoms], numbers: Sequence[int], what: str) -> None:
    """Check that a network covers all elements of a set.

    Parameters
    ----------
    numbers
        Atomic numbers that the network covers.
    what
        Name of the set in messages.

    Raises
    ------
    PotentialError
        If an element is not covered.
    """
    met = {int(number) for atoms in structures for number in atoms.numbers}
    unknown = sorted(met - {int(number) for number in numbers})
    if unknown:
        symbols = ", ".join(chemical_symbols[number] for number in unknown)
        first = next(i for i, atoms in enumerate(structures) if unknown[0] in atoms.numbers)
        raise PotentialError(
            f"The MACE model does not cover {symbols}, found in {what} (first in structure {first}).",
            fix="Start from a checkpoint that covers it, train from scratch, or leave these structures out.",
        )


def graphs(network: Any, structures: Sequence[Atoms]) -> list[Graph]:
    """Find the neighbours of all atoms within the cutoff of the network.

    Raises
    ------
    CalculationFailed
        If a cell has no volume, a number is not finite, or no atom has a neighbour.
    """
    import torch
    from matscipy.neighbours import neighbour_list

    numbers = network.atomic_numbers.cpu().numpy()
    place = np.full(int(numbers.max()) + 1, -1)
    place[numbers] = np.arange(len(numbers))
    dtype = next(network.parameters()).dtype
    neighbour_graphs = []
    for number, atoms in enumerate(structures):
        cell = np.array(atoms.cell.array)
        positions = checkpoints.wrapped_fractions(atoms, "MACE") @ cell
        centre, neighbour, image = neighbour_list(
            "ijS", cutoff=float(network.r_max), positions=positions, cell=cell, pbc=np.array(atoms.pbc)
        )
        if len(centre) == 0:
            raise CalculationFailed(
                f"no atom of structure number {number} of the set has a neighbour",
                {"formula": atoms.get_chemical_formula()},
            )
        species = place[atoms.numbers]
        tensors = {
            "cell": torch.as_tensor(cell, dtype=dtype),
            "edge_index": torch.as_tensor(np.stack([centre, neighbour]), dtype=torch.int64),
            "node_attrs": torch.as_tensor(np.eye(len(numbers))[species], dtype=dtype),
            "positions": torch.as_tensor(positions, dtype=dtype),
            "shifts": torch.as_tensor(image @ cell, dtype=dtype),
            "unit_shifts": torch.as_tensor(image, dtype=dtype),
        }
        neighbour_graphs.append(Graph(tensors, species))
    return neighbour_graphs


def forward(network: Any, batch: Sequence[Graph], head: int, *, training: bool = False) -> dict[str, Any]:
    """Evaluate a batch with one head.

    Returns
    -------
    dict
        ``interaction_energy`` (n,), ``forces`` (atoms, 3) and ``stress`` (n, 3, 3) as tensors, which can be
        differentiated if ``training``; ``sizes``: number of atoms of each structure; ``e0_eV``: sum of the energies of
        atoms of each structure, shape (n,), in double precision.
    """
    import torch

    sizes = [len(graph.species) for graph in batch]
    ends = np.concatenate([[0], np.cumsum(sizes)])
    joined = {
        name: torch.cat([graph.tensors[name] for graph in batch])
        for name in ("cell", "node_attrs", "positions", "shifts", "unit_shifts")
    }
    joined["edge_index"] = torch.cat(
        [graph.tensors["edge_index"] + int(first) for graph, first in zip(batch, ends, strict=False)], dim=1
    )
    joined["batch"] = torch.repeat_interleave(torch.arange(len(batch)), torch.tensor(sizes))
    joined["ptr"] = torch.as_tensor(ends, dtype=torch.int64)
    joined["head"] = torch.full((len(batch),), head, dtype=torch.int64)
    output = network(joined, training=training, compute_force=True, compute_stress=True)
    table = np.atleast_2d(network.atomic_energies_fn.atomic_energies.detach().cpu().numpy().astype(np.float64))[head]
    return {
        "interaction_energy": output["interaction_energy"],
        "forces": output["forces"],
        "stress": output["stress"].reshape(-1, 3, 3),
        "sizes": sizes,
        "e0_eV": np.array([table[graph.species].sum() for graph in batch]),
    }


def targets(outputs: Sequence[Mapping[str, Any]]) -> Targets:
    """Combine the predictions of batches."""
    energies: list[npt.NDArray[np.float64]] = []
    forces: list[npt.NDArray[np.float64]] = []
    stresses: list[npt.NDArray[np.float64]] = []
    for output in outputs:
        energies.append(_numpy(output["interaction_energy"]) + output["e0_eV"])
        forces.extend(np.split(_numpy(output["forces"]), np.cumsum(output["sizes"])[:-1]))
        stresses.extend(checkpoints.voigt(tensor) for tensor in _numpy(output["stress"]))
    return Targets(np.concatenate(energies), tuple(forces), np.array(stresses))


def evaluate(network: Any, batches: Sequence[Graph], head: int, batch_size: int) -> Targets:
    """Evaluate a set with one head."""
    parts = [batches[first : first + batch_size] for first in range(0, len(batches), batch_size)]
    outputs = []
    for part in parts:
        output = forward(network, part, head)
        outputs.append({name: value.detach() if hasattr(value, "detach") else value for name, value in output.items()})
    return targets(outputs)


def loss_of(output: Mapping[str, Any], reference: Targets, options: TrainOptions) -> Any:
    """Return the loss of a batch, as a tensor.

    Parameters
    ----------
    output
        Output of :func:`forward`.
    reference
        Labels of the batch, with the zero of energy of the head.
    options
        Options with the kind of loss and its weights.
    """
    import torch

    dtype = output["forces"].dtype
    n_atoms = torch.tensor(output["sizes"], dtype=dtype)
    label = torch.as_tensor(reference.energies_eV - output["e0_eV"], dtype=dtype)
    energy = (output["interaction_energy"] / n_atoms, label / n_atoms)
    forces = (output["forces"], torch.as_tensor(np.concatenate(reference.forces_eV_per_A), dtype=dtype))
    present = np.flatnonzero(np.isfinite(reference.stresses_eV_per_A3).all(axis=1))
    total = options.energy_weight * _mean_error(*energy, options.loss)
    total = total + options.force_weight * _mean_error(*forces, options.loss, are_forces=True)
    if options.stress_weight > 0.0 and len(present) > 0:
        full = reference.stresses_eV_per_A3[present][:, _FULL].reshape(-1, 3, 3)
        stress = (output["stress"][torch.as_tensor(present)], torch.as_tensor(full, dtype=dtype))
        total = total + options.stress_weight * GPA_PER_EV_PER_A3**2 * _mean_error(*stress, options.loss)
    return total


def loss_over(predicted: Targets, reference: Targets, options: TrainOptions) -> float:
    """Return the loss over a whole set of predictions."""
    import torch

    full = predicted.stresses_eV_per_A3[:, _FULL].reshape(-1, 3, 3)
    output = {
        "interaction_energy": torch.as_tensor(np.array(predicted.energies_eV)),
        "forces": torch.as_tensor(np.concatenate(predicted.forces_eV_per_A)),
        "stress": torch.as_tensor(full),
        "sizes": [int(n) for n in predicted.n_atoms],
        "e0_eV": np.zeros(len(predicted)),
    }
    return float(loss_of(output, reference, options).item())


def stress_notes(labelled: LabelledSet, what: str) -> tuple[str, ...]:
    """Return a remark on the number of labels without a stress, if there are any."""
    missing = int((~np.isfinite(labelled.targets.stresses_eV_per_A3).all(axis=1)).sum())
    if missing == 0:
        return ()
    return (f"{missing} of {len(labelled)} labels of {what} have no stress",)


def _mean_error(predicted: Any, reference: Any, loss: str, *, are_forces: bool = False) -> Any:
    import torch

    if loss == "stress":
        return torch.nn.functional.mse_loss(predicted, reference)
    if not are_forces:
        return torch.nn.functional.huber_loss(predicted, reference, delta=_DELTA)
    from mace.modules.loss import conditional_huber_forces

    return conditional_huber_forces(reference, predicted, huber_delta=_DELTA, ddp=False)


def _numpy(tensor: Any) -> npt.NDArray[np.float64]:
    array: npt.NDArray[np.float64] = tensor.detach().cpu().numpy().astype(np.float64)
    return array
