"""What the site adds to the pages of this folder: the command line's reference, formulas, and the decisions' order.

A hook of mkdocs (``mkdocs.yml``). Nothing that it makes is kept in the repository, so nothing can fall behind.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

COMMANDS = "reference/commands.md"
DECISIONS = "decisions"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the decisions in the order of their numbers."""
    folder = Path(config.docs_dir, DECISIONS)
    pages = [f"{DECISIONS}/{page.name}" for page in sorted(folder.glob("*.md"))]
    assert config.nav is not None
    config.nav.append({"Decisions": pages})
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the page of all commands, written from the program itself."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, COMMANDS, content=command_reference()))
    return files


def command_reference() -> str:
    """Return the page of all commands and their options."""
    import typer
    from typer.cli import get_docs_for_click

    from superionic.cli import app

    command = typer.main.get_command(app)
    return get_docs_for_click(obj=command, ctx=typer.Context(command), name="superionic", title="The command line")


def on_page_content(html: str, **_: Any) -> str:
    """Set formulas as MathML, which browsers draw by themselves, and names in docstrings as code without their roles."""
    html = re.sub(r'<(span|div) class="arithmatex">(.*?)</\1>', _formula, html, flags=re.DOTALL)
    return re.sub(r":(?:func|class|mod|meth|data|attr|obj|exc):(?=<code>)", "", html)


def _formula(match: re.Match[str]) -> str:
    from html import unescape

    from latex2mathml.converter import convert

    display = "block" if match[1] == "div" else "inline"
    return convert(unescape(match[2])[2:-2], display=display)  # without \( \) or \[ \]
