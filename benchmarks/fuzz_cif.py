"""Mutate valid CIFs at random and read them: every file must be read or refused with a reason, in time.

Run with ``python benchmarks/fuzz_cif.py [--count 1000] [--seed 1] [--seconds-limit 10] [--keep FOLDER]``. Each case
depends on the seed and its own number only; ``--first N --count 1`` repeats case N. Prints a table of outcomes and
exits with 1 if any case ended by anything but a crystal or a typed error, or took over the limit.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from superionic.errors import SuperionicError
from superionic.structures.io.files import parse_crystal, read_crystal
from superionic.structures.io.reading import close_reader

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (
    ROOT / "examples",
    ROOT.parent / "shared" / "data" / "orderings",
    ROOT.parent / "shared" / "data" / "obelix_train" / "train_randomized_cifs",
)
LARGEST_COST = 600
"""Sites times operations of the files that are mutated; the rest of a campaign's cost is not what is tested."""

OWN = (
    """data_by_name
_symmetry_space_group_name_H-M 'P 42/n m c :2'
_cell_length_a 5.1(2)
_cell_length_b 5.1(2)
_cell_length_c 7.30
_cell_angle_alpha 90
_cell_angle_beta 90.0
_cell_angle_gamma 90.
loop_
_atom_type_symbol
_atom_type_oxidation_number
Li1+ 1
Fe2+ 2
O2- -2
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Li1 Li1+ 0.25 0.75 0.25 0.5
Fe1 Fe2+ 0.25 0.25 0.1(1) 0.25
O1 O2- 0.2500 -0.03 1.03 .
""",
    """# two blocks, texts, quotes
data_global
_publ_section_title
;
 A title; with _names and loop_ in it
;
data_magnetic
_audit.creation_method "by 'hand'"
_cell.length_a 4.2
_cell.length_b 4.2
_cell.length_c 6.1
_cell.angle_alpha 90
_cell.angle_beta 90
_cell.angle_gamma 120
loop_
_space_group_symop.id
_space_group_symop.operation_xyz
1 x,y,z
2 -y,x-y,z
3 -x+y,-x,z
4 x,y,z+1/2
5 -y,x-y,z+1/2
6 -x+y,-x,z+1/2
loop_
_space_group_symop_magn_operation.id
_space_group_symop_magn_operation.xyz
1 x,y,z,+1
2 -y,x-y,z,+1
3 -x+y,-x,z,-1
loop_
_space_group_symop_magn_centering.id
_space_group_symop_magn_centering.xyz
1 x,y,z,+1
2 x,y,z+1/2,-1
loop_
_atom_site.label
_atom_site.type_symbol
_atom_site.fract_x
_atom_site.fract_y
_atom_site.fract_z
_atom_site.occupancy
Na1 Na 0 0 0 0.5
K1 K 0 0 0 0.5
Cl1 Cl .3333 .6667 .25 1
""",
)

HOSTILE = (
    "", "?", ".", "-", "nan", "NaN", "inf", "-inf", "1e308", "1e-308", "1e999", "-1", "0", "0.0", "-0.0", "2",
    "1.0000001", "9" * 400, "0." + "3" * 3000, "1_0", "0x10", "1,5", "1/0", "1/3", "٣", "½", "１", "é", "\u202e",
    "\ufeff", "\u2028", "\x1b[31m", "\0", "x", "loop_", "data_", "data_x", "save_", "stop_", "global_",
    "_atom_site_label", "_cell_length_a", "#", "'", '"', ";", "\n;", "\n;\n", "[", "{", "'''", "$", "Qq", "X", "D",
    "Li99+", "Fe3+", "Wat", "OH", "H" * 5000, "{0.__class__}", "%s%n", "__import__('os').system('x')", "lambda:0",
    "9**9**9", "x,y,z", "'x,y,z'", "'-x,-y,-z'", "x,x,x", "0,0,0", "'x+1e9,y,z'", "'2x,y,z'", "'x+0.123456,y,z'",
    "'x;y;z'", "'(x),(y),(z)'", "'" + "x+" * 30 + "x,y,z'", "'" + "-" * 70 + "x,y,z'", "'x,y," + "z+" * 20000 + "z'",
    "'" + "(" * 5000 + "x,y,z'", "'x+1/0,y,z'", "'y,x,z'", "'" + "9" * 5000 + "/7+x,y,z'", "P1", "'F m -3 m'", "R-3m",
    "227", "-225", "'P 21/c'", "1e5", "1e-5", "180", "179.99", "0.001", "359", "1000", "999999",
)  # fmt: skip

Mutation = Callable[[bytes, np.random.Generator], bytes]


def flip_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    array = bytearray(data)
    for place in rng.integers(0, len(array), size=int(rng.integers(1, 20))):
        array[place] = int(rng.integers(0, 256))
    return bytes(array)


def _lines(change: Callable[[list[bytes], np.random.Generator], None]) -> Mutation:
    def mutate(data: bytes, rng: np.random.Generator) -> bytes:
        lines = data.split(b"\n")
        for _ in range(int(rng.integers(1, 4))):
            change(lines, rng)
        return b"\n".join(lines)

    return mutate


def _delete(lines: list[bytes], rng: np.random.Generator) -> None:
    if len(lines) > 1:
        del lines[int(rng.integers(len(lines)))]


def _duplicate(lines: list[bytes], rng: np.random.Generator) -> None:
    place = int(rng.integers(len(lines)))
    copies = int(rng.choice([1, 1, 2, 300]))
    lines[place:place] = [lines[place]] * copies


def _swap(lines: list[bytes], rng: np.random.Generator) -> None:
    first, second = (int(v) for v in rng.integers(0, len(lines), size=2))
    lines[first], lines[second] = lines[second], lines[first]


def replace_tokens(data: bytes, rng: np.random.Generator) -> bytes:
    tokens = list(re.finditer(rb"[^ \n]+", data))
    for _ in range(int(rng.integers(1, 4))):
        token = tokens[int(rng.integers(len(tokens)))]
        word = HOSTILE[int(rng.integers(len(HOSTILE)))].encode("utf-8", "surrogatepass")
        data = data[: token.start()] + word + data[token.end() :]
        tokens = list(re.finditer(rb"[^ \n]+", data)) or [token]
    return data


def change_numbers(data: bytes, rng: np.random.Generator) -> bytes:
    """Replace numbers by others of the same kind: files that stay close to valid."""
    numbers = list(re.finditer(rb"(?<=[ ])-?\d+\.\d+", data))
    for _ in range(int(rng.integers(1, 4))):
        if numbers:
            found = numbers[int(rng.integers(len(numbers)))]
            value = float(
                rng.choice([rng.random(), rng.normal(), rng.normal() * 100, 1.0 / 3.0, 0.0, rng.random() * 1e-4])
            )
            data = data[: found.start()] + f"{value:.{int(rng.integers(0, 9))}f}".encode() + data[found.end() :]
            numbers = list(re.finditer(rb"(?<=[ ])-?\d+\.\d+", data))
    return data


def truncate(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(data))) if rng.random() < 0.2 else 0
    return data[start : int(rng.integers(start, len(data) + 1))]


def insert_garbage(data: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(len(data) + 1))
    size = int(rng.choice([1, 10, 1000, 100_000]))
    kind = int(rng.integers(4))
    if kind == 0:
        garbage = rng.bytes(size)
    elif kind == 1:
        garbage = bytes(rng.choice(list(b"'\"; \n#_([{")) for _ in range(min(size, 1000)))
    elif kind == 2:
        garbage = bytes([int(rng.choice(list(b"9(;'\"# \n_xA")))]) * size
    else:
        garbage = "".join(chr(int(c)) for c in rng.integers(0x20, 0x2FFF, size=min(size, 1000))).encode()
    return data[:place] + garbage + data[place:]


def break_symmetry(data: bytes, rng: np.random.Generator) -> bytes:
    """Change characters within the symmetry operations."""
    found = list(re.finditer(rb"'[^'\n]*x[^'\n]*'", data))
    for _ in range(int(rng.integers(1, 4))):
        if found:
            match = found[int(rng.integers(len(found)))]
            text = bytearray(match.group())
            text[int(rng.integers(len(text)))] = int(rng.choice(list(b"xyz+-*/1234567890.,() '")))
            data = data[: match.start()] + bytes(text) + data[match.end() :]
            found = list(re.finditer(rb"'[^'\n]*x[^'\n]*'", data))
    return data


def splice(data: bytes, rng: np.random.Generator) -> bytes:
    """Copy a piece of the file to another place of it."""
    start, end, place = sorted(int(v) for v in rng.integers(0, len(data) + 1, size=3))
    return data[:place] + data[start:end] + data[place:]


def harmless(data: bytes, rng: np.random.Generator) -> bytes:
    """Write the same in another way: line ends, blanks, tabs, comments, quotes, upper case, uncertainties."""
    kind = int(rng.integers(6))
    if kind == 0:
        return data.replace(b"\n", (b"\r\n", b"\r", b"\n\n", b" \n\t")[int(rng.integers(4))])
    if kind == 1:
        return re.sub(rb"(?<=[a-zA-Z0-9]) +", b" \t  ", data)
    if kind == 2:
        return data.replace(b"\n", b" # a comment with 'quotes\n")
    if kind == 3:
        return re.sub(rb"(?m)^ *_[A-Za-z_\-]+", lambda m: m.group().upper(), data)
    if kind == 4:
        return re.sub(rb"(\d\.\d{3,})(?=[ \n])", lambda m: m[1] + f"({rng.integers(1, 30)})".encode(), data)
    return re.sub(rb"(?<= )(-?\d\.\d+)(?=[ \n])", rb"'\1'", data)


def exchange_elements(data: bytes, rng: np.random.Generator) -> bytes:
    """Exchange one element for another, or for one with a charge, throughout the file."""
    found = sorted(set(re.findall(rb"(?<=[ \n])(?:Li|Na|K|Y|Zr|P|Si|O|S|Cl|Br)(?=[ \n])", data)))
    if not found:
        return data
    old = found[int(rng.integers(len(found)))]
    new = (b"Li", b"H", b"D", b"Cl1-", b"O2-", b"Zr4+", b"U", b"na", b"CL", b"Fe2.5+")[int(rng.integers(10))]
    return re.sub(rb"(?<=[ \n])" + old + rb"(?=[ \n])", new, data)


MUTATIONS: tuple[Mutation, ...] = (
    flip_bytes, _lines(_delete), _lines(_duplicate), _lines(_swap), replace_tokens, replace_tokens, replace_tokens,
    change_numbers, change_numbers, change_numbers, change_numbers, change_numbers, truncate, insert_garbage,
    break_symmetry, splice, harmless, harmless, exchange_elements,
)  # fmt: skip


@dataclass
class Outcomes:
    """What became of the cases."""

    read: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[int, str]] = field(default_factory=list)
    slowest_s: float = 0.0
    seconds: float = 0.0

    @property
    def count(self) -> int:
        """Number of cases."""
        return self.read + self.refused.total() + len(self.failed)


def corpus(*, own_only: bool = False) -> list[bytes]:
    """Return the valid CIFs that cases are made from: small ones, in a fixed order."""
    texts = [text.encode() for text in OWN]
    for folder in () if own_only else FOLDERS:
        for path in sorted(folder.rglob("*.cif")):
            crystal = parse_crystal(path)
            if len(crystal.sites) * len(crystal.rotations) <= LARGEST_COST:
                texts.append(path.read_bytes())
    return texts


def make_case(texts: list[bytes], seed: int, number: int) -> bytes:
    rng = np.random.default_rng([seed, number])
    data = texts[int(rng.integers(len(texts)))]
    for _ in range(int(rng.choice([1, 1, 1, 1, 2, 3]))):
        data = MUTATIONS[int(rng.integers(len(MUTATIONS)))](data, rng) or b" "
    return data


def message_class(message: str) -> str:
    """Reduce a message to its kind: without what it quotes and without its numbers."""
    text = re.sub(r"'(?:[^'\\]|\\.)*'|\"[^\"]*\"", "…", message)
    for pattern, by in (
        (r"Sites .* and .* are .* apart", "Sites … and … are … apart"),
        (r"The occupancies of .* on one site", "The occupancies of … on one site"),
        (r"The occupancy of .* is [^ ;]*;", "The occupancy of … is …;"),
        (r"far outside the cell: .*", "far outside the cell: …"),
        (r"The CIF lacks .*", "The CIF lacks …"),
        (r"The loop of \S+", "The loop of …"),
        (r"_[a-z]\S*", "_…"),
        (r"-?\d[\d,.]*(?:e[+-]?\d+)?", "N"),
    ):
        text = re.sub(pattern, by, text)
    return text[:110]


def run(
    count: int,
    *,
    seed: int,
    seconds_limit: float,
    first: int = 0,
    texts: list[bytes] | None = None,
    keep: Path | None = None,
) -> Outcomes:
    """Read mutated files through the reader process and collect the outcomes."""
    outcomes = Outcomes()
    texts = corpus() if texts is None else texts
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="superionic-fuzz-") as folder:
        path = Path(folder, "case.cif")
        for number in range(first, first + count):
            path.write_bytes(make_case(texts, seed, number))
            start = time.monotonic()
            failure = None
            try:
                read_crystal(path, time_limit_s=seconds_limit)
                outcomes.read += 1
            except SuperionicError as error:
                if error.message.startswith(("The file crashed", "Reading the file", "The process that reads")):
                    failure = error.message
                elif not error.where or not error.fix:
                    failure = f"no place or no fix: {error.message}"
                else:
                    outcomes.refused[message_class(error.message)] += 1
            except Exception as error:  # noqa: BLE001 - that is what is looked for
                failure = f"{type(error).__name__}: {error}"
            took = time.monotonic() - start
            if took > seconds_limit and failure is None:
                # Every few hundred files the reader starts anew, which takes long on a busy machine: ask once more.
                start = time.monotonic()
                with suppress(SuperionicError):
                    read_crystal(path, time_limit_s=seconds_limit)
                took = time.monotonic() - start
            outcomes.slowest_s = max(outcomes.slowest_s, took)
            if failure is None and took > seconds_limit:
                failure = f"took {took:.1f} s"
            if failure is not None:
                outcomes.failed.append((number, failure))
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"case_{seed}_{number}.cif").write_bytes(path.read_bytes())
    outcomes.seconds = time.monotonic() - began
    close_reader()
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds-limit", type=float, default=10.0)
    parser.add_argument("--keep", type=Path, help="folder for the files that failed")
    options = parser.parse_args()
    texts = corpus()
    done = run(
        options.count,
        seed=options.seed,
        seconds_limit=options.seconds_limit,
        first=options.first,
        texts=texts,
        keep=options.keep,
    )
    print(f"{done.count} files from {len(texts)} valid ones, seed {options.seed}: {done.seconds:.1f} s", end="")
    print(f" ({1e3 * done.seconds / max(done.count, 1):.1f} ms a file, the slowest {1e3 * done.slowest_s:.0f} ms)\n")
    print(f"{done.read:8d}  read")
    print(f"{done.refused.total():8d}  refused with a reason, of which")
    for message, count in done.refused.most_common():
        print(f"{count:16d}  {message}")
    print(f"{len(done.failed):8d}  anything else")
    for number, failure in done.failed[:50]:
        print(f"      case {number}: {failure}")
    sys.exit(1 if done.failed else 0)


if __name__ == "__main__":
    main()
