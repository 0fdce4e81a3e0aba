"""Files of potentials and of results."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
from inputs import NO_FILES, Input, damaged, npy, npz


@cache
def _nep() -> bytes:
    from superionic.models.nep.model import NepModel

    rng, t, dim, neurons = np.random.default_rng(3), 3, 4 + 4 * 4, 5
    arrays = {
        "numbers": np.array([3, 39, 17]),
        "shape": np.array([4, 4, 4, 4, 4, 0, 0]),
        "cutoffs_A": np.array([6.0, 4.0]),
        "c_radial": rng.normal(size=(t, t, 4, 4)),
        "c_angular": rng.normal(size=(t, t, 4, 4)),
        "w0": rng.normal(size=(t, neurons, dim)),
        "b0": rng.normal(size=(t, neurons)),
        "w1": rng.normal(size=(t, neurons)),
        "bias_eV": np.zeros(t),
        "scale": np.ones(dim),
        "zbl_inner_A": np.zeros((t, t)),
        "zbl_outer_A": np.zeros((t, t)),
        "active_inverse": np.zeros(0),
    }
    return NepModel.from_arrays(arrays).to_text().encode()


def potentials(scale: int) -> Iterator[Input]:
    """Files of potentials."""
    nep = _nep()
    yield Input("potential: sound nep", ("read:nep", "nep.txt"), {"nep.txt": nep}, sound=True)
    for what, changed in damaged(nep, 6 * scale, 6):
        yield Input(f"potential: nep {what}", ("read:nep", "nep.txt"), {"nep.txt": changed})
    for line in (b"n_max", b"basis_size", b"l_max", b"ANN", b"cutoff", b"nep4"):
        for words in (
            b"1000000000 1000000000 0 0",
            b"-1 -1 -1 -1",
            b"99999999999999999999 1 1 1",
            b"1e308 1e308 1 1",
            b"0 0 0 0",
            b"nan nan 4 4",
            b"",
        ):
            text = re.sub(rb"(?m)^" + line + rb" .*$", line + b" " + words, nep)
            yield Input(
                f"potential: nep with {line.decode()} {words.decode()[:20]}", ("read:nep", "nep.txt"), {"nep.txt": text}
            )
    whole = b"\x93NUMPY"
    archives = {
        "a bomb": npz({"settings": npy((4_000_000_000,), bytes(1), "|u1"), "a": npy((1,))}),
        "500 MB of zeros": partial(_zip_of_zeros, megabytes=500),
        "a pickle": npz({"settings": npy((1,), b"cos\nsystem\n(S'true'\ntR.", "|O")}),
        "10¹² numbers": npz({"settings": npy((10**12,))}),
        "a negative shape": npz({"settings": npy((-1, 5))}),
        "no numbers": npz({"settings": whole}),
        "a settings text that is none": npz({"settings": npy((3,), b"{[x", "|u1")}),
        "nested settings": npz({"settings": npy((90_000,), b"[" * 90_000, "|u1")}),
        "a name that leads out": npz({"../../x": npy((1,), bytes(8))}),
        "100,000 members": npz({f"a{k}": b"" for k in range(20_000)}, method=zipfile.ZIP_STORED),
        "half an archive": npz({"settings": npy((3,), b"{}x", "|u1")})[:-40],
    }
    for what, content in {**archives, **NO_FILES}.items():
        yield Input(f"potential: {what} as mace", ("read:mace", "x.npz"), {"x.npz": content})
    for what, content in NO_FILES.items():
        yield Input(f"potential: {what} as nep", ("read:nep", "nep.txt"), {"nep.txt": content})
        yield Input(
            f"potential: {what} as model.json", ("read:matgl", "m"), {"m/model.json": content, "m/state.pt": b"x"}
        )
        yield Input(
            f"potential: {what} as state.pt", ("read:matgl", "m"), {"m/model.json": b"{}", "m/state.pt": content}
        )
        yield Input(f"potential: {what} as sevennet", ("read:sevennet", "x.pth"), {"x.pth": content})
    for what, text in _json_texts().items():
        yield Input(f"potential: model.json of {what}", ("read:matgl", "m"), {"m/model.json": text, "m/state.pt": b"x"})


def _zip_of_zeros(path: Path, *, megabytes: int) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("settings.npy", "w", force_zip64=True) as out,
    ):
        out.write(npy((megabytes * 10**6,), kind="|u1"))
        block = bytes(10**6)
        for _ in range(megabytes):
            out.write(block)


def _json_texts() -> dict[str, str]:
    return {
        "nested lists": "[" * 1_000_000,
        "nested mappings": '{"a":' * 500_000,
        "a long number": "9" * 1_000_000,
        "null": "null",
        "a number": "3",
        "a list": "[]",
        "an empty mapping": "{}",
        "a huge exponent": '{"version": 1e999}',
        "NaN": '{"version": NaN}',
        "half": '{"format": "superionic',
        "kwargs of null": '{"kwargs": null}',
        "kwargs of lists": '{"kwargs": {"model": {"@class": [], "init_args": {"element_types": 3}}}}',
        "another class": '{"kwargs": {"model": {"@class": {"a": 1}, "init_args": {"element_types": [1, {}]}}}}',
    }


def results(scale: int) -> Iterator[Input]:
    """Files of results."""
    del scale
    head = '{"format": "superionic results", "version": %s}'
    texts = {
        **_json_texts(),
        **NO_FILES,
        **{f"version {word[:9]}": head % word for word in ("1", "2", "1e308", "-1", "null", "[]", "9" * 3000, '"1"')},
        "a surrogate": '{"format": "\\ud800"}',
        "a byte order mark": "\ufeff" + head % 1,
        "Latin-1": '{"é": 1}'.encode("latin-1"),
    }
    for what, content in texts.items():
        yield Input(f"results: {what}", ("read:results", "results.json"), {"results.json": content})
