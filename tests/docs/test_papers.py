"""The table of the papers' figures: each name in it is one that the code writes, each section one that a report has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

_WRITERS = {"Plot", "CsvTable", "csv_table", "table", "Section"}


@pytest.fixture(scope="module")
def written(root: Path) -> set[str]:
    """Names of figures, tables and sections: first arguments, and `key`, of what makes them; `…` for what follows."""
    names: set[str] = set()
    for path in (root / "src" / "superionic").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Constant)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.id if isinstance(node.func, ast.Name) else ""
            arguments = node.args[:2] if called in _WRITERS else []
            for value in [*arguments, *(keyword.value for keyword in node.keywords if keyword.arg == "key")]:
                if isinstance(value, ast.JoinedStr):
                    head = value.values[0]
                    if isinstance(head, ast.FormattedValue) and isinstance(head.value, ast.Name):
                        names.add(f"{constants.get(head.value.id, '')}_…")
                    elif isinstance(head, ast.Constant):
                        names.add(f"{head.value}…")
                elif isinstance(value, ast.Name):
                    names.add(str(constants.get(value.id, "")))
                elif isinstance(value, ast.Constant) and isinstance(value.value, str):
                    names.add(value.value)
    # Series that are compared under another key write the files of the section of series under it.
    return names | {name.replace("series", "sizes_series", 1) for name in names if name.startswith("series")}


def test_names_in_the_last_column_are_written_by_the_code(root, written):
    rows = [
        re.split(r"\s*\|\s*", line.strip().removeprefix("|").removesuffix("|"))
        for line in (root / "docs" / "papers.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and not re.match(r"\| (paper|---)|\|---", line)
    ]
    assert len(rows) > 30
    assert {len(row) for row in rows} == {4}
    unknown = [
        (row[0].strip(), name)
        for row in rows
        for name in (*re.findall(r"`([^`]+)`", row[3]), *re.findall(r"\*([^*]+)\*", row[3]))
        if name not in written and not name.startswith("report/")
    ]
    assert unknown == []
    assert {"msd", "composition", "density_…", "composition_…", "hull.csv"} <= written  # the search finds what there is
