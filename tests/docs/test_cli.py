"""The command line as a user meets it: help, errors on one screen, exit codes, JSON that is nothing but JSON."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """\
superionic: 1
name: tiny
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals: [{name: a, file: li3ycl6_p-3m1.cif}]
potentials: {pair: {engine: pair}}
"""


def superionic(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "superionic.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb", **environment},
        timeout=300,
        check=False,
    )


@pytest.fixture
def folder(root: Path, tmp_path: Path) -> Path:
    shutil.copy(root / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif", tmp_path)
    (tmp_path / "campaign.yaml").write_text(GOOD)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        *("", "enumerate", "init", "check", "run", "status", "report", "cost", "explain", "schema", "export"),
        *("engines", "engines install", "labels", "models", "models compare", "train", "analyse", "store", "submit"),
        *("cancel", "doctor", "train check", "train curve", "train search", "train compare"),
    ],
)
def test_help_teaches(command, helped):
    assert "Usage" in helped(command)
    assert len(helped(command).splitlines()) > 5


def test_the_program_shows_its_help():
    assert "Usage" in superionic("--help").stdout


@pytest.mark.parametrize(
    ("words", "complete"),
    [("superionic en", {"engines", "enumerate"}), ("superionic enumerate --monte", {"--monte-carlo"})],
)
def test_a_shell_completes_verbs_and_options(words, complete):
    program = "import sys; sys.argv = ['superionic']; from superionic.cli import main; main()"
    completion = {
        "_SUPERIONIC_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, **completion},
        check=True,
    )
    assert set(result.stdout.split()) == complete


@pytest.mark.parametrize(
    ("verb", "default"),
    [
        ("analyse", "guessed"),
        ("run", "one per core"),
        ("labels import", "the grid of each calculation"),
        ("run", "NAME beside"),
    ],
)
def test_help_says_defaults_that_are_words(verb, default, helped):
    assert default in helped(verb)


def test_version():
    from superionic import __version__

    assert superionic("--version").stdout.strip() == f"superionic {__version__}"


def test_init_writes_a_file_that_check_accepts(folder):
    result = superionic("init", "li3ycl6_p-3m1.cif", "-o", "new.yaml", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "#" in (folder / "new.yaml").read_text()
    again = superionic("init", "li3ycl6_p-3m1.cif", "-o", "new.yaml", cwd=folder)
    assert again.returncode == 2
    assert "--force" in again.stderr


def test_check_prints_the_plan_and_as_json_nothing_else(folder):
    result = superionic("check", "campaign.yaml", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "360" in result.stdout
    assert "enumerate" in result.stdout
    plan = json.loads(superionic("check", ".", "--json", cwd=folder).stdout)
    assert plan["spaces"][0]["distinct"] == 30
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("change", "text", "fix"),
    [
        (("mobile_ion: Li", "mobile_ionn: Li"), "mobile_ionn", "mobile_ion"),
        (("li3ycl6_p-3m1.cif}]", "li3ycl6.cif}]"), "does not exist", "li3ycl6_p-3m1.cif"),
        (("mobile_ion: Li", "mobile_ion: Na"), "Na", "fix"),
        (("Y: 3", "Y: 8"), "charge", "fix"),
        (("engine: pair", "engine: pear"), "pear", "pair"),
        (("Cl: -1}", "Cl: -1, Xx: 2}"), "Xx", "element"),
        (("superionic: 1", "superionic: 1\nseed: maybe"), "seed", "whole number"),
    ],
)
def test_a_wrong_campaign_gives_one_screen_that_names_the_fix_and_exit_code_2(folder, change, text, fix):
    path = folder / "campaign.yaml"
    path.write_text(GOOD.replace(*change))
    for command in ("check", "run"):
        result = superionic(command, str(path))
        assert result.returncode == 2, result.stdout + result.stderr
        assert "error:" in result.stderr
        assert text in result.stderr
        assert fix in result.stderr
        assert "Traceback" not in result.stderr
        assert len(result.stderr.splitlines()) < 30


def test_all_mistakes_are_reported_at_once_with_their_lines(folder):
    path = folder / "campaign.yaml"
    path.write_text(GOOD.replace("name: tiny", "nmae: tiny").replace("mobile_ion: Li", "mobile_ion: 7"))
    result = superionic("check", str(path))
    assert "campaign.yaml:2" in result.stderr
    assert "campaign.yaml:3" in result.stderr


def test_an_element_that_the_potential_does_not_know_is_refused(folder):
    text = GOOD.replace("potentials: {pair: {engine: pair}}", "potentials: {c: {engine: chgnet}}")
    (folder / "campaign.yaml").write_text(text.replace("Cl: -1}", "Cl: -1, Og: 0}"))
    result = superionic("check", str(folder))
    assert result.returncode == 2
    assert "Og" in result.stderr


def test_a_missing_campaign_and_a_missing_engine(folder, tmp_path):
    assert superionic("run", str(tmp_path / "none.yaml")).returncode == 2
    (folder / "campaign.yaml").write_text(GOOD.replace("engine: pair", "engine: chgnet"))
    result = superionic("run", str(folder), SUPERIONIC_HOME=str(tmp_path / "home"))
    assert result.returncode == 2
    assert "superionic engines install chgnet" in result.stderr


def test_a_run_folder_that_cannot_be_written_is_said_at_once(folder):
    (folder / "runs").write_text("a file in the way")
    result = superionic("run", str(folder))
    assert result.returncode == 2
    assert "--run-folder" in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback(folder):
    result = superionic("check", str(folder / "none.yaml"), "--debug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_the_schema_is_json_and_names_every_stage():
    schema = json.loads(superionic("schema").stdout)
    assert {"enumerate", "rank", "hull", "transport", "analyse"} <= set(schema["properties"])


def test_engines_list_names_licences():
    engines = json.loads(superionic("engines", "list", "--json").stdout)
    assert {engine["name"] for engine in engines} >= {"chgnet", "sevennet", "gpaw"}
    assert all(engine["licence"] for engine in engines)


def test_importing_superionic_is_quick_and_imports_nothing_heavy():
    code = (
        "import time, sys; began = time.perf_counter(); import superionic; print(time.perf_counter() - began);"
        "print([name for name in ('torch', 'pymatgen', 'matplotlib', 'ase', 'scipy', 'numpy') if name in sys.modules])"
    )
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[1] == "[]"
    code = (
        "import sys, superionic.cli, superionic.campaign.flow, superionic.campaign.status\n"  # what `status` takes
        "heavy = ('torch', 'pymatgen', 'matplotlib', 'plotly', 'numba', 'spglib', 'ase.build', 'scipy.special',"
        "         'scipy.optimize', 'scipy.spatial', 'scipy.linalg', 'scipy.fft')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_small_crystal_is_listed_with_light_libraries_only(folder):
    program = (
        "import sys; from superionic.cli import main\n"
        "try:\n    main(['enumerate', 'li3ycl6_p-3m1.cif', '--json'])\n"
        "finally:\n    print([m for m in ('numba', 'scipy', 'spglib', 'ase', 'rich', 'pymatgen',"
        " 'superionic.cli.train') if m in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, check=True)
    assert json.loads(result.stdout)["distinct"] == 30
    assert result.stderr.strip() == "[]"


def test_enumerate_prints_json_and_nothing_else(folder):
    result = superionic("enumerate", "li3ycl6_p-3m1.cif", "--supercell", "1x1x2", "--count", "--json", cwd=folder)
    assert result.returncode == 0
    values = json.loads(result.stdout)
    assert {k: values[k] for k in ("raw", "distinct", "group_order", "n_sites")} == {
        "raw": 1176120, "distinct": 49668, "group_order": 24, "n_sites": 70,
    }  # fmt: skip
    coupled = superionic("enumerate", "li3ycl6_p-3m1.cif", "--coupled", "--count", "--json", cwd=folder)
    assert json.loads(coupled.stdout)["raw"] > values["raw"] / 10**6


def test_enumerate_lists_samples_and_writes(folder):
    lowest = superionic("enumerate", "li3ycl6_p-3m1.cif", "--ewald-top", "4", "--json", "--out", "a.extxyz", cwd=folder)
    values = json.loads(lowest.stdout)
    assert len(values["ewald_eV"]) == len(values["degeneracies"]) == 4
    assert (folder / "a.extxyz").exists()
    assert values["written"] == ["a.extxyz"]
    sample = superionic("enumerate", "li3ycl6_p-3m1.cif", "--sample", "50", "--seed", "2", "--json", cwd=folder)
    assert sum(json.loads(sample.stdout)["times_drawn"]) == 50
    series = superionic("enumerate", "li3ycl6_p-3m1.cif", "--hnf", "--max-index", "2", "--json", cwd=folder)
    assert [entry["index"] for entry in json.loads(series.stdout)["by_index"]] == [1, 2]


def test_enumerate_shows_a_person_what_it_found(folder):
    result = superionic("enumerate", "li3ycl6_p-3m1.cif", cwd=folder)
    assert result.returncode == 0
    for words in ("P-3m1", "charges (guessed)", "30 distinct", "plan: list", "Ewald energy (eV)"):
        assert words in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.cif"], "does not exist"),
        (["li3ycl6_p-3m1.cif", "--supercell", "big"], "not a supercell"),
        (["li3ycl6_p-3m1.cif", "--supercell", "2x2x2", "--ewald-top", "3"], "--search"),
        (["li3ycl6_p-3m1.cif", "--axis", "Cl:Br"], "axis"),
        (["li3ycl6_p-3m1.cif", "--hnf"], "--max-index"),
        (["li3ycl6_p-3m1.cif", "--charges", "Li=1,Y=3,Cl=1"], "neutral"),
        (["broken.cif"], "broken.cif"),
    ],
)
def test_enumerate_refuses_with_the_fix_and_no_traceback(folder, arguments, words, monkeypatch, capsys):
    from superionic.cli import main

    monkeypatch.chdir(folder)
    (folder / "broken.cif").write_text("data_x\n_cell_length_a 0\nloop_\n_atom_site_label\n")
    with pytest.raises(SystemExit) as ended:  # in this process: one start of Python less for each
        main(["enumerate", *arguments])
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert words in printed.err
    assert "fix:" in printed.err
    assert printed.out == ""
