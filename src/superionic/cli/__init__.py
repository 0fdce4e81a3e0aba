"""The command line: ``superionic VERB``; :func:`main` runs it."""

from __future__ import annotations

from superionic.cli.main import app, main

__all__ = ["app", "main"]
