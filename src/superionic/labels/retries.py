"""The ladder of retries: other ways to the same converged answer, tried in order, each on record.

A rung changes the path of the electronic minimisation (mixing, eigensolver, a detour over wider smearing), never its
target: cutoff, k-points, smearing and tolerances of the run that makes the label are those of the settings.
So the settings hash is unchanged, and labels of different rungs may share a set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from superionic.errors import CalculationFailed

Result = TypeVar("Result")


class NotConverged(CalculationFailed):
    """The electronic minimisation did not converge: another rung of the ladder may."""


@dataclass(frozen=True)
class Rung:
    """One way to converge.

    Attributes
    ----------
    name
        The change that it makes, for the record: ``"as set"``, ``"mixing"``, ``"eigensolver"``, ``"smearing"``.
    options
        Options for the adapter.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


def climb(rungs: Sequence[Rung], attempt: Callable[[Rung], Result]) -> tuple[Result, list[dict[str, Any]]]:
    """Try the rungs in order until one converges.

    Parameters
    ----------
    rungs
        The rungs, at least one.
    attempt
        Function that runs the calculation of a rung; raises :class:`NotConverged` if a further rung is worth trying,
        and any other :class:`CalculationFailed` if not.

    Returns
    -------
    tuple
        The result, and the record of all attempts: ``rung`` and ``outcome`` (``"converged"`` or the reason).

    Raises
    ------
    CalculationFailed
        If no rung converged: the reason names all of them, ``details["attempts"]`` has their record, and the rest
        of ``details`` belongs to the last one. Any other failure propagates, with the attempts before it.
    """
    attempts: list[dict[str, Any]] = []
    for rung in rungs:
        try:
            result = attempt(rung)
        except NotConverged as failure:
            attempts.append({"rung": rung.name, "outcome": failure.reason, **_steps(failure.details)})
            last = failure
        except CalculationFailed as failure:
            attempts.append({"rung": rung.name, "outcome": failure.reason})
            raise CalculationFailed(failure.reason, {**failure.details, "attempts": attempts}) from failure
        else:
            return result, [*attempts, {"rung": rung.name, "outcome": "converged"}]
    tried = ", ".join(rung.name for rung in rungs)
    reason = last.reason if len(rungs) == 1 else f"{last.reason}; tried in this order: {tried}"
    raise CalculationFailed(reason, {**last.details, "attempts": attempts}) from last


def _steps(details: Mapping[str, Any]) -> dict[str, Any]:
    return {"scf_steps": details["scf_steps"]} if "scf_steps" in details else {}
