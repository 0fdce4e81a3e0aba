from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from superionic.errors import CalculationFailed
from superionic.labels.vasprun import read_vasprun

from .fake_vasp import vasprun_text

SYMBOLS = ["Li", "Li", "Cl", "Cl"]
CELL = np.diag([5.1, 5.2, 5.3])
SCALED = np.array([[0.0, 0.0, 0.01], [0.5, 0.5, 0.0], [0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])
FORCES = np.array([[0.12345678, -0.2, 0.3], [-0.1, 0.2, -0.1], [0.0, 0.1, -0.1], [-0.02345678, -0.1, -0.1]])
STRESS_KB = np.array([[10.0, 1.0, 2.0], [1.0, -20.0, 3.0], [2.0, 3.0, 30.5]])


def text_of(**changes: Any) -> str:
    values = {"energy": -17.12345678, "forces": FORCES, "stress_kB": STRESS_KB, **changes}
    symbols, cell, scaled = (
        values.pop(name, default) for name, default in (("symbols", SYMBOLS), ("cell", CELL), ("scaled", SCALED))
    )
    return vasprun_text(symbols, cell, scaled, **values)


def written(folder: Path, text: str, name: str = "vasprun.xml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_numbers_are_those_of_the_file_in_our_signs_and_units(tmp_path: Path) -> None:
    run = read_vasprun(written(tmp_path, text_of()))
    ((atoms, label),) = run.steps
    assert atoms.get_chemical_symbols() == SYMBOLS
    assert np.abs(atoms.positions - SCALED @ CELL).max() < 1e-7
    assert label.energy_eV == -17.12345678
    assert np.array_equal(label.forces_eV_per_A, FORCES)
    # Ten kbar are one GPa; compression, positive in VASP, is negative here; xx, yy, zz, yz, xz, xy.
    gpa = label.stress_eV_per_A3 * 160.21766208
    assert gpa == pytest.approx([-1.0, 2.0, -3.05, -0.3, -0.2, -0.1], rel=1e-7)
    assert label.provenance["version"] == "6.3.2"
    assert label.provenance["functional"] == "PBE"
    assert label.provenance["setups"]["Cl"] == "PAW_PBE Cl 06Sep2000"
    assert label.diagnostics["converged"]


def test_packed_files_are_read(tmp_path: Path) -> None:
    packed = tmp_path / "vasprun.xml.gz"
    packed.write_bytes(gzip.compress(text_of().encode()))
    assert read_vasprun(packed).steps[0][1].energy_eV == -17.12345678
    packed.write_bytes(packed.read_bytes()[:-200])
    with pytest.raises(CalculationFailed):
        read_vasprun(packed)


def test_an_error_of_the_file_system_is_no_failure_of_the_calculation(tmp_path: Path) -> None:
    (tmp_path / "vasprun.xml").mkdir()
    with pytest.raises(IsADirectoryError):
        read_vasprun(tmp_path / "vasprun.xml")


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    text = text_of(steps=3).rstrip()
    ends = [match.end() for match in re.finditer("</calculation>", text)]
    for share in np.linspace(0.0, 0.999, 40):
        length = int(share * len(text))
        path = written(tmp_path, text[:length])
        whole = sum(end <= length for end in ends)
        if whole:  # the steps before the cut are as good as they were
            run = read_vasprun(path)
            assert [label.energy_eV for _, label in run.steps] == [-17.12345678] * whole
            assert "cut off or not XML" in run.left_out[0]
        else:
            with pytest.raises(CalculationFailed):
                read_vasprun(path)
    with pytest.raises(CalculationFailed, match="no vasprun"):
        read_vasprun(tmp_path / "nothing.xml")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"changes": (-0.1,) * 59}, "did not converge in 60 steps"),
        ({"changes": (-3.0, -0.1)}, "stopped at a change of 1.0e-01"),
        ({"forces": np.full((4, 3), np.nan)}, "not a finite number"),
        ({"forces": FORCES[:3]}, "3 forces were printed for 4 atoms"),
        ({"echo": {"ML_LMLFF": True}}, "learnt on the fly"),
        ({"echo": {"ICHARG": 11}}, "density was kept fixed"),
        ({"tags": {"ICHARG": 12}}, "density was kept fixed"),
        ({"points": "listgenerated"}, "k-points lie on lines"),
        ({"echo": {"ALGO": "Nothing"}}, "no ground state"),
        ({"tags": {"LCHIMAG": True}}, "chemical shifts"),
        ({"tags": {"EDIFF": 0.1}}, "too loose for a label"),
    ],
)
def test_what_is_no_label_is_refused(changes: dict[str, Any], word: str, tmp_path: Path) -> None:
    with pytest.raises(CalculationFailed, match=word):
        read_vasprun(written(tmp_path, text_of(**changes)))


def test_parts_that_are_missing_or_do_not_fit(tmp_path: Path) -> None:
    text = text_of()
    with pytest.raises(CalculationFailed, match="forces is not in the file"):
        read_vasprun(written(tmp_path, text.replace('<varray name="forces" >', '<varray name="other" >')))
    run = read_vasprun(written(tmp_path, text.replace('<varray name="stress" >', '<varray name="other" >')))
    assert run.steps[0][1].stress_eV_per_A3 is None
    assert run.remarks == ("1 of 1 labels have no stress: it is not in the file",)
    overflow = text.replace("-17.12345678", "***********")
    with pytest.raises(CalculationFailed):
        read_vasprun(written(tmp_path, overflow))
    # The energy of the ionic step is printed last; another than the last electronic one's is somebody's edit.
    head, _, tail = text.rpartition("-17.12345678")
    with pytest.raises(CalculationFailed, match="not that of its last electronic step"):
        read_vasprun(written(tmp_path, head + "-18.12345678" + tail))


def test_steps_of_a_run_at_fixed_cell_and_not_of_a_relaxed_cell(tmp_path: Path) -> None:
    assert len(read_vasprun(written(tmp_path, text_of(steps=3))).steps) == 3
    one, other = text_of(), text_of(cell=1.02 * CELL)
    step = other[other.index("<calculation>") : other.index("</calculation>") + len("</calculation>")]
    both = one.replace("</calculation>", f"</calculation>{step}")
    with pytest.raises(CalculationFailed, match="the cell changes"):
        read_vasprun(written(tmp_path, both))


def test_references_are_told_apart_by_what_changes_numbers(tmp_path: Path) -> None:
    def hash_of(spacing: float | None = None, **changes: Any) -> str:
        return read_vasprun(written(tmp_path, text_of(**changes)), kpoint_spacing_per_A=spacing).identity.settings_hash

    plain = hash_of()
    different = [
        hash_of(version="6.4.1"),
        hash_of(tags={"ENMAX": 400.0}),
        hash_of(tags={"SIGMA": 0.1}),
        hash_of(tags={"GGA": "PS"}),
        hash_of(tags={"LASPH": False}),
        hash_of(tags={"GGA": "--", "LMETAGGA": True}, echo={"METAGGA": "R2SCAN"}),
        hash_of(tags={"LDAU": True}, echo={"LDAUU": 3.0}),
        hash_of(echo={"IVDW": 12}),
        hash_of(grid=(3, 3, 3)),
        hash_of(spacing=0.8),
    ]
    assert len({plain, *different}) == 11
    assert hash_of(echo={"NCORE": 8}) == plain
    assert hash_of(tags={"NELM": 200}) == plain
    # One spacing, two cells and grids.
    assert hash_of(spacing=0.65) == hash_of(spacing=0.65, cell=np.diag([5.1, 5.2, 10.0]), grid=(2, 2, 1))
    with pytest.raises(CalculationFailed, match="coarser than"):
        hash_of(spacing=0.3)


def test_the_functional_is_named(tmp_path: Path) -> None:
    def functional(**changes: Any) -> str:
        return read_vasprun(written(tmp_path, text_of(**changes))).identity.functional

    assert functional(tags={"GGA": "--"}) == "PBE"  # that of the POTCARs
    assert functional(tags={"GGA": "--"}, titles={"Li": "PAW Li 17Jan2003", "Cl": "PAW Cl 17Jan2003"}) == "LDA"
    assert functional(echo={"METAGGA": "Scan"}) == "SCAN"
    assert functional(tags={"LDAU": True}, echo={"LDAUU": 3.0}) == "PBE+U"
    assert functional(echo={"IVDW": 12}) == "PBE-D3(BJ)"
    assert functional(tags={"LHFCALC": True, "AEXX": 0.25}) == "hybrid of PBE"


def test_whole_steps_of_a_run_are_kept_and_the_others_named(tmp_path: Path) -> None:
    good, bad = text_of(steps=2), text_of(changes=(-0.1,) * 59)
    step = bad[bad.index("<calculation>") : bad.index("</calculation>") + len("</calculation>")]
    run = read_vasprun(written(tmp_path, good.replace("<calculation>", f"{step}<calculation>", 1)))
    assert len(run.steps) == 2
    assert run.left_out == ("the electronic minimisation did not converge in 60 steps (NELM) in ionic step 1",)
    cut = text_of(steps=3)
    run = read_vasprun(written(tmp_path, cut[: cut.rindex("</varray>", 0, cut.rindex("</calculation>"))]))
    assert len(run.steps) == 2
    assert "after ionic step 2" in run.left_out[0]


def test_each_block_of_atoms_has_its_own_title(tmp_path: Path) -> None:
    titles = {"Li": "PAW_PBE Li_sv 10Sep2004", "Y": "PAW_PBE Y_sv 25May2007", "Cl": "PAW_PBE Cl 06Sep2000"}
    text = text_of(symbols=["Li", "Y", "Li", "Cl"], titles=titles)
    assert read_vasprun(written(tmp_path, text)).steps[0][1].provenance["setups"] == titles
    # Two pseudopotentials of one element are both said.
    both = text.replace("Li_sv", "Li   ", 1)
    assert read_vasprun(written(tmp_path, both)).steps[0][1].provenance["setups"]["Li"] == (
        "PAW_PBE Li    10Sep2004 and PAW_PBE Li_sv 10Sep2004"
    )


def test_what_was_used_and_what_a_cell_is_makes_the_reference(tmp_path: Path) -> None:
    def settings(**changes: Any) -> dict[str, Any]:
        return dict(read_vasprun(written(tmp_path, text_of(**changes))).identity.settings)

    # The grid that KSPACING gives for cells of 5.1 to 5.3 Å is 3x3x3; another one is that of a KPOINTS file.
    assert settings(echo={"KSPACING": 0.5}, grid=(3, 3, 3))["kpoints"] == {"spacing_per_A": 0.5, "gamma": True}
    for grid in ((2, 2, 2), (4, 4, 4)):
        assert settings(echo={"KSPACING": 0.5}, grid=grid)["kpoints"]["grid"] == list(grid)
    # Each of the four atoms brings one electron.
    assert "net_charge_e" not in settings(tags={"NELECT": 4.0})
    assert settings(tags={"NELECT": 5.0})["net_charge_e"] == -1.0
    # EDIFF goes with the cell, lists of LDAU with the order of the species.
    assert settings(tags={"EDIFF": 4e-5}) == settings(tags={"EDIFF": 2e-6})
    one = {"LDAUTYPE": 2, "LDAUL": [-1, 2], "LDAUU": [0.0, 5.3], "LDAUJ": [0.0, 0.0]}
    two = {"LDAUTYPE": 2, "LDAUL": [2, -1], "LDAUU": [5.3, 0.0], "LDAUJ": [0.0, 0.0]}
    on = {"tags": {"LDAU": True}}
    first = settings(**on, symbols=["O", "O", "Fe", "Fe"], echo=one)
    assert first["hubbard"] == {"Fe": [[2, 5.3, 0.0]]}
    assert first == settings(**on, symbols=["Fe", "Fe", "O", "O"], echo=two)
    assert first != settings(**on, symbols=["O", "O", "Fe", "Fe"], echo={**one, "LDAUU": [0.0, 4.0]})
    assert first != settings(**on, symbols=["Fe", "Fe", "O", "O"], echo=one)


def test_a_dispersion_energy_comes_behind_the_electronic_steps(tmp_path: Path) -> None:
    text = text_of(echo={"IVDW": 12}, entropy=0.0)
    start, end = text.index("<scstep>"), text.rindex("</scstep>")
    steps = re.sub(r"(?<=> )\s*-?[\d.]+(?= </i>)", lambda match: f"{float(match[0]) + 0.4:16.8f}", text[start:end])
    run = read_vasprun(written(tmp_path, text[:start] + steps + text[end:]))
    assert run.steps[0][1].energy_eV == -17.12345678
    with pytest.raises(CalculationFailed, match="not that of its last electronic step"):
        read_vasprun(written(tmp_path, (text[:start] + steps + text[end:]).replace("IVDW", "NSIM")))
