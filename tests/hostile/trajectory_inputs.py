"""Trajectories of all formats, and the words of ``superionic analyse``."""

from __future__ import annotations

import bz2
import gzip
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from inputs import NO_FILES, Content, Input, damaged, gzip_of_zeros

_ANALYSE = ("--mobile", "Li", "--frame-interval-fs", "100", "--temperature-K", "800")
_TYPES = ("--units", "metal", "--elements", "Li,Y,Cl", "--timestep-fs", "2")


@cache
def _trajectory(kind: str) -> bytes:
    import tempfile

    import trajectory_files as made

    frames, cells = made.walk(40, step=0.01), made.breathing(made.TRICLINIC, 40)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "x"
        if kind == "traj":
            from ase import Atoms
            from ase.io.trajectory import Trajectory

            with Trajectory(str(path), "w") as out:
                for frame in frames:
                    out.write(Atoms(made.SYMBOLS, scaled_positions=frame % 1.0, cell=made.TRICLINIC, pbc=True))
        elif kind == "xdatcar":
            made.xdatcar(path, frames, made.TRICLINIC)
        else:
            getattr(made, kind)(path, frames, cells)
        return path.read_bytes()


TRAJECTORIES = {
    "xdatcar": "XDATCAR",
    "lammps_dump": "x.dump",
    "extxyz": "x.extxyz",
    "vasprun": "vasprun.xml",
    "traj": "x.traj",
}


def _analyse(name: str, kind: str, content: Content, *further: str, **more: Content) -> Input:
    words = _TYPES if kind == "lammps_dump" else ()
    file = TRAJECTORIES[kind]
    return Input(f"trajectory: {name}", ("analyse", file, *_ANALYSE, *words, *further), {file: content, **more})


def _trajectory_texts() -> Iterator[tuple[str, str, Content]]:
    dump, xdatcar, extxyz, vasprun = (_trajectory(k) for k in ("lammps_dump", "xdatcar", "extxyz", "vasprun"))
    for number in ("1000000000", "99999999999999999999", "1" * 4000, "-5", "0"):
        word, short = number.encode(), number[:12]
        yield "lammps_dump", f"a head of {short} atoms", dump.replace(b"ATOMS\n12\n", b"ATOMS\n" + word + b"\n")
        yield (
            "lammps_dump",
            f"a later head of {short} atoms",
            dump[::1].replace(b"ATOMS\n12\n", b"ATOMS\n" + word + b"\n").replace(b"ATOMS\n" + word, b"ATOMS\n12", 3),
        )
        yield "lammps_dump", f"step {short}", dump.replace(b"TIMESTEP\n200\n", b"TIMESTEP\n" + word + b"\n")
        yield "lammps_dump", f"identifier {short}", re.sub(rb"\n31 ", b"\n" + word + b" ", dump)
        yield "lammps_dump", f"type {short}", re.sub(rb"\n31 \d", b"\n31 " + word, dump)
        yield "xdatcar", f"a head of {short} atoms", xdatcar.replace(b"  4  2  6\n", b"  4  2  " + word + b"\n", 1)
        yield "xdatcar", f"configuration {short}", xdatcar.replace(b"configuration=     3", b"configuration=" + word)
        yield "extxyz", f"a head of {short} atoms", extxyz.replace(b"12\n", word + b"\n", 1)
        yield "extxyz", f"a later head of {short} atoms", extxyz.replace(b"\n12\n", b"\n" + word + b"\n", 3)
        yield "extxyz", f"a column of {short}", extxyz.replace(b"vel:R:3", b"vel:R:" + word)
    for word in (b"1e308", b"1e-308", b"nan", b"-1e308", b"1e154"):
        yield "lammps_dump", f"box {word.decode()}", re.sub(rb"BOX BOUNDS(.*)\n\S+", rb"BOX BOUNDS\1\n" + word, dump)
        yield "xdatcar", f"scale {word.decode()}", xdatcar.replace(b"           1\n", word + b"\n", 1)
        yield "xdatcar", f"cell {word.decode()}", xdatcar.replace(b"9.000000", word, 1)
        yield "extxyz", f"cell {word.decode()}", re.sub(rb'Lattice="\S+', b'Lattice="' + word, extxyz)
        yield (
            "extxyz",
            f"positions {word.decode()}",
            re.sub(rb"\nLi (\S+) (\S+) (\S+) \S+", rb"\nLi \1 \2 \3 " + word, extxyz),
        )
        yield "vasprun", f"positions {word.decode()}", re.sub(rb"<v> +\S+", b"<v> " + word, vasprun)
        yield (
            "vasprun",
            f"time step {word.decode()}",
            re.sub(rb'"POTIM">\s*\S+</i>', b'"POTIM"> ' + word + b"</i>", vasprun),
        )
    yield "vasprun", "a head of 60 MB", vasprun.replace(b"<calculation>", b"<x>" * 20_000_000 + b"<calculation>", 1)
    yield "vasprun", "a time step of points", re.sub(rb'"POTIM">\s*\S+</i>', b'"POTIM"> ........</i>', vasprun)
    yield (
        "vasprun",
        "a block of 99999999999",
        vasprun.replace(b" <parameters>", b' <parameters><i name="ML_OUTBLOCK"> 99999999999999999999</i>'),
    )
    yield "vasprun", "IBRION of signs", vasprun.replace(b'name="IBRION">     0', b'name="IBRION"> +-+-')
    yield (
        "vasprun",
        "200,000 atoms",
        vasprun.replace(b"   <set>\n", b"   <set>\n" + b"<rc><c>Li</c></rc>\n" * 200_000, 1),
    )
    yield "extxyz", "a line of 30 MB", extxyz.replace(b"\n12\n", b"\n" + b"9" * 30_000_000 + b"\n", 1)
    yield "extxyz", "10,000 columns", extxyz.replace(b"vel:R:3", b"vel:R:3:" + b"a:R:1:" * 10_000)
    yield (
        "xdatcar",
        "1,000,000 kinds",
        xdatcar.replace(b"  4  2  6\n", b"1 " * 1_000_000 + b"\n").replace(
            b"   Li   Y   Cl\n", b"Li " * 1_000_000 + b"\n"
        ),
    )
    yield "xdatcar", "30,000 damaged heads", xdatcar + (xdatcar[:160] + b"\n") * 30_000
    yield "lammps_dump", "200,000 empty heads", dump + b"ITEM: TIMESTEP\n" * 200_000
    yield "lammps_dump", "a cell of 900 Å", re.sub(rb"(BOX BOUNDS.*\n\S+) \S+", rb"\1 900.0", dump)


def trajectories(scale: int) -> Iterator[Input]:
    """Trajectories of all formats, and the words of ``superionic analyse``."""
    for kind, file in TRAJECTORIES.items():
        data = _trajectory(kind)
        sound = _analyse(f"sound {kind}", kind, data)
        yield Input(sound.name, sound.ask, sound.files, sound=True)
        for what, changed in damaged(data, 4 * scale, 3):
            yield _analyse(f"{kind} {what}", kind, changed)
        for what, content in NO_FILES.items():
            yield _analyse(f"{what} as {kind}", kind, content)
        for packer, suffix in ((gzip.compress, "gz"), (bz2.compress, "bz2")):
            if kind != "traj":
                packed = packer(data)
                yield Input(
                    f"trajectory: {kind} cut in its {suffix}",
                    ("analyse", f"{file}.{suffix}", *_ANALYSE, *_TYPES),
                    {f"{file}.{suffix}": packed[: len(packed) // 2]},
                )
        yield Input(
            f"trajectory: 1 GB of zeros in a {kind}.gz",
            ("analyse", f"{file}.gz", *_ANALYSE, *_TYPES),
            {f"{file}.gz": gzip_of_zeros(1000)},
        )
    for kind, what, content in _trajectory_texts():
        yield _analyse(f"{kind} with {what}", kind, content)
    yield _analyse(
        "a cell of 900 Å and its density",
        "xdatcar",
        _trajectory("xdatcar")
        .replace(b"9.000000", b"900.0000")
        .replace(b"8.000000", b"900.0000")
        .replace(b"10.000000", b"900.00000"),
        "--out",
        "out",
    )
    xdatcar = _trajectory("xdatcar")
    for words in _analyse_words():
        yield Input(
            f"trajectory: {words[:80]}",
            ("analyse", "XDATCAR", "--mobile", "Li", *words.split(" ")),
            {"XDATCAR": xdatcar},
        )
    for what, content in NO_FILES.items():
        yield _analyse(f"{what} as structure", "xdatcar", xdatcar, "--structure", "s.cif", **{"s.cif": content})
        yield _analyse(f"{what} as sites", "xdatcar", xdatcar, "--sites", "s.cif", "--out", "out", **{"s.cif": content})
        yield _analyse(
            f"{what} as output", "xdatcar", xdatcar, "--out", "out", out=content if what != "folder" else b"x"
        )
        yield _analyse(f"{what} as cache", "xdatcar", xdatcar, "--cache", "kept", kept=content)


def _analyse_words() -> Iterator[str]:
    good = "--frame-interval-fs 100 --temperature-K 800"
    for value in ("1e308", "1e-308", "nan", "inf", "0", "-1", "1e17", "1e-17"):
        yield f"--frame-interval-fs {value} --temperature-K 800"
        yield f"--frame-interval-fs 100 --temperature-K {value}"
        yield f"{good} --hop-length-A {value}"
        yield f"{good} --skip-ps {value}"
        yield f"{good} --report-K {value}"
        yield f"{good} --charges Li={value},Y=3,Cl=-1"
        yield f"{good} --isovalue {value} --out out"
        yield f"--frame-interval-fs 100 --temperatures-K {value}"
    for value in ("1000000000", "99999999999999999999", "0"):
        yield f"{good} --stride {value}"
    yield f"{good} --mobile {'Li,' * 50_000}"
    yield f"{good} --elements {'Li,' * 50_000}"
    yield f"{good} --elements {'X' * 100_000}"
    yield f"{good} --framework {'Cl,' * 50_000}"
    yield f"{good} --axes {'x' * 100_000}"
    yield f"{good} --format {'x' * 100_000}"
    yield f"{good} --units {'x' * 100_000}"
    yield f"{good} --structure no.cif"
    yield f"{good} --cache {'x' * 5000}"
    yield f"{good} --out {'x' * 5000}"
