"""The presets, and how a campaign file is completed by them.

A value in the file always wins; then the preset of its section, or else that of the file; then the default.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from superionic.settings.base import FINE_TUNED, STUDENT
from superionic.settings.learn import rungs
from superionic.settings.stages import NEEDS, OPTIONAL, SECTIONS

PRESETS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "demo": {
        "enumerate": {"ewald_keep": 60},
        "rank": {"relax_top": 6, "fmax_eV_per_A": 0.05, "max_steps": 200},
        "hull": {},
        "select": {"count": 3},
        "sample": {
            "temperatures_K": [800.0],
            "replicas": 2,
            "timestep_fs": 2.0,
            "equilibration_ps": 0.3,
            "production_ps": 0.2,
            "save_every_fs": 20.0,
            "snapshots": 2,
            "segment_ps": 0.3,
        },
        "label": {
            "engine": "gpaw",
            "functional": "PBE",
            "ecut_eV": 300.0,
            "kpoint_spacing_per_A": 0.7,
            "kpoint_offset": "offset",
            "smearing_eV": 0.05,
            "energy_tolerance_eV": 1.0e-3,
            "density_tolerance": 1.0e-3,
            "eigenstates_tolerance": 1.0e-6,
        },
        "train": {
            "epochs": 12,
            "patience": None,
            "batch_size": 2,
            "validation_fraction": 0.2,
            "test_fraction": 0.2,
            "epochs_per_segment": 3,
        },
        "validate": {},
        "distil": {
            "method": "on-policy",
            "segment_ps": 5.0,
            "epochs": 80,
            "learning_rate": 0.002,
            "refit_epochs": 40,
            "epochs_per_segment": 40,
            "on_policy": {
                "max_labels": 440,
                "seed_labels": 120,
                "orderings": 6,
                "volumes": [0.94, 1.10],
                "seed_ps": 0.3,
                "run_ps": [3.0, 8.0, 15.0],
                "final_epochs": 240,
            },
        },
        "transport": {
            "supercell": [1, 1, 2],
            "temperatures_K": [600.0, 680.0, 760.0, 840.0],
            "replicas": 2,
            "timestep_fs": 2.0,
            "barostat_time_fs": 300.0,
            "cell_motion": "isotropic",
            "pressure_GPa": 1.0,
            "heating_ps": 1.0,
            "nvt_before_npt_ps": 0.0,
            "npt_ps": 5.0,
            "npt_discard_fraction": 0.3,
            "nvt_equilibration_ps": 1.0,
            "production_ps": 50.0,
            "save_every_fs": 20.0,
            "segment_ps": 25.0,
        },
        "analyse": {"density_grid_A": 0.5},
    },
    "paper-a": {
        "enumerate": {"method": "sample", "sample_draws": 2000, "ewald_keep": 2000},
        "rank": {"relax_top": 20, "fmax_eV_per_A": 0.01, "method": "single-points", "optimizer": "FIRE"},
        "hull": {"repeat_with_fine_tuned": True},
        "select": {"temperature_K": 800.0, "count": 83},
        "sample": {
            "temperatures_K": [800.0],
            "timestep_fs": 1.0,
            "npt_ps": 0.0,
            "equilibration_ps": 5.0,
            "production_ps": 10.0,
            "snapshots": 30,
            "snapshot_method": "random",
            "max_strain": 0.03,
        },
        "label": {"functional": "SCAN", "ecut_eV": 520.0, "kpoint_spacing_per_A": 0.2, "energy_tolerance_eV": 1.0e-5},
        "learn": {"strategy": "one-shot"},
        "train": {"epochs": 500, "patience": 20, "learning_rate": 0.01},
        "validate": {},
        "transport": {
            "supercell": [2, 2, 2],
            "temperatures_K": [800.0, 900.0, 1000.0, 1100.0],
            "timestep_fs": 1.0,
            "thermostat": "berendsen",
            "heating_ps": 0.0,
            "nvt_before_npt_ps": 0.0,
            "npt_ps": 0.0,
            "nvt_equilibration_ps": 100.0,
            "production_ps": 400.0,
            "long_runs": {"below_K": 800.0, "nvt_equilibration_ps": 200.0, "production_ps": 800.0},
        },
        "analyse": {"axes": ["x", "y", "z"], "arrhenius_form": "lnD"},
    },
    "paper-b": {
        "enumerate": {"ewald_keep": 10000},
        "rank": {"relax_top": 20, "fmax_eV_per_A": 0.01, "method": "single-points", "optimizer": "FIRE"},
        "hull": {},
        "select": {"count": 1},
        "learn": {"strategy": "ladder"},
        "sample": {
            "temperatures_K": [200.0, 400.0, 600.0, 800.0],
            "timestep_fs": 1.0,
            "thermostat": "nose-hoover-chain",
            "thermostat_time_fs": 100.0,
            "barostat_time_fs": 1000.0,
            "pressure_GPa": 1.0e-4,
            "npt_ps": 140.0,
            "equilibration_ps": 0.0,
            "production_ps": 1000.0,
            "save_every_fs": 10.0,
            "snapshots": 75,
            "snapshot_method": "farthest-point",
            "max_strain": 0.0,
            "segment_ps": 50.0,
        },
        "label": {"functional": "PBE", "ecut_eV": 350.0, "kpoint_spacing_per_A": 0.2},
        "train": {},
        "validate": {"max_energy_mae_meV_per_atom": 3.5, "max_force_mae_meV_per_A": 50.0, "max_stress_mae_GPa": 0.085},
        "transport": {
            "temperatures_K": [400.0, 450.0, 500.0, 550.0, 600.0, 650.0, 700.0, 750.0],
            "timestep_fs": 1.0,
            "thermostat": "nose-hoover-chain",
            "thermostat_time_fs": 100.0,
            "barostat_time_fs": 1000.0,
            "pressure_GPa": 1.0e-4,
            "heating_from_K": 100.0,
            "heating_ps": 2.0,
            "nvt_before_npt_ps": 50.0,
            "npt_ps": 140.0,
            "npt_discard_fraction": 0.2,
            "nvt_equilibration_ps": 0.0,
            "production_ps": 2000.0,
            "save_every_fs": 10.0,
        },
        "analyse": {"report_temperatures_K": [300.0], "arrhenius_form": "lnD"},
    },
}
"""What each preset sets in each section."""


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
    filled: dict[str, Any] = copy.deepcopy(dict(raw))
    overall = _preset(filled)
    for stage in (*SECTIONS, "learn"):
        section = filled.get(stage)
        if stage in filled and not isinstance(section, dict):
            continue  # null leaves the stage out; anything else is a mistake that the validation reports
        own = _preset(section) if isinstance(section, dict) else None
        values = PRESETS.get(own or overall or "", {}).get(stage)
        if section is None and values is None and stage in OPTIONAL:
            continue
        filled[stage] = _merged(values or {}, section or {})
    for stage, needed in NEEDS:
        if stage not in raw and filled.get(needed) is None:
            filled.pop(stage, None)
    if "repeat_with_fine_tuned" not in _section(raw, "hull") and filled.get("train") is None:
        _section(filled, "hull").pop("repeat_with_fine_tuned", None)
    climbed = rungs(_section(filled, "learn").get("ladder"))
    if climbed is not None and "temperatures_K" not in _section(raw, "sample"):
        _section(filled, "sample")["temperatures_K"] = climbed
    hull, axes = _section(filled, "hull"), filled.get("composition_axes")
    if hull.get("formula_unit") is None:
        first = axes[0] if isinstance(axes, (list, tuple)) and axes else None
        if isinstance(first, Mapping) and first.get("formula_unit") is not None:
            hull["formula_unit"] = first["formula_unit"]
    if "potentials" not in filled:
        filled["potentials"] = {"chgnet": {"engine": "chgnet"}}
    _fill_potentials(filled)
    return filled


def _preset(section: Mapping[str, Any]) -> str | None:
    name = section.get("preset")
    return name if isinstance(name, str) else None


def _section(filled: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = filled.get(name)
    return section if isinstance(section, dict) else {}


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge of two mappings; `over` wins."""
    result: dict[str, Any] = copy.deepcopy(dict(base))
    for key, value in over.items():
        below = result.get(key)
        result[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def _fill_potentials(filled: dict[str, Any]) -> None:
    """Name the potential of every stage that leaves it out."""
    potentials = filled["potentials"]
    rank = filled.get("rank")
    first: Any = None
    if isinstance(potentials, dict) and len(potentials) == 1:
        first = next(iter(potentials))
    if isinstance(rank, dict):
        if rank.get("potential") is None and first is not None:
            rank["potential"] = first
        first = rank.get("potential", first)
    own = STUDENT if _present(filled, "distil") else FINE_TUNED if _present(filled, "train") else first
    for stage, default in (("sample", first), ("transport", own)):
        section = filled.get(stage)
        if isinstance(section, dict) and section.get("potential") is None and default is not None:
            section["potential"] = default


def _present(filled: Mapping[str, Any], stage: str) -> bool:
    return filled.get(stage) is not None
