"""Judge hostile inputs: each gets an answer in words, within seconds and a gigabyte.

``python tests/hostile/judge.py [--scale N] [--only WORDS]`` runs all of them and prints what is wrong. A child process
goes through the inputs one after another, so that what is imported and compiled once serves all; another child takes
over behind an input that hangs or crashes it. For each input the child measures its CPU time and the largest memory of
itself and of the process that reads crystals for it.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CPU_S: Final = 20.0
"""Processor time of an answer."""
WALL_S: Final = 90.0
"""An answer that waits for something for so long does not come; generous, as other processes may have the cores."""
MEMORY_MB: Final = 1024.0
ADDRESSES_MB: Final = 6144
"""Largest address space: what wants more gets a MemoryError instead of the memory of the machine."""
LONGEST_ANSWER: Final = 20_000
"""Characters of a refusal: words and not the input again."""


@dataclass(frozen=True)
class Verdict:
    """What became of an input.

    Attributes
    ----------
    name
        Of the input.
    fault
        What is wrong with the answer; empty where nothing is.
    accepted
        Whether the input was taken.
    words
        The answer, shortened.
    cpu_s, wall_s, peak_MB
        What it took.
    """

    name: str
    fault: str
    accepted: bool
    words: str
    cpu_s: float
    wall_s: float
    peak_MB: float


# ---- the side of the parent -----------------------------------------------------------------------------------------


def judge(scale: int = 1, only: str = "", *, every: int = 1, begin: int = 0) -> Iterator[Verdict]:
    """Judge inputs one after another.

    Parameters
    ----------
    scale
        How many are damaged at random, in units of some 200.
    only
        Words that their names have.
    every
        Take each so many-th, and all that are sound.
    begin
        Number of the first one among those.
    """
    while True:
        with _Child(["--scale", str(scale), "--only", only, "--every", str(every), "--from", str(begin)]) as child:
            while "name" in (asked := child.line()):
                began = time.monotonic()
                answer = child.line()
                yield _verdict(asked["name"], answer, time.monotonic() - began)
                begin += 1
                if "died" in answer:
                    break
            else:
                if "died" in asked:
                    raise RuntimeError(f"the child that judges {asked['died']}")
                return


def _verdict(name: str, answer: dict[str, Any], wall_s: float) -> Verdict:
    if "died" in answer:
        return Verdict(name, answer["died"], False, "", 0.0, wall_s, 0.0)
    cpu_s, peak_MB, words = answer["cpu_s"], answer["peak_MB"], answer["words"]
    fault = answer["fault"]
    if not fault and peak_MB > MEMORY_MB:
        fault = f"took {peak_MB:.0f} MB"
    if not fault and not answer["accepted"] and len(words) > LONGEST_ANSWER:
        fault = f"the answer has {len(words)} characters"
    if not fault and not answer["accepted"] and not words.strip():
        fault = "refused without a word"
    if not fault and answer["sound"] and not answer["accepted"]:
        fault = "a sound input was refused"
    return Verdict(name, fault, answer["accepted"], words[:600], cpu_s, wall_s, peak_MB)


class _Child:
    def __init__(self, chosen: Sequence[str]) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="hostile-")
        environment = {
            **os.environ, "SUPERIONIC_HOME": str(Path(self._home.name) / "home"), "COLUMNS": "200",
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
        }  # fmt: skip
        environment.pop("PYTHONWARNINGS", None)
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--child", self._home.name, *chosen],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment, bufsize=0, start_new_session=True,
        )  # fmt: skip
        self._left = b""

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._home.cleanup()

    def line(self) -> dict[str, Any]:
        """Return the next answer; how the child died, or that it did not answer, if there is none."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + WALL_S
        while b"\n" not in self._left:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return {"died": f"no answer in {WALL_S:g} s"}
            piece = os.read(self._process.stdout.fileno(), 1 << 16)
            if not piece:
                code = self._process.wait()
                if code == -signal.SIGPROF:
                    return {"died": f"took over {CPU_S:g} s of CPU time"}
                return {"died": f"crashed: {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"}
            self._left += piece
        line, _, self._left = self._left.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found


# ---- the side of the child ------------------------------------------------------------------------------------------


def serve(home: Path, scale: int, only: str, every: int, begin: int) -> None:
    """Answer the inputs from number ``begin`` on, two lines of JSON each."""
    import resource

    import inputs

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES_MB << 20, ADDRESSES_MB << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies = os.dup(1)
    os.set_inheritable(replies, False)
    screen = os.open(home / "screen", os.O_RDWR | os.O_CREAT)
    os.dup2(screen, 1)
    os.dup2(screen, 2)
    names: set[str] = set()
    chosen = inputs.all_inputs(scale, only)
    if every > 1:
        chosen = (each for n, each in enumerate(chosen) if each.sound or n % every == 0)
    for number, asked in enumerate(chosen):
        assert asked.name not in names, asked.name
        names.add(asked.name)
        if number < begin:
            continue
        _say(replies, {"name": asked.name})
        place = home / str(number)
        place.mkdir()
        asked.write(place)
        os.chdir(place)
        os.ftruncate(screen, 0)
        os.lseek(screen, 0, os.SEEK_SET)
        answer = _answer(asked)
        os.chdir(home)
        shutil.rmtree(place, ignore_errors=True)
        _say(replies, answer)
    _say(replies, {"end": len(names)})


def _say(handle: int, value: dict[str, Any]) -> None:
    view = memoryview(json.dumps(value).encode() + b"\n")
    while view:
        view = view[os.write(handle, view) :]


def _answer(asked: Any) -> dict[str, Any]:
    pids = [os.getpid(), *_children()]
    for pid in pids:
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the largest memory is counted anew
    before, began = time.process_time(), time.monotonic()
    signal.setitimer(signal.ITIMER_PROF, CPU_S)
    try:
        accepted, words, fault = _ask(asked.ask)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
    cpu_s = time.process_time() - before
    peak = max([_peak_MB(os.getpid()), *(_peak_MB(pid) for pid in _children())])
    return {
        "accepted": accepted, "words": words, "fault": fault, "sound": asked.sound, "peak_MB": peak, "cpu_s": cpu_s,
        "wall_s": time.monotonic() - began,
    }  # fmt: skip


def _ask(words: Sequence[str]) -> tuple[bool, str, str]:
    """Return whether the input was taken, the answer, and what is wrong with it."""
    if words[0].startswith("read:"):
        return _read(words[0].removeprefix("read:"), words[1])
    from superionic.cli import main

    code: Any = 0
    try:
        main(list(words))
    except SystemExit as end:
        code = end.code or 0
    except BaseException as error:  # noqa: BLE001 - whatever comes is the finding
        return False, "", f"{type(error).__name__}: {error}"[:300]
    sys.stdout.flush()
    sys.stderr.flush()
    with Path("/proc/self/fd/1").open("rb") as screen:
        text = screen.read(1_000_000).decode(errors="replace")
    fault = ""
    if "a bug in superionic" in text or "Traceback" in text:
        fault = text[text.find("a bug in") :][:300]
    elif code not in (0, 2) and not (code == 1 and words[0] == "labels"):
        fault = f"exit code {code}: {text[-300:]}"
    return code in (0, 1), text, fault


def _read(what: str, name: str) -> tuple[bool, str, str]:
    from superionic.errors import CalculationFailed, SuperionicError

    try:
        _reader(what)(Path(name).absolute())
    except SuperionicError as error:
        return False, str(error), "" if error.where and error.fix else f"where or fix is missing: {error}"[:300]
    except CalculationFailed as error:
        return False, str(error), ""
    except BaseException as error:  # noqa: BLE001 - whatever comes is the finding
        return False, "", f"{type(error).__name__}: {error}"[:300]
    return True, "read", ""


def _reader(what: str) -> Any:
    if what == "crystal":
        from superionic.structures.io.files import read_crystal

        return read_crystal
    if what == "training set":
        from superionic.stages.label_file import read_task

        return lambda path: read_task(None, file=str(path), name=path.name)
    if what == "results":
        from superionic.results.document import read_results

        return read_results
    from superionic.potentials.base import describe_potential

    return lambda path: describe_potential(what, file=str(path), energy_convention="own: a test")


def _children() -> list[int]:
    found: list[int] = []
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            found += [int(word) for word in (thread / "children").read_text().split()]
    return found


def _peak_MB(pid: int) -> float:
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    return 0.0


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=int, default=1, help="how many inputs are damaged at random")
    parser.add_argument("--only", default="", help="words of the names of inputs")
    parser.add_argument("--every", type=int, default=1, help="take each so many-th input")
    parser.add_argument("--all", action="store_true", help="show every answer, not only the faults")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--from", type=int, default=0, dest="begin", help="number of the first input")
    given = parser.parse_args()
    if given.child is not None:
        serve(given.child, given.scale, given.only, given.every, given.begin)
        return
    began, verdicts = time.monotonic(), []
    for verdict in judge(given.scale, given.only, every=given.every, begin=given.begin):
        verdicts.append(verdict)
        if verdict.fault or given.all:
            mark = "FAULT" if verdict.fault else "taken" if verdict.accepted else "refused"
            print(f"{mark}  {verdict.name}  ({verdict.cpu_s:.1f} s, {verdict.peak_MB:.0f} MB)", flush=True)
            print(f"       {verdict.fault or ' '.join(verdict.words.split())[:300]}", flush=True)
    faults = sum(bool(verdict.fault) for verdict in verdicts)
    for verdict in sorted(verdicts, key=lambda v: -v.wall_s)[:8]:
        print(f"{verdict.wall_s:6.1f} s ({verdict.cpu_s:.1f} s CPU)  {verdict.name}")
    slowest, largest = max(verdicts, key=lambda v: v.cpu_s), max(verdicts, key=lambda v: v.peak_MB)
    print(f"{len(verdicts)} inputs, {faults} faults, {time.monotonic() - began:.0f} s")
    print(f"slowest: {slowest.cpu_s:.1f} s CPU ({slowest.name}); largest: {largest.peak_MB:.0f} MB ({largest.name})")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
