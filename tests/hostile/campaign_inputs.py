"""Campaign files: text that is none, YAML that grows, settings out of bounds, paths that lead nowhere."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from inputs import EXAMPLES, NO_FILES, Content, Input, damaged, fifo, loop, sparse

CAMPAIGN = """\
superionic: 1
name: small
seed: 7
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1, Br: -1}
crystals:
  - {name: P-3m1, file: crystal.cif}
references:
  - {name: LiCl, file: licl.cif}
potentials:
  pair: {engine: pair}
composition_axes:
  - {replace: Cl, by: Br, formula_unit: Li3YCl6, values: [0, 3]}
enumerate: {ewald_keep: 4}
rank: {relax_top: 2, fmax_eV_per_A: 0.3, max_steps: 40, method: single-points}
hull: {formula_unit: Li3YCl6}
select: {count: 1}
sample: {temperatures_K: [800], timestep_fs: 2, production_ps: 1, segment_ps: 1, snapshots: 2}
label: {engine: "potential:pair"}
transport: {supercell: 1x1x1, temperatures_K: [800, 1000], timestep_fs: 2, production_ps: 2, segment_ps: 1}
analyse: {density_grid_A: 1.0}
"""


@cache
def _crystal(name: str = "li3ycl6_p-3m1.cif") -> bytes:
    return (EXAMPLES / "li3ycl6" / name).read_bytes()


def _campaign(name: str, text: Content, **further: Content) -> Input:
    files = {"crystal.cif": _crystal(), "licl.cif": _crystal("licl.cif"), "campaign.yaml": text}
    return Input(f"campaign: {name}", ("check", "campaign.yaml"), files | further)


def _with(old: str, new: str) -> str:
    assert old in CAMPAIGN, old
    return CAMPAIGN.replace(old, new)


def _yaml_bombs() -> Iterator[tuple[str, str]]:
    size = 1_900_000
    for sign in (
        "!",
        "[",
        "{",
        "- ",
        "? ",
        "'",
        '"',
        "#",
        "\n",
        " ",
        "\t",
        ",",
        ":",
        "|",
        ">",
        "%",
        "a",
        "---\n",
        "-",
        "&a ",
        "*a ",
        "!a ",
        "!!str ",
        "[a, ",
        "{a: ",
        "a: ",
        "a: b\n",
        "- - a\n",
        "é",
        "<<",
        "\\",
        "@",
        "`",
        "[]\n",
        "'a' ",
        "!<",
        "&",
        "*",
        "\ufeff",
        "\u2028",
        "\x85",
    ):
        yield f"1.9 MB of {sign!r}", sign * (size // len(sign.encode()))
        yield f"a key and 1.9 MB of {sign!r}", "name: " + sign * (size // len(sign.encode()) - 10)
    yield (
        "aliases of aliases",
        "a: &a [x, x, x]\n"
        + "".join(f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join(['*' + chr(97 + k)] * 9)}]\n" for k in range(20)),
    )
    yield "an alias of itself", CAMPAIGN + "report: &a {title: *a}\n"
    yield "one anchor, 100,000 aliases", "a: &a [x]\nb: [" + "*a, " * 100_000 + "]\n"
    yield "100,000 anchors", "".join(f"k{n}: &a{n} 1\n" for n in range(100_000))
    yield "merge keys", "a: &a {b: 1}\n" + "".join(f"c{k}: {{<<: *a, d: 1}}\n" for k in range(5000))
    yield "code in a tag", 'a: !!python/object/apply:os.system ["echo no"]\n'
    yield "another version", "%YAML 9.9\n---\n" + CAMPAIGN
    yield "tag directives", "%TAG ! tag:example.com,2000:\n" * 20_000 + "---\na: 1\n"
    yield "many documents", "---\na: 1\n" * 10_000
    yield "deep blocks", "".join("  " * k + f"k{k}:\n" for k in range(600))
    yield "equal keys", "a: 1\n" * 50_000
    yield "different keys", "".join(f"key{k}: 1\n" for k in range(150_000))
    yield "unknown keys", CAMPAIGN + "".join(f"transpor{k}: 1\n" for k in range(15_000))
    yield (
        "unknown keys in one section",
        _with("{ewald_keep: 4}", "{" + ", ".join(f"ewald_kee{k}: 1" for k in range(15_000)) + "}"),
    )
    yield "a long quoted text", 'name: "' + "\\u00e9" * 300_000 + '"\n'
    yield "a long number", "seed: " + "9" * 1_000_000 + "\n"
    yield "a long hexadecimal number", _with("seed: 7", "seed: 0x" + "f" * 250)
    yield "a long folded text", "name: >\n" + "  a\n\n" * 300_000
    yield "a long key", "a" * 100_000 + ": 1\n" + CAMPAIGN
    yield "a long complex key", "? " + "a" * 1_000_000 + "\n: 1\n"


def _settings() -> Iterator[tuple[str, str]]:
    """Yield campaign texts with one extreme setting each; every number of the schema comes in turn."""
    from pydantic import BaseModel

    from superionic.campaign.file.schema import CampaignFile

    def numbers(model: type[BaseModel], place: str) -> Iterator[tuple[str, Any]]:
        for name, found in model.model_fields.items():
            path = f"{place}.{found.alias or name}" if place else (found.alias or name)
            for part in _parts(found.annotation):
                if part in (int, float):
                    yield path, part
                elif isinstance(part, type) and issubclass(part, BaseModel) and place.count(".") < 3:
                    yield from numbers(part, path)

    seen = set()
    for path, kind in numbers(CampaignFile, ""):
        if (path, kind) not in seen and path != "superionic":
            seen.add((path, kind))
            values = ("1e308", "1e-308", "-0.0", ".nan") if kind is float else (str(10**9), str(10**300), "-1", "0")
            for value in values:
                yield f"{path} = {value if len(value) < 20 else '1e300'} ({kind.__name__})", _set(path, value)


def _parts(annotation: Any) -> list[Any]:
    """Return the types that an annotation is made of; those in lists and mappings are the families' own business."""
    import typing

    if typing.get_origin(annotation) in (tuple, dict, list):
        return []
    arguments = typing.get_args(annotation)
    return [annotation] if not arguments else [part for argument in arguments for part in _parts(argument)]


@cache
def _tree() -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(CAMPAIGN)


def _set(path: str, value: str) -> str:
    """Set a value in the campaign."""
    tree = copy.deepcopy(_tree())
    *sections, last = path.split(".")
    here = tree
    for name in sections:
        if isinstance(here.get(name), list):
            here = here[name][0]
        elif name == "potentials":
            here = here[name]["pair"]
        else:
            here = here.setdefault(name, {})
    here[last] = "VALUE"
    return json.dumps(tree).replace('"VALUE"', value)


def _many(entry: str, number: int) -> str:
    return "\n".join(f"  - {entry.format(k=k)}" for k in range(number)) + "\n"


def _large_campaigns() -> Iterator[Input]:
    one = "  - {name: P-3m1, file: crystal.cif}\n"
    yield _campaign("4,000 crystals", _with(one, _many("{{name: c{k}, file: crystal.cif}}", 4000)))
    yield _campaign("40 crystals", _with(one, _many("{{name: c{k}, file: crystal.cif}}", 40)))
    yield _campaign(
        "4,000 missing crystals",
        _with(one, _many("{{name: c{k}, file: cristal{k}.cif}}", 4000)),
        **{f"crystal{k}.cif": b"" for k in range(1500)},
    )
    yield _campaign("4,000 equal names", _with(one, _many("{{name: c, file: crystal.cif}}", 4000)))
    yield _campaign(
        "4,000 references",
        CAMPAIGN.replace("  - {name: LiCl, file: licl.cif}\n", _many("{{name: r{k}, file: licl.cif}}", 4000)),
    )
    yield _campaign(
        "4,000 potentials",
        CAMPAIGN.replace(
            "  pair: {engine: pair}\n",
            "  pair: {engine: pair}\n" + "".join(f"  p{k}: {{engine: pair}}\n" for k in range(4000)),
        ),
    )
    yield _campaign(
        "4,000 supercells",
        _with(
            one,
            "  - {name: P, file: crystal.cif, further_supercells: ["
            + ", ".join(f"[1, 1, {k}]" for k in range(2, 4002))
            + "]}\n",
        ),
    )
    yield _campaign(
        "a grid of 9,000 points", _with("values: [0, 3]", f"values: [{', '.join(str(k / 1500) for k in range(9000))}]")
    )
    hundredths = ", ".join(str(k / 100) for k in range(600))
    axes = "".join(
        f"  - {{replace: Cl, by: {by}, formula_unit: Li3YCl6, values: [{hundredths}]}}\n" for by in ("Br", "I", "F")
    )
    yield _campaign(
        "a grid of 216 million points",
        _with("  - {replace: Cl, by: Br, formula_unit: Li3YCl6, values: [0, 3]}\n", axes).replace(
            "Br: -1}", "Br: -1, I: -1, F: -1}"
        ),
    )
    yield _campaign("10,000 temperatures", _with("[800, 1000]", f"[{', '.join(str(k) for k in range(1, 10_001))}]"))
    yield _campaign(
        "10,000 constraints",
        CAMPAIGN + "composition_constraints:\n" + _many("{{weights: {{Br: 1}}, minimum: 0}}", 4000),
    )
    yield _campaign(
        "10,000 occupancies",
        _with(
            one,
            "  - {name: P, file: crystal.cif, occupancies: {"
            + ", ".join(f"S{k}: {{Li: 0.5}}" for k in range(6000))
            + "}}\n",
        ),
    )
    yield _campaign(
        "10,000 finished files",
        _with(
            'label: {engine: "potential:pair"}',
            "label: {engine: finished, finished: {files: [" + ", ".join(f"no{k}.xml" for k in range(10_000)) + "]}}",
        ),
    )


def _campaign_settings() -> Iterator[tuple[str, str]]:
    crystal = "{name: P-3m1, file: crystal.cif}"
    supercells = (
        "999x999x999",
        "1x1x999999999999",
        f"1x1x{'9' * 5000}",
        "40x40x40",
        "12x12x12",
        "[[999, 0, 0], [0, 999, 0], [0, 0, 999]]",
        "[[9999999999999999999, 0, 0], [0, 1, 0], [0, 0, 1]]",
        "[[1, 1000000, 0], [0, 1, 1000000], [0, 0, 1]]",
        "[1, 1, 99999999999999999999]",
        "[[1, 0, 0], [0, 1, 0], [0, 0, -1]]",
        '"²x1x1"',
        '"٣x1x1"',
    )
    for value in supercells:
        yield (
            f"crystal supercell {value[:60]}",
            _with(crystal, f"{{name: P-3m1, file: crystal.cif, supercell: {value}}}"),
        )
        yield f"transport supercell {value[:60]}", _with("supercell: 1x1x1", f"supercell: {value}")
        yield f"sample supercell {value[:60]}", _with("sample: {", f"sample: {{supercell: {value}, ")
    for value in ("1e-9", "1e-308", "1e308", "0.001", "0.02", "0"):
        yield f"density grid {value}", _with("density_grid_A: 1.0", f"density_grid_A: {value}")
    for value in ("[1e-308]", "[1e308]", "[0]", "[-1]", "[1e-308, 1e308]", "[.inf]", "[999999]"):
        yield f"temperatures {value}", _with("[800, 1000]", value)
        yield f"report temperatures {value}", _with("density_grid_A: 1.0", f"report_temperatures_K: {value}")
    for value in ("1e308", "1e-308", "1e10", "0", "-1", ".nan", "1e300"):
        yield f"charge {value}", _with("Li: 1,", f"Li: {value},")
        yield f"axis value {value}", _with("values: [0, 3]", f"values: [{value}]")
        yield (
            f"occupancy {value}",
            _with(crystal, f"{{name: P-3m1, file: crystal.cif, occupancies: {{Y2: {{Y: {value}}}}}}}"),
        )
    for name in (
        "production_ps",
        "segment_ps",
        "save_every_fs",
        "timestep_fs",
        "heating_ps",
        "npt_ps",
        "pressure_GPa",
        "replicas",
        "per_composition",
        "thermostat_time_fs",
    ):
        for value in ("1e308", "1e-308", "1000000000", "1e17"):
            text = re.sub(rf"(transport: .*?), {name}: [^,}}]*", r"\1", CAMPAIGN)
            yield f"transport.{name} {value}", text.replace("transport: {", f"transport: {{{name}: {value}, ")
    for formula in (
        "Li" * 5000,
        "Li1" + "0" * 400,
        "Li1e308",
        "Li" + "9" * 400,
        "((((((Li))))))",
        "Li0." + "0" * 400 + "1",
        "L" * 100_000,
    ):
        yield (
            f"formula {formula[:20]} of {len(formula)}",
            _with("hull: {formula_unit: Li3YCl6}", f"hull: {{formula_unit: {formula}}}"),
        )
    for name in (
        "n" * 100_000,
        "../../../etc/x",
        "a/b",
        ".",
        "con",
        "-rf",
        "a\u202eb",
        "日本",
        "a" * 80,
        "a" * 81,
        "[1]",
    ):
        yield f"name {name[:20]} of {len(name)}", _with("name: small", f"name: {json.dumps(name)}")
    files = (
        "/dev/zero",
        "/dev/stdin",
        "/proc/self/mem",
        ".",
        "..",
        "/",
        "../" * 4000 + "x.cif",
        "x" * 100_000 + ".cif",
        "~nobody-of-that-name/x.cif",
        "~",
        "a\0b.cif",
        "pipe.cif",
        "loop.cif",
        "deep/" * 2000 + "x.cif",
        "",
        " ",
        "crystal.cif/x",
        "http://example.com/x.cif",
        "\ud800.cif",
        "campaign.yaml",
        "huge.cif",
        "$HOME/x.cif",
    )
    for file in files:
        for place, old in (("crystal", "file: crystal.cif"), ("reference", "file: licl.cif")):
            yield f"{place} file {file[:30]!r} of {len(file)}", _with(old, f"file: {json.dumps(file)}")
        yield (
            f"potential file {file[:30]!r} of {len(file)}",
            _with(
                "pair: {engine: pair}", f"pair: {{engine: pair}}\n  nep: {{engine: nep, file: {json.dumps(file)}}}"
            ).replace("rank: {", "rank: {potential: pair, "),
        )
        yield (
            f"finished file {file[:30]!r} of {len(file)}",
            _with(
                'label: {engine: "potential:pair"}',
                f"label: {{engine: finished, finished: {{files: [{json.dumps(file)}]}}}}",
            ),
        )
        yield (
            f"replay file {file[:30]!r} of {len(file)}",
            _with("transport: {", f"train: {{replay: {json.dumps(file)}}}\ntransport: {{"),
        )


def campaigns(scale: int) -> Iterator[Input]:
    """Campaign files: text that is none, YAML that grows, settings out of bounds, paths that lead nowhere."""
    yield Input("campaign: sound", ("check", "campaign.yaml"), _campaign("", CAMPAIGN).files, sound=True)
    special = {"pipe.cif": fifo, "loop.cif": loop, "huge.cif": sparse(6.0)}
    for name, text in itertools.chain(_yaml_bombs(), _campaign_settings()):
        yield _campaign(name, text, **(special if "file" in name else {}))
    yield from _large_campaigns()
    settings = list(_settings())
    for name, text in settings if scale > 1 else settings[::5]:
        yield _campaign(name, text)
    for name, data in damaged(CAMPAIGN.encode(), 8 * scale, 1):
        yield _campaign(name, data)
    for name, content in NO_FILES.items():
        yield _campaign(f"{name} as campaign", content)
        yield _campaign(f"{name} beside the campaign", CAMPAIGN, **{"other.yaml": content})
        yield _campaign(f"{name} as crystal", CAMPAIGN, **{"crystal.cif": content})
        yield _campaign(
            f"{name} as replay",
            _with("transport: {", "train: {replay: labels.extxyz}\ntransport: {"),
            **{"labels.extxyz": content},
        )
    bomb = "superionic: small " + "!" * 1_900_000
    yield _campaign("a bomb beside the campaign", CAMPAIGN, **{"other.yaml": bomb})
    yield Input("campaign: a folder without one", ("check", "."), {"x": b""})
    for name in ("", "\0", "a" * 5000, "no\nsuch.yaml", "/proc/self/mem", "/dev/stdin"):
        yield Input(f"campaign: path {name[:20]!r}", ("check", name))
