"""The command line: ``superionic VERB``; :func:`main` runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from superionic.cli.main import build_app, main

if TYPE_CHECKING:
    import typer

    app: typer.Typer

__all__ = ["app", "main"]


def __getattr__(name: str) -> Any:
    if name == "app":  # with all verbs; main builds fewer where it can
        return build_app()
    raise AttributeError(f"module 'superionic.cli' has no attribute {name!r}")
