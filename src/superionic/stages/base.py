"""What all stages share: the workbench that they work at, and the things that they hand on to one another.

A stage's ``run`` only wires: it builds tasks out of settings and references, has them done, and returns references
for the stages below it and a summary for the report. All computing happens in task functions, which run in worker
processes, some of them in an engine's environment where only numpy, scipy and ASE are sure to be there. So the
modules of this room import nothing else at their top.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from superionic.execution.codec import canonical_json
from superionic.execution.runner import Failure, Runner
from superionic.execution.task import Context, Ref, Task

if TYPE_CHECKING:
    from superionic.potentials.base import Potential

FINE_TUNED = "fine-tuned"


@dataclass(frozen=True)
class ChosenPotential:
    """A potential as tasks name it.

    Attributes
    ----------
    name
        The campaign's name for it.
    engine
        Environment in which it is evaluated.
    settings
        Name in the registry, model and options.
    identity
        What :func:`superionic.potentials.base.describe_potential` says of it, as plain values.
    weights
        Fine-tuned weights, or None for the published ones.
    committee
        Weights of all members of a committee, the first of which drives; empty for a single potential. Such a
        potential has their disagreement as its extrapolation grade.
    """

    name: str
    engine: str
    settings: Mapping[str, Any]
    identity: Mapping[str, Any]
    weights: Ref | None = None
    committee: tuple[Ref, ...] = ()

    def tuned(self, weights: Ref) -> ChosenPotential:
        """Return this potential with fine-tuned weights."""
        return replace(self, name=FINE_TUNED, weights=weights)


@dataclass(frozen=True)
class Workbench:
    """What a stage has at hand.

    Attributes
    ----------
    runner
        Carries tasks to their ends.
    seed
        The campaign's seed; every random choice derives its own from it.
    mobile_ion
        Symbol of the mobile ion.
    oxidation_states
        Charge of each element, in e.
    potentials
        The campaign's potentials by name.
    engine_identity
        Versions of an engine that results depend on, for task keys.
    """

    runner: Runner
    seed: int
    mobile_ion: str
    oxidation_states: Mapping[str, float]
    potentials: Mapping[str, ChosenPotential]
    engine_identity: Callable[[str], Mapping[str, Any]]

    def task(
        self,
        stage: str,
        label: str,
        function: str,
        version: int,
        settings: Mapping[str, Any],
        inputs: Mapping[str, Ref | Sequence[Ref]] | None = None,
        *,
        potential: ChosenPotential | None = None,
        engine: str | None = None,
        walltime_s: float | None = None,
    ) -> Task:
        """Build a task; with a potential, in its engine's environment and with its weights among the inputs."""
        settings, inputs = dict(settings), dict(inputs or {})
        if potential is not None:
            engine = engine or potential.engine
            settings["potential"] = dict(potential.settings)
            if potential.weights is not None:
                inputs["weights"] = potential.weights
                settings["potential"]["weights"] = potential.weights.task.key
            if potential.committee:
                inputs["committee"] = list(potential.committee)
                settings["potential"]["committee"] = [weights.task.key for weights in potential.committee]
        engine = engine or "core"
        identity = {} if engine == "core" else self.engine_identity(engine)
        return Task(stage, label, function, version, settings, inputs, engine, identity, walltime_s)

    def seed_for(self, *words: str | float) -> int:
        """Return the seed of one random choice, named by words; independent of all others."""
        return derive_seed(self.seed, *words)


@dataclass(frozen=True)
class Space:
    """One crystal at one composition in one supercell: what is enumerated.

    Attributes
    ----------
    crystal
        Name of the crystal.
    composition_label
        Place on the composition axes, e.g. ``"Br=3"``; empty without axes.
    settings
        All that the enumeration depends on, as plain values.
    """

    crystal: str
    composition_label: str
    settings: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Name of the space, unique within the campaign."""
        name = self.crystal if not self.composition_label else f"{self.crystal} {self.composition_label}"
        supercell = self.settings["supercell"]
        diagonal = [supercell[i][i] for i in range(3)]
        off = any(supercell[i][j] for i in range(3) for j in range(3) if i != j)
        if diagonal == [1, 1, 1] and not off:
            return name
        text = "x".join(map(str, diagonal)) if not off else str([list(row) for row in supercell]).replace(" ", "")
        return f"{name} {text}"


@dataclass(frozen=True)
class Candidate:
    """One ordering (or one ordered reference phase) on its way through the stages.

    Attributes
    ----------
    id
        Its name, e.g. ``"P-3m1 #4"``.
    crystal, composition_label
        Where it comes from; the composition label is empty for references.
    structure
        Reference to its :class:`ase.Atoms`, relaxed once the ranking has done so.
    facts
        Plain values about it: formula, n_atoms, degeneracy, Ewald energy, energies of the ranking.
    is_reference
        Whether it is an end member rather than an ordering of a crystal under study.
    """

    id: str
    crystal: str
    composition_label: str
    structure: Ref
    facts: Mapping[str, Any] = field(default_factory=dict)
    is_reference: bool = False


@dataclass(frozen=True)
class StageResult:
    """What a stage hands on.

    Attributes
    ----------
    summary
        Plain values for the report and ``results.json``.
    candidates
        Orderings that go on, where the stage passes any.
    tasks
        Named tasks whose results later stages refer to.
    arrays
        Large arrays of the summary by name, as references.
    failures
        Calculations that failed: recorded, excluded, counted.
    """

    summary: Mapping[str, Any]
    candidates: tuple[Candidate, ...] = ()
    tasks: Mapping[str, Task] = field(default_factory=dict)
    arrays: Mapping[str, Ref] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()


def derive_seed(seed: int, *words: str | float) -> int:
    """Return a seed between 0 and 2^63 that depends on a parent seed and on what it is for."""
    text = canonical_json([seed, *words])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def potential_of(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> Potential:
    """Return the potential of a task, loaded once per worker process and kept."""
    from superionic.potentials.base import load_potential

    chosen = settings["potential"]
    token = "potential:" + canonical_json(chosen)
    if token not in context.cache:
        for old in [name for name in context.cache if name.startswith("potential:")]:
            del context.cache[old]  # one at a time: two universal potentials do not both fit a small machine
        members = [
            load_potential(chosen["name"], model=chosen["model"], weights=weights, **chosen["options"])
            for weights in inputs.get("committee") or [inputs.get("weights")]
        ]
        if len(members) > 1:
            from superionic.potentials.committee import Committee

            context.cache[token] = Committee(members)
        else:
            context.cache[token] = members[0]
    found: Potential = context.cache[token]
    return found


def failures_as_data(failures: Sequence[Failure]) -> list[dict[str, str]]:
    """Return failures as the report lists them."""
    return [{"label": failure.label, "reason": failure.reason, "key": failure.key} for failure in failures]
