"""What tasks about orderings share: the space of a composition, from settings, and the orderings chosen of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from superionic.execution.task import Context

if TYPE_CHECKING:
    from superionic.enumeration.chosen import ChosenOrderings
    from superionic.structures.disordered import DisorderedCrystal
    from superionic.structures.space import OrderingSpace

_OF_COMPOSITION = (
    "deviation", "distinct", "distinct_allowed", "excluded_pairs", "formula", "group_order", "min_distance_A", "plan",
    "raw", "skipped_compositions",
)  # fmt: skip


def parent_crystal(settings: Mapping[str, Any], context: Context) -> DisorderedCrystal:
    """Return the crystal of a task, its elements replaced."""
    from superionic.structures.composition import substitute
    from superionic.structures.files import parse_crystal

    path = context.scratch / settings["file_name"]
    path.write_text(settings["text"], encoding="utf-8")
    crystal = parse_crystal(path)  # the file was checked, with limits, when the campaign was loaded
    return substitute(crystal, settings["substitutions"]) if settings["substitutions"] else crystal


def space_of(
    settings: Mapping[str, Any], composition: Mapping[str, Any], context: Context
) -> tuple[DisorderedCrystal, OrderingSpace]:
    """Return the crystal of a task, and the space of orderings of one of its compositions."""
    from superionic.structures.composition import IntegerComposition
    from superionic.structures.space import ordering_space
    from superionic.structures.supercells import supercell_sites

    crystal = parent_crystal(settings, context)
    space = ordering_space(
        supercell_sites(crystal, settings["supercell"]),
        IntegerComposition.from_dict(composition),
        min_distance_A=settings["min_distance_A"],
        oxidation_states=settings["oxidation_states"],
    )
    return crystal, space


def chosen_as_data(
    crystal: DisorderedCrystal,
    space: OrderingSpace,
    composition: Mapping[str, Any],
    chosen: ChosenOrderings,
    keep: int | None,
) -> dict[str, Any]:
    """Return the orderings that go on, and what is reported of their space.

    Parameters
    ----------
    crystal, space, composition, chosen
        What was ordered, and the orderings chosen.
    keep
        How many of lowest Ewald energy go on; None: all, in their order.
    """
    from superionic.structures.electrostatics import lowest

    frames = chosen.atoms(space)
    times = chosen.times_drawn if keep is None else None
    indices = range(len(chosen)) if keep is None else [int(i) for i in lowest(chosen.energies_eV, keep)]
    return {
        **{name: composition[name] for name in _OF_COMPOSITION if name in composition},
        "evidence": dict(chosen.evidence),
        "histogram": chosen.histogram_values(),
        "listed": len(chosen) if chosen.looked_at is None else chosen.looked_at,
        "method": chosen.method,
        "orderings": [
            {
                "atoms": frames[index],
                "degeneracy": int(chosen.table.degeneracies[index]),
                "ewald_eV": float(chosen.energies_eV[index]),
                "n_atoms": len(frames[index]),
                **({"times_drawn": int(times[index])} if times is not None else {}),
            }
            for index in indices
        ],
        "spacegroup": crystal.spacegroup_symbol,
        "tie": chosen.tie_values(),
    }
