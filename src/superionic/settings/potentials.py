"""Checks of the entries of `potentials` in a campaign file, as plain values; see :mod:`schema_checks`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from superionic.conventions import CONVENTIONS, OWN, advice, is_convention
from superionic.registry import find, models
from superionic.settings.base import Problem, did_you_mean

_ABOUT_A_FILE: Final = ("energy_convention", "level_of_theory", "modal", "trust_sha256")


def potential_problems(potentials: Mapping[Any, Any]) -> Iterator[Problem]:
    """Find keys that an engine does not know or that it needs, and words that are no energy convention."""
    for name, entry in potentials.items():
        engine = entry.get("engine") if isinstance(entry, Mapping) else None
        model = find(engine)
        if model is None:
            continue
        path = ("potentials", name)
        given = {key for key, value in entry.items() if value is not None} - {"engine", "model", "options"}
        for key in sorted(given & frozenset().union(*(each.keys for each in models().values())) - model.keys):
            knows = ", ".join(sorted(model.keys)) or "only `model` and `options`"
            yield Problem((*path, key), f"the engine {engine} has no '{key}'", f"it knows: {knows}", at_key=True)
        for key in () if model.data_named(entry.get("model")) is not None else model.needed:
            if key not in given:
                hint = {"file": f"it is {model.file}", "energy_convention": _one_of()}.get(key, "")
                yield Problem(path, f"a potential of the engine {engine} needs '{key}'", hint)
        if "file" in model.keys and "file" not in given:
            for key in sorted(given & set(_ABOUT_A_FILE)):
                yield Problem((*path, key), f"'{key}' says something about a `file`, and there is none", at_key=True)
        convention = entry.get("energy_convention")
        if isinstance(convention, str) and not is_convention(convention):
            hint = did_you_mean(convention, CONVENTIONS) or advice("")
            yield Problem((*path, "energy_convention"), f"'{convention}' is not an energy convention", hint)


def _one_of() -> str:
    return f"write one of: {', '.join(CONVENTIONS)}; or '{OWN}...' for your own calculations"
