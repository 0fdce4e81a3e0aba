"""A spinner on standard error, for what takes seconds; rich is imported only where the spinner is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def spinner(words: str, *, quiet: bool) -> Iterator[Callable[[str], None] | None]:
    """Provide a callback that changes the words beside a spinner; None when quiet or not on a terminal."""
    if quiet:
        yield None
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with console.status(words) as status:
        yield status.update
