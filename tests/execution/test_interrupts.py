"""An interrupt from the keyboard is remembered, even where Python drops the exception."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import pytest

from superionic.execution.interrupts import deafness, remembered_interrupts


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
    assert deafness() is None
    with remembered_interrupts():
        assert deafness() is None
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the fixture puts it back
    said = deafness()
    assert said is not None
    assert f"kill {os.getpid()}" in said
    with remembered_interrupts() as interrupts:  # and what was ignored stays ignored
        signal.raise_signal(signal.SIGINT)
        interrupts.check()
