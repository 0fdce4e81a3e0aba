"""Ranking with two engines whose versions cannot live in one environment, in one run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from superionic import Campaign
from superionic.errors import CampaignFileError

TEXT = """\
superionic: 1
name: two
seed: 7
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals: [{name: P-3m1, file: FILE}]
potentials: {chgnet: {engine: chgnet}, sevennet: {engine: sevennet}}
enumerate: {ewald_keep: 4}
rank: {potential: chgnet, fmax_eV_per_A: 0.3, max_steps: 4, warm_start: 0, compare_with: [sevennet]}
select: null
transport: null
analyse: null
execution: {workers: 1}
"""


def written(root: Path, folder: Path, *replaced: tuple[str, str]) -> Path:
    text = TEXT.replace("FILE", str(root / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif"))
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    (folder / "c.yaml").write_text(text)
    return folder / "c.yaml"


@pytest.mark.engine("chgnet")
@pytest.mark.engine("sevennet")
def test_two_engines_rank_in_one_run_and_their_energies_stay_apart(root, tmp_path):
    results = Campaign.load(written(root, tmp_path)).run()
    (ranked,), (hull,) = results.rank, results.hull
    (compared,) = ranked.comparisons
    assert compared.potential.energy_convention != ranked.potential.energy_convention
    assert compared.failures == ()
    first = {entry.identity: entry.relaxed_eV_per_atom for entry in ranked.entries}
    assert len(compared.rankings.energies) == 4
    for energy in compared.rankings.energies:
        assert energy.first_eV_per_atom == pytest.approx(first[energy.ordering])
        # Corrections of the Materials Project: -0.365 eV/atom for Li3YCl6, which only CHGNet carries.
        assert energy.second_eV_per_atom - energy.first_eV_per_atom == pytest.approx(0.365, abs=0.05)
    (group,) = compared.rankings.groups
    assert group.n == 4
    assert np.isfinite(group.spearman.value)
    assert {entry.identity for entry in hull.entries} == set(first)
    page = (tmp_path / "runs" / "two" / "report" / "report.html").read_text()
    assert "Other potentials on the same orderings" in page


@pytest.mark.parametrize(
    ("old", "new", "message", "fix"),
    [
        ("[sevennet]}", "[sevenet]}", "no potential 'sevenet'", "did you mean 'sevennet'"),
        ("[sevennet]}", "[chgnet]}", "'chgnet' is the potential that ranks", "leave it out"),
        ("[sevennet]}", "[sevennet], prescreen: evald}", "'evald' is neither a potential nor ewald", "'ewald'"),
        ("[sevennet]}", "[sevennet, sevennet]}", "each may stand here once", ""),
    ],
)
def test_mistakes_in_names_are_told(root, tmp_path, old, new, message, fix):
    with pytest.raises(CampaignFileError) as caught:
        Campaign.load(written(root, tmp_path, (old, new)))
    assert message in str(caught.value)
    assert fix in str(caught.value)
