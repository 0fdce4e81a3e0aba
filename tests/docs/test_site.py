"""What the site adds to its pages, and that nothing of it comes from the network; `mkdocs build` checks the rest."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]


def loaded(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site():
    return loaded(ROOT / "docs" / "site.py", "superionic_site")


def test_every_command_is_in_the_reference_with_its_options(site):
    page = site.command_reference()
    for command in ("run", "check", "enumerate", "engines install", "store verify", "train curve"):
        assert re.search(rf"^#+ `superionic {command}`$", page, re.MULTILINE), command
    assert "--until" in page
    assert "[b]" not in page


def test_formulas_become_mathml(site):
    pytest.importorskip("latex2mathml")
    html = site.on_page_content(r'<p>with <span class="arithmatex">\(n_j \ge 0\)</span></p>')
    assert html.startswith('<p>with <math xmlns="http://www.w3.org/1998/Math/MathML" display="inline">')
    assert "<msub><mi>n</mi><mi>j</mi></msub>" in html
    assert "&#x02265;" in html or "≥" in html


def test_names_in_docstrings_lose_their_roles(site):
    assert site.on_page_content("see :func:<code>a.b</code>") == "see <code>a.b</code>"


def test_a_page_that_loads_from_the_network_is_refused(site):
    exceptions = pytest.importorskip("mkdocs.exceptions")
    page = SimpleNamespace(file=SimpleNamespace(src_uri="index.md"))
    here = '<script src="assets/a.js"></script><a href="https://doi.org/10.1039/d5ta05321h">paper</a>'
    assert site.on_post_page(here, page=page) == here
    for tag in (
        '<script src="https://unpkg.com/mathjax"></script>',
        '<link rel="stylesheet" href="//fonts.googleapis.com/css">',
        "<img alt=badge src='http://img.shields.io/x.svg'>",
    ):
        with pytest.raises(exceptions.PluginError, match=r"index\.md loads (https?:)?//"):
            site.on_post_page(here + tag, page=page)


def test_the_campaign_of_the_tutorial_validates():
    from superionic.campaign.file.load import parse_campaign

    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8"), re.DOTALL)
    campaign = parse_campaign(text, ROOT / "examples" / "li3ycl6" / "quick.yaml")
    assert campaign.stages == ("enumerate", "rank", "hull", "transport", "analyse", "report")


def test_make_benchmarks_leaves_no_benchmark_out():
    benchmarks = loaded(ROOT / "benchmarks" / "__main__.py", "superionic_benchmarks")
    there = {path.name for path in (ROOT / "benchmarks").glob("*.py")} - set(benchmarks.PARTS)
    assert {benchmark.script for benchmark in benchmarks.BENCHMARKS} == there
    assert all(part == "__main__.py" or (ROOT / "benchmarks" / part).is_file() for part in benchmarks.PARTS)
