"""A labeller in the role of a potential, against ASE's own relaxation with the same calculator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from superionic.dynamics.relax import go_on, relax
from superionic.errors import CalculationFailed
from superionic.labels.as_potential import LabellerAsPotential
from superionic.labels.base import Label, LabellerIdentity, Progress, load_labeller
from superionic.potentials.base import load_potential
from superionic.potentials.reference import li3ycl6_cell


def rattled() -> Atoms:
    atoms = li3ycl6_cell()
    atoms.rattle(0.05, seed=1)
    return atoms


def test_it_relaxes_as_ase_does_with_the_same_calculator():
    method = LabellerAsPotential(load_labeller("potential:pair"))
    first = relax(rattled(), method, max_steps=7, optimizer="FIRE", fmax_eV_per_A=1e-9)
    ours = go_on(first, LabellerAsPotential(load_labeller("potential:pair")), max_steps=5, fmax_eV_per_A=1e-9)
    by_ase = rattled()
    by_ase.calc = load_potential("pair").calculator()
    FIRE(FrechetCellFilter(by_ase), logfile=None).run(fmax=1e-9, steps=12)
    assert ours.n_steps == 12
    assert ours.energy_eV == pytest.approx(by_ase.get_potential_energy(), abs=1e-9)
    assert ours.energy_eV < ours.start_energy_eV
    assert np.abs(ours.atoms.positions - by_ase.positions).max() < 1e-9
    assert np.abs(ours.atoms.cell.array - by_ase.cell.array).max() < 1e-9


class Recorder:
    """Labels by the pair potential, and notes the folder that it was given."""

    def __init__(self, *, stress: bool = True) -> None:
        self.stress = stress
        self.folders: list[tuple[Path, list[str]]] = []

    @property
    def identity(self) -> LabellerIdentity:
        return load_labeller("potential:pair").identity

    def label(self, atoms: Atoms, *, scratch: Path | None = None, progress: Progress | None = None) -> Label:
        assert scratch is not None
        self.folders.append((scratch, [path.name for path in scratch.iterdir()]))
        (scratch / "WAVECAR").write_text("orbitals")
        label = load_labeller("potential:pair").label(atoms, progress=progress)
        stress = label.stress_eV_per_A3 if self.stress else None
        return Label(label.energy_eV, label.forces_eV_per_A, stress, label.provenance)


def test_each_structure_is_calculated_from_scratch_and_a_known_one_not_at_all(tmp_path):
    recorder, atoms = Recorder(), rattled()
    known = recorder.label(atoms, scratch=tmp_path)
    method = LabellerAsPotential(recorder, scratch=tmp_path, first=(atoms, known))
    assert method.evaluate(atoms).energy_eV == known.energy_eV
    assert method.n_labels == 0
    assert method.last is known
    moved = atoms.copy()
    moved.positions[0, 0] += 1e-15
    method.evaluate(moved)
    method.evaluate(li3ycl6_cell())
    assert method.n_labels == 2
    folders = [folder for folder, _ in recorder.folders]
    assert len(set(folders)) == 3
    assert [found for _, found in recorder.folders[1:]] == [[], []]
    assert not any(folder.exists() for folder in folders[1:])


def test_a_cell_needs_a_stress_to_relax(tmp_path):
    method = LabellerAsPotential(Recorder(stress=False), scratch=tmp_path)
    assert method.evaluate(rattled(), stress=False).stress_eV_per_A3 is None
    with pytest.raises(CalculationFailed, match="gives no stress"):
        relax(rattled(), method)
