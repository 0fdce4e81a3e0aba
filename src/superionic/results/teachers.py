"""Results by the students of further teachers, beside those of the first whose values are stated."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.execution.runner import Failure
from superionic.results.student import DistilResult
from superionic.results.transport import MaterialTransport, TransportResult
from superionic.shown import Shown


@dataclass(frozen=True, eq=False, repr=False)
class FurtherTeacher(Shown):
    """The students of a further teacher, and their transport.

    Attributes
    ----------
    distil
        The students, and the verdict on them.
    not_used
        Why they have no part in the error of the model's form; empty if they have one.
    transport
        Their runs; None where there are none.
    arrhenius
        σ(T) of each material by them; its intervals hold the errors of these runs alone.
    failures
        Analyses that failed.
    """

    distil: DistilResult
    not_used: str = ""
    transport: TransportResult | None = None
    arrhenius: tuple[MaterialTransport, ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def name(self) -> str:
        """Name of the teacher in the campaign."""
        return self.distil.teacher.name
