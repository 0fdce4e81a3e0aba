"""A lasting split of a growing set: what is held out once is held out in all later rounds.

In a temperature ladder or an active loop, labels come in rounds and each round trains on all so far. A split drawn
afresh each time would put runs that tested one model into the training set of the next, whose errors would then look
better than they are. Here the split of the runs of a round depends only on that round and the ones before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from superionic.training.dataset import Split, split_groups


def split_in_rounds(
    groups: Sequence[str],
    rounds: Sequence[int],
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    within_groups: bool = True,
) -> Split:
    """Split a set that came in rounds, each round as it was split when it was the latest.

    The first round is split by :func:`superionic.training.dataset.split_groups`. Groups that are new in a later round
    are shuffled by seed and round and assigned as a whole, each to the set that is furthest below its share of all
    structures so far. Structures of a known group join that group; those of a group that had to be cut in time are cut
    again.

    Parameters
    ----------
    groups
        Trajectory (or ordering, or composition) of each structure; the order within a group is the order in time.
    rounds
        Round of each structure, any integers; lower is earlier.
    validation_fraction, test_fraction, seed, within_groups
        As for :func:`superionic.training.dataset.split_groups`.

    Returns
    -------
    Split
        For every round r, its restriction to the structures of rounds up to r is the split of those alone.

    Raises
    ------
    StageError
        If the first round cannot be split; see :func:`superionic.training.dataset.split_groups`.
    ValueError
        If the two sequences differ in length, or a fraction is impossible.
    """
    if len(groups) != len(rounds):
        raise ValueError("give the round of each structure")
    shares = (1.0 - validation_fraction - test_fraction, validation_fraction, test_fraction)
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    part_of: dict[str, int] = {}
    cut: set[str] = set()
    notes: list[str] = []
    leak_free = True
    for number, this_round in enumerate(sorted(set(rounds))):
        indices = [index for index, own_round in enumerate(rounds) if own_round == this_round]
        if number == 0:
            first = split_groups(
                [groups[index] for index in indices],
                validation_fraction=validation_fraction,
                test_fraction=test_fraction,
                seed=seed,
                within_groups=within_groups,
            )
            leak_free, notes = first.leak_free, list(first.notes)
            for part, dealt in enumerate((first.train, first.validation, first.test)):
                for member in dealt:
                    group = groups[indices[member]]
                    parts[part].append(indices[member])
                    if part_of.setdefault(group, part) != part:
                        cut.add(group)
            continue
        members_of: dict[str, list[int]] = {}
        for index in indices:
            members_of.setdefault(groups[index], []).append(index)
        for group in [name for name in members_of if name in cut]:
            members = members_of.pop(group)
            first_end, second_end = (round(sum(shares[: part + 1]) * len(members)) for part in (0, 1))
            for part, some in enumerate((members[:first_end], members[first_end:second_end], members[second_end:])):
                parts[part].extend(some)
        for group in [name for name in members_of if name in part_of]:
            parts[part_of[group]].extend(members_of.pop(group))
        fresh = list(members_of)
        for position in np.random.default_rng([seed, number]).permutation(len(fresh)):
            group = fresh[int(position)]
            members = members_of[group]
            total = sum(len(part) for part in parts) + len(members)
            open_parts = [part for part in range(3) if shares[part] > 0.0]
            part_of[group] = max(open_parts, key=lambda p: (shares[p] * total - len(parts[p]), -p))
            parts[part_of[group]].extend(members)
    train, validation, test = (tuple(sorted(part)) for part in parts)
    return Split(train, validation, test, leak_free=leak_free, notes=tuple(notes))
