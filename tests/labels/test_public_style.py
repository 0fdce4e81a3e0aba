"""Two hundred label files as people publish them, sound ones and slips: nothing wrong enters, nearly all sound ones do.

The truth is ASE's EMT potential: molecular dynamics of alloys, with the cell fixed or breathing. A file is written in
one of the formats, key dialects and units of the field; labels enter where both import and the gates let them in. What
enters is compared with the truth of its structure. A slip stands here only where its file has something that gives it
away (neighbours in a trajectory, a mark, a word, another frame): a single structure whose energy and forces are both in
another unit says nothing of it to anybody.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.verlet import VelocityVerlet

from superionic.labels.frame_values import LabelKeys
from superionic.labels.gates import check_labels
from superionic.labels.imports import find_files, import_labels, stated_provenance

from .public_outputs import BOHR, GPA, HARTREE, cp2k, cp2k_positions, deepmd, espresso, outcar, values, vasprun

RYDBERG, KJ, KCAL = HARTREE / 2, units.kJ / units.mol, units.kcal / units.mol
STATED = stated_provenance("vasp", "6.4", "PBE")
ALLOYS = (("Cu", "Au"), ("Ni", "Cu"), ("Ag", "Pd"), ("Al", "Ni"), ("Pt", "Cu"), ("Au", "Ag"))
N_FRAMES = 10
N_FILES = 200


def labelled(atoms: Atoms) -> Atoms:
    """Copy a structure, with the values of EMT."""
    copy = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    copy.calc = EMT()
    energy, forces, stress = copy.get_potential_energy(), copy.get_forces(), copy.get_stress()
    copy.calc = SinglePointCalculator(copy, energy=energy, forces=forces, stress=stress)
    return copy


def trajectory(alloy: tuple[str, str], seed: int, breathing: bool) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    atoms = bulk(alloy[0], cubic=True) * (2, 1, 1)
    atoms.symbols = [alloy[0]] * 5 + [alloy[1]] * 3
    atoms.positions = atoms.positions[rng.permutation(8)]
    atoms.calc = EMT()
    momenta = rng.normal(0.0, np.sqrt(units.kB * 900.0 * atoms.get_masses())[:, None], (8, 3))
    atoms.set_momenta(momenta - momenta.mean(axis=0))
    dynamics = VelocityVerlet(atoms, timestep=2.0 * units.fs)
    shear = rng.normal(0.0, 0.004, (3, 3))
    frames = []
    dynamics.run(5)
    for n in range(N_FRAMES):
        dynamics.run(3)
        frame = atoms.copy()
        if breathing:
            strain = np.eye(3) + (0.012 * np.eye(3) + shear + shear.T) * np.sin(0.9 * n)
            frame.set_cell(np.array(frame.cell) @ strain, scale_atoms=True)
        frames.append(labelled(frame))
    return frames


@dataclass(frozen=True)
class Case:
    """A file, what is true of it, and what of it is sound."""

    kind: str
    files: list[Path]
    truth: list[Atoms]
    sound: list[int]
    """Frames of the truth that have to enter."""
    keys: LabelKeys | None = None
    stated: bool = True
    no_stress: bool = False


@dataclass
class Writer:
    """Frames as extended XYZ in one dialect; factors and changes make slips."""

    energy: str = "energy"
    forces: str = "forces"
    stress: str | None = "stress"
    virial: str | None = None
    e: float = 1.0
    f: float = 1.0
    s: float = 1.0
    v: float = 1.0
    length: float = 1.0
    words: str = ""
    six: str = ""
    free: bool = False
    extra: Callable[[int, Atoms], tuple[str, str, list[str]]] | None = None
    mask: Sequence[int] = ()
    masked: bool = False
    column: bool = True
    per_atom: bool = False
    shift_eV: float = 0.0
    only: Sequence[int] | None = None
    end: str = "\n"
    pbc: str = ' pbc="T T T"'
    digits: int = 10
    fields: dict[str, str] = field(default_factory=dict)

    def __call__(self, frames: Sequence[Atoms]) -> str:
        return "".join(self.frame(n, atoms) for n, atoms in enumerate(frames))

    def frame(self, n: int, atoms: Atoms) -> str:
        slip = self.only is None or n in self.only
        e, f, s, v = (each if slip else 1.0 for each in (self.e, self.f, self.s, self.v))
        energy, forces, stress = values(atoms)
        if self.per_atom:
            e /= len(atoms)
        forces = f * forces
        if self.masked:
            forces[list(self.mask)] = 0.0
        cell, positions = self.length * np.array(atoms.cell), self.length * atoms.positions
        comment = [f'Lattice="{" ".join(f"{x:.12f}" for x in cell.ravel())}"']
        columns, rows = "species:S:1:pos:R:3", [""] * len(atoms)
        columns += f":{self.forces}:R:3"
        rows = [" ".join(f"{x:.{self.digits}f}" for x in row) for row in forces]
        if self.mask and self.column:
            columns += ":move_mask:L:1"
            rows = [f"{row} {'F' if k in self.mask else 'T'}" for k, row in enumerate(rows)]
        value = e * energy + self.shift_eV
        if self.free:
            comment += [f"energy={value + 0.01:.10f}", f"free_energy={value:.10f}"]
        else:
            comment.append(f"{self.energy}={value:.10f}")
        if self.stress is not None:
            if self.six:
                order = {"ase": (0, 4, 8, 5, 2, 1), "vasp": (0, 4, 8, 1, 5, 2)}[self.six]
                numbers = (s * stress).ravel()[list(order)]
            else:
                numbers = (s * stress).ravel()
            comment.append(f'{self.stress}="{" ".join(f"{x:.12f}" for x in numbers)}"')
        if self.virial is not None:
            numbers = (-v * stress * atoms.get_volume()).ravel()
            comment.append(f'{self.virial}="{" ".join(f"{x:.10f}" for x in numbers)}"')
        if self.extra is not None:
            words, more, columns_of = self.extra(n, atoms)
            comment.append(words)
            columns += more
            rows = [f"{row} {other}" for row, other in zip(rows, columns_of, strict=True)]
        comment.insert(1, f"Properties={columns}")
        lines = [str(len(atoms)), " ".join([*comment, self.words]) + self.pbc]
        lines += [
            f"{symbol} {' '.join(f'{x:.10f}' for x in position)} {row}"
            for symbol, position, row in zip(atoms.get_chemical_symbols(), positions, rows, strict=True)
        ]
        return self.end.join(lines) + self.end


def predicted(energy: str, forces: str, more: str = "") -> Callable[[int, Atoms], tuple[str, str, list[str]]]:
    """Give values of a model beside those of the reference: near them, and wrong."""

    def extra(n: int, atoms: Atoms) -> tuple[str, str, list[str]]:
        e, f, _ = values(atoms)
        rows = [" ".join(f"{0.9 * x + 0.01:.6f}" for x in row) for row in f]
        return f"{energy}={e + 0.2 + 0.01 * n:.6f} {more}", f":{forces}:R:3", rows

    return extra


class Folder:
    """Makes files, each in a folder of its own, as one case each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cases: list[Case] = []
        names = [(alloy, breathing) for breathing in (False, True) for alloy in ALLOYS]
        self.runs = [trajectory(alloy, 3 + k, breathing) for k, (alloy, breathing) in enumerate(names)]
        self.k = 0

    def frames(self, breathing: bool | None = None) -> list[Atoms]:
        """Take the next trajectory in turn."""
        self.k += 1
        half = len(ALLOYS)
        return self.runs[self.k % half + (half * breathing if breathing is not None else half * (self.k // half % 2))]

    def write(
        self,
        kind: str,
        name: str,
        text: str | bytes,
        truth: list[Atoms],
        sound: Sequence[int],
        beside: dict[str, str] | None = None,
        **options,
    ) -> None:
        folder = self.path / f"{len(self.cases):03d}"
        folder.mkdir()
        path = folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        for other, words in (beside or {}).items():
            (folder / other).write_text(words)
        self.cases.append(Case(kind, [path], truth, list(sound), **options))


ALL = range(N_FRAMES)


def make_files(path: Path) -> list[Case]:
    folder = Folder(path)
    for make in (sound_xyz, sound_outputs, slips_of_units, slips_of_method, slips_of_outputs):
        make(folder)
    return folder.cases


def sound_xyz(to: Folder) -> None:
    rng = np.random.default_rng(1)
    marks = predicted("energy", "forces", 'stress="9 0 0 0 9 0 0 0 9"')
    dialects: list[tuple[str, Writer, int]] = [
        ("plain", Writer(), 6),
        ("REF_ and predictions", Writer("REF_energy", "REF_forces", "REF_stress", extra=marks), 5),
        ("dft suffix", Writer("energy_dft", "forces_dft", None, "virial_dft"), 3),
        ("DFT_force", Writer("DFT_energy", "DFT_force", "DFT_stress"), 3),
        ("gpumd", Writer("energy", "force", None, "virial", words="config_type=md"), 5),
        ("capitals", Writer("Energy", "Forces", None, "Virial"), 2),
        ("E0 beside free energy", Writer(free=True), 4),
        ("vasp_ beside a model", Writer("vasp_energy", "vasp_forces", "vasp_stress", extra=marks), 3),
        ("MACE_ beside", Writer(extra=predicted("MACE_energy", "MACE_forces")), 4),
        ("parts of the energy", Writer(extra=predicted("d3_energy", "d3_forces")), 2),
        ("stress and virial", Writer(virial="virials"), 4),
        ("six numbers", Writer(six="ase"), 4),
        ("shifted", Writer(shift_eV=-123.456), 4),
        ("units in words", Writer(words='units="eV, Angstrom"'), 2),
        ("CRLF", Writer(end="\r\n"), 2),
        ("no pbc", Writer(pbc=""), 2),
        ("unmasked forces", Writer(mask=(0, 3)), 3),
        ("no stress", Writer(stress=None), 3),
    ]
    for kind, writer, number in dialects:
        for _ in range(number):
            frames = to.frames()
            to.write(kind, "train.xyz", writer(frames), frames, ALL)
    for pack, end in ((gzip.compress, ".gz"), (bz2.compress, ".bz2"), (lzma.compress, ".xz")) * 2:
        frames = to.frames()
        to.write("packed", f"a.extxyz{end}", pack(Writer()(frames).encode()), frames, ALL)
    for _ in range(2):
        frames = to.frames()
        to.write(
            "blank lines", "a.xyz", "\n\n".join(Writer().frame(0, atoms) for atoms in frames) + "\n\n", frames, ALL
        )
    for _ in range(5):
        frames = to.frames()
        kept = sorted(rng.choice(N_FRAMES, 6, replace=False))
        to.write("missing frames", "a.xyz", Writer()([frames[n] for n in kept]), frames, kept)
    for _ in range(5):
        frames = to.frames()
        order = rng.permutation(N_FRAMES)
        to.write("shuffled", "a.xyz", Writer()([frames[n] for n in order]), frames, ALL)
    for _ in range(3):
        frames = to.frames()
        to.write("duplicates", "a.xyz", Writer()([*frames, frames[2], frames[7]]), frames, ALL)
    for _ in range(4):
        frames = to.frames()
        atom = '1\nLattice="12 0 0 0 12 0 0 0 12" Properties=species:S:1:pos:R:3:forces:R:3 energy=-0.3 pbc="T T T"\n'
        to.write("isolated atoms", "a.xyz", f"{atom}Cu 0 0 0 0 0 0\n" + Writer()(frames), frames, ALL)
    for _ in range(3):
        frames = to.frames()
        text = Writer()(frames)
        to.write("cut off", "a.xyz", text[: -len(Writer().frame(0, frames[-1])) // 2], frames, ALL[:-1])
    keys = LabelKeys("e_vasp_total", "f_vasp", None, "w")
    for _ in range(2):
        frames = to.frames()
        to.write("given keys", "a.xyz", Writer("e_vasp_total", "f_vasp", None, "w")(frames), frames, ALL, keys=keys)


def sound_outputs(to: Folder) -> None:
    for n in range(6):
        atoms = to.frames()[n]
        packed = gzip.compress(vasprun(atoms).encode())
        to.write(
            "vasprun", "vasprun.xml.gz" if n % 2 else "vasprun.xml", packed if n % 2 else vasprun(atoms), [atoms], [0]
        )
    for n in range(3):
        atoms = to.frames()[n]
        text = vasprun(atoms, echo={"IVDW": 12})
        # The electronic steps of a run with D3 do not have its energy yet.
        to.write("vasprun with D3", "vasprun.xml", before_dispersion(text, 0.7), [atoms], [0])
    for n in range(8):
        frames = to.frames(False)
        if n == 7:
            to.write("OUTCAR", "OUTCAR.gz", gzip.compress(outcar(frames).encode()), frames, ALL)
        else:
            changes = {"dispersion_eV": -0.8, "incar": {"IVDW": "11"}} if n > 4 else {"repeats": n % 2 == 0}
            to.write("OUTCAR", "OUTCAR", outcar(frames, **changes), frames, ALL)
    for n in range(2):
        frames = to.frames(False)
        text = outcar(frames)
        to.write("OUTCAR cut off", "OUTCAR", text[: text.rindex("POSITION") + 300 * n], frames, ALL[:-1])
    for n in range(8):
        frames = to.frames(False)
        text = espresso(frames, iprint=n % 3 == 0, dispersion=n % 2 == 1)
        to.write("pw.x", "md.pwo" if n % 2 else "espresso.out", text, frames, ALL)
    frames = to.frames(False)
    text = espresso(frames)
    to.write("pw.x cut off", "md.out", text[: text.rindex("Forces acting") + 400], frames, ALL[:-1])
    for n in range(4):
        atoms = to.frames()[n]
        to.write("CP2K", "cp2k.out", cp2k([atoms], new=n % 2 == 0), [atoms], [0])
    for n in range(4):
        frames = to.frames(False)
        to.write(
            "CP2K dynamics",
            "cp2k.log",
            cp2k(frames, new=n % 2 == 0, vdw=["DFT-D3 (Version 3.1)", "BJ Damping"]),
            frames,
            ALL,
            beside={"LiCl-pos-1.xyz": cp2k_positions(frames)},
            no_stress=False,
        )
    for n in range(6):
        frames = to.frames()
        place = to.path / f"deepmd{n}"
        to.cases.append(Case("deepmd", [deepmd(place, frames, mixed=n > 3)], frames, list(ALL)))


def before_dispersion(text: str, shift_eV: float) -> str:
    """Take the dispersion off the energies of the electronic steps of a vasprun.xml."""
    start, end = text.index("<scstep>"), text.rindex("</scstep>")
    head = re.sub(r"(?<=> )\s*-?[\d.]+(?= </i>)", lambda match: f"{float(match[0]) + shift_eV:16.8f}", text[start:end])
    return text[:start] + head + text[end:]


def slips_of_units(to: Folder) -> None:
    slips: list[tuple[str, dict, int]] = [
        ("energy in Hartree", {"e": 1 / HARTREE}, 3),
        ("energy in Rydberg", {"e": 1 / RYDBERG}, 2),
        ("energy in kJ/mol", {"e": 1 / KJ}, 2),
        ("energy in kcal/mol", {"e": 1 / KCAL}, 2),
        ("energy in meV", {"e": 1000.0}, 1),
        ("energy per atom", {"per_atom": True}, 3),
        ("forces in Hartree/Bohr", {"f": BOHR / HARTREE}, 2),
        ("forces in Rydberg/Bohr", {"f": BOHR / RYDBERG}, 2),
        ("forces per Bohr", {"f": BOHR}, 1),
        ("gradients for forces", {"f": -1.0}, 2),
        ("atomic units", {"e": 1 / HARTREE, "f": BOHR / HARTREE, "s": BOHR**3 / HARTREE}, 3),
        ("kJ/mol, all", {"e": 1 / KJ, "f": 1 / KJ, "s": 1 / KJ}, 2),
        ("lengths in Bohr", {"length": 1 / BOHR}, 2),
        ("Hartree, as it says", {"e": 1 / HARTREE, "f": 1 / HARTREE, "words": 'units="Hartree"'}, 2),
    ]
    for kind, changes, number in slips:
        for _ in range(number):
            frames = to.frames()
            to.write(kind, "a.xyz", Writer(**changes)(frames), frames, [])
    of_stress: list[tuple[str, dict, int]] = [
        ("pressure for stress", {"s": -1.0}, 2),
        ("stress in GPa", {"s": GPA}, 2),
        ("stress in kbar, as VASP", {"s": -10 * GPA}, 2),
        ("stress in Hartree/Bohr³", {"s": BOHR**3 / HARTREE}, 1),
        ("virial of the other sign", {"stress": None, "virial": "virial", "v": -1.0}, 2),
        ("virial per volume", {"stress": None, "virial": "virial", "v": 1.0 / 90.0}, 1),
        ("stress and virial that differ", {"virial": "virial", "s": -1.0}, 1),
    ]
    for kind, changes, number in of_stress:
        for _ in range(number):
            frames = to.frames(True)
            to.write(kind, "a.xyz", Writer(**changes)(frames), frames, [])
    for _ in range(3):
        frames = to.frames(True)
        to.write("six numbers as VASP orders them", "a.xyz", Writer(six="vasp")(frames), frames, ALL)
    for _ in range(2):
        frames = to.frames()
        to.write("one frame in Hartree", "a.xyz", Writer(e=1 / HARTREE, only=[4])(frames), frames, [])
    frames = to.frames(True)
    place = to.path / "deepmd_turned"
    to.cases.append(Case("deepmd, virial turned", [deepmd(place, frames, virial=-1.0)], frames, []))
    place = to.path / "deepmd_hartree"
    to.cases.append(Case("deepmd, Hartree", [deepmd(place, frames, energy=1 / HARTREE)], frames, []))


def slips_of_method(to: Folder) -> None:
    model = predicted("vasp_energy", "vasp_forces")
    slips: list[tuple[str, Writer, int]] = [
        ("predictions alone", Writer("MACE_energy", "MACE_forces", None, e=1.1, f=0.9), 2),
        ("a mark nobody knows", Writer(e=1.02, f=0.9, s=0.9, extra=predicted("xtalcode_energy", "xtalcode_forces")), 3),
        ("two methods", Writer("scan_energy", "scan_forces", None, e=1.02, extra=model), 2),
        ("masked, as move_mask says", Writer(mask=(1, 6), masked=True), 3),
        ("masked, without a word", Writer(mask=(2,), masked=True, column=False), 3),
    ]
    for kind, writer, number in slips:
        for _ in range(number):
            frames = to.frames()
            to.write(kind, "a.xyz", writer(frames), frames, [])
    for _ in range(2):
        frames = to.frames()
        mixed = Writer(e=1.02, f=0.9)(frames[:5]) + Writer("REF_energy", "REF_forces", "REF_stress")(frames[5:])
        to.write("predictions, then references", "a.xyz", mixed, frames, ALL[5:])
    for _ in range(2):
        frames = to.frames()
        text = Writer()(frames)
        to.write("a last number that is cut", "a.xyz", text[:-6], frames, ALL[:-1])
    for bad in ("nan", "********"):
        frames = to.frames()
        lines = Writer()(frames).splitlines()
        lines[4] = " ".join([*lines[4].split()[:4], bad, *lines[4].split()[5:]])
        to.write(f"{bad} among the forces", "a.xyz", "\n".join(lines) + "\n", frames, ALL[1:])


def slips_of_outputs(to: Folder) -> None:
    def off(frames: Sequence[Atoms], wrong: Sequence[int]) -> list[Atoms]:
        """Give frames whose unconverged ones have the energy of no ground state."""
        changed = []
        for n, atoms in enumerate(frames):
            copy = atoms.copy()
            e, f, s = values(atoms)
            worse = n in wrong
            voigt = s[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
            copy.calc = SinglePointCalculator(copy, energy=e + 0.3 * worse, forces=f, stress=voigt)
            changed.append(copy)
        return changed

    for n in range(4):
        frames, bad = to.frames(False), [2, 5] if n < 3 else list(ALL)
        good = [k for k in ALL if k not in bad]
        to.write("OUTCAR, NELM", "OUTCAR", outcar(off(frames, bad), unconverged=bad), frames, good)
    for _ in range(2):
        frames = to.frames(False)
        to.write(
            "pw.x, not converged", "md.out", espresso(off(frames, [3]), unconverged=[3]), frames, [*ALL[:3], *ALL[4:]]
        )
        pos = {"A-pos-1.xyz": cp2k_positions(off(frames, [4]))}
        text = cp2k(off(frames, [4]), unconverged=[4])
        to.write("CP2K, not converged", "md.out", text, frames, [*ALL[:4], *ALL[5:]], beside=pos)
    atoms = to.frames()[0]
    wrong = off([atoms], [0])[0]
    to.write("vasprun, NELM", "vasprun.xml", vasprun(wrong, changes=(-0.1,) * 59), [atoms], [])
    to.write("vasprun, EDIFF", "vasprun.xml", vasprun(wrong, changes=(-3.0, -0.1, -0.002)), [atoms], [])
    to.write("vasprun, ICHARG", "vasprun.xml", vasprun(wrong, echo={"ICHARG": 11}), [atoms], [])
    to.write("vasprun, ML", "vasprun.xml", vasprun(wrong, echo={"ML_LMLFF": True}), [atoms], [])
    frames = to.frames(False)
    to.write("OUTCAR, ML", "OUTCAR", outcar(off(frames, ALL), incar={"ML_LMLFF": ".TRUE."}), frames, [])
    to.write("OUTCAR, masked", "OUTCAR", outcar(frames, fixed=[1, 2]), frames, [])
    to.write("OUTCAR, cell changes", "OUTCAR", outcar(to.frames(True)), frames, [])
    to.write("CP2K, force field", "cp2k.out", cp2k([wrong], method="FIST"), [atoms], [])
    to.write("CP2K of another run's positions", "md.out", cp2k(frames), frames, [0], beside={
        "A-pos-1.xyz": cp2k_positions([off([a], [0])[0] for a in frames])
    })  # fmt: skip
    to.write("a log of something else", "run.out", "LAMMPS (2 Aug 2023)\nTotal wall time: 0:00:01\n", [], [])


def entered(case: Case) -> Iterator[tuple[Atoms, float, np.ndarray, np.ndarray | None]]:
    """Give the labels that import and gates let in."""
    found = import_labels(case.files, stated=STATED if case.stated else None, keys=case.keys)
    atoms, labels = [entry.atoms for entry in found.entries], [entry.label for entry in found.entries]
    verdicts = check_labels(atoms, labels, groups=[entry.group for entry in found.entries]) if atoms else []
    for structure, label, verdict in zip(atoms, labels, verdicts, strict=True):
        if verdict.passed:
            yield structure, label.energy_eV, np.array(label.forces_eV_per_A), label.stress_eV_per_A3


def place_of(atoms: Atoms, truth: Sequence[Atoms]) -> int | None:
    for n, other in enumerate(truth):
        if len(other) == len(atoms) and np.array_equal(other.numbers, atoms.numbers):
            same_cell = np.allclose(np.array(atoms.cell), np.array(other.cell), atol=1.0e-4)
            step = (atoms.positions - other.positions) @ np.linalg.inv(np.array(other.cell))
            if same_cell and np.abs((step - np.round(step)) @ np.array(other.cell)).max() < 1.0e-4:
                return n
    return None


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, list[str], list[str], int]:
    """Give the number of files, wrong values that entered, sound labels that did not, and how many are sound."""
    cases = make_files(tmp_path_factory.mktemp("public"))
    wrong, lost, n_sound = [], [], 0
    for case in cases:
        seen: set[int] = set()
        for atoms, energy, forces, stress in entered(case):
            n = place_of(atoms, case.truth)
            if n is None:
                wrong.append(f"{case.kind}: a structure that is none of the truth")
                continue
            e, f, s = values(case.truth[n])
            shift = -123.456 if case.kind == "shifted" else 0.0
            off = [abs(energy - e - shift) > 2.0e-5, np.abs(forces - f).max() > 2.0e-5]
            if stress is not None:
                voigt = s[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
                off.append(np.abs(stress - voigt).max() > 2.0e-6)
            if any(off):
                wrong.append(f"{case.kind}: frame {n} ({off})")
            elif n in seen:
                wrong.append(f"{case.kind}: frame {n} twice")
            else:
                seen.add(n)
        n_sound += len(case.sound)
        lost += [f"{case.kind} ({case.files[0].parent.name}): frame {n}" for n in case.sound if n not in seen]
    return len(cases), wrong, lost, n_sound


def test_no_wrong_value_enters(judged: tuple[int, list[str], list[str], int]) -> None:
    n_files, wrong, _, _ = judged
    assert n_files >= N_FILES, f"{n_files} files"
    assert not wrong, f"{len(wrong)} wrong values of {n_files} files entered: {wrong[:20]}"


def test_what_is_sound_enters(judged: tuple[int, list[str], list[str], int]) -> None:
    n_files, _, lost, n_sound = judged
    assert len(lost) <= 0.02 * n_sound, f"{len(lost)} of {n_sound} sound labels of {n_files} files lost: {lost[:20]}"


def test_logs_of_other_programs_in_a_folder_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "run.out").write_text("LAMMPS (2 Aug 2023)\n")
    (tmp_path / "scf.out").write_text("\n     Program PWSCF v.7.2 starts\n")
    assert [file.name for file in find_files([tmp_path])] == ["scf.out"]
