"""A process that has imported all that a run needs, and becomes a driver of a campaign whenever it forks.

``python driver.py [CAMPAIGN.yaml]`` runs the campaign once, so that it is warm, and then takes requests from standard
input, a line of JSON each. What it forks is a run of the command line in every respect but the second that imports
take; so faults can be tried by the thousand. Without a campaign it stays small, and does operations on a store.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer requests: the pid of what was forked, and in a second line how it ended."""
    answers = os.dup(1)
    os.set_inheritable(answers, False)
    os.dup2(2, 1)
    if sys.argv[1:]:
        from superionic.structures.io.reading import close_reader

        _run(["run", sys.argv[1], "--quiet", "--workers", "2"])
        close_reader()  # it is this process's own; no run leaves it behind
    else:
        import operations

        operations.warm()
    gc.collect()
    gc.freeze()
    if sys.argv[1:]:
        os.write(answers, b"warm\n")
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.close(answers)
            _become(json.loads(line))
            return
        os.write(answers, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(answers, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _run(arguments: list[str]) -> None:
    from superionic.cli import main as command

    try:
        command(arguments)
    except SystemExit as end:
        if end.code:
            raise


def _become(request: dict[str, Any]) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    said = os.open(request["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.close(said)
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request.get("host"):
        _move_to(request["host"])
    if request.get("renew_s"):
        _renew_every(request["renew_s"])
    if "operation" in request:
        import operations

        _operate(operations.OPERATIONS[request["operation"]], Path(request["root"]))
    from superionic.cli import main as command

    command(request["arguments"])


def _operate(operation: Any, root: Path) -> None:
    """Do one operation on a store; end with 2 and words, as the command line does, if it is refused."""
    from superionic.errors import SuperionicError

    code = 0
    try:
        operation(root)
    except SuperionicError as error:
        print(error)
        code = 2 if error.where and error.fix else 1
    except Exception:  # noqa: BLE001 - shown as a traceback, which is what is looked for
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _move_to(host: str) -> None:
    """Let this process be one of another machine, for all that superionic can tell."""
    from superionic.execution import owner

    socket.gethostname = lambda: host
    owner._machine.cache_clear()


def _renew_every(renew_s: float) -> None:
    from superionic.campaign import run
    from superionic.execution import locks

    def run_lock(root: Path, **options: Any) -> Any:
        return locks.run_lock(root, renew_s=renew_s, void_after_s=20 * renew_s, **options)

    run.run_lock = run_lock


if __name__ == "__main__":
    main()
