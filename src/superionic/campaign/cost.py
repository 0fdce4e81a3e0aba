"""What a campaign cost, from the history of its tasks: see :mod:`superionic.results.cost`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from superionic.errors import StorageError
from superionic.execution.energy import read_counters
from superionic.execution.runner import Outcome
from superionic.execution.task import Ref
from superionic.labels.base import Reference
from superionic.results.cost import ASSUMPTIONS, AimdRatio, CampaignCost, DynamicsCost, LabelCost, StageCost
from superionic.settings.base import STUDENT
from superionic.stages.base import FINE_TUNED
from superionic.stages.chains import first_segment_task, next_segment_task
from superionic.stages.labelling import label_task
from superionic.version import __version__

if TYPE_CHECKING:
    from superionic.campaign.file.schema import CampaignFile
    from superionic.campaign.flow import Flow
    from superionic.execution.ledger import Ledger, Record
    from superionic.execution.task import Task
    from superionic.labels.base import Label

_FS_PER_PS: Final = 1000.0
_J_PER_WH: Final = 3600.0


def make_cost(file: CampaignFile, flow: Flow, ledger: Ledger) -> CampaignCost:
    """Add up what the tasks of a campaign cost.

    Parameters
    ----------
    file
        The campaign file.
    flow
        A walk through it, however far: the tasks that it uses are counted.
    ledger
        The history, with the cost of each task; tasks of earlier versions of the campaign do not count.
    """
    tasks = list(flow.bench.runner.used.values())
    records = {record.key: record for record in ledger.all() if record.state in ("done", "failed")}
    dynamics = _dynamics(flow, tasks, records)
    labels = _labels(flow, tasks, records)
    ratios = tuple(
        AimdRatio(
            each.potential,
            each.engine,
            label.labeller,
            label.cpu_s_per_atom / each.cpu_s_per_atom_step,
            None if not each.gpu_s_per_atom_step else label.cpu_s_per_atom / each.gpu_s_per_atom_step,
        )
        for each in dynamics
        for label in labels
        if each.cpu_s_per_atom_step > 0.0
    )
    energy_J = ledger.energy_J
    absent = ""
    if energy_J is None:
        absent = read_counters().reason or "no run on this machine recorded it"
    return CampaignCost(
        superionic=__version__,
        campaign=file.name,
        stages=tuple(
            _stage(stage, [task for task in tasks if task.stage == stage], records) for stage in file.computing
        ),
        dynamics=dynamics,
        labels=labels,
        ratios=ratios,
        ratio_absent="" if ratios else _why_no_ratio(dynamics, labels),
        assumptions=ASSUMPTIONS if ratios else (),
        energy_Wh=None if energy_J is None else energy_J / _J_PER_WH,
        energy_absent=absent,
    )


def _why_no_ratio(dynamics: Sequence[DynamicsCost], labels: Sequence[LabelCost]) -> str:
    if not labels:
        return "the campaign calculated no label of its own, so that the cost of one is not known"
    return "no molecular dynamics is on record" if not dynamics else "the molecular dynamics took no measurable time"


def _stage(stage: str, tasks: Sequence[Task[Any]], records: dict[str, Record]) -> StageCost:
    known = [records[task.key] for task in tasks if task.key in records]
    return StageCost(
        stage=stage,
        tasks=len(known),
        failed=sum(record.state == "failed" for record in known),
        untimed=sum(record.cpu_s is None for record in known),
        wall_s=sum(record.wall_s or 0.0 for record in known),
        cpu_s=sum(record.cpu_s or 0.0 for record in known),
        gpu_s=sum(record.gpu_s or 0.0 for record in known),
    )


# ---- molecular dynamics ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Segment:
    """One timed segment of molecular dynamics."""

    atoms: int
    steps: int
    timestep_fs: float
    record: Record


def _dynamics(flow: Flow, tasks: Iterable[Task[Any]], records: dict[str, Record]) -> tuple[DynamicsCost, ...]:
    """Return the cost of molecular dynamics by potential and integrator."""
    sizes: dict[tuple[str, tuple[Any, ...]], int] = {}
    of_chain: dict[str, int] = {}
    groups: dict[tuple[str, str], list[_Segment]] = {}
    for task in tasks:  # what is read stands before what reads it
        if task.function not in (first_segment_task.name, next_segment_task.name):
            continue
        record = records.get(task.key)
        try:
            if task.function == first_segment_task.name:
                of_chain[task.key] = _atoms_of_first(flow, task, sizes)
            else:
                state = task.inputs["state"]
                of_chain[task.key] = of_chain.get(state.task.key, 0) if isinstance(state, Ref) else 0
            if record is None or record.cpu_s is None or record.state != "done" or not of_chain[task.key]:
                continue
            evaluations = int(flow.bench.runner.store.plain(task.key).get("n_evaluations", 0))
        except StorageError:  # lost or damaged meanwhile: a run mends that, the page of costs must not stop it
            continue
        # A segment evaluates the forces of its start as well, and one that was stopped makes fewer steps than planned.
        steps = min(int(task.settings["n_steps"]), evaluations)
        md = task.settings["md"]
        if steps:
            segment = _Segment(of_chain[task.key], steps, float(md["timestep_fs"]), record)
            groups.setdefault((_potential_name(flow, task), str(md["engine"])), []).append(segment)
    return tuple(_dynamics_cost(name, engine, segments) for (name, engine), segments in groups.items())


def _atoms_of_first(flow: Flow, task: Task[Any], sizes: dict[tuple[str, tuple[Any, ...]], int]) -> int:
    structure = task.inputs["structure"]
    if not isinstance(structure, Ref):
        return 0
    place = structure.task.key, tuple(structure.path)
    if place not in sizes:
        value: Any = Outcome(structure.task, flow.bench.runner.store).value
        for step in structure.path:
            value = value[step] if isinstance(step, int) else getattr(value, step)
        sizes[place] = len(value)
    return sizes[place] * abs(round(float(np.linalg.det(np.array(task.settings["supercell"], dtype=np.float64)))))


def _potential_name(flow: Flow, task: Task[Any]) -> str:
    """Return the campaign's name of the potential of a task: its entry, the fine-tuned one, or the student."""
    own = task.settings["potential"]
    for name, chosen in flow.bench.potentials.items():
        if chosen.task_settings()["potential"] == own:
            return name
    return STUDENT if own["name"] == "nep" and flow.file.distil is not None else FINE_TUNED


def _dynamics_cost(potential: str, engine: str, segments: Sequence[_Segment]) -> DynamicsCost:
    atom_steps = float(sum(each.atoms * each.steps for each in segments))
    atom_ps = sum(each.atoms * each.steps * each.timestep_fs for each in segments) / _FS_PER_PS
    cpu_s = sum(each.record.cpu_s or 0.0 for each in segments)
    gpu_s = sum(each.record.gpu_s or 0.0 for each in segments)
    wall_s = sum(each.record.wall_s or 0.0 for each in segments)
    return DynamicsCost(
        potential=potential,
        engine=engine,
        segments=len(segments),
        fewest_atoms=min(each.atoms for each in segments),
        most_atoms=max(each.atoms for each in segments),
        simulated_ps=sum(each.steps * each.timestep_fs for each in segments) / _FS_PER_PS,
        atom_ps=atom_ps,
        atom_steps=atom_steps,
        cpu_s=cpu_s,
        gpu_s=gpu_s,
        wall_s=wall_s,
        cpu_s_per_atom_ps=cpu_s / atom_ps,
        wall_s_per_atom_ps=wall_s / atom_ps,
        cpu_s_per_atom_step=cpu_s / atom_steps,
        gpu_s_per_atom_ps=gpu_s / atom_ps if gpu_s else None,
        gpu_s_per_atom_step=gpu_s / atom_steps if gpu_s else None,
    )


# ---- labels ---------------------------------------------------------------------------------------------------------


def _labels(flow: Flow, tasks: Iterable[Task[Any]], records: dict[str, Record]) -> tuple[LabelCost, ...]:
    """Return the cost of the labels that were calculated here, by labeller; finished ones were paid elsewhere.

    Single points of the stage *dft*, whose settings may be others, are no labels.
    """
    groups: dict[tuple[str, str, bool], list[tuple[int, float]]] = {}
    for task in tasks:
        record = records.get(task.key)
        if (task.stage, task.function) != ("label", label_task.name):
            continue
        if record is None or record.cpu_s is None or record.state != "done":
            continue
        try:
            label: Label = Outcome(task, flow.bench.runner.store).value
        except StorageError:
            continue
        made = Reference.of(label)
        groups.setdefault((made.labeller, made.functional, made.stand_in), []).append(
            (len(label.forces_eV_per_A), record.cpu_s)
        )
    return tuple(
        LabelCost(
            labeller=labeller,
            functional=functional,
            stand_in=stand_in,
            labels=len(timed),
            median_atoms=float(median(atoms for atoms, _ in timed)),
            cpu_s=sum(cpu_s for _, cpu_s in timed),
            median_cpu_s=float(median(cpu_s for _, cpu_s in timed)),
            cpu_s_per_atom=float(median(cpu_s / atoms for atoms, cpu_s in timed)),
        )
        for (labeller, functional, stand_in), timed in groups.items()
    )
