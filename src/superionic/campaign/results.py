"""The results of a campaign, assembled from what its stages gave, and the files that go with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from superionic.report.doubts import statements
from superionic.report.notebook import Drawn
from superionic.results.campaign import AxisSummary, CrystalSummary, Results, Status
from superionic.results.cells import compare_cells
from superionic.settings.base import STUDENT
from superionic.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from superionic.campaign.walk import Walk
    from superionic.report.section import Section

T = TypeVar("T")


@dataclass(frozen=True, eq=False, repr=False)
class CampaignResults(Drawn, Results):
    """The results of a campaign, with the figures and tables of its report at hand.

    Attributes
    ----------
    grids
        The density grids that the results name, (n1, n2, n3) in 1/Å³; not part of the results.
    """

    grids: Mapping[str, NDArray[np.floating]] = field(init=False, default_factory=dict)

    @classmethod
    def of(cls, results: Results, grids: Mapping[str, NDArray[np.floating]] | None = None) -> CampaignResults:
        """Attach the report to the results."""
        drawn = cls(**{each.name: getattr(results, each.name) for each in fields(Results)})
        object.__setattr__(drawn, "grids", grids or {})
        return drawn

    def _sections(self) -> tuple[Section, ...]:
        from superionic.report.contents import report_sections

        return report_sections(self, self.grids, ())


def assemble(flow: Walk) -> CampaignResults:
    """Return the results of a campaign, as far as a walk through its stages has come, with what readers must know."""
    results = gather(flow)
    return CampaignResults.of(replace(results, statements=statements(results)), _density_grids(flow))


def gather(flow: Walk) -> Results:
    """Return what the stages gave so far, without statements about it."""
    file, outputs = flow.file, flow.outputs
    results = Results(
        superionic=__version__,
        campaign=file.name,
        title=file.report.title or file.name,
        status=_status(flow),
        mobile_ion=file.mobile_ion,
        charge=flow.bench.oxidation_states[file.mobile_ion],
        crystals=tuple(
            CrystalSummary.of(
                flow.crystals[entry.name],
                name=entry.name,
                source=Path(entry.file).name,
                primitive=entry.primitive,
                oxidation_states=flow.bench.oxidation_states,
            )
            for entry in file.crystals
        ),
        axes=tuple(
            AxisSummary(
                axis=axis.by,
                replace=axis.replace,
                formula_unit=axis.formula_unit,
                values=axis.values,
                along=tuple((step.replace, step.by) for step in axis.along),
            )
            for axis in file.composition_axes
        ),
        warnings=_warnings(flow),
        statements=(),
        enumerate=_last([output.result for output in outputs.enumerate]),
        rank=tuple(output.result for output in outputs.rank),
        hull=tuple(output.result for output in outputs.hull),
        select=_last([output.result for output in outputs.select]),
        sample=tuple(output.result for output in outputs.sample),
        learning=_last(outputs.learning),
        rungs=_last(outputs.rungs),
        volumes=next(iter(outputs.volumes), None),
        further_volumes=tuple(outputs.volumes[1:]),
        label=tuple(output.result for output in outputs.label),
        train=tuple(output.result for output in outputs.train),
        validate=_last(outputs.validate),
        distil=_last([output.result for output in outputs.distil]),
        transport=_last([output.result for output in outputs.transport]),
        cells=(),
        analyse=_last([output.result for output in outputs.analyse]),
        settings={stage: _without_folders(file.stage_settings(stage)) for stage in file.stages},
        further=tuple(outputs.further),
        teachers=tuple(outputs.teachers),
        draws=_last(outputs.draws),
        series=tuple(outputs.series),
        sizes=_last(outputs.sizes),
    )
    refined = {crystal.name: crystal.cell for crystal in results.crystals}
    return replace(results, cells=compare_cells(refined, results.rank, results.transport))


def _density_grids(flow: Walk) -> dict[str, NDArray[np.floating]]:
    """Load the density maps that the report draws, by the names that the results have for them."""
    analysed = _last(flow.outputs.analyse)
    if analysed is None:
        return {}
    return {name: flow.bench.runner.value_of(grid) for name, grid in analysed.grids.items()}


def write_structures(flow: Walk, folder: Path) -> list[Path]:
    """Write the relaxed orderings as extended XYZ and CIF, with energy, degeneracy and key."""
    from superionic.execution.task import ref_of
    from superionic.structures.io.files import write_cif, write_extxyz

    candidates = flow.outputs.ranked
    if not candidates:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    structures = []
    for candidate in candidates:
        atoms = flow.bench.runner.value_of(candidate.structure).copy()
        atoms.calc = None
        facts = {
            "degeneracy": candidate.degeneracy,
            "relaxed_eV_per_atom": candidate.relaxed_eV_per_atom,
            "e_above_hull_eV_per_atom": candidate.e_above_hull_eV_per_atom,
            "ewald_eV": candidate.ewald_eV,
            "key": ref_of(candidate.structure).task.key,
        }
        atoms.info = {"id": candidate.id, **{name: value for name, value in facts.items() if value is not None}}
        structures.append(atoms)
    written = [folder / "relaxed.extxyz"]
    write_extxyz(written[0], structures)
    for candidate, atoms in zip(candidates, structures, strict=True):
        path = folder / (_file_name(candidate.id) + ".cif")
        write_cif(path, atoms, name=candidate.id)
        written.append(path)
    return [*written, *_structures_of_folders(flow, folder)]


def _structures_of_folders(flow: Walk, folder: Path) -> Iterator[Path]:
    """Write the structures of each stage of one folder that has any."""
    from superionic.structures.io.files import write_cif, write_extxyz

    runner = flow.bench.runner
    for result in flow.outputs.further:
        structures = []
        for name, key in result.structure_keys.items():
            atoms = runner.one(runner.used[key]).atoms.copy()
            atoms.info = {"id": name, "key": key}
            structures.append(atoms)
            path = folder / f"{result.stage}_{_file_name(name)}.cif"
            write_cif(path, atoms, name=name)
            yield path
        if structures:
            write_extxyz(folder / f"{result.stage}.extxyz", structures)
            yield folder / f"{result.stage}.extxyz"


def write_students(flow: Walk, folder: Path) -> list[Path]:
    """Write the students as ``nep.txt`` files, for GPUMD, LAMMPS with NEP, or calorine."""
    from superionic.models.nep.model import NepModel

    distilled = _last(flow.outputs.distil)
    if distilled is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"{STUDENT}_{number}.nep.txt": task.result.weights for number, task in enumerate(distilled.students, 1)}
    for teacher, students in flow.outputs.further_students.items():
        for number, student in enumerate(students, 1):
            if student.weights is not None:
                weights[f"{STUDENT}_{number}_of_{_file_name(teacher)}.nep.txt"] = student.weights
    written = []
    for name, of_student in weights.items():
        path = folder / name
        path.write_text(NepModel.from_arrays(flow.bench.runner.value_of(of_student)).to_text(), encoding="utf-8")
        written.append(path)
    return written


def _last(outputs: Sequence[T]) -> T | None:
    return outputs[-1] if outputs else None


def _without_folders(settings: Any) -> Any:
    """Return settings with the names of files for their paths: results are the same wherever the campaign lies."""
    if isinstance(settings, Mapping):
        return {name: _without_folders(value) for name, value in settings.items()}
    if isinstance(settings, list):
        return [_without_folders(value) for value in settings]
    is_path = isinstance(settings, str) and Path(settings).is_absolute()
    return Path(settings).name if is_path else settings


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-._=" else "_" for c in text)


def _warnings(flow: Walk) -> tuple[str, ...]:
    undone = [stage for stage in flow.file.computing if stage not in flow.ended]
    if _status(flow) == "refused: student failed parity":
        refused = flow.file.computing[flow.file.computing.index("transport") :]
        undone = [stage for stage in undone if stage not in refused]
    return (f"Not done yet: {', '.join(undone)}.",) if undone else ()


def _status(flow: Walk) -> Status:
    """Say whether these are results: complete, incomplete, or refused since the student failed its gate."""
    file, distilled = flow.file, _last(flow.outputs.distil)
    if (
        distilled is not None
        and file.distil is not None
        and file.transport is not None
        and file.transport.potential == STUDENT
        and not distilled.result.verdict.passed
    ):
        return "refused: student failed parity" if file.distil.require_parity else "student failed parity"
    is_complete = all(stage in flow.ended for stage in file.computing)
    return "complete" if is_complete else "incomplete"
