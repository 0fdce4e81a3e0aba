"""Damages: what disks, people and other programs do to the files of a run folder, at random, between two runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from bench import Bench, Tally, result_files, run_folder

_AT_ONCE: Final = 8


def damages(bench: Bench, tally: Tally) -> None:
    """Damage finished run folders, a few files at a time, and give the command again."""
    number = 1000 if bench.long else 20
    while tally.number < number:
        rng = np.random.default_rng([bench.seed, tally.number])  # so that it can go on where it was stopped
        name = bench.names[int(rng.integers(len(bench.names)))]
        with bench.campaign(name, "finished") as path:
            precious = path.parent / "precious"
            precious.mkdir()
            (precious / "data").write_text("years of work")
            folder = run_folder(path.parent)
            if rng.random() < 0.3:  # otherwise the run trusts what it has verified, until it is read
                (folder / "store" / "verified.txt").unlink()
            outside = _outside(path.parent)
            done = [_damage(folder, precious, rng) for _ in range(_AT_ONCE)]
            tally.number += len(done)
            case = f"{name}, up to number {tally.number}: {'; '.join(done)}"
            before = {file: n for file, n in result_files(folder).items() if not any(file in each for each in done)}
            _run(bench, tally, name, path, case, before)
            if _outside(path.parent) != outside:
                tally.wrong("changed", f"{case}: something outside of the run folder")
        bench.keep(tally)


def _run(bench: Bench, tally: Tally, name: str, path: Path, case: str, before: dict[str, int]) -> None:
    if "rot store/objects" in case:
        # Neither size nor time say so: it is noticed when the result is read, or, if nobody does, by this.
        bench.command_line("store", "verify", str(path), "--set-aside")
    for _ in range(_AT_ONCE + 1):
        ended = bench.run(path)
        # A flipped bit that nothing but the bit itself shows is noticed when it is read; it is set aside then, and the
        # same command makes the result anew.
        if ended.code != 2 or "it is then computed again" not in ended.said:
            break
    if ended.code != 0:
        tally.wrong("manual", f"{case}: the same command ended with {ended.code}: {ended.said[-500:]}")
        return
    folder = run_folder(path.parent)
    (folder / "report" / "by somebody else").unlink(missing_ok=True)
    _see(bench, tally, name, folder, case, before)


def _see(bench: Bench, tally: Tally, name: str, folder: Path, case: str, before: dict[str, int]) -> None:
    from bench import products

    left, right = bench.undisturbed[name], products(folder)
    missing = sorted(set(left) - set(right))
    tally.wrong("lost", f"{case}: {missing[:3]}", len(missing))
    other = sorted(file for file in left if file in right and left[file] != right[file])
    tally.wrong("changed", f"{case}: {other[:3]}", len(other))
    now = result_files(folder)
    again = [file for file, number in before.items() if now.get(file, number) != number]
    tally.wrong("twice", f"{case}: {again[:3]}", len(again))


def _damage(folder: Path, precious: Path, rng: np.random.Generator) -> str:
    """Damage one file, and say how and which."""
    place = ("store/objects", "store/objects", "report", "history.jsonl", "store/verified.txt")[int(rng.integers(5))]
    files = [folder / place] if place[-5:] in ("jsonl", "d.txt") else _files(folder / place)
    files = [file for file in files if file.is_file() and not file.is_symlink()]
    if not files:
        return f"nothing left to damage in {place}"
    file = files[int(rng.integers(len(files)))]
    how = list(_WAYS)[int(rng.integers(len(_WAYS)))]
    return f"{how} {file.relative_to(folder)}" + _WAYS[how](file, files, precious, rng)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _flip(file: Path, _files: list[Path], _precious: Path, rng: np.random.Generator) -> str:
    data = bytearray(file.read_bytes())
    if data:
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    file.write_bytes(bytes(data))
    return ""


def _rot(file: Path, files: list[Path], precious: Path, rng: np.random.Generator) -> str:
    status = file.stat()
    _flip(file, files, precious, rng)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    return ""


def _truncate(file: Path, _files: list[Path], _precious: Path, rng: np.random.Generator) -> str:
    os.truncate(file, int(rng.integers(file.stat().st_size + 1)) if rng.random() < 0.8 else 0)
    return ""


def _lengthen(file: Path, _files: list[Path], _precious: Path, rng: np.random.Generator) -> str:
    with file.open("ab") as stream:
        stream.write(bytes(rng.integers(256, size=64, dtype=np.uint8)))
    return ""


def _zero(file: Path, _files: list[Path], _precious: Path, _rng: np.random.Generator) -> str:
    file.write_bytes(b"\0" * file.stat().st_size)
    return ""


def _delete(file: Path, _files: list[Path], _precious: Path, _rng: np.random.Generator) -> str:
    file.unlink()
    return ""


def _swap(file: Path, files: list[Path], _precious: Path, rng: np.random.Generator) -> str:
    other = files[int(rng.integers(len(files)))]
    if other == file:
        return ""
    between = file.with_name("between")
    file.rename(between)
    other.rename(file)
    between.rename(other)
    return f" with {other.name}"


def _rename(file: Path, _files: list[Path], _precious: Path, rng: np.random.Generator) -> str:
    name = file.name
    if len(name) > 64:
        name = f"{int(rng.integers(16)):x}" + name[1:]
        if name == file.name:
            name = ("0" if name[0] != "0" else "1") + name[1:]
        target = file.parent.parent / name[:2] / name
        target.parent.mkdir(exist_ok=True)
    else:
        target = file.with_name("by somebody else") if "report" in file.parts else file.with_name(name + ".old")
    if not target.exists():
        file.rename(target)
    return f" to {target.name}"


def _folder(file: Path, _files: list[Path], _precious: Path, rng: np.random.Generator) -> str:
    file.unlink()
    file.mkdir()
    if rng.random() < 0.5:
        (file / "inside").write_text("x")
    return ""


def _link(file: Path, _files: list[Path], precious: Path, rng: np.random.Generator) -> str:
    file.unlink()
    file.symlink_to(precious / "data" if rng.random() < 0.5 else precious / "nothing")
    return ""


def _pipe(file: Path, _files: list[Path], _precious: Path, _rng: np.random.Generator) -> str:
    file.unlink()
    os.mkfifo(file)
    return ""


_WAYS: Final[dict[str, Callable[[Path, list[Path], Path, np.random.Generator], str]]] = {
    "flip a bit of": _flip,
    "rot": _rot,
    "truncate": _truncate,
    "lengthen": _lengthen,
    "zero": _zero,
    "delete": _delete,
    "swap": _swap,
    "rename": _rename,
    "a folder for": _folder,
    "a link for": _link,
    "a pipe for": _pipe,
}


def _outside(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "runs" not in path.relative_to(folder).parts
    }
