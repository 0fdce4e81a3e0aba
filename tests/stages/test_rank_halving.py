"""The protocol of successive halving on relaxations whose whole course is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from superionic.results.identity import Material, ReferencePhase
from superionic.settings.rank import RankSettings
from superionic.stages.base import Candidate, derive_seed
from superionic.stages.rank.halving import Group, halve
from superionic.stages.rank.relaxations import Member

LENGTH = 40


class Known:
    """Relaxations that were done before: energies per atom after each step."""

    stage, tail = "rank", ""

    def __init__(self, courses) -> None:
        self.courses = courses

    def advance(self, members, steps, _what) -> None:
        for member in members:
            course = self.courses[int(member.candidate.id)]
            if not member.energies_eV_per_atom:
                member.energies_eV_per_atom.append(course[0])
            if not member.converged:
                member.n_steps = min(member.n_steps + steps, len(course) - 1)
                member.energies_eV_per_atom.append(course[member.n_steps])
                member.n_evaluations, member.converged = member.n_steps + 1, member.n_steps == len(course) - 1

    def finish(self, members, what) -> None:
        self.advance(members, 10_000, what)


def courses(ends, falls):
    """Exponential courses to given ends from given heights."""
    steps = np.arange(LENGTH + 1)
    left = np.exp(-steps / 8.0)
    left[-1] = 0.0
    return [end + fall * left for end, fall in zip(ends, falls, strict=True)]


def halved(known, *, wanted=5, seed=1, method="halving", **halving):
    return carried_out(Known(known), len(known), wanted=wanted, seed=seed, method=method, halving=halving)


def carried_out(relaxations, count, *, wanted, seed=1, method="halving", halving):
    chosen = {"audit_at_least": 4, "audit_fraction": 0.05, "first_steps": 5, "growth": 2.0, **halving}
    settings = RankSettings(method=method, relax_cell=False, relax_top=wanted, warm_start=0, halving=chosen)
    bench = SimpleNamespace(seed_for=lambda *words: derive_seed(seed, "rank", *words))
    members = [Member(Candidate(ReferencePhase(str(i)), None), None) for i in range(count)]
    group = Group(Material("x"), "", members)
    (report,) = halve(settings, bench, relaxations, [group])
    return report, {int(member.candidate.id) for member in group.finished}, group


def test_where_all_fall_alike_the_lowest_are_all_found_at_a_fraction_of_the_cost():
    rng = np.random.default_rng(0)
    ends = rng.normal(0.0, 0.02, 300)
    known = courses(ends, np.full(300, 0.05))
    told, found, _ = halved(known)
    assert set(np.argsort(ends)[:5].tolist()) <= found
    assert told.evaluations < 300 * (LENGTH + 1) / 2.5
    assert told.evaluations_if_all == 300 * (LENGTH + 1)
    assert told.recall == pytest.approx(1.0, abs=0.01)
    assert not told.widened
    assert told.audits[0].entered == 0


def test_nothing_is_culled_within_the_noise():
    rng = np.random.default_rng(1)
    ends = rng.normal(0.0, 0.001, 120)
    told, found, _ = halved(courses(ends, rng.uniform(0.0, 0.5, 120)), keep_fraction=0.1, max_rungs=1)
    # The falls differ by a hundred times as much as the ends: one rung tells nothing.
    assert min(told.margins_meV_per_atom) > 50.0
    assert told.culled < 60
    kept_few, _, group = halved(courses(ends, np.full(120, 0.5)), keep_fraction=0.1, max_rungs=1)
    assert kept_few.culled > 90
    assert all(gap > kept_few.margins_meV_per_atom[0] / 1000.0 for _, gap in group.culled.values())
    assert len(found) == told.relaxed


def test_a_failed_audit_widens_once_and_brings_back_what_was_lost():
    ends = np.linspace(0.0, 0.1, 100)
    falls = np.full(100, 0.02)
    # One of eight falls far and belongs below all others: where no pilot is one of them, the audit has to notice.
    late = np.arange(100) % 8 == 1
    falls[late] = 0.5
    ends[late] -= 0.2
    seeds = [seed for seed in range(12) if halved(courses(ends, falls), seed=seed, audit_at_least=2)[0].widened]
    assert seeds
    told, found, _ = halved(courses(ends, falls), seed=seeds[0], audit_at_least=2)
    assert len(told.audits) == 2
    assert told.audits[0].entered > 0
    assert len(found & set(np.argsort(ends)[:5].tolist())) > 0
    assert told.evaluations <= 100 * (LENGTH + 1)


def test_the_recall_told_is_not_better_than_the_recall():
    rng = np.random.default_rng(2)
    told, real = [], []
    for seed in range(25):
        ends, falls = rng.normal(0.0, 0.003, 150), rng.normal(0.1, 0.01, 150)
        ends -= 0.15 * (falls - 0.1)  # those that fall far end low, as in crystals
        summary, found, _ = halved(courses(ends, falls), seed=seed, max_rungs=2)
        told.append(summary.recall)
        real.append(len(found & set(np.argsort(ends)[:5].tolist())) / 5)
        low, high = summary.recall_interval95
        assert 0.0 <= low <= summary.recall <= high <= 1.0
    assert 0.4 < np.mean(real) < 1.0
    assert np.mean(told) < np.mean(real) + 0.05


def test_few_orderings_and_relax_all_are_relaxed_as_a_whole():
    rng = np.random.default_rng(3)
    many = courses(rng.normal(0.0, 0.02, 100), np.full(100, 0.05))
    told, found, _ = halved(many, method="relax-all")
    assert (told.culled, told.relaxed, told.recall, len(found)) == (0, 100, 1.0, 100)
    told, found, _ = halved(many[:20])
    assert (told.culled, told.relaxed, len(found)) == (0, 20, 20)


def test_failures_are_left_out_of_everything():
    rng = np.random.default_rng(4)

    class Failing(Known):
        def advance(self, members, steps, what) -> None:
            super().advance([m for m in members if m.failure is None], steps, what)
            for member in members:
                if int(member.candidate.id) % 3 == 0:
                    member.failure = "broke"

    known = courses(rng.normal(0.0, 0.02, 120), np.full(120, 0.05))
    halving = {"audit_fraction": 0.02, "keep_fraction": 0.3, "max_rungs": 2}
    report, relaxed, _ = carried_out(Failing(known), 120, wanted=4, halving=halving)
    assert report.culled > 0
    assert all(number % 3 for number in relaxed)
