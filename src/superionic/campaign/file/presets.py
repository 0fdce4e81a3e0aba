"""The presets, and how a campaign file is completed by them.

A value in the file always wins; then the preset of its section, or else that of the file; then the default.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from superionic.campaign.file.yaml_text import parse_yaml
from superionic.settings.base import FINE_TUNED, PRIMITIVE, STUDENT
from superionic.settings.learn import LadderSettings
from superionic.settings.stages import NEEDS, OPTIONAL, sections

_FILE: Final = Path(__file__).with_name("presets.yaml")
CRYSTALS: Final = "crystals"
TRANSPORT: Final = "transport"
_CELLS: Final = frozenset({"supercell", "further_supercells", "primitive"})


@cache
def presets() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return what each preset sets in each section: the content of ``presets.yaml``."""
    values: dict[str, dict[str, dict[str, Any]]] = parse_yaml(_FILE.read_text(encoding="utf-8")).value
    return values


def complete(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Fill a campaign file, as read, with its presets and with the names that follow from others.

    Nothing is judged here: values of a wrong type are left for the validation to report. Completing twice changes
    nothing further.

    Parameters
    ----------
    raw
        The file as a mapping of plain values; it is not changed.

    Returns
    -------
    dict
        A deep copy, with every section that takes part in the campaign.
    """
    filled = copy.deepcopy(dict(raw))
    for stage in (*sections(), "learn"):
        section = filled.get(stage)
        if stage == TRANSPORT and isinstance(section, list):
            filled[stage] = _filled_series(section, filled)
            continue
        if stage in filled and not isinstance(section, dict):
            continue  # null leaves the stage out; anything else is a mistake that the validation reports
        values = _of_preset(stage, section or {}, filled)
        if section is None and values is None and stage in OPTIONAL:
            continue
        filled[stage] = merged(values or {}, section or {})
    for stage, needed in NEEDS:
        if stage not in raw and filled.get(needed) is None:
            filled.pop(stage, None)
    filled.setdefault("potentials", {"chgnet": {"engine": "chgnet"}})
    _fill_crystals(filled)
    _fill_sampling(filled, raw)
    _fill_learning(filled, raw)
    _fill_hull(filled, raw)
    _fill_potentials(filled)
    return filled


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two mappings, section by section, into a copy; `above` wins."""
    result = copy.deepcopy(dict(below))
    for key, value in above.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return result


def _of_preset(stage: str, section: Mapping[str, Any], filled: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what the preset of a section, or else that of the file, sets in it; None without either.

    Rates, epochs and modes are those of one trainer: a file that names another one takes none of them.
    """
    values = presets().get(_preset(section) or _preset(filled) or "", {}).get(stage)
    other = section.get("trainer") if stage == "train" else None
    return {} if values and other not in (None, values.get("trainer", other)) else values


def _filled_series(listed: list[Any], filled: Mapping[str, Any]) -> list[Any]:
    """Fill series of runs: the first by its preset; the others are as the first where they say nothing else."""
    series: list[Any] = []
    for entry in listed:
        below: Mapping[str, Any] = {}
        if isinstance(entry, Mapping):
            first = series[0] if series and isinstance(series[0], Mapping) else {}
            as_first = {key: value for key, value in first.items() if key not in ("name", "preset", "draws")}
            of_preset = _of_preset(TRANSPORT, entry, {} if series else filled) or {}
            below = merged(as_first, of_preset)
        series.append(merged(below, entry) if isinstance(entry, Mapping) else entry)
    return series


def _preset(section: Mapping[str, Any]) -> str | None:
    name = section.get("preset")
    return name if isinstance(name, str) else None


def _section(filled: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = filled.get(name)
    return section if isinstance(section, dict) else {}


def _fill_crystals(filled: dict[str, Any]) -> None:
    """Fill each crystal from the preset of the file, and spell out `supercell: primitive`."""
    values = presets().get(_preset(filled) or "", {}).get(CRYSTALS, {})
    own_cells = {key: value for key, value in values.items() if key not in _CELLS}
    crystals = filled.get(CRYSTALS)
    if not isinstance(crystals, list):
        return
    for index, entry in enumerate(crystals):
        if not isinstance(entry, Mapping):
            continue
        crystal = merged(values if _CELLS.isdisjoint(entry) else own_cells, entry)
        if crystal.get("supercell") in PRIMITIVE and crystal.get("primitive") is not False:
            crystal |= {"supercell": [1, 1, 1], "primitive": True}
        crystals[index] = crystal


def _fill_sampling(filled: dict[str, Any], raw: Mapping[str, Any]) -> None:
    """Let the rungs of a ladder be the temperatures of sampling."""
    ladder = _section(filled, "learn").get("ladder")
    if isinstance(ladder, Mapping) and "temperatures_K" not in _section(raw, "sample"):
        try:
            rungs = LadderSettings.model_validate(ladder).rungs
        except ValidationError:
            return
        if rungs:
            _section(filled, "sample").update(temperatures_K=list(rungs))


def _fill_learning(filled: dict[str, Any], raw: Mapping[str, Any]) -> None:
    """Compare the rungs of a preset's ladder only where the file leaves it a ladder."""
    learn = _section(filled, "learn")
    if learn.get("strategy") != "ladder":
        for key in ("production_rung", "tests"):
            if key not in _section(raw, "learn"):
                learn.pop(key, None)


def _fill_hull(filled: dict[str, Any], raw: Mapping[str, Any]) -> None:
    """Name the formula unit, and repeat no hull without a potential to repeat it with, but where the file says so."""
    hull, axes = _section(filled, "hull"), filled.get("composition_axes")
    if filled.get("train") is None and "repeat_with_fine_tuned" not in _section(raw, "hull"):
        hull.pop("repeat_with_fine_tuned", None)
    if hull.get("formula_unit") is None and isinstance(axes, (list, tuple)) and axes:
        first = axes[0].get("formula_unit") if isinstance(axes[0], Mapping) else None
        if first is not None:
            hull["formula_unit"] = first


def _fill_potentials(filled: dict[str, Any]) -> None:
    """Name the potential of every stage that leaves it out."""
    potentials = filled["potentials"]
    only = next(iter(potentials)) if isinstance(potentials, dict) and len(potentials) == 1 else None
    ranking = _section(filled, "rank").get("potential") or only
    made = {"distil": STUDENT, "train": FINE_TUNED}
    last = next((name for stage, name in made.items() if filled.get(stage) is not None), ranking)
    for stage, default in (("rank", only), ("sample", ranking), ("volumes", last), (TRANSPORT, last)):
        given = filled.get(stage)
        for section in given if isinstance(given, list) else [given]:
            if isinstance(section, dict) and section.get("potential") is None and default is not None:
                section["potential"] = default
