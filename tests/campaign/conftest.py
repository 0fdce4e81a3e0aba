"""A whole campaign that runs in seconds: every stage but training, by the pair potential."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

TEXT = """\
superionic: 1
name: small
seed: 7
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals:
  - {name: P-3m1, file: li3ycl6_p-3m1.cif}
references:
  - {name: LiCl, file: licl.cif}
  - {name: YCl3, file: ycl3.cif}
potentials:
  pair: {engine: pair}
enumerate: {ewald_keep: 4}
rank: {relax_top: 2, fmax_eV_per_A: 0.3, max_steps: 40, method: single-points}
select: {count: 1}
sample:
  {temperatures_K: [800], timestep_fs: 2, equilibration_ps: 0.04, production_ps: 0.08, segment_ps: 0.04, snapshots: 2}
label: {engine: "potential:pair"}
transport:
  supercell: 1x1x1
  temperatures_K: [800, 1000]
  timestep_fs: 2
  heating_ps: 0.04
  nvt_before_npt_ps: 0
  npt_ps: 0.08
  production_ps: 0.2
  segment_ps: 0.04
analyse: {density_grid_A: 1.0}
"""


@pytest.fixture(scope="session")
def finished_folder(root: Path, made_once: Callable[..., Path]) -> Path:
    """A folder with the small campaign, run to its end; not to be changed."""
    from superionic import Campaign

    return made_once("finished", lambda folder: Campaign.load(_write(root, folder, ())).run())


@pytest.fixture
def small_campaign(root: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a small campaign, with replacements made in its text, and return its file."""

    def write(*replacements: tuple[str, str], folder: str = "campaign") -> Path:
        return _write(root, tmp_path / folder, replacements)

    return write


@pytest.fixture
def finished(root: Path, finished_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copy the finished campaign and its run folder, change its text, and return its file."""

    def write(*replacements: tuple[str, str]) -> Path:
        shutil.copytree(finished_folder / "runs", tmp_path / "copy" / "runs", dirs_exist_ok=True)
        return _write(root, tmp_path / "copy", replacements)

    return write


def _write(root: Path, target: Path, replacements: tuple[tuple[str, str], ...]) -> Path:
    target.mkdir(exist_ok=True)
    for name in ("li3ycl6_p-3m1.cif", "licl.cif", "ycl3.cif"):
        shutil.copy(root / "examples" / "li3ycl6" / name, target / name)
    text = TEXT
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new)
    path = target / "campaign.yaml"
    path.write_text(text)
    return path
