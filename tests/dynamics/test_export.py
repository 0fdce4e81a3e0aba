"""Transport runs as input of LAMMPS and GPUMD."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read

from superionic.dynamics import export
from superionic.errors import PotentialError
from superionic.potentials.base import load_potential
from superionic.potentials.reference import li3ycl6_cell
from superionic.settings.transport import TransportSettings

ELEMENTS = ["Li", "Cl", "Y"]
LENGTHS = {"nvt_equilibration_ps": 0.01, "production_ps": 0.05}


def settings(**more):
    short = {
        "heating_ps": 0.02,
        "nvt_before_npt_ps": 0.02,
        "npt_ps": 0.2,
        "save_every_fs": 10.0,
        "barostat_time_fs": 200.0,
    }
    return TransportSettings(**{**short, **more}).model_dump()


def crystal():
    atoms = li3ycl6_cell()
    atoms.rattle(0.05, seed=1)
    atoms.rotate(30, (1, 2, 3), rotate_cell=True)
    return atoms


def test_a_data_file_is_the_same_crystal(tmp_path):
    atoms = crystal()
    file = tmp_path / "run.data"
    file.write_text(export.lammps_data(atoms, "Li3YCl6", ELEMENTS), encoding="utf-8")
    there = read(file, format="lammps-data", atom_style="atomic")
    assert (there.numbers == atoms.numbers).all()
    assert there.cell.cellpar() == pytest.approx(atoms.cell.cellpar())
    assert load_potential("pair").evaluate(there).energy_eV == pytest.approx(
        load_potential("pair").evaluate(atoms).energy_eV
    )


def test_types_keep_the_order_of_the_potential():
    text = export.lammps_data(crystal(), "x", ["Y", "Br", "Cl", "Li"])
    assert "4 atom types" in text
    assert "1 88.9" in text
    rows = text.partition("Atoms")[2].splitlines()[2:]
    assert {row.split()[1] for row in rows} == {"1", "3", "4"}
    assert export.elements_of(crystal()) == ELEMENTS


@pytest.mark.parametrize(
    ("thermostat", "cell_motion"),
    [
        ("nose-hoover-chain", "anisotropic"),
        pytest.param("csvr", "isotropic", marks=pytest.mark.slow),
        ("langevin", "axes"),
        pytest.param("berendsen", "anisotropic", marks=pytest.mark.slow),
    ],
)
@pytest.mark.engine("lammps")
def test_lammps_reads_the_input_and_ends_in_the_average_cell(thermostat, cell_motion, tmp_path, engine_call):
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True) if cell_motion == "axes" else crystal()
    elements = export.elements_of(atoms)
    (tmp_path / "run.data").write_text(export.lammps_data(atoms, "x", elements), encoding="utf-8")
    requested = settings(thermostat=thermostat, cell_motion=cell_motion)
    lines = export.lammps_potential("pair", elements, {"cutoff_A": 5.0})
    text = export.lammps_input(requested, LENGTHS, 300.0, 7, "run.data", lines)
    result = engine_call(
        "lammps", "superionic.dynamics.lammps.parity:run_input", {"text": text, "folder": str(tmp_path)}
    )
    # 20 + 20 + 200 + 10 steps before the production of 50, of which every tenth is kept.
    assert result["step"] == 50
    frames = read(tmp_path / "frames.lammpstrj", format="lammps-dump-text", index=":")
    assert len(frames) == 6
    assert result["volume_A3"] == pytest.approx(atoms.get_volume(), rel=0.35)  # so short a run still swings
    assert result["volume_A3"] != pytest.approx(atoms.get_volume(), rel=1e-6)
    assert 50.0 < result["temperature_K"] < 900.0
    # The production is in the average cell, which is no cell of a frame.
    assert all(frame.get_volume() == pytest.approx(result["volume_A3"], rel=1e-6) for frame in frames)


def test_without_npt_the_cell_stays():
    text = export.lammps_input(settings(npt_ps=0.0, heating_ps=0.0), LENGTHS, 500.0, 7, "run.data", ["pair_style x"])
    assert "npt" not in text
    assert "change_box" not in text
    assert "velocity all create 500.0 7" in text


def test_every_potential_has_its_pair_style_or_is_refused():
    assert "pair_coeff * * nep.txt Y Li" in export.lammps_potential("nep", ["Y", "Li"], {})
    assert "pair_style e3gnn" in export.lammps_potential("sevennet", ELEMENTS, {})
    assert any("mliap unified" in line for line in export.lammps_potential("mace", ELEMENTS, {}))
    with pytest.raises(PotentialError, match="chgnet") as caught:
        export.lammps_potential("chgnet", ELEMENTS, {})
    assert "student" in caught.value.fix


def test_gpumd_gets_two_parts_and_the_model(tmp_path):
    inputs = export.gpumd_inputs(settings(), LENGTHS, 600.0, 7)
    assert list(inputs) == ["1-npt", "2-production"]
    first, second = (text.splitlines() for text in inputs.values())
    assert first[:3] == ["potential nep.txt", "velocity 100 seed 7", "time_step 1"]
    assert "ensemble nvt_nhc 100 600 100" in first
    assert "ensemble npt_mttk temp 600 600 tri 0.0001 0.0001 tperiod 100 pperiod 200" in first
    assert [line for line in first if line.startswith("run")] == ["run 20", "run 20", "run 200"]
    assert "velocity 600 seed 7" in second
    assert "dump_xyz -1 0 10 frames.xyz unwrapped_position" in second
    assert [line for line in second if line.startswith("run")] == ["run 10", "run 50"]
    assert list(export.gpumd_inputs(settings(npt_ps=0.0), LENGTHS, 600.0, 7)) == ["2-production"]
    (tmp_path / "model.xyz").write_text(export.gpumd_model(crystal()), encoding="utf-8")
    there = read(tmp_path / "model.xyz")
    assert np.array_equal(there.numbers, crystal().numbers)
    assert there.cell.array == pytest.approx(crystal().cell.array)
    assert there.pbc.all()
