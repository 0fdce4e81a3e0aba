"""From the campaign file to spaces: what the composition axes make of crystals of all kinds."""

from __future__ import annotations

from pathlib import Path

import pytest

from superionic.campaign.file.load import parse_campaign
from superionic.campaign.spaces import build_spaces
from superionic.errors import CompositionError
from superionic.structures.crystal.composition import integer_compositions, substitute
from superionic.structures.crystal.occupancies import with_occupancies
from superionic.structures.io.files import read_crystal

ROOT = Path(__file__).resolve().parents[2]
LYC = ROOT / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif"

TEXT = """\
superionic: 1
name: axes
seed: 1
mobile_ion: {ion}
oxidation_states: {{Li: 1, Na: 1, Y: 3, Zr: 4, Si: 4, P: 5, O: -2, Cl: -1, Br: -1}}
crystals:
  - {{name: c, file: "{file}"{more}}}
composition_axes:
  - {axis}
potentials:
  pair: {{engine: pair}}
enumerate: {{}}
"""

HALIDES = "{replace: Cl, by: Br, formula_unit: Li3YCl6, values: [0, 1, 3, 6]}"


def spaces(path, axis, *, ion="Li", more="", crystal=None):
    file = parse_campaign(TEXT.format(file=path, axis=axis, ion=ion, more=more), Path("campaign.yaml"))
    return file, build_spaces(file, {"c": read_crystal(path) if crystal is None else crystal})


def nearest(space, path, crystal=None):
    crystal = read_crystal(path) if crystal is None else crystal
    given = space.settings
    if given.substitutions:
        crystal = substitute(crystal, given.substitutions)
    return integer_compositions(
        crystal,
        given.supercell,
        given.oxidation_states,
        coupling=given.coupling,
        overrides=given.occupancies or None,
        exact_species=given.exact_species,
    )[0]


def test_a_crystal_of_one_end_is_substituted():
    _, found = spaces(LYC, HALIDES)
    assert [s.material.composition_label for s in found] == ["Br=0", "Br=1", "Br=3", "Br=6"]
    assert [s.settings.substitutions for s in found] == [
        {},
        {"Cl": {"Cl": pytest.approx(5 / 6), "Br": pytest.approx(1 / 6)}},
        {"Cl": {"Cl": 0.5, "Br": 0.5}},
        {"Cl": {"Br": 1.0}},
    ]
    assert found[2].settings.exact_species == ("Br", "Cl")
    assert found[2].settings.occupancies == {}
    assert nearest(found[1], LYC).formula == "Li3YBrCl5"


def test_a_crystal_that_holds_both_ends_is_filled_anew():
    pure = read_crystal(LYC)
    mixed = with_occupancies(pure, {name: {"Cl": 0.5, "Br": 0.5} for name in ("Cl1", "Cl2", "Cl3")})
    _, found = spaces(LYC, HALIDES, crystal=mixed)
    for space, bromine in zip(found, (0, 3, 9, 18), strict=True):
        best = nearest(space, LYC, mixed)
        assert best.totals.get("Br", 0) == bromine
        assert best.totals.get("Cl", 0) == 18 - bromine
    assert found[2].settings.substitutions == {}


def test_occupancies_and_axes_go_together():
    _, found = spaces(LYC, HALIDES, more=", occupancies: {Li1: {Li: 1.0}, Li2: {Li: 0.5}}")
    best = nearest(found[2], LYC)
    assert dict(zip(best.names, best.counts, strict=True))["Li1"] == {"Li": 6}
    assert best.totals["Br"] == 9


def test_the_mobile_ion_follows_an_axis_that_changes_the_charge(shared):
    path = shared / "nas_orbit.cif"
    axis = "{replace: P, by: Si, formula_unit: Na3Zr2Si2PO12, values: [0, 1, 2, 3]}"
    _, found = spaces(path, axis, ion="Na")
    for space, silicon in zip(found, (0, 1, 2, 3), strict=True):
        best = nearest(space, path)
        assert best.totals.get("Si", 0) == 6 * silicon
        assert best.totals["Na"] == 6 * (1 + silicon)
        assert best.deviation < 1e-6


def test_an_axis_that_the_crystal_does_not_have(shared):
    with pytest.raises(CompositionError, match="none of Cl, Br"):
        spaces(shared / "nas_orbit.cif", HALIDES, ion="Na")


@pytest.fixture
def shared():
    folder = ROOT.parent / "shared" / "data" / "orderings"
    if not folder.is_dir():
        pytest.skip("the shared data are not here")
    return folder
