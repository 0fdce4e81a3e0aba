"""The errors that superionic raises on purpose.

A *wrong input* is an exception of this module: it says what is wrong, where, and what to do about it. The command
line prints it on one screen and exits with code 2; it never shows a traceback unless ``--debug`` is given.

A *failed calculation* (an SCF cycle that did not converge, a run that blew up) is data, not a wrong input:
:class:`CalculationFailed` is caught where the calculation was started, recorded with its reason, excluded and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class SuperionicError(Exception):
    """Base of all errors that a user can mend.

    Parameters
    ----------
    message
        What is wrong, in one sentence.
    where
        The file, and the place in it, that is at fault.
    fix
        What to do about it, as an instruction.
    """

    def __init__(self, message: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        parts = [self.message]
        if self.where is not None:
            parts.append(f"Where: {self.where}")
        if self.fix is not None:
            parts.append(f"Fix: {self.fix}")
        return "\n".join(parts)


class CampaignFileError(SuperionicError):
    """The campaign file cannot be read or does not validate; carries all its problems at once."""


class StructureError(SuperionicError):
    """A crystal structure is missing, malformed or physically impossible."""


class CompositionError(SuperionicError):
    """No integer, charge-neutral composition meets the request."""


class PotentialError(SuperionicError):
    """A potential is unknown, does not cover an element, or would be mixed with one of another energy convention."""


class EngineError(SuperionicError):
    """An engine environment is not installed, is broken, or failed its proof against the energy on record."""


class StorageError(SuperionicError):
    """The run folder cannot be written, is full, is damaged, or is in use by another run."""


class StageError(SuperionicError):
    """A stage cannot go on, for instance because every calculation in it failed."""


class AnalysisError(SuperionicError):
    """A trajectory does not allow the analysis that was asked for."""


class CalculationFailed(Exception):  # noqa: N818 - it names an outcome, not a mistake of the user
    """A calculation ended without a usable result; the reason is data for the record.

    Parameters
    ----------
    reason
        Why, in one sentence.
    details
        Plain values (numbers, strings) that help to understand the failure.
    """

    def __init__(self, reason: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.details: dict[str, Any] = dict(details or {})
