from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from superionic.dynamics.relax import relax
from superionic.errors import StageError
from superionic.execution.task import Context, Part, Ref, Task
from superionic.potentials.base import load_potential
from superionic.results.identity import ONCE, Material, OrderedCell, Ordering
from superionic.results.ranking import Prescreen
from superionic.settings.rank import RankSettings
from superionic.stages import rank
from superionic.stages.base import Candidate
from superionic.stages.rank.relaxations import (
    FailedCalculation,
    Member,
    Relaxations,
    relax_batch_task,
    warm_start_task,
)

CONTEXT = Context(None, lambda _fraction, _message: None, {})  # type: ignore[arg-type]
DOUBLED = ((1, 0, 0), (0, 1, 0), (0, 0, 2))


def settings(**given) -> RankSettings:
    # Small batches of cheap relaxations.
    return RankSettings(**{"potential": "pair", "fmax_eV_per_A": 0.05, **given})


def orderings(count: int, seed: int = 1) -> list[Atoms]:
    """Rock salt of sixteen atoms with half of its Na replaced by Li, at random; all different."""
    rng = np.random.default_rng(seed)
    parent = bulk("NaCl", "rocksalt", a=5.3, cubic=True) * (2, 1, 1)
    cations = np.flatnonzero(parent.numbers == 11)
    found: dict[tuple[int, ...], Atoms] = {}
    while len(found) < count:
        chosen = tuple(sorted(rng.choice(cations, 4, replace=False).tolist()))
        atoms = parent.copy()
        atoms.numbers[list(chosen)] = 3
        # A displacement that differs from ordering to ordering, so that symmetry makes none the same as another.
        atoms.positions += 0.25 * np.sin(np.arange(48).reshape(-1, 3) * (1.0 + len(found)))
        found[chosen] = atoms
    return list(found.values())


def candidates(bench, structures, supercell=ONCE) -> list[Candidate]:
    """Orderings as the enumeration hands them on: parts of one task's result."""
    task = Task("enumerate", "made", "m:f", 1, {"supercell": [list(row) for row in supercell], "n": len(structures)})
    stored = {"orderings": [{"atoms": atoms} for atoms in structures]}
    bench.runner.store.commit(task.key, task.descriptor(), stored)
    return [
        Candidate(
            Ordering(OrderedCell(Material("salt"), supercell), i),
            Part(Ref(task, ("orderings", i, "atoms"))),
            formula="LiNaCl2",
            n_atoms=len(structures[i]),
            degeneracy=1,
            ewald_eV=-float(i),
        )
        for i in range(len(structures))
    ]


def relaxed_of(result) -> list[str]:
    return [entry.identity.id for entry in result.entries if entry.relaxed_eV_per_atom is not None]


def test_the_lowest_are_found_as_by_relaxing_all(workbench):
    structures = orderings(40)
    whole = workbench("whole")
    everything = rank.run(
        settings(relax_top=40), whole, candidates(whole, structures), [], whole.potentials["pair"]
    ).result
    halved = workbench("halved")
    few = rank.run(
        settings(relax_top=3, method="halving", halving={"first_steps": 3, "growth": 2, "audit_at_least": 4}),
        halved,
        candidates(halved, structures),
        [],
        halved.potentials["pair"],
    ).result

    def lowest(result):
        done = [e for e in result.entries if e.relaxed_eV_per_atom is not None]
        return [e.identity for e in sorted(done, key=lambda e: e.relaxed_eV_per_atom)][:3]

    assert lowest(few) == lowest(everything)
    (report,) = few.halving
    assert (report.material, report.formula, report.orderings) == (Material("salt"), "LiNaCl2", 40)
    assert report.culled > 0
    assert report.relaxed + report.culled - sum(audit.audited for audit in report.audits) == 40
    assert report.evaluations == sum(entry.n_evaluations for entry in few.entries)
    assert report.evaluations < everything.halving[0].evaluations
    assert report.evaluations_if_all == pytest.approx(everything.halving[0].evaluations, rel=0.3)
    low, high = report.recall_interval95
    assert 0.0 <= low <= report.recall <= high <= 1.0
    culled = [entry for entry in few.entries if entry.relaxed_eV_per_atom is None]
    assert all(entry.reached_eV_per_atom < entry.single_point_eV_per_atom for entry in culled)


def test_two_runs_give_the_same_bytes_and_a_second_run_does_nothing(workbench):
    structures, chosen = (
        orderings(34),
        settings(
            relax_top=2, method="halving", halving={"first_steps": 3, "audit_at_least": 3}, compare_with=["scaled"]
        ),
    )
    results = []
    for name in ("a", "b", "a"):
        bench = workbench(name)
        output = rank.run(chosen, bench, candidates(bench, structures), [], bench.potentials["pair"])
        results.append(output.result)
    assert results[0] == results[1] == results[2]
    assert len({task.key for task in bench.runner.used.values()}) == len(bench.runner.used)
    bench = workbench("a")
    bench.runner._executor = None  # a dry walk raises where anything is missing
    assert rank.run(chosen, bench, candidates(bench, structures), [], bench.potentials["pair"]).result == results[0]


def test_rungs_through_the_store_equal_one_relaxation(workbench):
    bench, (atoms,) = workbench(), orderings(1)
    (candidate,) = candidates(bench, [atoms])
    member = Member(candidate, candidate.structure)
    relaxations = Relaxations(bench.at("rank"), bench.potentials["pair"], settings(max_steps=30))
    for rung, steps in enumerate((1, 3, 5)):
        relaxations.advance([member], steps, f"rung {rung}")
    relaxations.finish([member], "to the end")
    ((_, outcome),) = relaxations.relaxed([member])
    value = outcome.value
    once = relax(atoms, load_potential("pair"), fmax_eV_per_A=0.05, max_steps=30, optimizer="QN")
    assert value.converged
    assert np.array_equal(value.atoms.positions, once.atoms.positions)
    assert np.array_equal(value.atoms.cell.array, once.atoms.cell.array)
    assert (value.energy_eV, value.n_steps, value.n_evaluations) == (once.energy_eV, once.n_steps, once.n_evaluations)
    assert outcome.task.label == "relaxation of salt #0"


def test_no_relaxation_takes_more_steps_than_it_may(workbench):
    bench = workbench()
    made = candidates(bench, orderings(3))
    members = [Member(candidate, candidate.structure) for candidate in made]
    chosen = settings(max_steps=7, fmax_eV_per_A=1e-9)
    relaxations = Relaxations(bench.at("rank"), bench.potentials["pair"], chosen)
    relaxations.advance(members[:1], 4, "rung 1")
    relaxations.finish(members, "to the end")
    assert [member.n_steps for member in members] == [7, 7, 7]
    assert not any(member.converged for member in members)


def test_a_failure_takes_nothing_with_it(workbench):
    bench, structures = workbench(), orderings(4)
    structures[2].positions[1] = structures[2].positions[0] + [0.05, 0.0, 0.0]
    output = rank.run(settings(), bench, candidates(bench, structures), [], bench.potentials["pair"])
    assert [failure.label for failure in output.result.failures] == ["relaxation of salt #2"]
    assert {candidate.id for candidate in output.candidates} <= {"salt #0", "salt #1", "salt #3"}
    with pytest.raises(StageError, match="no ordering could be relaxed"):
        rank.run(settings(), bench, candidates(bench, structures[2:3], DOUBLED), [], bench.potentials["pair"])


def test_batches_tell_of_failures_and_start_deformed(workbench):
    good, bad = orderings(2)
    bad.positions[1] = bad.positions[0] + [0.05, 0.0, 0.0]
    stretch = np.diag([1.1, 1.0, 1.0])
    first, second = relax_batch_task(
        CONTEXT,
        fmax_eV_per_A=0.05,
        optimizer="QN",
        relax_cell=True,
        steps=0,
        potential=workbench().potentials["pair"],
        atoms=[good, bad],
        deformation=stretch,
    ).items
    atoms = first.relaxed.atoms
    assert atoms.cell.array == pytest.approx(good.cell.array @ stretch)
    assert atoms.get_scaled_positions(wrap=False) == pytest.approx(good.get_scaled_positions(wrap=False))
    assert isinstance(second, FailedCalculation)


def test_a_warm_start_leaves_out_rotations():
    before = bulk("NaCl", "rocksalt", a=5.0, cubic=True)
    stretch = np.diag([1.1, 1.0, 0.95])
    turn = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    after, turned = before.copy(), before.copy()
    after.set_cell(before.cell.array @ stretch, scale_atoms=True)
    turned.set_cell(before.cell.array @ stretch @ turn, scale_atoms=True)
    for ends in ([after], [turned], [after, turned]):
        assert warm_start_task(CONTEXT, before=[before] * len(ends), after=ends) == pytest.approx(stretch)


def test_the_prescreen_keeps_the_lowest_and_may_relax(workbench):
    structures = orderings(8)
    bench = workbench()
    made = candidates(bench, structures)
    by_charges = rank.run(
        settings(prescreen="ewald", prescreen_keep=3, prescreen_audit=0), bench, made, [], bench.potentials["pair"]
    ).result
    done = [e.identity.id for e in by_charges.entries if e.relaxed_eV_per_atom is not None or e.duplicate_of]
    assert sorted(done) == ["salt #5", "salt #6", "salt #7"]
    assert replace(by_charges.prescreen, audits=()) == Prescreen(by="ewald", kept=3, of=8)
    (untested,) = by_charges.prescreen.audits
    assert (untested.screened_out, untested.audited, untested.recall) == (5, 0, None)
    relaxed = rank.run(
        settings(prescreen="scaled", prescreen_keep=4, prescreen_steps=200, prescreen_audit=0, warm_start=0),
        bench,
        made,
        [],
        bench.potentials["pair"],
    ).result
    cold = rank.run(settings(warm_start=0), bench, made, [], bench.potentials["pair"]).result
    kept = {e.identity: e.n_evaluations for e in relaxed.entries if e.n_evaluations}
    assert len(kept) == 4
    # A potential that differs by a scale has the same minima: little is left to do.
    evaluations = {e.identity: e.n_evaluations for e in cold.entries}
    assert sum(kept.values()) < 0.8 * sum(evaluations[identity] for identity in kept)
    lowest = sorted(relaxed.entries, key=lambda e: e.prescreen_eV_per_atom)[:4]
    assert {e.identity for e in lowest} == set(kept)


def test_the_recall_of_a_prescreen_is_that_of_relaxing_all(workbench):
    bench, made = workbench(), candidates(workbench(), orderings(8))
    cold = rank.run(settings(warm_start=0), bench, made, [], bench.potentials["pair"]).result
    heights = {e.identity.id: e.relaxed_eV_per_atom for e in cold.entries}
    kept = {"salt #5", "salt #6", "salt #7"}  # of lowest Ewald energy, as `candidates` gives it
    lowest = sorted(heights, key=heights.get)
    of_two = {"prescreen": "ewald", "prescreen_keep": 3, "relax_top": 2, "warm_start": 0}
    all_tested = rank.run(settings(**of_two), bench, made, [], bench.potentials["pair"]).result
    (audit,) = all_tested.prescreen.audits
    last_kept = sorted(heights[name] for name in kept)[1]
    # What is no lower than duplicates may differ by is not missed.
    missed = sum(heights[name] < last_kept - 1e-4 for name in set(heights) - kept)
    assert (audit.kept, audit.screened_out, audit.audited, audit.n_lowest) == (3, 5, 5, 2)
    assert audit.entered == missed
    # With all of them tested nothing is left to estimate, and what was tested is ranked as well.
    assert audit.recall == max(0.0, 1.0 - missed / 2)
    assert audit.recall_interval95 == (audit.recall, audit.recall)
    assert audit.recall_at_least_by_audit == audit.recall
    assert min(all_tested.entries, key=lambda e: e.relaxed_eV_per_atom).identity.id == lowest[0]
    # The ranking potential itself, relaxed to the end, orders as it does: it misses nothing, and two tests show it.
    alike = {**of_two, "prescreen": "pair", "prescreen_steps": 500, "prescreen_audit": 2}
    (audit,) = rank.run(settings(**alike), bench, made, [], bench.potentials["pair"]).result.prescreen.audits
    assert (audit.audited, audit.entered) == (2, 0)
    assert audit.recall == pytest.approx(1.0, abs=0.05)


def test_orderings_that_repeat_one_another_are_ranked_once(workbench):
    bench, structures = workbench(), orderings(3)
    doubled = structures[1] * (1, 1, 2)
    small, large = candidates(bench, structures), candidates(bench, [doubled], DOUBLED)
    result = rank.run(settings(), bench, [*small, *large], [], bench.potentials["pair"]).result
    assert result.repeated_before_ranking == 1
    assert {e.identity: e.duplicate_of for e in result.entries}[large[0].identity] == small[1].identity


def test_paper_b_relaxes_the_lowest_single_points(workbench):
    bench, structures = workbench(), orderings(6)
    chosen = settings(method="single-points", relax_top=2, optimizer="FIRE", max_steps=5)
    result = rank.run(chosen, bench, candidates(bench, structures), [], bench.potentials["pair"]).result
    potential = load_potential("pair")
    heights = [potential.evaluate(atoms).energy_eV for atoms in structures]
    assert set(relaxed_of(result)) == {f"salt #{i}" for i in np.argsort(heights)[:2]}
    assert all(e.single_point_eV_per_atom is not None for e in result.entries)


@pytest.mark.parametrize("after", ["same structures", "relaxation"])
def test_another_potential_is_compared_and_never_mixed(workbench, after):
    bench, structures = workbench(), orderings(9)
    chosen = settings(compare_with=["scaled"], compare_after=after)
    output = rank.run(chosen, bench, candidates(bench, structures), [], bench.potentials["pair"])
    (other,) = output.result.comparisons
    (group,) = other.rankings.groups
    assert (other.second, other.potential.energy_convention) == ("scaled", "scaled")
    # Charges scaled by one half scale all energies by one quarter.
    assert group.spearman.value == pytest.approx(1.0)
    assert group.same_lowest
    energies = other.rankings.energies
    assert [e.second_eV_per_atom / e.first_eV_per_atom for e in energies] == pytest.approx([0.25] * group.n, rel=1e-3)
    assert [e.ordering for e in energies] == [candidate.ordering for candidate in output.candidates]
    assert all(candidate.relaxed_eV_per_atom < -2.0 for candidate in output.candidates)
    relaxed = {entry.identity: entry.volume_A3_per_atom for entry in output.result.entries}
    assert len(other.volumes) == (group.n if after == "relaxation" else 0)
    for volume in other.volumes:  # of a potential that differs by a scale: the same minima
        assert volume.first_A3_per_atom == relaxed[volume.ordering]
        assert volume.second_A3_per_atom == pytest.approx(volume.first_A3_per_atom, rel=0.01)
    again = rank.run(chosen, bench, candidates(bench, structures), [], bench.potentials["pair"], round_label="again")
    assert again.result.comparisons == ()
