"""Loading: YAML 1.2, all mistakes at once with their places, and files that cannot be read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from superionic.campaign.file.load import load_campaign, parse_campaign
from superionic.campaign.file.yaml_text import parse_yaml, plain_scalar
from superionic.errors import CampaignFileError
from superionic.registry import models

ROOT = Path(__file__).resolve().parents[2]

SOUND = """\
superionic: 1
name: test
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, No: 2, N: -3, Cl: -1}
crystals:
  - name: p
    file: p.cif
rank:
  fmax_eV_per_A: 1e-4
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "p.cif").write_text("data_p\n", encoding="utf-8")
    return tmp_path


def mistakes(text, folder):
    file = folder / "c.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CampaignFileError) as caught:
        load_campaign(file)
    assert caught.value.where == str(file)
    assert caught.value.fix
    return [line.strip() for line in caught.value.message.splitlines()[1:]]


def test_a_sound_file(folder):
    file = folder / "c.yaml"
    file.write_text(SOUND, encoding="utf-8")
    loaded = load_campaign(file)
    assert loaded.rank.fmax_eV_per_A == 1e-4  # PyYAML would read text
    assert loaded.oxidation_states == {"Li": 1.0, "Y": 3.0, "No": 2.0, "N": -3.0, "Cl": -1.0}
    assert loaded.crystals[0].file == str(folder / "p.cif")
    assert load_campaign(str(file)) == loaded


def test_paths_are_relative_to_the_file_not_to_the_working_folder(folder, monkeypatch):
    inner = folder / "inner"
    inner.mkdir()
    (inner / "c.yaml").write_text(SOUND.replace("p.cif", "../p.cif"), encoding="utf-8")
    monkeypatch.chdir(folder)
    loaded = load_campaign("inner/c.yaml")
    assert Path(loaded.crystals[0].file).resolve() == folder / "p.cif"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_the_examples_load(path):
    if path.name == "unseen.yaml":  # its potential is exported from the campaign beside it
        with pytest.raises(CampaignFileError, match=r"student\.npz does not exist") as refused:
            load_campaign(path)
        assert str(refused.value).count("unseen.yaml:") == 2, "the file, and what it would have said of its energies"
        return
    if "mace-mp-0a.npz" in path.read_text(encoding="utf-8"):  # the user's own checkpoint
        with pytest.raises(CampaignFileError, match=r"mace-mp-0a\.npz does not exist") as refused:
            load_campaign(path)
        assert str(refused.value).count("paper.yaml:") == 1
        return
    loaded = load_campaign(path)
    assert {"transport", "validate"} & set(loaded.stages)


def test_all_mistakes_are_told_at_once_with_their_places(folder):
    text = """\
superionic: 1
name: my campaign
seeed: 3
mobile_ion: Lx
oxidation_states: {Li: 1, Y: 3, Cl: -1, Qq: 1}
preset: dem
crystals:
  - name: a
    fil: p.cif
    supercell: 1x1
  - name: A
    file: q.cif
potentials:
  u: {engine: chgnett}
rank:
  relax_top: 2.5
  fmax_eV_per_A: "1e-4"
  optimiser: FIRE
  relax_cell: no
enumerate:
transport:
  temperatures_K: [600, -4]
  timestep_fs: 2 fs
  thermostat: berendson
  ecut_eV: 3
  barostat:
  npt_ps: true
  seed: 4
"""
    assert mistakes(text, folder) == [
        (
            "c.yaml:2:7  name: 'my campaign' cannot be a name (use letters, digits and . _ + - , beginning with a "
            "letter or a digit)"
        ),
        "c.yaml:3:1  seeed: unknown key 'seeed' (did you mean 'seed'?)",
        "c.yaml:4:13  mobile_ion: 'Lx' is not the symbol of an element",
        "c.yaml:5:41  oxidation_states.Qq: 'Qq' is not the symbol of an element",
        "c.yaml:6:9  preset: must be one of demo, paper-a, paper-b; it is 'dem' (did you mean 'demo'?)",
        (
            "c.yaml:8:5  crystals[0].file: the key 'file' is missing (CIF, POSCAR, extended XYZ or pymatgen JSON file, "
            "relative to the campaign file)"
        ),
        "c.yaml:9:5  crystals[0].fil: unknown key 'fil' (did you mean 'file'?)",
        'c.yaml:10:16  crystals[0].supercell: a supercell is "1x1x2", [1, 1, 2] or a 3×3 list of whole numbers',
        "c.yaml:11:11  crystals[1].name: the name 'A' is also that of crystals[0]",
        f"c.yaml:12:11  crystals[1].file: the file {folder / 'q.cif'} does not exist (did you mean 'p.cif'?)",
        (
            f"c.yaml:14:15  potentials.u.engine: must be one of {', '.join(models())}; "
            "it is 'chgnett' (did you mean 'chgnet'?)"
        ),
        "c.yaml:16:14  rank.relax_top: a whole number is expected, not 2.5",
        "c.yaml:17:18  rank.fmax_eV_per_A: a number is expected, not '1e-4' (leave out the quotes)",
        "c.yaml:18:3  rank.optimiser: unknown key 'optimiser' (did you mean 'optimizer'?)",
        "c.yaml:19:15  rank.relax_cell: true or false is expected, not 'no' (write true or false)",
        "c.yaml:20:1  enumerate: this section cannot be left out (write `enumerate: {}` for its defaults)",
        (
            "c.yaml:22:25  transport.temperatures_K[1]: must be at least 1; it is -4 (below 1 K nothing moves, above "
            "10,000 K nothing is a crystal)"
        ),
        (
            "c.yaml:23:16  transport.timestep_fs: a number is expected, not '2 fs' (leave out 'fs': the unit stands "
            "in the name of the key)"
        ),
        (
            "c.yaml:24:15  transport.thermostat: must be one of nose-hoover-chain, csvr, langevin, berendsen; it is "
            "'berendson' (did you mean 'berendsen'?)"
        ),
        "c.yaml:25:3  transport.ecut_eV: unknown key 'ecut_eV' ('ecut_eV' is a key of: label, dft)",
        "c.yaml:26:3  transport.barostat: must be one of mtk, berendsen; it is nothing (null)",
        "c.yaml:27:11  transport.npt_ps: a number is expected, not true",
        "c.yaml:28:3  transport.seed: unknown key 'seed' ('seed' stands at the outermost level of the file)",
    ]


def test_a_mistake_elsewhere_hides_no_broken_rule_and_a_value_at_fault_breaks_none(folder):
    text = (
        SOUND.replace("mobile_ion: Li", "mobile_ion: Na\nseed: none")
        + """\
transport: {timestep_fs: 3, save_every_fs: 10, production_ps: long, window: 3}
analyse: {window_ps: [5, 3000]}
select: {count: 1}
sample: {temperatures_K: [300, 400, 500], snapshots: [10, 20], timestep_fs: 2 fs}
"""
    )
    assert [line.split("  ")[1].split(" (")[0] for line in mistakes(text, folder)] == [
        "seed: a whole number is expected, not 'none'",
        "oxidation_states: the mobile ion Na has no oxidation state",
        "transport.save_every_fs: 10 fs is not a whole number of time steps of 3 fs",
        "transport.production_ps: a number is expected, not 'long'",  # which window_ps cannot be compared with
        "transport.window: unknown key 'window'",
        "sample.temperatures_K: several rounds of sampling need a `train` section, which this campaign leaves out",
        "sample.snapshots: there are 2 budgets for 3 temperatures",
        "sample.timestep_fs: a number is expected, not '2 fs'",
    ]


def test_a_mapping_with_one_wrong_value_is_seen_in_its_other_values(folder):
    text = SOUND.replace("{Li: 1, Y: 3", "{Y: three") + "crystals: {}\n"
    told = mistakes(text, folder)
    assert any("oxidation_states: the mobile ion Li has no oxidation state" in line for line in told)
    assert any("oxidation_states.Y: a number is expected, not 'three'" in line for line in told)


def test_a_default_that_breaks_a_rule_is_told_with_its_place(folder):
    (told,) = mistakes(SOUND + "analyse: {window_ps: [5, 3000]}\n", folder)
    assert told.startswith("c.yaml:10:22  analyse.window_ps: lags of 5 to 3000 ps do not fit into runs of 2000 ps (let")


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (("rank:\n", "rank:\n\tx: 1\n"), "9:1", "tab"),
        (("name: test", "name: [test"), "3:11", "begins in line 2"),
        (("name: test", "name: a: b"), "2:8", "no key is possible"),
        (("name: test", "name: test\nname: again"), "3:1", "second time; the first is in line 2"),
        (("name: test", "name: *nothing"), "2:7", "undefined alias"),
        (("name: test", "name: !!python/object:os.system x"), "2:7", "tag !!python/object:os.system is not allowed"),
        (("name: test", "name: !thing x"), "2:7", "tag !thing is not allowed"),
        (("name: test", "name: test\n3: x"), "3:1", "a key must be text"),
        (("name: test", "name: test\n? [a, b]\n: c"), "3:3", "a key must be text"),
        (("name: test", "name: test\n---\na: 1"), "3:1", "more than one YAML document"),
        (("superionic: 1", "superionic: 2"), "1:13", "must be 1; it is 2"),
        (("superionic: 1\n", ""), "1:1", "the key 'superionic' is missing"),
        (("name: test", "name: 419"), "2:7", 'write "419" in quotes'),
        (("name: test", 'name: ""'), "2:7", "cannot be a name"),
        (("crystals:", "crystals: []\ncrystal:"), "5:11", "at least 1 entry"),
        (("  - name: p\n    file: p.cif", "  name: p\n  file: p.cif"), "6:3", "a list in [ ] is expected"),
        (("file: p.cif", "file: ."), "7:11", "is a folder"),
        (("file: p.cif", "file: P.cif"), "7:11", "did you mean 'p.cif'?"),
        (("1e-4", "{}"), "9:18", "a number is expected, not a section"),
        (("1e-4", "1e400"), "9:18", "finite"),
        (("1e-4", ".nan"), "9:18", "finite"),
        (("1e-4", "0"), "9:18", "above 0"),
        (("fmax_eV_per_A: 1e-4", "3"), "9:3", "section of"),
        (("1e-4", "1e-30"), "9:18", "no setting has a size nearer to 0 than 1e-20 (check the exponent"),
        (("Cl: -1}", "Cl: -1e30}"), "4:51", "must be at least -10"),
        (("file: p.cif", "file: /dev/zero"), "7:11", "is no ordinary file"),
    ],
)
def test_single_mistakes(folder, change, place, words):
    told = mistakes(SOUND.replace(*change), folder)
    assert any(line.startswith(f"c.yaml:{place}") and words in line for line in told), told


@pytest.mark.parametrize(
    ("text", "words"), [("", "empty"), ("# only\n", "empty"), ("- a\n", "mapping"), ("a", "mapping")]
)
def test_files_that_are_no_mapping(folder, text, words):
    assert words in mistakes(text, folder)[0]


def test_aliases_work_but_cannot_explode(folder):
    text = SOUND.replace("rank:\n", "rank: &r\n").replace("1e-4", "0.02") + "transport: null\n"
    file = folder / "c.yaml"
    file.write_text(text, encoding="utf-8")
    assert load_campaign(file).rank.fmax_eV_per_A == 0.02
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    assert any("too many values" in line for line in mistakes(SOUND + bomb, folder))
    assert any("too deeply" in line for line in mistakes(SOUND + "loop: &x [*x]\n", folder))
    assert any("deeply" in line for line in mistakes(SOUND + "deep: " + "[" * 5000 + "\n", folder))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("1.", 1.0), (".5", 0.5), ("-3", -3), ("0o17", 15), ("0x1F", 31), ("true", True), ("No", "No"),
        ("yes", "yes"), ("Y", "Y"), ("on", "on"), ("~", None), ("", None), ("1:30", "1:30"), ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"), ("010", 10), ("1x1x2", "1x1x2"), ("-.inf", float("-inf")), ("e5", "e5"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text, value):
    assert plain_scalar(text) == value
    assert type(plain_scalar(text)) is type(value)
    assert parse_yaml(f"a: {text}").value == {"a": value}
    assert parse_yaml(f"a: '{text}'").value == {"a": text}


def test_files_that_cannot_be_read(folder):
    def told(path):
        with pytest.raises(CampaignFileError) as caught:
            load_campaign(path)
        return str(caught.value)

    (folder / "campaign.yaml").write_text(SOUND, encoding="utf-8")
    assert "does not exist" in told(folder / "other.txt")
    assert "did you mean 'campaign.yaml'" in told(folder / "campain.yaml")
    assert "does not exist" in told(folder / "nowhere" / "campaign.yaml")
    assert "is a folder" in told(folder)
    assert "campaign.yaml" in told(folder)
    (folder / "b.yaml").write_bytes(b"\x00\x01\x02")
    assert "control characters" in told(folder / "b.yaml")
    (folder / "l.yaml").write_bytes(b"name: \xe9\n")
    assert "not UTF-8" in told(folder / "l.yaml")
    (folder / "big.yaml").write_bytes(b"# x\n" * 600_000)
    assert "too large" in told(folder / "big.yaml")
    (folder / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + SOUND.encode())
    assert load_campaign(folder / "bom.yaml").name == "test"
    (folder / "dos.yaml").write_bytes(SOUND.replace("\n", "\r\n").encode())
    assert load_campaign(folder / "dos.yaml").name == "test"


def test_very_many_mistakes_fit_on_a_screen(folder):
    told = mistakes(SOUND + "".join(f"key{i}: 1\n" for i in range(100)), folder)
    assert len(told) == 41
    assert told[-1] == "... and 60 more"


def test_a_mistake_in_the_yaml_does_not_hide_the_others(folder):
    told = mistakes(SOUND + "name: twice\nseeed: 1\n", folder)
    assert [line.split()[0] for line in told] == ["c.yaml:10:1", "c.yaml:11:1"]


def test_text_need_not_be_on_disk(folder):
    assert parse_campaign(SOUND, folder / "never-written.yaml").name == "test"


def test_loading_does_not_import_the_heavy_libraries():
    code = (
        "import sys, superionic.campaign.initialise\n"
        "import superionic.campaign.file.load, superionic.campaign.file.reference\n"
        "print([name for name in ('torch', 'pymatgen', 'scipy', 'matplotlib', 'ase') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
