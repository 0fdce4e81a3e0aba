"""Results of the studies of training: ``superionic train check``, ``curve``, ``search`` and ``compare``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from superionic.potentials.repulsion import RepulsionCurve
from superionic.results.learning import ErrorsApart
from superionic.training.curves import BudgetRow, Enough, PowerLaw
from superionic.training.metrics import ErrorMetrics
from superionic.training.pair_distances import Overlap, PairDistances
from superionic.training.preflight import Finding

Cell = str | int | float | bool | None


def shown(errors: ErrorMetrics, prefix: str = "") -> dict[str, float | None]:
    """Return the errors that tables show, as cells of a row: means, then softness and bias."""
    low, high = errors.force_slope_interval95 or (None, None)
    return mean_errors(errors, prefix) | {
        f"{prefix}force_slope": errors.force_slope,
        f"{prefix}force_slope_low95": low,
        f"{prefix}force_slope_high95": high,
        f"{prefix}mean_error_stress_GPa": errors.mean_error_stress_GPa,
    }


def mean_errors(errors: ErrorMetrics, prefix: str = "") -> dict[str, float | None]:
    """Return the mean absolute and root-mean-square errors as cells of a row."""
    return {
        f"{prefix}mae_energy_meV_per_atom": errors.mae_energy_meV_per_atom,
        f"{prefix}rmse_energy_meV_per_atom": errors.rmse_energy_meV_per_atom,
        f"{prefix}mae_force_meV_per_A": errors.mae_force_meV_per_A,
        f"{prefix}rmse_force_meV_per_A": errors.rmse_force_meV_per_A,
        f"{prefix}mae_stress_GPa": errors.mae_stress_GPa,
        f"{prefix}rmse_stress_GPa": errors.rmse_stress_GPa,
    }


@dataclass(frozen=True)
class LabelCheck:
    """The pre-flight check of a file of labels.

    Attributes
    ----------
    n_train, n_validation, n_test
        Number of labels in each part.
    runs
        Names of the runs in each part.
    element_references_eV, element_references_degenerate
        Shifts between labels and potential in eV per atom of each element, and whether the compositions leave some of
        them undetermined.
    rms_residual_eV_per_atom
        Root-mean-square energy difference that the shifts leave.
    notes
        Remarks on the split.
    findings
        Problems detected.
    """

    n_train: int
    n_validation: int
    n_test: int
    runs: Mapping[str, tuple[str, ...]]
    element_references_eV: Mapping[str, float]
    element_references_degenerate: bool
    rms_residual_eV_per_atom: float
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class CurveRow:
    """One training of a learning curve, or the pretrained potential (with no labels).

    Attributes
    ----------
    n
        Number of training labels.
    seed
        Number of the training among those of one size; None for the pretrained potential.
    best_epoch, epochs
        Epoch whose weights were kept, and number of epochs.
    errors
        Errors on the test set.
    """

    n: int
    seed: int | None
    best_epoch: int | None
    epochs: int
    errors: ErrorMetrics

    def cells(self) -> dict[str, Cell]:
        """Return the cells of its row in a table."""
        own: dict[str, Cell] = {"n": self.n, "seed": self.seed, "best_epoch": self.best_epoch, "epochs": self.epochs}
        return own | shown(self.errors)


@dataclass(frozen=True)
class Curve:
    """A learning curve.

    Attributes
    ----------
    rows
        Its trainings, the pretrained potential first.
    own_table
        Rows of the user's own table by size.
    laws, enough, budget
        For each quantity: its power law, whether the labels are enough, and the expected gain from further ones.
    n_test, n_validation
        Number of labels for the test, and for choosing the epoch.
    same
        Common budget of all trainings: ``"steps"`` or ``"epochs"``.
    options
        Options of the trainer.
    notes
        Remarks on the split.
    """

    rows: tuple[CurveRow, ...]
    own_table: tuple[Mapping[str, Any], ...]
    laws: Mapping[str, PowerLaw]
    enough: Mapping[str, Enough]
    budget: Mapping[str, tuple[BudgetRow, ...]]
    n_test: int
    n_validation: int
    same: str
    options: Mapping[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SearchRow:
    """One set of options tried in a search.

    Attributes
    ----------
    changes
        Options that differ from the initial ones.
    number
        Its number within its pass.
    validation_loss, spread
        Mean over its trainings (infinite if one failed), and largest minus smallest.
    best_epoch
        Best epoch of each training; None if it failed.
    failed
        Reasons for the trainings that failed.
    """

    changes: Mapping[str, Any]
    number: int
    validation_loss: float
    spread: float
    best_epoch: tuple[int | None, ...]
    failed: tuple[str, ...]

    def cells(self) -> dict[str, Cell]:
        """Return the cells of its row in a table."""
        own: dict[str, Cell] = {"number": self.number, "validation_loss": self.validation_loss, "spread": self.spread}
        return own | dict(self.changes)


@dataclass(frozen=True)
class Search:
    """A search of settings by the validation loss.

    Attributes
    ----------
    rows
        Sets of options tried, the best first.
    best
        All options of the best set.
    set, before, after, by
        Name of the set held out of the search, the errors on it of the pretrained and of the best potential, and the
        same by kind of structure.
    choices
        Values tried of each option.
    notes
        Remarks on the split.
    """

    rows: tuple[SearchRow, ...]
    best: Mapping[str, Any]
    set: str
    before: ErrorMetrics
    after: ErrorMetrics
    by: tuple[ErrorsApart, ...]
    choices: Mapping[str, tuple[Any, ...]]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class StabilityTest:
    """A hot run that must not blow up.

    Attributes
    ----------
    mobile_ion
        Symbol of the ions that may leave their sites; empty if none may.
    """

    temperature_K: float
    length_ps: float
    timestep_fs: float
    mobile_ion: str = ""


@dataclass(frozen=True, eq=False)
class StabilityRun:
    """The outcome of a stability test.

    Attributes
    ----------
    stable
        Whether the run was stable to its end.
    stable_ps
        How long it was stable.
    stopped
        Why it stopped early; empty if it did not.
    mean_temperature_K
        Mean temperature; NaN if no frame was recorded.
    drift_meV_per_atom
        Change of the conserved energy from the first to the last frame; None if there are none.
    off_sites
        Largest share of the framework's atoms that were off their sites at one time; None if there is no frame.
    distances
        Distances between atoms of each pair of elements; empty if there is no frame.
    """

    stable: bool
    stable_ps: float
    stopped: str
    mean_temperature_K: float
    drift_meV_per_atom: float | None = None
    off_sites: float | None = None
    distances: tuple[PairDistances, ...] = ()

    def cells(self) -> dict[str, Cell]:
        """Return its cells in a row of a table."""
        row: dict[str, Cell] = {
            "stable": self.stable,
            "stable_ps": self.stable_ps,
            "stopped": self.stopped,
            "mean_temperature_K": self.mean_temperature_K,
            "drift_meV_per_atom": self.drift_meV_per_atom,
            "off_sites": self.off_sites,
        }
        return row | {f"closest_{each.pair}_A": each.closest_A for each in self.distances}


@dataclass(frozen=True, eq=False)
class LabelledDistances:
    """Distances between atoms in the labelled structures with which runs are compared.

    Attributes
    ----------
    n_labels
        Number of these labels: of the atoms of the runs, at the stated temperature.
    temperature_K
        That of the labels, the nearest to the runs' own; None where the labels state none.
    distances
        For each pair of elements.
    """

    n_labels: int
    temperature_K: float | None
    distances: tuple[PairDistances, ...]


@dataclass(frozen=True, eq=False)
class CompareRow:
    """One way of training, or the pretrained potential.

    Attributes
    ----------
    method, seed
        The way of training, and the number of the training.
    best_epoch, epochs
        Epoch whose weights were kept, and number of epochs; None for the pretrained potential.
    errors
        Errors on the test set; None if the training failed.
    forgotten
        How far predictions for other chemistries moved from the pretrained ones; None where that is meaningless.
    run
        Outcome of the stability test; None without one.
    overlaps
        How far the distances in that run are those of the labels, for each pair of elements that are neighbours.
    repulsion
        Energy and force of pairs of atoms that are pushed together.
    failed
        Why the training failed; None if it did not.
    """

    method: str
    seed: int
    best_epoch: int | None = None
    epochs: int | None = None
    errors: ErrorMetrics | None = None
    forgotten: ErrorMetrics | None = None
    run: StabilityRun | None = None
    overlaps: tuple[Overlap, ...] = ()
    repulsion: tuple[RepulsionCurve, ...] = ()
    failed: str | None = None

    def cells(self) -> dict[str, Cell]:
        """Return the cells of its row in a table."""
        row: dict[str, Cell] = {"method": self.method, "seed": self.seed}
        if self.failed is not None:
            row |= {"failed": self.failed}
        if self.best_epoch is not None:
            row |= {"best_epoch": self.best_epoch, "epochs": self.epochs}
        if self.errors is not None:
            row |= shown(self.errors)
        if self.forgotten is not None:
            row |= shown(self.forgotten, "forgotten_")
        if self.run is not None:
            row |= self.run.cells()
        row |= {f"overlap_{each.pair}": each.overlap for each in self.overlaps}
        for curve in self.repulsion:
            pair, hole = "-".join(curve.pair), curve.hole
            row |= {f"hole_{pair}_A": None if hole is None else hole.distance_A}
            row |= {f"hole_{pair}_barrier_eV": None if hole is None else hole.barrier_eV}
        return row


@dataclass(frozen=True, eq=False)
class Comparison:
    """A comparison of ways to train.

    Attributes
    ----------
    rows
        The pretrained potential, then each way and seed.
    by
        Errors by kind of structure, for each training by its name.
    n_others, n_replay
        Number of structures of other chemistries in the test of forgetting, and as replay data.
    n_test
        Number of labels in the test set.
    options
        Options of the trainer.
    stability
        The stability test; None without one.
    labelled
        Distances in the labels, with which those in the runs are compared; None without a stability test.
    pushed_label
        Index, in the file, of the label in which pairs of atoms are pushed together: that of the smallest forces.
    notes
        Remarks on the split.
    """

    rows: tuple[CompareRow, ...]
    by: Mapping[str, tuple[ErrorsApart, ...]]
    n_others: int
    n_replay: int
    n_test: int
    options: Mapping[str, Any]
    stability: StabilityTest | None
    labelled: LabelledDistances | None
    pushed_label: int
    notes: tuple[str, ...]


StudyResult = LabelCheck | Curve | Search | Comparison
