"""What the site adds to the pages of this folder: the command line's reference, the decisions' order, and formulas.

A hook of mkdocs (``mkdocs.yml``). Nothing that it makes is kept in the repository, so nothing can fall behind.
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

COMMANDS = "reference/commands.md"
DECISIONS = "decisions"

_REMOTE = re.compile(
    r"""<(?:script|link|img|iframe|source|video|audio)\b[^>]*?(?:src|href)=["']?((?:https?:)?//[^\s"'>]+)"""
)
_FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)
_BOLD = re.compile(r"\[(?:b|bold)\](.*?)\[/(?:b|bold)?\]", re.DOTALL)  # commands in the texts of --help
_ROLE = re.compile(r":(?:func|class|mod|meth|data|attr|obj|exc):(?=<code>)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the decisions in the order of their numbers."""
    pages = sorted(Path(config.docs_dir, DECISIONS).glob("*.md"))
    config.nav = [*(config.nav or []), {"Decisions": [f"{DECISIONS}/{page.name}" for page in pages]}]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the page of all commands, written from the program itself."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, COMMANDS, content=command_reference()))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """Set formulas as MathML, which browsers draw by themselves, and take the roles off names in docstrings."""
    return _ROLE.sub("", _FORMULA.sub(_mathml, html))


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    """Refuse a page that would load something from the network: the site is read where there is none."""
    if remote := _REMOTE.search(output):
        from mkdocs.exceptions import PluginError

        raise PluginError(f"{page.file.src_uri} loads {remote[1]} from the network; keep a copy in docs, or do without")
    return output


def command_reference() -> str:
    """Return the page of all commands and their options."""
    import typer
    from typer.cli import get_docs_for_click

    from superionic.cli import app

    command = typer.main.get_command(app)
    page = get_docs_for_click(obj=command, ctx=typer.Context(command), name="superionic", title="The command line")
    return _BOLD.sub(r"`\1`", page)


def _mathml(match: re.Match[str]) -> str:
    from latex2mathml.converter import convert

    formula = unescape(match[2]).strip()[2:-2]  # without \( \) or \[ \]
    return convert(formula, display="block" if match[1] == "div" else "inline")
