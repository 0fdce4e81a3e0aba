"""The face for notebooks: what ``import superionic`` shows, and that nobody below looks at it."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import superionic

PACKAGE = Path(superionic.__file__).parent
NAMES = {"Campaign", "SuperionicError", "analyse", "enumerate_orderings", "load_model", "read_crystal", "relax"}
NAMES |= {
    "compare_campaigns",
    "compare_models",
    "evaluate_models",
    "local_order",
    "run_md",
    "try_crystal",
    "__version__",
}


def test_the_names_are_those_that_are_promised():
    assert set(superionic.__all__) == set(dir(superionic)) == NAMES
    assert all(getattr(superionic, name) is not None for name in NAMES)
    with pytest.raises(AttributeError, match="no attribute 'analyze'"):
        _ = superionic.analyze


def test_type_checkers_are_told_the_same_homes():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    told = {alias.name: node.module for node in block.body for alias in node.names}
    assert set(told) == NAMES - {"__version__"}
    for name, home in told.items():
        assert getattr(import_module(home), name) is getattr(superionic, name)


def test_no_module_but_the_command_line_imports_the_face():
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0].startswith("cli"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "superionic":
                assert not {alias.name for alias in node.names} & NAMES, path
