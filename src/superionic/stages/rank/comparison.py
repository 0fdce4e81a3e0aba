"""Comparison of the ranking with other potentials, each in its own engine.

The other potentials evaluate the orderings relaxed by the first one, unchanged or after further relaxation. Energies of
different potentials are compared by their order within a composition, and between compositions after a shift for each
element; they are never put on one hull.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from superionic.execution.runner import Failure
from superionic.results.ranking import ComparedVolume, Comparison
from superionic.stages.agreement import compare_task
from superionic.stages.base import Candidate, ChosenPotential, Workbench
from superionic.stages.rank.relaxations import FailedCalculation, Member, Relaxations, single_points

if TYPE_CHECKING:
    from superionic.settings.rank import RankSettings


def compare(settings: RankSettings, bench: Workbench, ranked: Sequence[Candidate], first: str) -> list[Comparison]:
    """Evaluate the ranked orderings by every potential of ``compare_with``.

    Parameters
    ----------
    settings
        The ``rank`` section.
    bench
        The workbench, with the potentials.
    ranked
        Relaxed orderings, without references.
    first
        Name of the ranking potential.
    """
    return [_compared(settings, bench, ranked, first, name) for name in settings.compare_with]


def _compared(
    settings: RankSettings, bench: Workbench, ranked: Sequence[Candidate], first: str, name: str
) -> Comparison:
    other, failures = bench.potentials[name], list[Failure]()
    volumes: list[ComparedVolume] = []
    if settings.compare_after == "relaxation":
        members = _relaxed(settings, bench, ranked, other, failures)
        energies = [(m.candidate, m.reached.relaxed.energy_eV) for m in members if m.reached is not None]
        volumes = [_volumes(bench, member) for member in members] if settings.relax_cell else []
    else:
        energies = _energies(bench, ranked, other, failures)
    rankings, key = None, None
    if energies:
        compared = bench.task(
            f"comparison of {first} and {name}",
            compare_task.of(
                count=settings.relax_top,
                orderings=[candidate.ordering for candidate, _ in energies],
                seed=bench.seed_for("comparison", name),
                compositions=[candidate.relaxation.composition for candidate, _ in energies],
                first_eV=[candidate.relaxation.energy_eV for candidate, _ in energies],
                second_eV=[energy for _, energy in energies],
            ),
        )
        rankings, key = bench.runner.one(compared), compared.key
    return Comparison(
        first=first,
        second=name,
        potential=other.identity,
        after=settings.compare_after,
        key=key,
        rankings=rankings,
        failures=tuple(failures),
        volumes=tuple(volumes),
    )


def _relaxed(
    settings: RankSettings,
    bench: Workbench,
    ranked: Sequence[Candidate],
    other: ChosenPotential,
    failures: list[Failure],
) -> list[Member]:
    """Relax further with the other potential; return what could be relaxed, and append failures."""
    members = [Member(candidate, candidate.structure) for candidate in ranked]
    Relaxations(bench, other, settings, f" by {other.name}").finish(members, "comparison")
    failures += [member.failure for member in members if member.failure is not None]
    return [member for member in members if member.failure is None and member.reached is not None]


def _volumes(bench: Workbench, member: Member) -> ComparedVolume:
    candidate, reached = member.candidate, member.reached
    if reached is None:
        raise ValueError(f"{candidate.id} is not relaxed")
    first, second = bench.runner.value_of(candidate.relaxation), bench.runner.value_of(reached).relaxed
    return ComparedVolume(
        candidate.ordering, first.formula, first.volume_A3 / first.n_atoms, second.volume_A3 / second.n_atoms
    )


def _energies(
    bench: Workbench, ranked: Sequence[Candidate], other: ChosenPotential, failures: list[Failure]
) -> list[tuple[Candidate, float]]:
    """Evaluate the structures unchanged; return energies as parts of results, and append failures."""
    structures = [candidate.structure for candidate in ranked]
    energies = []
    for candidate, evaluation in zip(
        ranked, single_points(bench, f"comparison by {other.name}", structures, other), strict=True
    ):
        if isinstance(evaluation.value, FailedCalculation):
            failures.append(Failure(f"{candidate.id} by {other.name}", evaluation.value.failed, evaluation.key))
        else:
            energies.append((candidate, evaluation.part.energy_eV))
    return energies
