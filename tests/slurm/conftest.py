"""A Slurm of its own on this machine, and a campaign that takes half a minute on it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from superionic.execution.sites import slurm

from .cluster import Cluster, NoSlurmError, slurm_here

CAMPAIGN = """\
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
transport:
  supercell: 1x1x1
  temperatures_K: [800, 1000]
  timestep_fs: 2
  heating_ps: 0.04
  nvt_before_npt_ps: 0
  npt_ps: 0.08
  production_ps: 0.8
  segment_ps: 0.04
analyse: {density_grid_A: 1.0}
"""

SITE = """\
superionic_site: 1
preset: slurm-here
kinds:
  core: {workers_per_node: 2, max_jobs: 3}
"""


@pytest.fixture(scope="session")
def _slurm_here() -> Iterator[Cluster]:
    pytest.importorskip("parsl")
    with ExitStack() as stack:
        try:
            made = stack.enter_context(slurm_here())
        except NoSlurmError as reason:
            pytest.skip(str(reason))
        yield made


@pytest.fixture
def cluster(_slurm_here: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A Slurm with three nodes, all of them idle."""
    monkeypatch.setenv("SLURM_CONF", _slurm_here.conf)
    slurm.cancel_all("superionic.")
    _slurm_here.becomes(lambda: not _slurm_here.alive(), 30)
    return _slurm_here


@pytest.fixture
def campaign(root: Path, tmp_path: Path) -> Path:
    """A folder with ``campaign.yaml`` and ``site.yaml``."""
    return make_folder(root, tmp_path / "there")


def make_folder(root: Path, folder: Path) -> Path:
    """Write the campaign and the site file."""
    folder.mkdir()
    for name in ("li3ycl6_p-3m1.cif", "licl.cif", "ycl3.cif"):
        shutil.copy(root / "examples" / "li3ycl6" / name, folder / name)
    (folder / "campaign.yaml").write_text(CAMPAIGN)
    (folder / "site.yaml").write_text(SITE)
    return folder


@pytest.fixture(scope="session")
def local_folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same campaign, run on this machine without disturbance."""
    from superionic import Campaign

    folder = make_folder(root, tmp_path_factory.mktemp("local") / "here")
    Campaign.load(folder / "campaign.yaml").run()
    return folder


@pytest.fixture(scope="session")
def local_products(local_folder: Path) -> dict[str, bytes]:
    """All files of its report."""
    return products(local_folder)


def results(folder: Path) -> dict[str, bytes]:
    """All files of the store that hold a result."""
    objects = folder / "runs" / "small" / "store" / "objects"
    return {path.name: path.read_bytes() for path in objects.glob("*/*.zip")}


def products(folder: Path) -> dict[str, bytes]:
    """All files of the report."""
    report = folder / "runs" / "small" / "report"
    return {str(path.relative_to(report)): path.read_bytes() for path in sorted(report.rglob("*")) if path.is_file()}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a command of superionic; what still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def command(*arguments: str | Path) -> subprocess.Popen[bytes]:
        with (tmp_path / f"log-{len(started)}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "superionic.cli", *map(str, arguments)], stdout=log, stderr=log
            )
        started.append(process)
        return process

    yield command
    for process in started:
        process.kill()
        process.wait()
