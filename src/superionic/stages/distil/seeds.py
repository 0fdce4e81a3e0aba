"""What students from labels alone learn first: orderings at the cell of their crystal, distorted, and shortly run.

A part of the stage *distil*. Everything here is built as tasks; nothing is gathered. The cheap potential that relaxes
and moves the seeds only decides which structures are labelled; every label is the teacher's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from superionic.chemistry import parse_formula
from superionic.dynamics.monitors import Limits
from superionic.dynamics.relax import relax
from superionic.execution.task import Context, Task, task
from superionic.results.identity import Rows
from superionic.stages.base import Candidate, ChosenPotential, Workbench, grouped, load, lowest_of_each, spread
from superionic.stages.distil.data import LabelledBatch, frames_of, labels_of, nvt
from superionic.structures.crystal.refined_cell import RefinedCell
from superionic.training.distillation import PackedStructures, close_contacts, distorted_structures, pack_structures

if TYPE_CHECKING:
    from superionic.settings.distil import ResolvedDistil
    from superionic.structures.crystal.disordered import DisorderedCrystal

_FMAX_EV_PER_A = 0.05
_FEWEST_OF_EACH = 3


@dataclass(frozen=True)
class Start:
    """An ordering from which seeds and runs start.

    Attributes
    ----------
    seed
        The task that brings it to the cell of its crystal.
    """

    candidate: Candidate
    seed: Task[SeedStructure]


@dataclass(frozen=True)
class Seeds:
    """The first labels, and how many of each kind are planned.

    Attributes
    ----------
    labels
        Tasks of the teacher's labels.
    distorted, contacts, frames, relaxed
        Structures of each kind: ``frames`` of short runs, ``relaxed`` orderings as they are.
    """

    starts: tuple[Start, ...]
    labels: tuple[Task[LabelledBatch], ...]
    distorted: int
    contacts: int
    frames: int
    relaxed: int


def in_refined_cells(orderings: Sequence[Candidate], crystals: Mapping[str, DisorderedCrystal]) -> dict[str, Atoms]:
    """Return the structures, by names, of orderings whose composition is that of the refined crystal.

    Elsewhere on a composition axis the refined cell is that of another compound, and what relaxation gives is nearer.
    """
    refined = {name: RefinedCell.of(crystal) for name, crystal in crystals.items()}
    return {
        ordering.id: ordering.structure
        for ordering in orderings
        if refined[ordering.material.crystal].is_of(parse_formula(ordering.formula))
    }


def starts_of(
    settings: ResolvedDistil,
    bench: Workbench,
    candidates: Sequence[Candidate],
    crystal_cells: Mapping[str, Atoms],
    cheap: ChosenPotential,
) -> tuple[Start, ...]:
    """Build the orderings that seeds and runs start from: of each composition the same number, the lowest ones.

    Parameters
    ----------
    candidates
        Relaxed orderings; references are left out.
    crystal_cells
        Structures of orderings, by their names, before they were relaxed: in the cell of their crystal. One that is
        missing keeps the cell to which it relaxed.
    cheap
        What relaxes them.
    """
    own = settings.on_policy
    compositions = len(lowest_of_each(candidates, 1))
    each = max(1, own.orderings // max(1, compositions))
    by_material = grouped(lowest_of_each(candidates, each), lambda candidate: candidate.material)
    # The lowest of each composition first, then the second ones: whatever takes turns with them is spread over them.
    in_turn = [group[rank] for rank in range(each) for group in by_material.values() if rank < len(group)]
    return tuple(
        Start(
            candidate,
            bench.task(
                f"seed {candidate.id}",
                seed_task.of(
                    potential=cheap,
                    relaxed=candidate.structure,
                    crystal=crystal_cells.get(candidate.id, candidate.structure),
                    supercell=settings.supercell,
                    volumes=(own.volumes[0], own.volumes[1]),
                    max_steps=own.relax_steps,
                ),
            ),
        )
        for candidate in in_turn
    )


def seeds_of(
    settings: ResolvedDistil,
    bench: Workbench,
    starts: Sequence[Start],
    teacher: ChosenPotential,
    cheap: ChosenPotential,
) -> Seeds:
    """Build seeds and their labels out of orderings that could be brought to the cell of their crystal."""
    own = settings.on_policy
    labels: list[Task[LabelledBatch]] = []
    n_runs = min(own.seed_runs, max(0, own.seed_labels // 2) // own.seed_frames)
    low, high = settings.temperatures_K[0], settings.temperatures_K[-1]
    for number, temperature in enumerate(np.linspace(low, high, n_runs).tolist() if n_runs else []):
        start = starts[number % len(starts)]
        label = f"seed run {number + 1} of {start.candidate.id} {temperature:g} K"
        atoms = start.seed.result.atoms
        limits = Limits(keep_frames=True, max_collected=0)
        segments = nvt(
            settings, bench, label, atoms, temperature, cheap, own.seed_ps, equilibration_ps=0.0, limits=limits
        )
        frames = frames_of(bench, label, segments, own.seed_frames)
        labels += labels_of(settings, bench, label, frames, own.seed_frames, teacher)
    frames_asked = n_runs * own.seed_frames
    # Both of an ordering, as it relaxed and at the cell of its crystal, are seeds themselves. Where there are too many
    # orderings for that and a distorted one of each, some are met in the rounds only.
    seeded = [starts[k] for k in spread(len(starts), max(1, (own.seed_labels - frames_asked) // _FEWEST_OF_EACH))]
    left = own.seed_labels - frames_asked - 2 * len(seeded)
    contacts = min(own.contacts, max(0, left) // 4)
    shares = [_share(left - contacts, index, len(seeded)) for index in range(len(seeded))]
    close = [_share(contacts, index, len(seeded)) for index in range(len(seeded))]
    before = 0
    for start, distorted, near in zip(seeded, shares, close, strict=True):
        name = start.candidate.id
        frames = bench.task(
            f"seeds of {name}",
            seed_structures_task.of(
                seed=start.seed.result,
                supercell=settings.supercell,
                relaxed=start.candidate.structure,
                random_seed=bench.seed_for("seeds", name),
                group=name,
                distorted=distorted,
                max_strain=own.max_strain,
                rattles_A=own.rattles_A,
                contacts=near,
                contacts_before=before,
                contact_fractions=(settings.data.contact_fractions[0], settings.data.contact_fractions[1]),
            ),
        )
        before += near
        labels += labels_of(settings, bench, f"seeds of {name}", frames, distorted + near + 2, teacher)
    return Seeds(tuple(starts), tuple(labels), sum(shares), sum(close), frames_asked, 2 * len(seeded))


def _share(count: int, index: int, parts: int) -> int:
    """Return how many of a count the part of an index has, if it is dealt as evenly as can be."""
    count = max(0, count)
    return count // parts + (1 if index < count % parts else 0)


# ---- task functions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SeedStructure:
    """An ordering at the cell of its crystal.

    Attributes
    ----------
    atoms
        Repeated, and relaxed by as many steps as the settings say, in that cell.
    low_A3_per_atom, high_A3_per_atom
        Window of volumes that seeds and runs keep to.
    """

    atoms: Atoms
    low_A3_per_atom: float
    high_A3_per_atom: float


@task(version=1)
def seed_task(
    context: Context,
    *,
    potential: ChosenPotential,
    relaxed: Atoms,
    crystal: Atoms,
    supercell: Rows,
    volumes: tuple[float, float],
    max_steps: int,
) -> SeedStructure:
    """Put a relaxed ordering into the cell of its crystal and relax it there, and say which volumes are of interest."""
    from ase.build import make_supercell

    atoms = Atoms(relaxed.numbers, scaled_positions=relaxed.get_scaled_positions(), cell=crystal.cell.array, pbc=True)
    if max_steps:
        driver = load(potential, context)
        atoms = relax(
            atoms, driver, cell=False, fmax_eV_per_A=_FMAX_EV_PER_A, max_steps=max_steps, progress=context.progress
        ).atoms
    own = [float(one.get_volume()) / len(one) for one in (crystal, relaxed)]
    bare = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell.array, pbc=True)
    return SeedStructure(make_supercell(bare, np.array(supercell)), volumes[0] * min(own), volumes[1] * max(own))


@task(version=2)
def seed_structures_task(
    _context: Context,
    *,
    seed: SeedStructure,
    supercell: Rows,
    relaxed: Atoms,
    random_seed: int,
    group: str,
    distorted: int,
    max_strain: float,
    rattles_A: Sequence[float],
    contacts: int,
    contacts_before: int,
    contact_fractions: tuple[float, float],
) -> PackedStructures:
    """Distort an ordering within the window of volumes, and push pairs of its atoms together; each is a group.

    Orderings have a contact or two each, so the kinds of pairs go on in turn from one ordering to the next.
    """
    from ase.build import make_supercell

    rng = np.random.default_rng(random_seed)
    bare = Atoms(relaxed.numbers, positions=relaxed.positions, cell=relaxed.cell.array, pbc=True)
    ends = [make_supercell(bare, np.array(supercell)), seed.atoms]
    volume = float(seed.atoms.get_volume()) / len(seed.atoms)
    window = (seed.low_A3_per_atom / volume, seed.high_A3_per_atom / volume)
    made = distorted_structures(seed.atoms, distorted, rng, volumes=window, max_strain=max_strain, rattles_A=rattles_A)
    fractions, before = contact_fractions, contacts_before
    close = close_contacts(seed.atoms, contacts, rng, fractions=fractions, first_kind=before)
    groups = [f"{group} as relaxed", f"{group} at the crystal's cell"]
    groups += [f"{group} distorted {number + 1}" for number in range(len(made))]
    groups += [f"{group} contact {number + 1}" for number in range(len(close))]
    return pack_structures([*ends, *made, *close], groups)
