"""The page about notebooks: what it shows is run, as it stands there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "notebook.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What the names of the page stand for after its snippets, but for the campaign's, have run in their order."""
    folder = tmp_path_factory.mktemp("notebook")
    shutil.copy(ROOT / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif", folder)
    names: dict[str, object] = {"folder": folder}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for snippet in SNIPPETS[:-1]:
            exec(compile(snippet, "notebook.md", "exec"), names)
    return names


def test_orderings_are_counted_listed_and_drawn(shown):
    assert shown["orderings"].count() == 49_668
    assert len(shown["structures"][0]) == 30
    energies = shown["lowest"].to_frame()["ewald_eV"].to_numpy()
    assert (np.diff(energies) >= -1e-9).all()
    assert len(energies) == 100
    assert shown["sample"].to_frame()["times_drawn"].sum() == 50


def test_the_calculator_and_the_potential_say_the_same(shown):
    assert shown["atoms"].get_potential_energy() == shown["prediction"].energy_eV
    assert shown["relaxed"].energy_eV < shown["prediction"].energy_eV


def test_a_run_that_goes_on_is_one_run(shown):
    first, second = shown["run"]
    times = np.concatenate([each.segment.times_ps for each in (first, second)])
    assert times == pytest.approx(np.arange(101) * 0.02)
    assert shown["analysis"].runs[0].n_frames == 101
    assert "tracer diffusivity" in repr(shown["analysis"])


def test_the_files_that_the_page_writes_are_there(shown):
    assert (shown["folder"] / "msd.pdf").stat().st_size > 1000
    assert (shown["folder"] / "analysis" / "analysis.html").exists()


def test_no_name_of_the_face_is_missing_from_the_page():
    import superionic

    assert all(f"si.{name}" in PAGE for name in dir(superionic) if name not in ("SuperionicError", "__version__"))
