"""The reader process: its limits, and that nothing can hang, crash or leave behind the process that asks."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from superionic.errors import StructureError
from superionic.structures.io import reading
from superionic.structures.io.files import parse_crystal, read_crystal

HEAD = """data_x
_space_group_name_H-M_alt 'P 1'
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
"""


@pytest.fixture
def small(tmp_path):
    file = tmp_path / "small.cif"
    file.write_text(HEAD.format(a=4.1) + "Cs1 0 0 0\nCl1 0.5 0.5 0.5\n")
    return file


@pytest.fixture
def endless(tmp_path):
    """1331 equal sites that have 63,888 operations: hours of work."""
    file = tmp_path / "endless.cif"
    grid = [f"Cu1 {i / 11:.8f} {j / 11:.8f} {k / 11:.8f}" for i in range(11) for j in range(11) for k in range(11)]
    file.write_text(HEAD.format(a=33) + "\n".join(grid) + "\n")
    return file


def child_pid():
    return reading._state._child._process.pid


def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_crystal_is_the_same_to_the_last_bit(examples):
    for file in sorted(examples.glob("*/*.cif")):
        here, there = parse_crystal(file).to_dict(), read_crystal(file).to_dict()
        assert here.keys() == there.keys()
        for key, value in here.items():
            if isinstance(value, np.ndarray):
                assert value.tobytes() == there[key].tobytes()
                assert value.dtype == there[key].dtype
            else:
                assert value == there[key]


def test_one_process_reads_many_files_and_is_replaced(small, monkeypatch):
    read_crystal(small)
    pid = child_pid()
    read_crystal(small)
    assert child_pid() == pid
    monkeypatch.setattr(reading, "MAX_FILES", 1)
    read_crystal(small)
    assert child_pid() != pid
    assert not exists(pid)


def test_a_refusal_keeps_the_process(small, tmp_path):
    read_crystal(small)
    pid = child_pid()
    (tmp_path / "bad.cif").write_text("hello")
    with pytest.raises(StructureError, match="lists no atoms"):
        read_crystal(tmp_path / "bad.cif")
    assert child_pid() == pid


def test_what_takes_too_long_is_stopped(endless, small):
    read_crystal(small)
    pid = child_pid()
    began = time.monotonic()
    with pytest.raises(StructureError, match=r"took over 0\.5 s|used over 2 GB") as caught:
        read_crystal(endless, time_limit_s=0.5)
    assert time.monotonic() - began < 3.0
    assert str(endless) in str(caught.value.where)
    assert caught.value.fix
    assert not exists(pid)
    assert read_crystal(small).formula == "CsCl"


def test_a_process_that_does_not_even_listen_is_stopped(small, tmp_path):
    read_crystal(small)
    pid = child_pid()
    os.kill(pid, signal.SIGSTOP)
    large = tmp_path / "large.cif"
    large.write_text(small.read_text() + "# a comment\n" * 100_000)
    with pytest.raises(StructureError, match="took over"):
        read_crystal(large, time_limit_s=0.3)
    assert not exists(pid)


def test_what_needs_too_much_memory_is_stopped(endless, small):
    with pytest.raises(StructureError, match=r"used over 0\.0977 GB|crashed the parser"):
        read_crystal(endless, memory_limit_MB=100)
    assert read_crystal(small).formula == "CsCl"


def test_a_crash_is_an_error_of_the_file(small):
    read_crystal(small)
    pid = child_pid()
    os.kill(pid, signal.SIGSTOP)  # so that it is still reading when it crashes, however fast it is
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(read_crystal, small)
        time.sleep(0.5)
        os.kill(pid, signal.SIGSEGV)
        os.kill(pid, signal.SIGCONT)
        with pytest.raises(StructureError, match=r"crashed the parser \(signal 11\)"):
            future.result()
    assert read_crystal(small).formula == "CsCl"


def test_a_process_that_died_between_files_is_replaced(small):
    read_crystal(small)
    pid = child_pid()
    os.kill(pid, signal.SIGKILL)
    while reading._state._child.is_alive:
        time.sleep(0.01)
    assert read_crystal(small).formula == "CsCl"
    assert child_pid() != pid


def test_a_process_that_somebody_killed_is_no_fault_of_the_file(small):
    read_crystal(small)
    pid = child_pid()
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(read_crystal, small)
        time.sleep(0.3)
        os.kill(pid, signal.SIGKILL)
        assert future.result().formula == "CsCl"
    assert child_pid() != pid


@pytest.mark.parametrize(
    "answer", [{"state": "what?"}, {"state": "read", "result": []}, {"state": "read", "result": {"name": 3}}, {}]
)
def test_nonsense_is_refused(small, monkeypatch, answer):
    class Babbler:
        def send(self, line, limit_s):
            assert json.loads(line)["what"] == "crystal"

        def receive(self, limit_s):
            return answer

    monkeypatch.setattr(reading._state, "child_for_next_file", Babbler)
    with pytest.raises(StructureError, match="nonsense"):
        read_crystal(small)


def test_a_reader_that_cannot_start_is_said(small, monkeypatch, tmp_path):
    reading.close_reader()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(StructureError, match="could not be started"):
        read_crystal(small)
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho garbage\n")
    program.chmod(0o755)
    with pytest.raises(StructureError, match="could not be started"):
        read_crystal(small)


def test_a_reader_that_is_stopped_while_it_starts_is_started_again(small, monkeypatch, tmp_path):
    # An interrupt that comes before Python handles signals ends it with exit code 1, as any fault of its own would.
    reading.close_reader()
    program, once = tmp_path / "python", tmp_path / "once"
    program.write_text(f'#!/bin/sh\n[ -e "{once}" ] && exec "{sys.executable}" "$@"\n: > "{once}"\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    assert read_crystal(small).formula == "CsCl"
    assert once.exists()
    reading.close_reader()


def test_an_idle_process_ends(small, monkeypatch):
    reading.close_reader()
    monkeypatch.setattr(reading, "IDLE_S", 0.2)
    read_crystal(small)
    pid = child_pid()
    deadline = time.monotonic() + 5.0
    while exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not exists(pid)
    assert reading._state._child is None


def test_threads_share_it(small, examples):
    files = [small, examples / "li3ycl6" / "ycl3.cif"] * 8
    expected = [parse_crystal(f).formula for f in files]
    with ThreadPoolExecutor(4) as pool:
        assert [c.formula for c in pool.map(read_crystal, files)] == expected


def _read_and_tell(path, queue):
    queue.put((read_crystal(path).formula, child_pid()))


def test_forked_daemons_have_their_own(small):
    read_crystal(small)
    pid = child_pid()
    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which is what is tried here
        queue = context.Queue()
        process = context.Process(target=_read_and_tell, args=(small, queue), daemon=True)
        process.start()
    formula, other = queue.get(timeout=60)
    process.join(60)
    queue.close()
    queue.join_thread()
    assert (formula, process.exitcode) == ("CsCl", 0)
    assert other != pid
    assert child_pid() == pid
    assert read_crystal(small).formula == "CsCl"


def test_it_ends_with_its_parent_and_modules_come_from_nowhere_else(small, tmp_path):
    """A folder of crystal files may hold a numpy.py; and reading must leave no process behind."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('taken from the working folder')\n")
    program = (
        "from superionic.structures.io.files import read_crystal\n"
        "from superionic.structures.io import reading\n"
        f"print(read_crystal({str(small)!r}).formula, reading._state._child._process.pid)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(reading.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    formula, pid = done.stdout.split()
    assert (formula, done.stderr) == ("CsCl", "")
    assert not exists(int(pid))


def test_reading_imports_nothing_heavy_here():
    program = (
        "import sys, superionic.structures.io.files\n"
        "print([m for m in ('ase', 'pymatgen', 'spglib', 'scipy', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_fuzzed_files_are_read_or_refused(root):
    spec = importlib.util.spec_from_file_location("fuzz_cif", root / "benchmarks" / "fuzz_cif.py")
    fuzz = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_cif"] = fuzz  # dataclasses look their module up
    try:
        spec.loader.exec_module(fuzz)
        texts = [*fuzz.corpus(own_only=True), (root / "examples" / "li3ycl6" / "ycl3.cif").read_bytes()]
        done = fuzz.run(250, seed=7, seconds_limit=10.0, texts=texts)
    finally:
        del sys.modules["fuzz_cif"]
    assert done.failed == []
    assert done.count == 250
    assert done.read > 50
    assert done.refused.total() > 100
    assert not any("cannot be understood" in message for message in done.refused)
