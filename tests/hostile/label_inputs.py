"""Files of finished labels, and packages of labels."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
from inputs import EXAMPLES, NO_FILES, Input, damaged, gzip_of_zeros


@cache
def _vasprun_label() -> bytes:
    from fake_vasp import vasprun_text

    scaled = np.array([[0.0, 0.0, 0.01], [0.5, 0.5, 0.0], [0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])
    forces = np.array([[0.12345678, -0.2, 0.3], [-0.1, 0.2, -0.1], [0.0, 0.1, -0.1], [-0.02345678, -0.1, -0.1]])
    stress = np.array([[10.0, 1.0, 2.0], [1.0, -20.0, 3.0], [2.0, 3.0, 30.5]])
    cell = np.diag([5.1, 5.2, 5.3])
    return vasprun_text(
        ["Li", "Li", "Cl", "Cl"], cell, scaled, energy=-17.12345678, forces=forces, stress_kB=stress
    ).encode()


@cache
def _package() -> bytes:
    frames = (EXAMPLES / "li3ycl6-ladder" / "labels.extxyz").read_bytes()
    count = int(frames.split(b"\n", 1)[0])
    return b"\n".join(frames.split(b"\n")[: 3 * (count + 2)]) + b"\n"


def labels(scale: int) -> Iterator[Input]:
    """Files of finished labels, and packages of labels."""
    vasprun, package = _vasprun_label(), _package()
    kinds = {"vasprun.xml": vasprun, "labels.extxyz": package}
    for file, data in kinds.items():
        stated = ("--code", "vasp", "--code-version", "6", "--functional", "PBE") if file.endswith("extxyz") else ()
        ask = ("labels", "import", file, "--out", "imported.extxyz", *stated)
        yield Input(f"labels: sound {file}", ask, {file: data}, sound=True)
        for what, changed in damaged(data, 5 * scale, 4):
            yield Input(f"labels: {file} {what}", ask, {file: changed})
        for what, content in NO_FILES.items():
            yield Input(f"labels: {what} as {file}", ask, {file: content})
    for what, content in NO_FILES.items():
        yield Input(f"labels: {what} as x.gpw", ("labels", "import", "x.gpw"), {"x.gpw": content})
        yield Input(
            f"labels: {what} as vasprun.xml.gz", ("labels", "import", "vasprun.xml.gz"), {"vasprun.xml.gz": content}
        )
        yield Input(f"labels: {what} to be checked", ("labels", "check", "labels.extxyz"), {"labels.extxyz": content})
        yield Input(
            f"labels: {what} as training set", ("read:training set", "labels.extxyz"), {"labels.extxyz": content}
        )
    for what, changed in damaged(package, 5 * scale, 5):
        yield Input(f"labels: check {what}", ("labels", "check", "labels.extxyz"), {"labels.extxyz": changed})
        yield Input(f"labels: training set {what}", ("read:training set", "labels.extxyz"), {"labels.extxyz": changed})
    entities = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "' + "x" * 1000 + '">'
    entities += (
        "".join(f'<!ENTITY {chr(98 + k)} "{f"&{chr(97 + k)};" * 10}">' for k in range(12))
        + "]><modeling>&m;</modeling>"
    )
    outside = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><modeling>&a;</modeling>'
    texts = {
        "entities of entities": entities.encode(),
        "an entity from outside": outside.encode(),
        "1,000,000 nested tags": b"<a>" * 1_000_000,
        "a tag of 30 MB": b"<" + b"a" * 30_000_000,
        "an attribute of 30 MB": b'<a b="' + b"c" * 30_000_000 + b'">',
        "a number of 5 MB": vasprun.replace(b"-17.12345678", b"1" * 5_000_000),
        "UTF-16": vasprun.decode().encode("utf-16"),
        "another encoding": vasprun.replace(b"ISO-8859-1", b"no-such-encoding"),
        "a bomb of an encoding": vasprun.replace(b"ISO-8859-1", b"punycode"),
        "100,000 atoms": vasprun.replace(
            b"<rc><c>Li</c>", b"<rc><c>Li</c><c>1</c></rc>" * 100_000 + b"<rc><c>Li</c>", 1
        ),
        "steps without end": vasprun.replace(b"<scstep>", b"<scstep></scstep>" * 100_000 + b"<scstep>", 1),
        "k-points of 10⁹": vasprun.replace(b" 2 2 2 ", b" 1000000000 1000000000 1000000000 "),
    }
    for what, data in texts.items():
        yield Input(f"labels: vasprun.xml with {what}", ("labels", "import", "vasprun.xml"), {"vasprun.xml": data})
    yield Input(
        "labels: 2 GB of zeros in a vasprun.xml.gz",
        ("labels", "import", "vasprun.xml.gz"),
        {"vasprun.xml.gz": gzip_of_zeros(2000)},
    )

    def spaces(path: Path) -> None:
        path.write_bytes(gzip.compress(vasprun.replace(b"<incar>", b"<incar>" + b" " * 300_000_000), 1))

    yield Input(
        "labels: 300 MB of blanks in a vasprun.xml.gz",
        ("labels", "import", "vasprun.xml.gz"),
        {"vasprun.xml.gz": spaces},
    )
    count = package.split(b"\n", 1)[0]
    frames = {
        "10⁹ atoms": package.replace(count, b"1000000000", 1),
        "10³⁰⁰ atoms": package.replace(count, b"1" * 300, 1),
        "a column of 10⁹": re.sub(rb":R:3", b":R:1000000000", package, count=1),
        "a nested provenance": package.replace(
            b"Properties", b'provenance="_JSON ' + b"[" * 100_000 + b'" Properties', 1
        ),
        "a nested list": package.replace(b"Properties", b"x=" + b"[" * 100_000 + b" Properties", 1),
        "a huge whole number": package.replace(b"Properties", b"round=" + b"9" * 5000 + b" Properties"),
        "a run that is a list": package.replace(b"Properties", b'temperature_K="1 2 3" Properties'),
        "an origin that is a text": package.replace(b"Properties", b"origin=text Properties"),
        "a provenance that is a number": package.replace(b"Properties", b"provenance=3 diagnostics=4 Properties"),
        "a pbc of 10": package.replace(b'pbc="T T T"', b'pbc="T T T T T T T T T T"'),
        "no finite energy": re.sub(rb"energy=\S+", b"energy=nan", package),
        "an energy of 1e308": re.sub(rb"energy=\S+", b"energy=1e308", package),
        "a stress of 1e308": re.sub(rb'stress="\S+', b'stress="1e308', package),
        "a stress of words": re.sub(rb'stress="[^"]*"', b"stress=high", package),
    }
    stated = ("--code", "vasp", "--code-version", "6", "--functional", "PBE")
    for what, data in frames.items():
        yield Input(f"labels: import {what}", ("labels", "import", "x.extxyz", *stated), {"x.extxyz": data})
        yield Input(f"labels: check {what}", ("labels", "check", "x.extxyz"), {"x.extxyz": data})
        yield Input(f"labels: training set with {what}", ("read:training set", "x.extxyz"), {"x.extxyz": data})
    yield Input(
        "labels: a folder that is its own child",
        ("labels", "import", "d"),
        {"d/vasprun.xml": vasprun, "d/again": partial(Path.symlink_to, target=".")},
    )
    yield Input(
        "labels: every 10²⁰",
        ("labels", "import", "vasprun.xml", "--every", "99999999999999999999"),
        {"vasprun.xml": vasprun},
    )
    for value in ("1e308", "1e-308", "nan", "inf", "0"):
        yield Input(
            f"labels: k-point spacing {value}",
            ("labels", "import", "vasprun.xml", "--kpoint-spacing", value),
            {"vasprun.xml": vasprun},
        )
