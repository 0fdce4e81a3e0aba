"""Small real campaigns, run once a session: what reads results is tested on what campaigns give, never on forgeries."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from superionic import Campaign
from superionic.results.campaign import Results

_MD = """\
  supercell: 1x1x1
  timestep_fs: 2
  heating_ps: 0.1
  nvt_before_npt_ps: 0
  npt_ps: 0.2
  production_ps: 3
  segment_ps: 2
  save_every_fs: 20
"""

# Paper A's halides: Li3InxY1-xBr6yCl6-6y with x + y ≥ 1, six compositions on two axes.
TWO_AXES = f"""\
superionic: 1
name: two-axes
seed: 3
mobile_ion: Li
oxidation_states: {{Li: 1, In: 3, Y: 3, Cl: -1, Br: -1}}
crystals:
  - {{name: c2m, file: li3ybr6_c2m.cif}}
composition_axes:
  - {{replace: Y, by: In, formula_unit: Li3YCl6, values: [0, 0.5, 1]}}
  - {{replace: Cl, by: Br, formula_unit: Li3YCl6, values: [0, 3, 6]}}
composition_constraints:
  - {{weights: {{In: 6, Br: 1}}, minimum: 6}}
potentials:
  pair: {{engine: pair}}
enumerate: {{ewald_keep: 2}}
rank: {{relax_top: 2, fmax_eV_per_A: 0.3, max_steps: 30, warm_start: 0}}
hull: {{formula_unit: Li3YCl6}}
transport:
  temperatures_K: [900, 1200]
  draws:
    {{supercell: 1x1x2, compositions: [Li3InBr3Cl3], temperature_K: 900, n_samples: 2, n_sweeps: 300,
     relax_steps: 0, initial: 10, batch: 5, max_rounds: 1}}
{_MD}
analyse: {{report_temperatures_K: [800], density_grid_A: null, sites: none}}
"""

# Paper B's series: Li3YCl6-xBrx in two polymorphs, with a potential in the place of DFT, sites and densities.
POLYMORPHS = f"""\
superionic: 1
name: polymorphs
seed: 3
mobile_ion: Li
oxidation_states: {{Li: 1, Y: 3, Cl: -1, Br: -1}}
crystals:
  - {{name: p-3m1, file: li3ycl6_p-3m1.cif}}
  - {{name: c2m, file: li3ybr6_c2m.cif}}
composition_axes:
  - {{replace: Cl, by: Br, formula_unit: Li3YCl6, values: [0, 3, 6]}}
potentials:
  pair: {{engine: pair}}
  softer: {{engine: pair, options: {{contact_force_ratio: 0.195, softness_A: 0.32}}}}
enumerate: {{ewald_keep: 2}}
rank: {{potential: pair, relax_top: 2, fmax_eV_per_A: 0.3, max_steps: 30, warm_start: 0}}
hull: {{formula_unit: Li3YCl6}}
dft: {{engine: "potential:softer", relax: 1, single_points: 2, fmax_eV_per_A: 0.05, max_steps: 20, segment_steps: 7}}
select: {{compositions: [Li3YCl6, Li3YBr3Cl3], count: 2}}
sample:
  {{potential: pair, temperatures_K: [600], replicas: 1, timestep_fs: 2, equilibration_ps: 0.1, production_ps: 0.2,
   snapshots: 2}}
label: {{engine: "potential:softer"}}
validate: {{potential: pair}}
transport:
  temperatures_K: [900, 1200]
{_MD}
analyse: {{report_temperatures_K: [350, 800], density_grid_A: 1.0}}
"""

# Paper B's table 1: two potentials and two pressures side by side, with a series of cells, and one that cannot run.
SERIES = """\
superionic: 1
name: series
seed: 3
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals:
  - {name: p-3m1, file: li3ycl6_p-3m1.cif}
potentials:
  pair: {engine: pair}
  softer: {engine: pair, options: {charge_scale: 0.9}}
enumerate: {ewald_keep: 1}
rank: {potential: pair, relax_top: 1, fmax_eV_per_A: 0.3, max_steps: 30, warm_start: 0}
hull: null
volumes:
  {potential: softer, each_series: true, supercell: 1x1x1, temperatures_K: [300], timestep_fs: 2, heating_ps: 0,
   nvt_before_npt_ps: 0, npt_ps: 0.4, npt_discard_fraction: 0, save_every_fs: 20, segment_ps: 1, max_steps: 5}
transport:
  - name: 1-bar
    potential: pair
    supercell: 1x1x1
    temperatures_K: [900, 1200]
    timestep_fs: 2
    barostat_time_fs: 100
    heating_ps: 0
    nvt_before_npt_ps: 0
    npt_ps: 0.6
    production_ps: 0.8
    segment_ps: 1
    save_every_fs: 20
  - {name: 10-kbar, pressure_GPa: 1}
  - {name: softer, potential: softer}
  - {name: too-hot, temperatures_K: [9000], timestep_fs: 10, heating_ps: 0, npt_ps: 0}
analyse: {report_temperatures_K: [300, 900], density_grid_A: null, sites: none}
"""

# Orderings drawn at a temperature, against reference phases, run by a committee's worth of replicas.
MONTE_CARLO = f"""\
superionic: 1
name: monte-carlo
seed: 7
mobile_ion: Li
oxidation_states: {{Li: 1, Y: 3, Cl: -1}}
crystals:
  - {{name: p-3m1, file: li3ycl6_p-3m1.cif}}
references:
  - {{name: LiCl, file: licl.cif}}
  - {{name: YCl3, file: ycl3.cif}}
potentials:
  pair: {{engine: pair}}
enumerate:
  method: monte-carlo
  monte_carlo:
    {{potential: pair, temperature_K: 900, n_sweeps: 500, n_samples: 6,
     relax_steps: 3, initial: 10, batch: 5, max_rounds: 2}}
rank: {{relax_top: 2, fmax_eV_per_A: 0.3, max_steps: 30, warm_start: 0}}
hull: {{}}
transport:
  temperatures_K: [900]
  replicas: 2
{_MD}
analyse: {{density_grid_A: 1.0, sites: density, observables: [vibrations, rotation, pairs]}}
"""

_LEARNING = """\
superionic: 1
name: learning
seed: 3
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals:
  - {name: p-3m1, file: li3ycl6_p-3m1.cif}
references:
  - {name: LiCl, file: licl.cif}
  - {name: YCl3, file: ycl3.cif}
potentials:
  pair: {engine: pair}
  softer: {engine: pair, options: {charge_scale: 0.9}}
enumerate: {ewald_keep: 2}
rank: {relax_top: 1, fmax_eV_per_A: 0.5, max_steps: 20, method: single-points, potential: pair}
select: {count: 1}
sample:
  potential: pair
  temperatures_K: [300, 600]
  timestep_fs: 2
  replicas: 2
  equilibration_ps: 0
  production_ps: 0.08
  segment_ps: 0.08
  snapshots: [4, 3]
  monitors: {max_drift_meV_per_atom: null}
label: {engine: "potential:softer", gates: {energy_outlier_sigma: null}}
train:
  trainer: nep
  epochs: 6
  epochs_per_segment: 2
  patience: null
  validation_fraction: 0.2
  test_fraction: 0.2
  preflight: warn
  options: {n_radial: 3, n_angular: 2, l_max: 2, n_neurons: 6, cutoff_radial_A: 4.5, cutoff_angular_A: 3.5}
validate: {}
transport: null
analyse: null
"""

# Labels that check a potential as it is: nothing is trained.
CHECKED = (
    re.sub(r"^train:\n(  .*\n)+", "", _LEARNING, flags=re.MULTILINE)
    .replace("name: learning", "name: checked")
    .replace("temperatures_K: [300, 600]", "temperatures_K: [600]")
    .replace("snapshots: [4, 3]", "snapshots: 4")
)

# Paper B's ladder: each rung samples with what the rungs below taught, and all are compared on the same test sets.
LADDER = _LEARNING.replace("name: learning", "name: ladder") + "learn: {strategy: ladder, tests: {orderings: 1}}\n"

# Paper A's figure 2d: potentials of fewer labels, one of them too poor to run, and one that cannot be trained.
SIZES = """\
superionic: 1
name: sizes
seed: 3
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals:
  - {name: p-3m1, file: li3ycl6_p-3m1.cif}
potentials:
  pair: {engine: pair}
  softer: {engine: pair, options: {charge_scale: 0.9}}
enumerate: {ewald_keep: 4}
rank: {relax_top: 3, fmax_eV_per_A: 0.3, max_steps: 10, potential: pair, warm_start: 0}
hull: {}
select: {count: 2}
sample:
  potential: pair
  temperatures_K: [900]
  timestep_fs: 2
  replicas: 3
  equilibration_ps: 0
  production_ps: 0.2
  segment_ps: 0.2
  snapshots: 4
  monitors: {max_drift_meV_per_atom: null}
label: {engine: "potential:softer", gates: {energy_outlier_sigma: null}}
train:
  trainer: nep
  epochs: 8
  epochs_per_segment: 8
  patience: null
  validation_fraction: 0.17
  test_fraction: 0.17
  preflight: warn
  options: {n_radial: 3, n_angular: 2, l_max: 2, n_neurons: 6, cutoff_radial_A: 4.5, cutoff_angular_A: 3.5}
learn: {sizes: [8, 0, 500]}
validate: {}
transport:
  supercell: 1x1x1
  temperatures_K: [600, 900]
  timestep_fs: 1
  heating_ps: 0
  nvt_before_npt_ps: 0
  npt_ps: 0
  production_ps: 0.4
  segment_ps: 1
  save_every_fs: 10
analyse: {report_temperatures_K: [300, 900], density_grid_A: null, sites: none}
"""

# Both papers: the hull once more by the fine-tuned potential, beside DFT (here the potential that labels).
REPEATED = """\
superionic: 1
name: repeated
seed: 3
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1, Br: -1}
crystals:
  - {name: p-3m1, file: li3ycl6_p-3m1.cif}
  - {name: c2m, file: li3ybr6_c2m.cif}
composition_axes:
  - {replace: Cl, by: Br, formula_unit: Li3YCl6, values: [0, 6]}
potentials:
  pair: {engine: pair}
  softer: {engine: pair, options: {contact_force_ratio: 0.195, softness_A: 0.32}}
enumerate: {ewald_keep: 3}
rank:
  potential: pair
  prescreen: ewald
  prescreen_keep: 2
  prescreen_audit: 0
  method: single-points
  relax_top: 1
  fmax_eV_per_A: 0.3
  max_steps: 30
hull: {repeat_with_fine_tuned: true}
dft: {engine: "potential:softer", relax: 1, fmax_eV_per_A: 0.05, max_steps: 20, segment_steps: 10}
select: {count: 4}
sample:
  potential: pair
  temperatures_K: [600]
  timestep_fs: 2
  equilibration_ps: 0
  production_ps: 0.08
  segment_ps: 0.08
  snapshots: 4
  monitors: {max_drift_meV_per_atom: null}
label: {engine: "potential:softer", gates: {energy_outlier_sigma: null}}
train: {trainer: delta, epochs: 40, patience: null, validation_fraction: 0.25, test_fraction: 0, preflight: warn}
transport: null
analyse: null
"""

# A correction that a few labels teach, on top of a potential that has no trainer of its own.
CORRECTED = (
    _LEARNING.replace("name: learning", "name: corrected")
    .replace("{charge_scale: 0.9}", "{contact_force_ratio: 0.195, softness_A: 0.32}")
    .replace("  trainer: nep\n  epochs: 6\n", "  trainer: delta\n  epochs: 40\n")
    .replace(
        "  options: {n_radial: 3, n_angular: 2, l_max: 2, n_neurons: 6, cutoff_radial_A: 4.5, cutoff_angular_A: 3.5}\n",
        "",
    )
    .replace(
        "transport: null",
        f"transport:\n  temperatures_K: [600]\n{_MD}".rstrip().replace("production_ps: 3", "production_ps: 0.2"),
    )
)

# An active loop by a committee.
COMMITTEE = (
    _LEARNING.replace("name: learning", "name: committee")
    + """\
learn:
  strategy: active
  members: 2
  active: {max_rounds: 1, labels_per_round: 4, collect_above_eV_per_A: 0.01, stop_above_eV_per_A: 50}
"""
)

# Orderings of two compositions culled by successive halving, compared with another potential, and nothing after that.
HALVING = """\
superionic: 1
name: halving
seed: 7
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1, Br: -1}
crystals:
  - {name: p-3m1, file: li3ycl6_p-3m1.cif}
composition_axes:
  - {replace: Cl, by: Br, formula_unit: Li3YCl6, values: [0, 3]}
potentials:
  pair: {engine: pair}
  harder: {engine: pair, options: {charge_scale: 1.1}}
enumerate: {ewald_keep: 30}
rank:
  potential: pair
  prescreen: ewald
  prescreen_keep: 26
  prescreen_audit: 2
  method: halving
  halving: {first_steps: 3, audit_at_least: 3}
  relax_top: 2
  fmax_eV_per_A: 0.1
  max_steps: 60
  compare_with: [harder]
transport: null
analyse: null
"""

TEXTS = {
    "halving": HALVING,
    "two-axes": TWO_AXES,
    "polymorphs": POLYMORPHS,
    "series": SERIES,
    "monte-carlo": MONTE_CARLO,
    "ladder": LADDER,
    "sizes": SIZES,
    "repeated": REPEATED,
    "corrected": CORRECTED,
    "committee": COMMITTEE,
}
_FILES = ("li3ycl6/li3ycl6_p-3m1.cif", "li3ycl6/licl.cif", "li3ycl6/ycl3.cif", "li3ycl6-xbrx/li3ybr6_c2m.cif")


@dataclass(frozen=True)
class Finished:
    """A campaign that ran to its end; its folder is shared, and not to be changed."""

    campaign: Campaign
    results: Results

    @property
    def report(self) -> Path:
        """Folder of its report."""
        return self.campaign.report_folder


@pytest.fixture(scope="session")
def finished(root: Path, made_once: Callable[..., Path]) -> Callable[[str], Finished]:
    """Return a campaign by its name, run to its end."""

    @cache
    def finish(name: str) -> Finished:
        folder = made_once(
            f"campaigns/{name}", lambda folder: Campaign.load(write_campaign(root, folder, TEXTS[name])).run()
        )
        campaign = Campaign.load(folder / "campaign.yaml")
        return Finished(campaign, campaign.load_results())

    return finish


@pytest.fixture(scope="session")
def halving(finished: Callable[[str], Finished]) -> Finished:
    """Two compositions, ranked by successive halving and compared between two potentials."""
    return finished("halving")


@pytest.fixture(scope="session")
def two_axes(finished: Callable[[str], Finished]) -> Finished:
    """Six compositions on two axes."""
    return finished("two-axes")


@pytest.fixture(scope="session")
def polymorphs(finished: Callable[[str], Finished]) -> Finished:
    """Three compositions on one axis in two polymorphs."""
    return finished("polymorphs")


@pytest.fixture(scope="session")
def series(finished: Callable[[str], Finished]) -> Finished:
    """One material by two potentials and at two pressures."""
    return finished("series")


@pytest.fixture(scope="session")
def monte_carlo(finished: Callable[[str], Finished]) -> Finished:
    """Orderings drawn at a temperature, replicas, reference phases."""
    return finished("monte-carlo")


@pytest.fixture(scope="session")
def ladder(finished: Callable[[str], Finished]) -> Finished:
    """Two rungs of sampling, labelling and training."""
    return finished("ladder")


@pytest.fixture(scope="session")
def sizes(finished: Callable[[str], Finished]) -> Finished:
    """Potentials trained on parts of the labels, with orders and runs by each."""
    return finished("sizes")


@pytest.fixture(scope="session")
def repeated(finished: Callable[[str], Finished]) -> Finished:
    """Two compositions in two polymorphs, ranked again by the potential that was trained, beside DFT."""
    return finished("repeated")


@pytest.fixture(scope="session")
def corrected(finished: Callable[[str], Finished]) -> Finished:
    """A potential without a trainer, corrected by some labels; it drives the runs."""
    return finished("corrected")


@pytest.fixture(scope="session")
def committee(finished: Callable[[str], Finished]) -> Finished:
    """An active loop by two potentials."""
    return finished("committee")


def write_campaign(root: Path, folder: Path, text: str) -> Path:
    """Write a campaign file with the crystals that these campaigns name, and return it."""
    for name in _FILES:
        shutil.copy(root / "examples" / name, folder / Path(name).name)
    path = folder / "campaign.yaml"
    path.write_text(text, encoding="utf-8")
    return path
