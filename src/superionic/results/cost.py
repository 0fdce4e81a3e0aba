"""What a campaign cost: time by stage, molecular dynamics by potential, labels, and the ratio of the two.

It is no part of the results (:class:`superionic.results.campaign.Results`), which are the same for equal campaigns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from superionic.shown import Shown


@dataclass(frozen=True)
class StageCost:
    """The cost of one stage.

    Attributes
    ----------
    stage
        Its name.
    tasks, failed, untimed
        Number of its finished tasks, of those that ended without a result, and of those whose time is not on record.
    wall_s
        Time that its tasks took, added up: tasks that ran at once count each.
    cpu_s
        Processor time.
    gpu_s
        Time for which GPUs were reserved.
    """

    stage: str
    tasks: int
    failed: int
    untimed: int
    wall_s: float
    cpu_s: float
    gpu_s: float


@dataclass(frozen=True)
class DynamicsCost:
    """The cost of molecular dynamics by one potential, with all overheads (loading it, thermostats, writing frames).

    Attributes
    ----------
    potential
        Name in the campaign.
    engine
        What integrated the motion: ``"ase"`` (superionic) or ``"lammps"``.
    segments
        Number of segments that were timed.
    fewest_atoms, most_atoms
        Sizes of the simulated cells.
    simulated_ps
        Length of all runs together.
    atom_ps, atom_steps
        The sums, over segments, of atoms × length and of atoms × steps.
    cpu_s, gpu_s, wall_s
        Time spent.
    cpu_s_per_atom_ps, wall_s_per_atom_ps, cpu_s_per_atom_step
        Time for each atom and picosecond, and for each atom and step.
    gpu_s_per_atom_ps, gpu_s_per_atom_step
        The same for GPUs; None without any.
    """

    potential: str
    engine: str
    segments: int
    fewest_atoms: int
    most_atoms: int
    simulated_ps: float
    atom_ps: float
    atom_steps: float
    cpu_s: float
    gpu_s: float
    wall_s: float
    cpu_s_per_atom_ps: float
    wall_s_per_atom_ps: float
    cpu_s_per_atom_step: float
    gpu_s_per_atom_ps: float | None
    gpu_s_per_atom_step: float | None


@dataclass(frozen=True)
class LabelCost:
    """The cost of the labels that the campaign calculated with one labeller.

    Attributes
    ----------
    labeller, functional
        Name of the labeller, and its level of theory.
    stand_in
        Whether it is a potential that stands in for an electronic-structure code.
    labels
        Number of labels that were timed.
    median_atoms
        Median size of the labelled cells.
    cpu_s
        Processor time of all labels.
    median_cpu_s
        Median processor time of a label: the first ones load code and data sets.
    cpu_s_per_atom
        Median of the processor time of a label for each of its atoms.
    """

    labeller: str
    functional: str
    stand_in: bool
    labels: int
    median_atoms: float
    cpu_s: float
    median_cpu_s: float
    cpu_s_per_atom: float


@dataclass(frozen=True)
class AimdRatio:
    """How much more a step of ab initio molecular dynamics would cost than one by a potential.

    Attributes
    ----------
    potential, engine, labeller
        The potential, what integrated the motion, and the labeller.
    cpu_ratio
        Processor time of a label per atom over that of a step per atom.
    gpu_ratio
        Processor time of a label per atom over the GPU time of a step per atom; None without GPUs.
    """

    potential: str
    engine: str
    labeller: str
    cpu_ratio: float
    gpu_ratio: float | None


ASSUMPTIONS: Final = (
    "A step of ab initio molecular dynamics costs as much as a label: a self-consistent calculation from scratch.",
    "Codes that extrapolate the density need fewer iterations, so that the ratio may be 2 to 4 times too high.",
    "Both would take the same time step.",
    "The cost of a label per atom is that at the size of the labelled cells.",
    "It grows with size, up to the square of the number of atoms, so that the ratio is too low for larger cells.",
    "Processor time counts, whatever the number of cores; a GPU's time is put against processor time as it is.",
)
"""What the ratio to ab initio molecular dynamics assumes."""


@dataclass(frozen=True, repr=False)
class CampaignCost(Shown):
    """The cost of a campaign, as far as its history has it.

    Attributes
    ----------
    superionic, campaign
        Version of the program, and name of the campaign.
    stages
        Cost by stage, in the order of the campaign.
    dynamics
        Molecular dynamics by potential.
    labels
        Labels by labeller.
    ratios
        Labels against molecular dynamics.
    ratio_absent
        Why there is no ratio; empty if there is one.
    assumptions
        What the ratio assumes.
    energy_Wh
        Energy that the processors and memory of the machine used during the runs; None if it is not known.
    energy_absent
        Why it is not known; empty if it is.
    """

    superionic: str
    campaign: str
    stages: tuple[StageCost, ...]
    dynamics: tuple[DynamicsCost, ...]
    labels: tuple[LabelCost, ...]
    ratios: tuple[AimdRatio, ...]
    ratio_absent: str
    assumptions: tuple[str, ...]
    energy_Wh: float | None
    energy_absent: str

    @property
    def cpu_s(self) -> float:
        """Processor time of all stages."""
        return sum(stage.cpu_s for stage in self.stages)

    @property
    def gpu_s(self) -> float:
        """GPU time of all stages."""
        return sum(stage.gpu_s for stage in self.stages)

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield self.campaign, f"{self.cpu_s:.4g} s of processor time"
        for each in self.dynamics:
            yield f"MD by {each.potential}", f"{each.cpu_s_per_atom_ps:.3g} s per atom and ps"
        for ratio in self.ratios:
            yield f"{ratio.labeller} / {ratio.potential}", f"{ratio.cpu_ratio:.3g} per step and atom"

    def _records(self) -> Iterator[dict[str, Any]]:
        yield from (dict(vars(stage)) for stage in self.stages)
