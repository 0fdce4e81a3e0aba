"""Crystal files of all kinds, and the words of ``superionic enumerate``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache

from inputs import EXAMPLES, NO_FILES, Content, Input, damaged

EXAMPLE = (EXAMPLES / "li3ycl6" / "li3ycl6_p-3m1.cif").read_bytes()
POSCAR = """\
CsCl
1.0
4.1 0.0 0.0
0.0 4.1 0.0
0.0 0.0 4.1
Cs Cl
1 1
Direct
0.0 0.0 0.0
0.5 0.5 0.5
"""
EXTXYZ = """\
2
Lattice="4.1 0.0 0.0 0.0 4.1 0.0 0.0 0.0 4.1" Properties=species:S:1:pos:R:3 pbc="T T T"
Cs 0.0 0.0 0.0
Cl 2.05 2.05 2.05
"""
_CIF_CELL = "".join(f"_cell_length_{k} {{a}}\n" for k in "abc") + "".join(
    f"_cell_angle_{k} {{d}}\n" for k in ("alpha", "beta", "gamma")
)
_CIF_TABLE = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"


@cache
def _pymatgen_json() -> str:
    site = {"species": [{"element": "Cs", "occu": 1}], "abc": [0, 0, 0]}
    other = {"species": [{"element": "Cl", "occu": 1}], "abc": [0.5, 0.5, 0.5]}
    matrix = [[4.1, 0, 0], [0, 4.1, 0], [0, 0, 4.1]]
    tree = {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "lattice": {"matrix": matrix},
        "sites": [site, other],
    }
    return json.dumps(tree)


def _cif(rows: str, *, a: str = "4.1", d: str = "90", more: str = "") -> str:
    return "data_x\n_space_group_it_number 1\n" + _CIF_CELL.format(a=a, d=d) + more + _CIF_TABLE + rows


def _crystal_texts() -> Iterator[tuple[str, str, Content]]:
    head = _cif("Cs1 0 0 0\nCl1 0.5 0.5 0.5\n")
    for word in ("1e308", "1e-308", "1e999", "nan", "9" * 5000, "-1", "1e4", "0.6"):
        yield "cif", f"cell {word[:9]}", _cif("Cs1 0 0 0\n", a=word)
        yield "cif", f"angles {word[:9]}", _cif("Cs1 0 0 0\n", d=word)
        yield "cif", f"coordinate {word[:9]}", _cif(f"Cs1 {word} 0 0\n")
        yield "vasp", f"scale {word[:9]}", POSCAR.replace("1.0", word, 1)
        yield "vasp", f"count {word[:9]}", POSCAR.replace("1 1\n", f"1 {word}\n")
        yield "xyz", f"count {word[:9]}", EXTXYZ.replace("2\n", f"{word}\n", 1)
        yield "xyz", f"cell {word[:9]}", EXTXYZ.replace("4.1", word, 1)
        yield "json", f"cell {word[:9]}", _pymatgen_json().replace("4.1", word, 1)
        yield "json", f"occupancy {word[:9]}", _pymatgen_json().replace('"occu": 1', f'"occu": {word}', 1)
    yield "xyz", "a head of 10⁹ atoms", EXTXYZ.replace("2\n", "1000000000\n", 1)
    yield "vasp", "a head of 10⁹ atoms", POSCAR.replace("1 1\n", "1000000000 1\n")
    yield (
        "vasp",
        "1,000,000 kinds",
        POSCAR.replace("Cs Cl", "Cs " * 1_000_000).replace("1 1\n", "1 " * 1_000_000 + "\n"),
    )
    yield "xyz", "columns without end", EXTXYZ.replace("pos:R:3", "pos:R:3:v:R:1000000000")
    yield "xyz", "a comment of 2 MB", EXTXYZ.replace("pbc=", "x=" + "y" * 2_000_000 + " pbc=")
    yield "xyz", "a nested comment", EXTXYZ.replace("pbc=", "x=" + "[" * 90_000 + " pbc=")
    yield "json", "deep nesting", "[" * 5_000_000
    yield "json", "deep mappings", '{"a":' * 1_000_000
    yield "json", "a long number", '{"sites": ' + "9" * 5_000_000 + "}"
    yield "json", "code", _pymatgen_json().replace("pymatgen.core.structure", "os").replace("Structure", "system")
    yield "cif", "19 MB of a word", "data_" + "x" * 19_000_000
    yield "cif", "19 MB of quotes", "data_x\n" + "'" * 19_000_000
    yield "cif", "19 MB of names", "loop_\n" + "_atom_site_x\n" * 1_400_000
    yield "cif", "19 MB of different names", "loop_\n" + "".join(f"_atom_site_x{k}\n" for k in range(1_000_000))
    yield "cif", "19 MB of blocks", "data_x\n" * 2_700_000
    yield "cif", "19 MB of values", "data_x\n_cell_length_a " + "4 " * 9_000_000
    yield "cif", "19 MB of semicolons", "data_x\n" + ";\n" * 9_000_000
    yield "cif", "19 MB of line ends", "\r" * 19_000_000
    yield "cif", "9,000 sites", _cif("".join(f"Cs1 0.{k:05d} 0 0\n" for k in range(9000)))
    yield "cif", "2,000 equal sites", _cif("Cs1 0 0 0\n" * 2000)
    yield "cif", "2,000 sites on a line", _cif("".join(f"Cs1 {k / 2000:.6f} 0 0\n" for k in range(2000)), a="900")
    yield (
        "cif",
        "1,331 sites of 63,888 operations",
        _cif(
            "".join(
                f"Cu1 {i / 11:.8f} {j / 11:.8f} {k / 11:.8f}\n" for i in range(11) for j in range(11) for k in range(11)
            ),
            a="33",
        ),
    )
    yield "cif", "a label of 100,000 letters", _cif("Cs" + "x" * 100_000 + " 0 0 0\n")
    yield (
        "cif",
        "an operation without end",
        _cif("Cs1 0 0 0\n", more="loop_\n_symmetry_equiv_pos_as_xyz\n'" + "x+" * 1000 + "x,y,z'\n"),
    )
    yield (
        "cif",
        "100,000 operations",
        _cif("Cs1 0 0 0\n", more="loop_\n_symmetry_equiv_pos_as_xyz\n" + "'x,y,z'\n" * 9999),
    )
    yield (
        "cif",
        "code for a vector",
        _cif(
            "Cs1 0 0 0\n",
            more="_space_group_magn.transform_BNS_Pp_abc 'a,b,[d for d in ().__class__.__mro__[1].__getattribute__]'\n",
        ),
    )
    yield "cif", "a NUL byte", head.replace("Cs1", "C\0s1")
    yield "cif", "UTF-16", head.encode("utf-16")
    yield "cif", "Latin-1", head.encode() + b"# \xe9\xff\xfe\n"


def crystals(scale: int) -> Iterator[Input]:
    """Crystal files of all kinds."""
    seeds: dict[str, bytes] = {
        "cif": EXAMPLE,
        "vasp": POSCAR.encode(),
        "xyz": EXTXYZ.encode(),
        "json": _pymatgen_json().encode(),
    }
    for suffix, data in seeds.items():
        name = f"x.{suffix}"
        yield Input(f"crystal: sound {suffix}", ("read:crystal", name), {name: data}, sound=True)
        for what, changed in damaged(data, (6 if suffix == "cif" else 3) * scale, 2):
            yield Input(f"crystal: {suffix} {what}", ("read:crystal", name), {name: changed})
        for what, content in NO_FILES.items():
            yield Input(f"crystal: {what} as {suffix}", ("read:crystal", name), {name: content})
    for suffix, what, text in _crystal_texts():
        yield Input(f"crystal: {suffix} with {what}", ("read:crystal", f"x.{suffix}"), {f"x.{suffix}": text})
    yield Input("crystal: sound init", ("init", "x.cif", "-o", "new.yaml"), {"x.cif": EXAMPLE}, sound=True)
    for options in (
        ("--charges", "Li=1e308,Y=3,Cl=-1"),
        ("--charges", "Li=nan,Y=3,Cl=-1"),
        ("--name", "n" * 100_000),
        ("--mobile-ion", "L" * 100_000),
        ("--charges", "=" * 10_000),
        ("--output", "no/such/folder/x.yaml"),
        ("--output", "x" * 5000),
    ):
        yield Input(f"crystal: init {options[0]} {options[1][:20]}", ("init", "x.cif", *options), {"x.cif": EXAMPLE})
    for kind, content in NO_FILES.items():
        yield Input(f"crystal: init from {kind}", ("init", "x.cif"), {"x.cif": content})


def enumerations(scale: int) -> Iterator[Input]:
    """Words of ``superionic enumerate``."""
    del scale
    files = {"x.cif": EXAMPLE}
    yield Input("enumerate: sound", ("enumerate", "x.cif", "--supercell", "1x1x2", "--count"), files, sound=True)
    asked = [
        *(
            f"--supercell {s} {how}"
            for s in ("999x999x999", "30x30x30", "12x12x12", "1x1x100000", "[[999,0,0],[0,999,0],[0,0,999]]")
            for how in ("--count", "--ewald-top 5", "--sample 5", "--search 5", "--monte-carlo 5", "")
        ),
        "--supercell 1x1x99999999999999999999 --count",
        f"--supercell 1x1x{'9' * 5000} --count",
        "--supercell ²x1x1 --count",
        "--supercell [[1e308,0,0],[0,1,0],[0,0,1]] --count",
        "--supercell [[NaN,0,0],[0,1,0],[0,0,1]] --count",
        f"--supercell {'[' * 100_000} --count",
        "--supercell [[1,1000000000000,0],[0,1,0],[0,0,1]] --count",
        "--supercell [[9223372036854775807,0,0],[0,1,0],[0,0,1]] --count",
        "--supercell 0x0x0 --count",
        "--supercell [] --count",
        "--hnf --max-index 1000000000 --count",
        "--hnf --max-index 1000 --count",
        "--hnf --max-index 99999999999999999999 --count",
        "--hnf --max-index 200 --count --any-composition",
        "--hnf --max-index 1000000000 --ewald-top 3",
        "--hnf --max-index 1000000 --diagonal --count",
        "--sample 1000000000",
        "--sample 99999999999999999999",
        "--sample 1000000000 --thermal --supercell 1x1x2",
        "--search 1000000000",
        "--ewald-top 1000000000",
        "--ewald-top 99999999999999999999",
        "--monte-carlo 1000000000",
        "--monte-carlo 5 --sweeps 1000000000000",
        "--monte-carlo 5 --sweeps 99999999999999999999",
        "--search 5 --search-budget 99999999999999999999",
        "--max-listed 99999999999999999999999 --count",
        *(f"--monte-carlo 5 --sweeps 200 --temperature-K {v}" for v in ("1e-308", "1e308", "nan", "-1", "0", "inf")),
        *(f"--monte-carlo 5 --sweeps 200 --dielectric {v}" for v in ("1e-308", "1e308", "nan", "-1", "0", "inf")),
        *(f"--charges Li={v},Y=3,Cl=-1 --count" for v in ("1e308", "1e-308", "nan", "inf", "0", "1e10", "1e17")),
        *(f"--charges Li={v},Y=3,Cl=-1 --ewald-top 3" for v in ("1e308", "1e-308", "nan", "1e10")),
        *(f"--min-distance {v} --count" for v in ("1e308", "1e-308", "nan", "inf", "100", "1000")),
        *(f"--max-deviation {v} --count" for v in ("1e308", "1e-308", "nan", "-1")),
        *(
            f"--axis Cl:Br:x={v} --count"
            for v in (
                "0..6:1e-9",
                "0..1e308:1",
                "0..6:0.000001",
                "0..999999999999",
                "0..6:0",
                f"{'9' * 5000}",
                "0.." + "9" * 400,
                "nan",
                "1e308",
                "1..0",
                f"0,{'1,' * 100_000}",
            )
        ),
        "--axis " + ":" * 100_000,
        "--axis Cl:Br:" + "x" * 100_000 + "=3",
        "--axis Cl:Br:x=3@" + "Li" * 50_000,
        "--formula-unit " + "Li9" * 10_000 + " --axis Cl:Br:x=3",
        "--formula-unit Li99999999999999999999Cl --axis Cl:Br:x=3",
        "--seed -1 --sample 3",
        "--seed 99999999999999999999 --sample 3",
        "--seed 99999999999999999999 --search 3",
        "--sample 3 --out no/such/x.extxyz",
        "--sample 3 --out x.unknown",
        "--sample 3 --out .",
        f"--sample 3 --out {'x' * 5000}.cif",
    ]
    for words in asked:
        yield Input(f"enumerate: {words[:90]}", ("enumerate", "x.cif", *words.split()), files)
