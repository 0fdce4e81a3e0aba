"""Made-up results in the shape of results.json: a demo of one composition, a composition line, a triangle."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

K_EV = 8.617333262145179e-05


def estimate(value: float, relative: float) -> dict[str, Any]:
    return {
        "value": value,
        "error": relative * value,
        "interval68": [value / (1 + relative), value * (1 + relative)],
        "interval95": [value / (1 + relative) ** 2, value * (1 + relative) ** 2],
    }


def sigma_at(temperature: float, ea: float, prefactor: float) -> float:
    return prefactor / temperature * float(np.exp(-ea / (K_EV * temperature)))


def fit(
    identity: str, formula: str, crystal: str, temperatures: list[float], ea: float, error: float
) -> dict[str, Any]:
    prefactor = 4.0e4
    inverse = np.linspace(1 / max(temperatures), 1 / 290.0, 60)
    line = np.array([sigma_at(1 / x, ea, prefactor) for x in inverse])
    middle = np.mean([1 / t for t in temperatures])
    spread = np.sqrt(0.15**2 + ((inverse - middle) * error / K_EV) ** 2)
    room = sigma_at(300.0, ea, prefactor) * 1000
    wide = float(np.sqrt(0.15**2 + ((1 / 300 - middle) * error / K_EV) ** 2))
    sigma = [sigma_at(t, ea, prefactor) for t in temperatures]
    return {
        "id": identity,
        "formula": formula,
        "crystal": crystal,
        "Ea_eV": ea,
        "Ea_error_eV": error,
        "form": "lnSigmaT",
        "temperatures_K": temperatures,
        "sigma_S_per_cm": sigma,
        "sigma_interval68": [[s / 1.3, s * 1.3] for s in sigma],
        "band": {
            "inverse_temperature_per_K": inverse.tolist(),
            "sigma_S_per_cm": line.tolist(),
            "low68": (line * np.exp(-spread)).tolist(),
            "high68": (line * np.exp(spread)).tolist(),
            "low95": (line * np.exp(-2 * spread)).tolist(),
            "high95": (line * np.exp(2 * spread)).tolist(),
        },
        "sigma_300K_mS_per_cm": {
            "value": room,
            "interval68": [room * np.exp(-wide), room * np.exp(wide)],
            "interval95": [room * np.exp(-2 * wide), room * np.exp(2 * wide)],
            "extrapolated": True,
        },
        "flags": [],
    }


def transport_run(
    run: str, identity: str, formula: str, temperature: float, ea: float, rng: np.random.Generator, hops: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    time = np.arange(0, 5.01, 0.05)
    volume = 22.4 + 0.004 * (temperature - 300) * (1 - np.exp(-time / 0.8)) + rng.normal(0, 0.09, len(time))
    simulation = {
        "run": run,
        "id": identity,
        "temperature_K": temperature,
        "replica": 0,
        "ensemble": "nvt",
        "thermostat": "csvr",
        "length_ps": 12.0,
        "n_atoms": 60,
        "n_mobile": 18,
        "volume_A3_per_atom": float(volume[len(time) // 2 :].mean()),
        "mean_temperature_K": temperature + float(rng.normal(0, 4)),
        "npt": {"time_ps": time.tolist(), "volume_A3_per_atom": volume.tolist()},
    }
    sigma = sigma_at(temperature, ea, 4.0e4)
    diffusivity = sigma * 1.2e-5
    lags = np.arange(0, 6.0, 0.02)
    rattle = 1.1 * (1 - np.exp(-lags / 0.12))
    slope = diffusivity / 1e-4 * 2
    parts = [rattle / 3 + factor * slope * lags for factor in (0.8, 0.75, 1.45)]
    analysis = {
        "run": run,
        "id": identity,
        "formula": formula,
        "temperature_K": temperature,
        "replica": 0,
        "tracer_diffusivity_cm2_per_s": estimate(diffusivity, 3.0 / np.sqrt(hops)),
        "charge_diffusivity_cm2_per_s": None,
        "haven_ratio": None,
        "nernst_einstein_conductivity_S_per_cm": estimate(sigma, 3.0 / np.sqrt(hops)),
        "window_ps": [0.6, 3.2],
        "n_hops": hops,
        "flags": ["few_hops"] if hops < 30 else [],
        "msd": {
            "lags_ps": lags.tolist(),
            "msd_A2": np.sum(parts, axis=0).tolist(),
            "xx": parts[0].tolist(),
            "yy": parts[1].tolist(),
            "zz": parts[2].tolist(),
        },
    }
    return simulation, analysis


def distilled(rng: np.random.Generator) -> dict[str, Any]:
    r = np.arange(0.05, 6.0, 0.1)
    g = 1 + np.sin(3 * r) * np.exp(-0.3 * r)
    force, energy = rng.normal(0, 0.9, 300), rng.normal(-4.3, 0.02, 20)
    errors = {"rmse_energy_meV_per_atom": 2.1, "rmse_force_meV_per_A": 61.0, "rmse_stress_GPa": 0.11}
    return {
        "committee": {
            "energy_meV_per_atom": 1.1,
            "force_meV_per_A": 24.0,
            "largest_force_meV_per_A": 210.0,
            "stress_GPa": 0.05,
        },
        "compared": [
            {
                "diffusivities_cm2_per_s": [estimate(d * t / 700, 0.4) for d in (1.1e-5, 1.3e-5, 0.9e-5)],
                "hops": [31, 36, 28],
                "key": "abc",
                "pairs": [
                    {
                        "members": [(g + rng.normal(0, 0.02, len(r))).tolist() for _ in range(2)],
                        "noise": 0.01,
                        "overlaps": [0.981, 0.984],
                        "pair": pair,
                        "r_A": r.tolist(),
                        "teacher": g.tolist(),
                    }
                    for pair in ("Li-Li", "Li-Cl", "Cl-Cl")
                ],
                "run": f"P-3m1 #0 {t:g} K",
                "temperature_K": t,
                "volumes_A3_per_atom": [{"error": 0.05, "value": v + 1e-3 * t} for v in (22.0, 22.1, 21.9)],
            }
            for t in (700.0, 850.0)
        ],
        "data": {"contacts": 24, "distorted": 60, "held_out": 40, "relaxed": 32, "snapshots": 120, "total": 296},
        "errors": {
            "after": [errors, {**errors, "rmse_force_meV_per_A": 64.0}],
            "after_mean": {**errors, "rmse_force_meV_per_A": 58.0},
            "first": [{**errors, "rmse_force_meV_per_A": 90.0}],
            "rms_force_meV_per_A": 905.0,
        },
        "failures": [],
        "history": [
            [
                {
                    "epoch": epoch,
                    **{f"{part}_rmse_force_eV_per_A": 0.5 / epoch + 0.06 for part in ("train", "validation")},
                    **{f"{part}_rmse_energy_eV_per_atom": 0.02 / epoch + 0.002 for part in ("train", "validation")},
                }
                for epoch in range(1, 21)
            ]
            for _ in range(2)
        ],
        "members": [{"key": "a", "n_train": 266, "n_validation": 30}, {"key": "b", "n_train": 268, "n_validation": 28}],
        "parity": {
            "energy_eV_per_atom": {"student": (energy + rng.normal(0, 0.002, 20)).tolist(), "teacher": energy.tolist()},
            "force_eV_per_A": {"student": (force + rng.normal(0, 0.06, 300)).tolist(), "teacher": force.tolist()},
        },
        "required": True,
        "rounds": [
            {
                "explorations": [{"clean_ps": 3.1, "ended": "the potential extrapolates", "worst_grade": 10.4}],
                "labels": 60,
                "round": 0,
                "structures": 236,
            },
            {
                "explorations": [{"clean_ps": 20.0, "ended": "", "worst_grade": 2.2}],
                "labels": 0,
                "round": 1,
                "structures": 296,
            },
        ],
        "teacher": {"called": "fine-tuned", "name": "chgnet"},
        "transfer": {
            "Ea_difference_eV": -0.02,
            "Ea_eV": 0.0,
            "Ea_resolution_eV": 0.1,
            "ln_D_difference": 0.06,
            "ln_D_resolution": 0.31,
            "ln_D_spread": 0.12,
            "ln_sigma": 0.12,
            "temperature_K": 770.0,
        },
        "verdict": {
            "criteria": [
                {"name": "forces on unseen frames", "passed": True, "words": "RMSE 61 meV/Å", "value": 0.07},
                {"name": "volume at constant pressure", "passed": None, "words": "not tested"},
            ],
            "passed": True,
        },
    }


def density(n: tuple[int, int, int] = (40, 40, 22)) -> tuple[np.ndarray, np.ndarray]:
    """Return a density of ions along channels of a hexagonal cell, and the cell."""
    cell = np.array([[11.2, 0, 0], [-5.6, 9.699, 0], [0, 0, 6.05]])
    axes = [np.arange(size) / size for size in n]
    a, b, c = np.meshgrid(*axes, indexing="ij")
    grid = np.zeros(n)
    for x, y in ((0.33, 0.0), (0.0, 0.33), (0.67, 0.67), (0.33, 0.33)):
        across = np.minimum(abs(a - x), 1 - abs(a - x)) ** 2 + np.minimum(abs(b - y), 1 - abs(b - y)) ** 2
        grid += np.exp(-across / 0.0035) * (1.15 + np.cos(4 * np.pi * c))
    volume = abs(np.linalg.det(cell)) / grid.size
    return grid / (grid.sum() * volume), cell


def demo() -> dict[str, Any]:
    rng = np.random.default_rng(7)
    formula, crystal = "Li9Y3Cl18", "P-3m1"
    ewald = np.sort(rng.gamma(6.0, 0.7, 84))
    entries = []
    for index in range(24):
        above = 0.004 * ewald[index] + abs(rng.normal(0, 0.004))
        entries.append(
            {
                "id": f"li3ycl6-{index:03d}",
                "crystal": crystal,
                "composition_label": "Li3YCl6",
                "formula": formula,
                "n_atoms": 30,
                "degeneracy": int(rng.choice([1, 2, 3, 6, 12])),
                "ewald_eV": float(-310 + ewald[index]),
                "single_point_eV_per_atom": -4.31 + above + 0.02,
                "relaxed_eV_per_atom": -4.352 + above if index < 12 else None,
                "volume_A3_per_atom": 22.1 + 0.3 * rng.random(),
                "converged": index != 5,
                "n_steps": int(rng.integers(30, 200)),
                "duplicate_of": "li3ycl6-001" if index == 4 else None,
            }
        )
    relaxed = sorted(
        (e for e in entries if e["relaxed_eV_per_atom"] is not None), key=lambda e: e["relaxed_eV_per_atom"]
    )
    lowest = relaxed[0]
    simulations, analyses = [], []
    for number, (temperature, hops) in enumerate(((600.0, 19), (700.0, 41), (800.0, 88))):
        one, two = transport_run(
            f"{lowest['id']}-{temperature:g}K-r0", lowest["id"], formula, temperature, 0.25, rng, hops
        )
        two["replica"] = one["replica"] = number * 0
        simulations.append(one)
        analyses.append(two)
    arrhenius = fit(lowest["id"], formula, crystal, [600.0, 700.0, 800.0], 0.25, 0.045)
    reference = rng.normal(0, 1.2, (8 * 90,))
    stress = rng.normal(0, 0.6, (48,))
    energy = -4.3 + rng.normal(0, 0.02, 8)
    grid, cell = density()
    del grid
    framework = [
        {"symbol": symbol, "position_A": (np.array(place) @ cell).tolist()}
        for symbol, place in (
            ("Y", (0, 0, 0)),
            ("Y", (1 / 3, 2 / 3, 0.5)),
            ("Y", (2 / 3, 1 / 3, 0.5)),
            *[("Cl", (u, 0.02 + v, w)) for u in (0.11, 0.45, 0.78) for v in (0.11, 0.44, 0.78) for w in (0.22, 0.77)],
        )
    ]
    published = [
        (
            "activation_energy",
            0.24,
            "eV",
            "CHGNet fine-tuned up to 600 K (PBE labels)",
            "J. Böhm, A. Champagne, arXiv:2510.09861 (2025)",
            None,
            "calculated",
            1.0,
        ),
        (
            "conductivity",
            15.7,
            "mS/cm",
            "CHGNet fine-tuned up to 600 K (PBE labels)",
            "J. Böhm, A. Champagne, arXiv:2510.09861 (2025)",
            300.0,
            "calculated",
            1.0,
        ),
        (
            "activation_energy",
            0.19,
            "eV",
            "AIMD",
            "S. Wang et al., Angew. Chem. Int. Ed. 58, 8039–8043 (2019)",
            None,
            "calculated",
            None,
        ),
        (
            "conductivity",
            14.0,
            "mS/cm",
            "AIMD",
            "S. Wang et al., Angew. Chem. Int. Ed. 58, 8039–8043 (2019)",
            300.0,
            "calculated",
            None,
        ),
        (
            "activation_energy",
            0.4,
            "eV",
            "impedance spectroscopy",
            "T. Asano et al., Adv. Mater. 30, 1803075 (2018)",
            None,
            "measured",
            None,
        ),
        (
            "conductivity",
            0.51,
            "mS/cm",
            "impedance spectroscopy",
            "T. Asano et al., Adv. Mater. 30, 1803075 (2018)",
            300.0,
            "measured",
            None,
        ),
        (
            "volume_per_atom",
            22.0,
            "A3/atom",
            "X-ray diffraction",
            "T. Asano et al., Adv. Mater. 30, 1803075 (2018)",
            300.0,
            "measured",
            None,
        ),
    ]
    ours = {"activation_energy": {"value": 0.25, "error": 0.045}, "conductivity": arrhenius["sigma_300K_mS_per_cm"]}
    return {
        "superionic": "0.1.0",
        "campaign": "li3ycl6 demo",
        "crystals": [
            {"name": "P-3m1", "formula": "Li3YCl6", "spacegroup": "P-3m1 (164)", "source": "Schlem et al. 2021"}
        ],
        "warnings": [],
        "provenance": {"rank": {"potential": "sha256:5d8e…"}, "arrhenius": {lowest["id"]: "analyse/9f2c31ab"}},
        "stages": {
            "enumerate": {
                "spaces": [
                    {
                        "crystal": crystal,
                        "composition_label": "Li3YCl6",
                        "formula": formula,
                        "supercell": "1x1x2",
                        "raw": 18564,
                        "distinct": 842,
                        "listed": 84,
                        "method": "exact",
                        "group_order": 24,
                        "ewald_eV": (-310 + ewald).tolist(),
                        "degeneracies": [6] * 84,
                    }
                ]
            },
            "rank": {
                "potential": {
                    "name": "CHGNet",
                    "model": "0.3.0",
                    "energy_convention": "MP2020-corrected PBE(+U)",
                    "level_of_theory": "PBE(+U)",
                    "version": "0.4.2",
                },
                "entries": entries,
                "failures": [{"label": "li3ycl6-024", "reason": "two ions came closer than 0.8 Å"}],
            },
            "hull": {
                "energy_convention": "MP2020-corrected PBE(+U)",
                "end_members": ["Li3YCl6"],
                "entries": [
                    {
                        "id": e["id"],
                        "crystal": crystal,
                        "formula": formula,
                        "coordinates": [1.0],
                        "formation_energy_eV_per_atom": e["relaxed_eV_per_atom"] - lowest["relaxed_eV_per_atom"],
                        "e_above_hull_eV_per_atom": e["relaxed_eV_per_atom"] - lowest["relaxed_eV_per_atom"],
                        "e_above_hull_eV_per_formula_unit": 10
                        * (e["relaxed_eV_per_atom"] - lowest["relaxed_eV_per_atom"]),
                        "stable": e is lowest,
                    }
                    for e in relaxed
                ],
                "polymorphs": [],
            },
            "select": {
                "temperature_K": 800.0,
                "selected": [{"id": lowest["id"], "reason": "lowest of its composition"}],
            },
            "sample": {
                "runs": [
                    {
                        "id": lowest["id"],
                        "temperature_K": 600.0,
                        "n_frames": 200,
                        "n_snapshots": 20,
                        "mean_temperature_K": 607.3,
                    }
                ],
                "failures": [],
            },
            "label": {
                "labeller": {
                    "code": "GPAW",
                    "version": "26.7.0",
                    "functional": "PBE",
                    "ecut_eV": 300.0,
                    "kpoint_spacing_per_A": 0.6,
                },
                "n_requested": 20,
                "n_accepted": 19,
                "rejected": [{"label": "snapshot 13", "reason": "largest force 31 eV/Å is above the gate of 20 eV/Å"}],
            },
            "train": {
                "trainer": "CHGNet 0.3.0",
                "n_train": 11,
                "n_validation": 4,
                "n_test": 4,
                "element_references_eV": {"Li": -0.1213, "Y": 0.402, "Cl": -0.711},
                "history": [
                    {
                        "epoch": epoch,
                        "train_loss": 0.4 * np.exp(-epoch / 3) + 0.03,
                        "validation_loss": 0.45 * np.exp(-epoch / 3) + 0.05 + 0.002 * epoch,
                        "train_force_mae_meV_per_A": 90 * np.exp(-epoch / 4) + 40,
                        "validation_force_mae_meV_per_A": 95 * np.exp(-epoch / 4) + 52,
                    }
                    for epoch in range(1, 13)
                ],
                "best_epoch": 9,
            },
            "validate": {
                "set": "test",
                "n_structures": 8,
                "before": {
                    "rmse_energy_meV_per_atom": 41.2,
                    "mae_energy_meV_per_atom": 40.1,
                    "rmse_force_meV_per_A": 131.0,
                    "mae_force_meV_per_A": 95.4,
                    "rmse_stress_GPa": 0.31,
                    "mae_stress_GPa": 0.24,
                },
                "after": {
                    "rmse_energy_meV_per_atom": 3.1,
                    "mae_energy_meV_per_atom": 2.4,
                    "rmse_force_meV_per_A": 78.0,
                    "mae_force_meV_per_A": 55.0,
                    "rmse_stress_GPa": 0.16,
                    "mae_stress_GPa": 0.12,
                },
                "parity": {
                    "energy_eV_per_atom": {
                        "reference": energy,
                        "before": energy + 0.04,
                        "after": energy + rng.normal(0, 0.003, 8),
                    },
                    "force_eV_per_A": {
                        "reference": reference,
                        "before": 0.85 * reference + rng.normal(0, 0.08, reference.size),
                        "after": reference + rng.normal(0, 0.07, reference.size),
                    },
                    "stress_GPa": {
                        "reference": stress,
                        "before": stress + rng.normal(0.1, 0.25, 48),
                        "after": stress + rng.normal(0, 0.14, 48),
                    },
                },
            },
            "distil": distilled(rng),
            "transport": {"runs": simulations, "failures": []},
            "analyse": {
                "mobile_ion": "Li",
                "charge": 1,
                "runs": analyses,
                "arrhenius": [arrhenius],
                "densities": [
                    {
                        "run": analyses[-1]["run"],
                        "id": lowest["id"],
                        "temperature_K": 800.0,
                        "array": "density-0",
                        "cell_A": cell.tolist(),
                        "isovalue_per_A3": 0.0006,
                        "framework": framework,
                    }
                ],
                "comparison": [
                    {
                        "formula": formula,
                        "quantity": quantity,
                        "ours": ours.get(quantity),
                        "published": value,
                        "unit": unit,
                        "method": method,
                        "source": source,
                        "temperature_K": temperature,
                        "kind": kind,
                        "pressure_GPa": pressure,
                    }
                    for quantity, value, unit, method, source, temperature, kind, pressure in published
                ],
            },
            "quality": [
                {
                    "severity": "caution",
                    "statement": "Cells of 60 atoms are small: ions meet their own images after 11 Å.",
                },
                {"severity": "info", "statement": "Labels use PBE at 300 eV, which is not converged for stress."},
            ],
        },
    }


def line() -> dict[str, Any]:
    """Return a composition line of two polymorphs from Li3YCl6 to Li3YBr6."""
    rng = np.random.default_rng(11)
    entries, hull, fits, simulations, analyses, polymorphs, spaces = [], [], [], [], [], [], []
    for step in range(5):
        x = step / 4
        formula = f"Li3YBr{6 * x:g}Cl{6 - 6 * x:g}".replace("Br0", "").replace("Cl0", "")
        energies = {}
        for crystal, offset in (("P-3m1", 0.006 * x), ("C2/m", 0.004 * (1 - x))):
            spaces.append(
                {
                    "crystal": crystal,
                    "composition_label": f"x={x:g}",
                    "formula": formula,
                    "supercell": [[1, 0, 0], [0, 1, 0], [0, 0, 2]],
                    "raw": 10**14,
                    "distinct": 10**12,
                    "listed": 200,
                    "method": "sampled",
                    "group_order": 12,
                    "ewald_eV": rng.gamma(5, 1, 200).tolist(),
                    "degeneracies": [1] * 200,
                }
            )
            for ordering in range(3):
                identity = f"{formula}-{crystal.replace('/', '')}-{ordering}"
                formation = -0.012 * x * (1 - x) + offset + 0.003 * ordering
                entries.append(
                    {
                        "id": identity,
                        "crystal": crystal,
                        "composition_label": f"x={x:g}",
                        "formula": formula,
                        "n_atoms": 30,
                        "degeneracy": 3,
                        "ewald_eV": float(rng.normal()),
                        "single_point_eV_per_atom": -4 + formation + 0.01,
                        "relaxed_eV_per_atom": -4 + formation,
                        "volume_A3_per_atom": 22 + 5 * x,
                        "converged": True,
                        "n_steps": 50,
                        "duplicate_of": None,
                    }
                )
                hull.append(
                    {
                        "id": identity,
                        "crystal": crystal,
                        "formula": formula,
                        "coordinates": [1 - x, x],
                        "formation_energy_eV_per_atom": formation,
                        "x": x,
                    }
                )
                energies.setdefault(crystal, -4 + formation)
            identity = f"{formula}-{crystal.replace('/', '')}-0"
            for temperature in (500.0, 650.0):
                one, two = transport_run(
                    f"{identity}-{temperature:g}", identity, formula, temperature, 0.26 + 0.1 * x, rng, 60
                )
                simulations.append(one)
                analyses.append(two)
            fits.append(fit(identity, formula, crystal, [500.0, 650.0], 0.26 + 0.1 * x, 0.03))
        polymorphs.append({"formula": formula, "crystals": energies, "lowest": min(energies, key=energies.__getitem__)})
    lowest = {
        x: min(e["formation_energy_eV_per_atom"] for e in hull if e["x"] == x) for x in (0.0, 0.25, 0.5, 0.75, 1.0)
    }
    for entry in hull:
        x = entry.pop("x")
        chords = [
            (lowest[a] * (b - x) + lowest[b] * (x - a)) / (b - a)
            for a in lowest
            for b in lowest
            if a <= x <= b and a < b
        ]
        above = max(entry["formation_energy_eV_per_atom"] - min(chords), 0.0)
        entry |= {
            "e_above_hull_eV_per_atom": above,
            "e_above_hull_eV_per_formula_unit": 10 * above,
            "stable": above < 1e-9,
        }
    results = demo()
    stages = results["stages"]
    stages["enumerate"] = {"spaces": spaces}
    stages["rank"]["entries"] = entries
    stages["hull"] = {
        "energy_convention": "MP2020-corrected PBE(+U)",
        "end_members": ["Li3YCl6", "Li3YBr6"],
        "entries": hull,
        "polymorphs": polymorphs,
    }
    stages["transport"]["runs"] = simulations
    stages["analyse"] |= {"runs": analyses, "arrhenius": fits, "densities": []}
    return results | {"campaign": "li3ycl6-xbrx line"}


def triangle() -> dict[str, Any]:
    """Return a composition triangle."""
    rng = np.random.default_rng(3)
    members = ["Li3InCl6", "Li3InBr6", "Li3YBr6"]
    hull, fits = [], []
    for i in range(5):
        for j in range(5 - i):
            shares = [1 - (i + j) / 4, i / 4, j / 4]
            corner = max(shares) == 1
            formula = (
                members[shares.index(1)]
                if corner
                else f"Li3In{1 - shares[2]:g}Y{shares[2]:g}Cl{6 * shares[0]:g}Br{6 - 6 * shares[0]:g}".replace(
                    "Y0C", "C"
                )
            )
            identity = f"t{i}{j}"
            above = 0.0 if corner or (i, j) == (2, 2) else float(rng.uniform(0.0002, 0.003))
            hull.append(
                {
                    "id": identity,
                    "crystal": "C2/m",
                    "formula": formula,
                    "coordinates": shares,
                    "formation_energy_eV_per_atom": above - 0.004,
                    "e_above_hull_eV_per_atom": above,
                    "e_above_hull_eV_per_formula_unit": 10 * above,
                    "stable": above == 0,
                }
            )
            fits.append(fit(identity, formula, "C2/m", [800.0, 1000.0], 0.24 + 0.05 * shares[2], 0.02))
    results = demo()
    results["stages"] = {
        "hull": {"energy_convention": "r2SCAN", "end_members": members, "entries": hull, "polymorphs": []},
        "analyse": {"mobile_ion": "Li", "charge": 1, "runs": [], "arrhenius": fits, "densities": [], "comparison": []},
    }
    return results | {"campaign": "triangle"}


_MADE: dict[str, dict[str, Any]] = {}


def _copy(name: str) -> dict[str, Any]:
    if name not in _MADE:
        _MADE[name] = {"demo": demo, "line": line, "triangle": triangle}[name]()
    return copy.deepcopy(_MADE[name])


@pytest.fixture
def demo_results() -> dict[str, Any]:
    return _copy("demo")


@pytest.fixture
def line_results() -> dict[str, Any]:
    return _copy("line")


@pytest.fixture
def triangle_results() -> dict[str, Any]:
    return _copy("triangle")


@pytest.fixture
def density_arrays() -> dict[str, np.ndarray]:
    return {"density-0": density()[0]}
