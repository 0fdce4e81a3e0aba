"""A campaign whose orderings are drawn at a temperature, by point charges or by a potential that is learnt."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from superionic import Campaign
from superionic.errors import CampaignFileError, CompositionError
from superionic.execution.ledger import LEDGER, Ledger

TEXT = """\
superionic: 1
name: thermal
seed: 7
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals:
  - {name: P-3m1, file: li3ycl6_p-3m1.cif}
potentials:
  pair: {engine: pair}
enumerate:
  method: monte-carlo
  monte_carlo:
    {potential: pair, temperature_K: 900, n_sweeps: 500, n_samples: 12,
     relax_steps: 3, initial: 10, batch: 5, max_rounds: 2}
"""


@pytest.fixture
def campaign(root: Path, tmp_path: Path) -> Callable[..., Campaign]:
    def load(*replacements: tuple[str, str]) -> Campaign:
        for name in ("li3ycl6_p-3m1.cif", "licl.cif"):
            shutil.copy(root / "examples" / "li3ycl6" / name, tmp_path / name)
        text = TEXT
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new)
        (tmp_path / "campaign.yaml").write_text(text)
        return Campaign.load(tmp_path / "campaign.yaml")

    return load


def test_a_potential_orders_the_ions_and_nothing_is_done_twice(campaign):
    small = campaign()
    (space,) = small.run(until="enumerate").enumerate.spaces
    evidence = space.evidence
    assert space.method == "monte-carlo"
    assert (evidence.energy, evidence.dielectric) == ("potential pair", None)
    assert evidence.independent_draws == sum(ordering.times_drawn for ordering in space.orderings) <= 12
    assert len(space.orderings) == space.listed
    surrogate = evidence.surrogate
    assert 2 <= len(surrogate.fits) <= 3
    assert surrogate.fits[0].energies == 10
    assert surrogate.fits[0].error_on_fresh_meV_per_atom is None
    assert surrogate.fits[1].error_on_fresh_meV_per_atom > 0
    assert surrogate.evaluations.count == surrogate.fits[-1].energies + surrogate.evaluations.failed
    assert evidence.order_parameters
    assert evidence.converged == (surrogate.surrogate_converged and surrogate.monte_carlo_converged)
    with Ledger(small.run_folder / LEDGER) as ledger:
        before = ledger.completions()
        labels = [record.label for record in ledger.all()]
    assert set(before.values()) == {1}
    assert sum(label.startswith("energy of P-3m1 round 0 ") for label in labels) == 10
    small.run(until="enumerate")
    with Ledger(small.run_folder / LEDGER) as ledger:
        assert ledger.completions() == before
    # More rounds, to a better fit, keep all that was done but the last draws.
    longer = campaign(("max_rounds: 2", "max_rounds: 3, tolerance_meV_per_atom: 1.0e-6"))
    pending = {task.label for task in longer.status().pending}
    assert pending
    assert pending & set(labels) <= {"orderings of P-3m1"}


def test_point_charges_need_no_potential(campaign):
    results = campaign(("{potential: pair, ", "{dielectric: 12, ")).run(until="enumerate")
    (space,) = results.enumerate.spaces
    evidence = space.evidence
    assert (evidence.energy, evidence.dielectric, evidence.surrogate) == ("point charges", 12.0, None)
    assert any("relative permittivity of 12" in statement.words for statement in results.statements)
    assert any("50 independent samples" in flag for flag in evidence.flags) != evidence.converged


def test_the_plan_counts_the_energies(campaign):
    line = campaign().check().lines[0]
    assert "up to 20 energies by pair" in line.work
    assert line.tasks >= 20
    free = campaign(("{potential: pair, ", "{")).check().lines[0]
    assert "energies" not in free.work
    assert free.cpu_hours < line.cpu_hours


def test_an_unknown_potential_is_refused(campaign):
    with pytest.raises(CampaignFileError, match="no potential 'pear'"):
        campaign(("potential: pair", "potential: pear"))


def test_a_composition_without_freedom_is_refused(campaign):
    ordered = campaign(("li3ycl6_p-3m1.cif", "licl.cif"), ("Y: 3, ", ""))
    with pytest.raises(CompositionError, match="nothing for Monte Carlo to sample"):
        ordered.run(until="enumerate")


def test_learning_that_did_not_converge_is_doubted(campaign):
    # Neither can the fit be right to a thousandth of a meV, nor is the run long enough.
    hopeless = campaign(("max_rounds: 2", "max_rounds: 1, tolerance_meV_per_atom: 1.0e-9"))
    results = hopeless.run(until="enumerate")
    surrogate = results.enumerate.spaces[0].evidence.surrogate
    assert not surrogate.surrogate_converged
    cautions = " ".join(each.words for each in results.statements if each.severity == "caution")
    for words in (f"is {surrogate.error_meV_per_atom:.2g} meV/atom", "1e-09 was required", "run longer"):
        assert words in cautions
