from __future__ import annotations

import bz2
import lzma
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from superionic.campaign.study import parse_options
from superionic.errors import CalculationFailed, StructureError
from superionic.labels.frame_values import LabelKeys, labelled_frames
from superionic.labels.imports import import_labels, stated_provenance
from superionic.labels.packages import write_package
from superionic.stages.label_file import read_task

LATTICE = "4 0 0 0 5 0 0 0 6"  # 120 Å³
STATED = stated_provenance("vasp", "6.4", "PBE")
PLAIN = "energy=-5.0"
REF = "REF_energy=-7.0"
FORCES, REF_FORCES = ":forces:R:3", ":REF_forces:R:3"


def frame(words: str, columns: str = FORCES, *, rows: int = 2, head: str | None = None) -> str:
    """Two atoms; the first vector column is 0.1, the second 0.2, and so on."""
    number = columns.count(":R:3")
    lines = [
        f"{symbol} {x:.1f} 0.0 0.0 " + " ".join(f"{0.1 * (k + 1):.2f} 0.00 {0.1 * sign:.2f}" for k in range(number))
        for symbol, x, sign in (("Li", 0.0, 1), ("Cl", 2.0, -1))
    ]
    comment = f'Lattice="{LATTICE}" Properties=species:S:1:pos:R:3{columns} {words} pbc="T T T"'
    return "\n".join([head or str(rows), comment, *lines[:rows]]) + "\n"


def written(folder: Path, text: str, name: str = "a.extxyz") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def by_import(path: Path, keys: LabelKeys | None = None) -> tuple[float, float, list[float] | None]:
    found = import_labels([path], stated=STATED, keys=keys)
    assert found.refusals == ()
    label = found.entries[0].label
    stress = label.stress_eV_per_A3
    return label.energy_eV, label.forces_eV_per_A[0, 0], None if stress is None else stress.tolist()


def by_train(path: Path, keys: LabelKeys | None = None) -> tuple[float, float, list[float] | None]:
    label = read_task(None, file=str(path), name=path.name, keys=keys).labels[0]  # type: ignore[arg-type]
    stress = label.stress_eV_per_A3
    return label.energy_eV, label.forces_eV_per_A[0, 0], None if stress is None else stress.tolist()


VIRIAL = '"-12 0 0 0 -24 0 0 0 12"'
OF_VIRIAL = [0.1, 0.2, -0.1, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("read", [by_import, by_train])
@pytest.mark.parametrize(
    ("words", "columns", "keys", "expected"),
    [
        (PLAIN, FORCES, None, (-5.0, 0.1, None)),
        (f"{PLAIN} free_energy=-5.5", FORCES, None, (-5.5, 0.1, None)),
        (f"{PLAIN} {REF}", FORCES + REF_FORCES, None, (-7.0, 0.2, None)),
        (f"{PLAIN} dft_energy=-7.0", FORCES + ":dft_force:R:3", None, (-7.0, 0.2, None)),
        (f"{PLAIN} DFT_energy=-7.0", ":DFT_forces:R:3:forces:R:3", None, (-7.0, 0.1, None)),
        (f"{PLAIN} energy_ref=-7.0", FORCES + ":forces_ref:R:3", None, (-7.0, 0.2, None)),
        # A stress of the model's is not the reference's.
        (f'{PLAIN} {REF} stress="1 0 0 0 1 0 0 0 1"', FORCES + REF_FORCES, None, (-7.0, 0.2, None)),
        (f"{PLAIN} virial={VIRIAL}", FORCES, None, (-5.0, 0.1, OF_VIRIAL)),
        ("Energy=-5.0 Virial=[-12,0,0,0,-24,0,0,0,12]", ":force:R:3", None, (-5.0, 0.1, OF_VIRIAL)),
        (f'{REF} REF_virial={VIRIAL} virial="9 0 0 0 9 0 0 0 9"', REF_FORCES, None, (-7.0, 0.1, OF_VIRIAL)),
        (
            f'{PLAIN} virial={VIRIAL} stress="0.1 0 0 0 0.2 0 0 0 -0.1"', FORCES, None, (-5.0, 0.1, OF_VIRIAL),
        ),
        ("mace_energy=-3.0", ":mace_forces:R:3", LabelKeys("mace_energy", "mace_forces"), (-3.0, 0.1, None)),
        (f"{PLAIN} {REF}", FORCES + REF_FORCES, LabelKeys("energy", "forces"), (-5.0, 0.1, None)),
        (f"{PLAIN} {REF}", FORCES + REF_FORCES, LabelKeys(energy="energy"), (-5.0, 0.1, None)),
        (f"{PLAIN} w={VIRIAL}", FORCES, LabelKeys(virial="w"), (-5.0, 0.1, OF_VIRIAL)),
        (f'{PLAIN} virial={VIRIAL} stress="1 0 0 0 1 0 0 0 1"', FORCES, LabelKeys(virial="virial"),
         (-5.0, 0.1, OF_VIRIAL)),
    ],
)  # fmt: skip
def test_values_are_of_one_set_of_keys_for_labels_and_for_train(
    tmp_path: Path,
    read: Callable[..., tuple[float, float, list[float] | None]],
    words: str,
    columns: str,
    keys: LabelKeys | None,
    expected: tuple[float, float, list[float] | None],
) -> None:
    energy, force, stress = read(written(tmp_path, frame(words, columns)), keys)
    assert (energy, force) == (expected[0], pytest.approx(expected[1]))
    assert stress == (None if expected[2] is None else pytest.approx(expected[2]))


@pytest.mark.parametrize(
    ("words", "columns", "keys", "reason"),
    [
        (f"{PLAIN} {REF}", FORCES, None, "no forces with the same mark"),
        (f'{PLAIN} REF_stress="1 0 0 0 1 0 0 0 1"', FORCES, None, "no energy and no forces with the same mark"),
        (f"{REF} dft_energy=-6.0", REF_FORCES + ":dft_forces:R:3", None, "several methods"),
        (
            "mace_energy=-3.0",
            ":mace_forces:R:3",
            None,
            "there is mace_energy, mace_forces: name them with --energy-key",
        ),
        (PLAIN, FORCES, LabelKeys(energy="E"), "has no E"),
        ("mace_energy=-3.0", FORCES, LabelKeys(energy="mace_energy"), "no forces"),
        ('energy="1 2"', FORCES, None, "'[1 2]', which is not one number"),
        ("energy=T", FORCES, None, "'True', which is not one number"),
        ("energy=low", FORCES, None, "'low', which is not one number"),
        (PLAIN, ":forces:R:2:x:R:1", None, "three numbers for each"),
        (f'{PLAIN} virials="1 2 3 4 5 6"', FORCES, None, "not nine numbers"),
        (f'{PLAIN} virial="1 2 3 4 5 6 7 8 9"', FORCES, None, "not symmetric"),
        (f'{PLAIN} virial={VIRIAL} stress="16 0 0 0 32 0 0 0 -16"', FORCES, None, "--stress-key or --virial-key"),
    ],
)
def test_what_is_not_clear_is_refused_with_a_way_out(
    tmp_path: Path, words: str, columns: str, keys: LabelKeys | None, reason: str
) -> None:
    text = frame(words, columns if columns.count(":R:3") else FORCES)
    if columns == ":forces:R:2:x:R:1":
        text = text.replace(FORCES, columns)
    path = written(tmp_path, text)
    found = import_labels([path], stated=STATED, keys=keys)
    assert found.entries == ()
    assert reason in found.refusals[0].reason
    with pytest.raises(StructureError) as caught:
        read_task(None, file=str(path), name="a", keys=keys)  # type: ignore[arg-type]
    assert reason in caught.value.message
    assert "--energy-key" in str(caught.value.fix)


def test_a_file_is_read_from_one_set_of_keys(tmp_path: Path) -> None:
    path = written(tmp_path, frame(PLAIN) + frame(f"{REF}", REF_FORCES) + frame(f"{PLAIN} {REF}", FORCES + REF_FORCES))
    found = import_labels([path], stated=STATED)
    assert [entry.label.energy_eV for entry in found.entries] == [-7.0, -7.0]
    ((refusal),) = found.refusals
    assert "frame 0 has its values under keys without a mark, and other frames" in refusal.reason


def test_a_stress_that_is_not_taken_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, frame(f'{PLAIN} {REF} stress="1 0 0 0 1 0 0 0 1"', FORCES + REF_FORCES))
    (remark,) = import_labels([path], stated=STATED).remarks
    assert "stress is of another method" in remark.words
    (note,) = read_task(None, file=str(path), name="a").notes  # type: ignore[arg-type]
    assert "--stress-key" in note
    taken = by_import(path, LabelKeys(stress="stress"))
    assert taken == (-7.0, pytest.approx(0.2), [1.0, 1.0, 1.0, 0.0, 0.0, 0.0])


def test_empty_lines_between_frames_are_no_end(tmp_path: Path) -> None:
    text = "\n".join([frame(PLAIN), "  \n" + frame(PLAIN), frame(PLAIN), "", ""])
    assert len(import_labels([written(tmp_path, text)], stated=STATED).entries) == 3
    found = import_labels([written(tmp_path, frame(PLAIN) + "\nthe end of my data\n")], stated=STATED)
    assert len(found.entries) == 1
    assert "'the end of my data' is where the number of atoms is expected" in found.refusals[0].reason


def test_one_damaged_frame_costs_itself_alone(tmp_path: Path) -> None:
    text = frame(PLAIN) + frame(PLAIN).replace("0.10", "O.1O", 1) + frame(PLAIN)
    found = import_labels([written(tmp_path, text)], stated=STATED)
    assert len(found.entries) == 2
    assert [refusal.reason.split(" is ")[0] for refusal in found.refusals] == ["frame 1"]


@pytest.mark.parametrize("alone", ['config_type=IsolatedAtom pbc="T T T"', 'pbc="F F F"'])
def test_isolated_atoms_are_named_and_left_out(tmp_path: Path, alone: str) -> None:
    atom = frame(PLAIN, rows=1).replace('pbc="T T T"', alone)
    path = written(tmp_path, frame(PLAIN) + atom + frame(PLAIN))
    found = import_labels([path], stated=STATED)
    assert len(found.entries) == 2
    words = "frame 1 is an isolated atom (Li), not a label of a crystal"
    words += ": its energy, -5 eV, is the reference of the element"
    assert found.refusals == ()
    assert [remark.words for remark in found.remarks] == [f"{words} (E0)"]
    assert found.isolated_atoms_eV == {"Li": -5.0}
    read = read_task(None, file=str(path), name="a")  # type: ignore[arg-type]
    assert len(read.atoms) == 2
    assert read.notes[0] == f"left out: {words} (E0)"
    assert "--option 'e0s={\"Li\": -5.0}'" in read.notes[1]
    assert parse_options(['e0s={"Li": -5.0}']) == {"e0s": {"Li": -5.0}}
    assert read.isolated_atoms_eV == {"Li": -5.0}
    # They stay in the package, and out of its labels.
    write_package(tmp_path / "b.extxyz", found.entries, found.isolated_atoms_eV)
    again = import_labels([tmp_path / "b.extxyz"])
    assert len(again.entries) == 2
    assert again.isolated_atoms_eV == {"Li": -5.0}


def test_energies_of_isolated_atoms_are_of_the_method_of_the_labels(tmp_path: Path) -> None:
    atom = frame(PLAIN, rows=1).replace('pbc="T T T"', 'config_type=IsolatedAtom pbc="T T T"')
    ref = atom.replace("energy=-5.0", "energy=-5.0 REF_energy=-6.0")
    labels = frame(f"{PLAIN} {REF}", FORCES + REF_FORCES)
    assert import_labels([written(tmp_path, labels + ref)], stated=STATED).isolated_atoms_eV == {"Li": -6.0}
    found = import_labels([written(tmp_path, labels + atom)], stated=STATED)  # a model's energy
    assert found.isolated_atoms_eV == {}
    assert len(found.refusals) == 1
    found = import_labels([written(tmp_path, frame(PLAIN) + atom + atom.replace("-5.0", "-5.1"))], stated=STATED)
    assert found.isolated_atoms_eV == {}
    assert "isolated atoms of Li have several energies" in found.remarks[-1].words


@pytest.mark.parametrize("pack", [(".bz2", bz2.compress), (".xz", lzma.compress)])
def test_packed_files_are_read(tmp_path: Path, pack: tuple[str, Callable[[bytes], bytes]]) -> None:
    path = tmp_path / f"a.extxyz{pack[0]}"
    path.write_bytes(pack[1](frame(PLAIN).encode()))
    assert by_import(path) == (-5.0, pytest.approx(0.1), None)


@pytest.mark.parametrize("head", ["1000000000", "999999999999", "10000000000000000000000"])
def test_a_head_of_any_number_ends_in_words(tmp_path: Path, head: str) -> None:
    path = written(tmp_path, frame(PLAIN, head=head))
    before = time.monotonic()
    with pytest.raises(CalculationFailed, match="cut off or not extended XYZ"):
        list(labelled_frames(path))
    assert time.monotonic() - before < 5.0  # bounded by the file, not by the number in it
