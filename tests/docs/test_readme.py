"""README, how-to guides and scripts say what is true: commands exist, examples validate, links lead somewhere."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "AGENTS.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
GENERATED = [ROOT / "docs" / "reference" / "commands.md"]  # written by docs/site.py when the site is built
SCRIPTS = ["scripts/setup", "scripts/demo", "scripts/test", ".ci/run"]
COMMANDS = {"enumerate", "init", "check", "run", "status", "report", "explain", "engines", "analyse", "labels", "train"}
COMMANDS |= {"store", "submit", "doctor", "try", "serve", "compare"}
SUBCOMMANDS = {
    "engines": {"install", "list", "check", "convert"},
    "labels": {"import", "check", "export"},
    "store": {"verify", "gc", "size", "export", "import"},
    "train": {"check", "search", "curve", "compare", "evaluate"},
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_readme_has_exactly_two_commands_to_start_with():
    started = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("bash ")]
    assert started == ["bash scripts/demo", "bash scripts/test"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_is_valid_and_strict(script):
    path = ROOT / script
    subprocess.run(["bash", "-n", str(path)], check=True)
    assert os.access(path, os.X_OK)
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")


def test_ci_runs_the_test_command_of_the_readme():
    assert 'bash "$root/scripts/test"' in (ROOT / ".ci/run").read_text(encoding="utf-8")


def test_setup_refuses_to_overwrite_a_folder_that_is_no_environment(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    ended = subprocess.run(
        ["bash", str(ROOT / "scripts/setup")],
        env=os.environ | {"SUPERIONIC_VENV": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "Set SUPERIONIC_VENV to another folder." in ended.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_setup_without_a_fitting_python_says_what_to_install(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "cat", "cksum", "dirname", "grep", "id", "ls", "rm"):
        (programs / name).symlink_to(str(shutil.which(name)))
    old = programs / "python3"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    ended = subprocess.run(
        [str(programs / "bash"), str(ROOT / "scripts/setup")],
        env={"PATH": str(programs), "HOME": str(tmp_path), "SUPERIONIC_VENV": str(tmp_path / "venv")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "Python 3.11 or newer is needed" in ended.stderr


def test_campaign_of_the_readme_validates():
    from superionic.campaign.file.load import parse_campaign

    (text,) = blocks("yaml")
    campaign = parse_campaign(text, ROOT / "examples" / "li3ycl6" / "readme.yaml")
    assert campaign.mobile_ion == "Li"
    assert campaign.stages[0] == "enumerate"


def test_python_of_the_readme_parses_and_uses_what_exists():
    from superionic import Campaign

    (text,) = blocks("python")
    tree = ast.parse(text)
    used = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"Campaign", "campaign"}
    }
    assert used == {"load", "check", "run"}
    assert all(callable(getattr(Campaign, name)) for name in used)


def test_every_command_of_the_readme_is_one_of_the_program(helped):
    shown = {
        line.split()[1] for block in blocks("bash") for line in block.splitlines() if line.startswith("superionic ")
    }
    assert shown == COMMANDS
    text = helped("")
    assert all(re.search(rf"\b{command}\b", text) for command in COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_in_the_pages_exist(page, helped):
    text = page.read_text(encoding="utf-8")
    names = "|".join(sorted(COMMANDS))
    for command, options in re.findall(rf"superionic ({names})\b([^`\n#]*)", text):
        first = options.split()[:1]
        subcommand = [word for word in first if word in SUBCOMMANDS.get(command, ())]
        for option in re.findall(r"(?<=\s)--[a-z-]+", options):
            assert option in helped(" ".join([command, *subcommand])), f"{command} {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere_and_no_path_of_a_machine_is_named(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if not target.startswith(("http://", "https://", "mailto:")):
            leads_to = (page.parent / target).resolve()
            assert leads_to.exists() or leads_to in GENERATED, target
    assert not re.search(r"/(?:home|root|work|tmp)/\w", text)
