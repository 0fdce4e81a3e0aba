"""The verbs ``superionic train ...`` as a user meets them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def superionic(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "superionic.cli", "train", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb", **environment},
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check", "absent.extxyz"), "no such file"),
        (("curve", "labels.extxyz", "--split-by", "chance"), "cannot be split by"),
        (("curve", "labels.extxyz", "--sizes", "8;16"), "whole numbers"),
        (("search", "labels.extxyz", "--vary", "epochs"), "not an option"),
        (("compare", "labels.extxyz", "--methods", "magic"), "magic"),
        (("compare", "labels.extxyz", "--engine", "nequix", "--trainer", "delta", "--methods", "naive"), "naive"),
        (("check", "labels.extxyz", "--engine", "nothing"), "nothing"),
    ],
)
def test_mistakes_are_told_on_one_screen(tmp_path: Path, arguments, words):
    file = tmp_path / "labels.extxyz"
    file.write_text("1\nLattice='3 0 0 0 3 0 0 0 3'\nLi 0 0 0\n")
    placed = [str(tmp_path / argument) if argument.endswith(".extxyz") else argument for argument in arguments]
    result = superionic(*placed)
    assert result.returncode == 2, result.stderr
    assert words in result.stderr
    assert "fix:" in result.stderr
    assert "Traceback" not in result.stderr
