"""Campaigns with dispersion: refused where it would count twice, named on every scale of energy, felt by the cell."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from superionic import Campaign, load_model, relax
from superionic.campaign.file.presets import complete
from superionic.campaign.file.schema import CampaignFile, draft_of
from superionic.campaign.initialise import draft_campaign
from superionic.campaign.learning import trained_potential
from superionic.campaign.prepare import choose_potential, missing_library, require_dispersion
from superionic.errors import CampaignFileError, EngineError, PotentialError
from superionic.execution import engines
from superionic.execution.engines import EngineLocation, dispersion_pins, dispersion_problem
from superionic.potentials.dispersion import LIBRARY, VERSION
from superionic.potentials.reference import li3ycl6_cell
from superionic.report.sections import methods
from superionic.settings.rules import broken_rules
from superionic.stages.base import ChosenPotential

MINIMAL = {
    "superionic": 1,
    "name": "test",
    "mobile_ion": "Li",
    "oxidation_states": {"Li": 1, "Y": 3, "Cl": -1},
    "crystals": [{"name": "p", "file": "p.cif"}],
}
TERM = {"method": "d3bj", "functional": "PBE"}


def problems(**changes):
    draft = draft_of(complete({**copy.deepcopy(MINIMAL), **changes}))
    return {problem.dotted: problem.message for problem in broken_rules(draft)}


def learning(**label):
    return {"select": {}, "sample": {}, "label": label, "train": {}}


def test_the_word_and_the_section_mean_the_same():
    one, other = (
        CampaignFile.model_validate({**MINIMAL, "potentials": {"a": {"engine": "chgnet", "dispersion": given}}})
        for given in ("d3bj", {"method": "d3bj"})
    )
    options = [file.potentials["a"].load_options() for file in (one, other)]
    assert options[0] == options[1]
    chosen = choose_potential("a", "chgnet", None, options[0], where="potentials.a")
    assert chosen.identity.energy_convention == "MP2020-corrected PBE(+U) + D3(BJ)"
    assert chosen.options["dispersion"]["functional"] == "PBE"  # the key of a task has what was resolved
    assert "dispersion" not in CampaignFile.model_validate(MINIMAL).potentials["chgnet"].load_options()


def test_what_names_no_functional_asks_for_one():
    with pytest.raises(PotentialError, match="functional of the dispersion term is not known"):
        choose_potential("a", "pair", None, {"dispersion": {"method": "d3bj"}}, where="potentials.a")


@pytest.mark.parametrize(
    ("changes", "where", "words"),
    [
        (learning(engine="vasp", dispersion="d3bj", vasp={"incar": {"IVDW": 12}}), "label.dispersion", "by IVDW"),
        (learning(engine="tblite", dispersion="d3bj"), "label.dispersion", "tight binding"),
        (learning(engine="gpaw", functional="LDA", dispersion="d3bj"), "label.dispersion", "LDA"),
        (
            {**learning(dispersion="d3bj"), "potentials": {"a": {"engine": "chgnet", "dispersion": "d3bj"}}},
            "label.dispersion",
            "would have it twice",
        ),
        (
            {
                "potentials": {"a": {"engine": "pair", "dispersion": TERM}},
                "transport": {"md_engine": "lammps", "potential": "a"},
            },
            "transport.md_engine",
            "LAMMPS does not evaluate the dispersion term",
        ),
    ],
)
def test_what_would_count_it_twice_or_not_at_all_is_refused(changes, where, words):
    assert words in problems(**changes)[where]


def test_labels_that_lack_it_and_potentials_that_lack_it_may_have_it():
    assert problems(**learning(engine="gpaw", dispersion="d3bj")) == {}
    assert problems(**learning(engine="gpaw"), potentials={"a": {"engine": "chgnet", "dispersion": "d3bj"}}) == {}


def test_what_was_trained_says_what_its_labels_or_its_term_had():
    def base(**options) -> ChosenPotential:
        return choose_potential("a", "chgnet", None, options, where="a")

    learned = trained_potential(base(), "chgnet", {}, "D3(BJ)")
    assert learned.identity.energy_convention == "MP2020-corrected PBE(+U) + D3(BJ)"
    assert "dispersion" not in learned.options
    kept = trained_potential(base(dispersion="d3bj"), "chgnet", {}, None)
    assert kept.identity.energy_convention == learned.identity.energy_convention
    assert kept.options["dispersion"]["method"] == "d3bj"
    assert trained_potential(base(), "chgnet", {}, None).identity.energy_convention == "MP2020-corrected PBE(+U)"


def test_dispersion_pulls_a_halide_together():
    cell = li3ycl6_cell()
    volumes = [
        relax(cell, load_model("pair", dispersion=given), fmax_eV_per_A=0.05, optimizer="QN").atoms.get_volume()
        for given in (None, TERM)
    ]
    assert 0.90 < volumes[1] / volumes[0] < 0.99


def test_a_campaign_has_one_scale_of_energy_that_says_it(small_campaign):
    entry = "pair: {engine: pair, dispersion: {functional: PBE, cutoff_A: 12}}"
    short = ("relax_top: 2, fmax_eV_per_A: 0.3, max_steps: 40", "relax_top: 1, fmax_eV_per_A: 0.9, max_steps: 40")
    campaign = Campaign.load(small_campaign(("pair: {engine: pair}", entry), ("ewald_keep: 4", "ewald_keep: 1"), short))
    results = campaign.run(write_report=False, until="hull")
    assert results.rank[0].potential.energy_convention == "pair potential + D3(BJ, PBE, to 12 Å)"
    assert results.hull[0].energy_convention == "pair potential + D3(BJ, PBE, to 12 Å)"
    paragraphs, sources = methods.section(results).blocks[:-1], methods.section(results).blocks[-1]
    assert any("with Becke–Johnson damping [" in paragraph.words for paragraph in paragraphs)
    assert "10.1002/jcc.21759" in [doi for _, doi in sources.sources]


def test_an_engine_without_the_library_names_the_command_that_adds_it(tmp_path: Path, monkeypatch):
    assert next(iter(dispersion_pins().items())) == (LIBRARY, VERSION)
    python = tmp_path / "bin" / "python"
    there = EngineLocation("chgnet", python, "environment", {})
    packages = tmp_path / "lib" / "python3.12" / "site-packages"
    packages.mkdir(parents=True)
    assert dispersion_problem(there) == "is not installed"
    (packages / f"{LIBRARY}-0.1.dist-info").mkdir()
    assert dispersion_problem(there) == f"is installed in version 0.1, and {VERSION} is needed"
    monkeypatch.setattr("superionic.campaign.prepare.resolve_engine", lambda _name: there)
    file = CampaignFile.model_validate({**MINIMAL, "potentials": {"a": {"engine": "chgnet", "dispersion": "d3bj"}}})
    options = file.potentials["a"].load_options()
    chosen = {"a": choose_potential("a", "chgnet", None, options, where="a")}
    with pytest.raises(EngineError) as caught:
        require_dispersion(file, chosen)
    assert caught.value.fix == f"{python} -m pip install {LIBRARY}=={VERSION}"
    (packages / f"{LIBRARY}-{VERSION}.dist-info").mkdir()
    require_dispersion(file, chosen)
    assert dispersion_problem(engines.resolve_engine("core")) is None
    assert missing_library("is not installed", "p").where == "p"


def test_the_first_campaign_file_may_have_it(root, tmp_path):
    crystal = root / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif"
    text = draft_campaign(crystal, folder=tmp_path, dispersion="d3bj", potential="chgnet")
    assert "universal: {engine: chgnet, model: 0.3.0, dispersion: d3bj}" in text
    (tmp_path / "campaign.yaml").write_text(text)
    assert Campaign.load(tmp_path / "campaign.yaml").file.potentials["universal"].dispersion == "d3bj"
    (tmp_path / "campaign.yaml").write_text(text.replace("d3bj", "d3"))
    with pytest.raises(CampaignFileError, match="must be d3bj; it is 'd3'"):
        Campaign.load(tmp_path / "campaign.yaml")
