"""Signals that end a run are remembered, even where Python drops the exception."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from superionic.execution.interrupts import Interrupted, remembered_interrupts, warn_of_ignored_interrupts


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_that_was_swallowed_is_raised_when_asked_for() -> None:
    before = signal.getsignal(signal.SIGINT)
    with remembered_interrupts() as interrupts:
        interrupts.check()
        with contextlib.suppress(KeyboardInterrupt):  # as a callback from C would
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    assert signal.getsignal(signal.SIGINT) is before


def test_handlers_of_the_caller_and_other_threads_are_left_alone() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: heard.append(number))
    try:
        with remembered_interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
            interrupts.check()
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]

    def elsewhere() -> None:
        with remembered_interrupts() as found:
            found.check()
            done.append(True)

    done: list[bool] = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert done == [True]


@pytest.mark.usefixtures("interruptible")
def test_whether_interrupts_are_heard_is_said() -> None:
    assert warn_of_ignored_interrupts() is None
    with remembered_interrupts():
        assert warn_of_ignored_interrupts() is None
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the fixture puts it back
    said = warn_of_ignored_interrupts()
    assert said is not None
    assert f"kill {os.getpid()}" in said
    with remembered_interrupts() as interrupts:  # and what was ignored stays ignored
        signal.raise_signal(signal.SIGINT)
        interrupts.check()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_are_heard_and_known_apart(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with remembered_interrupts() as outer, remembered_interrupts() as inner:
        assert inner is outer
        with pytest.raises(Interrupted) as caught:
            signal.raise_signal(number)
        assert caught.value.signal is number
        signal.raise_signal(signal.SIGHUP)  # the terminal closes: once more at once is the same wish
        with pytest.raises(Interrupted, match=number.name):
            inner.check()
    assert signal.getsignal(number) is before


def test_a_program_without_a_use_for_it_ends_by_the_signal_when_all_is_in_order() -> None:
    program = """
import signal
from superionic.execution.interrupts import remembered_interrupts
with remembered_interrupts():
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        print("in order", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGTERM
    assert done.stdout == "in order\n"


def test_a_second_signal_ends_the_process_at_once() -> None:
    program = """
import contextlib, time
from superionic.execution.interrupts import remembered_interrupts
with remembered_interrupts():
    with contextlib.suppress(KeyboardInterrupt):
        print("ready", flush=True)
        time.sleep(100)
    print("busy with the end", flush=True)
    time.sleep(100)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.stdout.readline() == "busy with the end\n"
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        process.terminate()
        time.sleep(0.05)
    process.stdout.close()
    assert process.returncode == -signal.SIGTERM


@pytest.mark.usefixtures("interruptible")
def test_what_a_library_makes_of_an_interrupt_is_no_fault() -> None:
    # matplotlib was once interrupted in a callback from C, and said that a matrix is not invertible.
    code = """
import importlib, os, signal

main = importlib.import_module("superionic.cli.main")

def build(_verb=None):
    def verb(args):
        try:
            os.kill(os.getpid(), signal.SIGHUP)
            signal.pause()
        except KeyboardInterrupt:
            raise ValueError("Invalid affine transformation matrix") from None
    return verb

main.build_app = build
main.main(["run", "campaign.yaml"])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 128 + signal.SIGHUP
    assert "fault" not in ended.stderr
    assert "stopped by SIGHUP" in ended.stderr
