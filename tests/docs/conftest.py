"""What the pages are held against: the help of each command."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from functools import cache

import pytest


@pytest.fixture(scope="session")
def helped() -> Callable[[str], str]:
    """Return the help of a command, ``""`` for that of the program, as a user sees it; in this process, for speed."""

    @cache
    def help_of(command: str) -> str:
        from superionic.cli import main

        text = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(text):
            for name, value in {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["superionic", *command.split(), "--help"])
            with pytest.raises(SystemExit) as ended:
                main()
        assert ended.value.code == 0
        return text.getvalue()

    return help_of
