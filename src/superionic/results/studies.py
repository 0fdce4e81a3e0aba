"""What the studies of training give: ``superionic train check``, ``curve``, ``search`` and ``compare``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from superionic.results.learning import ErrorsApart
from superionic.training.curves import BudgetRow, Enough, PowerLaw
from superionic.training.metrics import ErrorMetrics
from superionic.training.preflight import Finding

Cell = str | int | float | bool | None


def shown(errors: ErrorMetrics, prefix: str = "") -> dict[str, float | None]:
    """Take the errors that tables show, as cells of a row: means, then softness and bias."""
    low, high = errors.force_slope_interval95 or (None, None)
    return mean_errors(errors, prefix) | {
        f"{prefix}force_slope": errors.force_slope,
        f"{prefix}force_slope_low95": low,
        f"{prefix}force_slope_high95": high,
        f"{prefix}mean_error_stress_GPa": errors.mean_error_stress_GPa,
    }


def mean_errors(errors: ErrorMetrics, prefix: str = "") -> dict[str, float | None]:
    """Take the mean absolute and root mean square errors, which fall with the number of labels, as cells of a row."""
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
    """What the pre-flight says of a file of labels.

    Attributes
    ----------
    n_train, n_validation, n_test
        Labels in each part.
    runs
        Runs in each part.
    element_references_eV, element_references_degenerate
        Shifts between labels and potential in eV per atom of each element, and whether the compositions leave some of
        them open.
    rms_residual_eV_per_atom
        What the shifts do not explain.
    notes
        What is to be said of the split.
    findings
        What was noticed.
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
    """One training of a learning curve; of no labels for the pretrained potential.

    Attributes
    ----------
    n
        Training labels.
    seed
        Counts trainings of one size; None for the pretrained potential.
    best_epoch, epochs
        Epoch that was kept, and epochs done.
    errors
        On the test set.
    """

    n: int
    seed: int | None
    best_epoch: int | None
    epochs: int
    errors: ErrorMetrics

    def cells(self) -> dict[str, Cell]:
        """Give the row of a table."""
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
        Rows of a user's own by size.
    laws, enough, budget
        Of each quantity: its power law, whether the labels are enough, what further ones would buy.
    n_test, n_validation
        Labels that judged, and that chose the epoch.
    same
        What trainings have in common: ``"steps"`` or ``"epochs"``.
    options
        Of the trainer.
    notes
        What is to be said of the split.
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
    """One setting that was tried.

    Attributes
    ----------
    changes
        What differs from the settings as given.
    number
        Its place in its pass.
    validation_loss, spread
        Mean over its trainings (infinite if one failed), and largest less smallest.
    best_epoch
        Of each training; None if it failed.
    failed
        Reasons of those that failed.
    """

    changes: Mapping[str, Any]
    number: int
    validation_loss: float
    spread: float
    best_epoch: tuple[int | None, ...]
    failed: tuple[str, ...]

    def cells(self) -> dict[str, Cell]:
        """Give the row of a table."""
        own: dict[str, Cell] = {"number": self.number, "validation_loss": self.validation_loss, "spread": self.spread}
        return own | dict(self.changes)


@dataclass(frozen=True)
class Search:
    """A search of settings by the validation loss.

    Attributes
    ----------
    rows
        What was tried, the best first.
    best
        All options of the best.
    set, before, after, by
        Errors of the pretrained potential and of the best on the set that was not searched on, and apart by kind.
    choices
        Values that were tried of each option.
    notes
        What is to be said of the split.
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
    """A hot run that must not blow up."""

    temperature_K: float
    length_ps: float
    timestep_fs: float


@dataclass(frozen=True)
class StabilityRun:
    """How it ended.

    Attributes
    ----------
    stable
        Whether it held for the stated time.
    stable_ps
        How long it held.
    stopped
        Why it did not; empty if it did.
    mean_temperature_K
        NaN if no frame was kept.
    """

    stable: bool
    stable_ps: float
    stopped: str
    mean_temperature_K: float


@dataclass(frozen=True)
class CompareRow:
    """One way of training, or the pretrained potential.

    Attributes
    ----------
    method, seed
        Which way, and which training of it.
    best_epoch, epochs
        Epoch that was kept, and epochs done; None for the pretrained potential.
    errors
        On the test set; None if the training failed.
    forgotten
        How far predictions on other chemistries moved away from the pretrained ones; None where that means nothing.
    run
        How the hot run ended; None without one.
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
    failed: str | None = None

    def cells(self) -> dict[str, Cell]:
        """Give the row of a table."""
        row: dict[str, Cell] = {"method": self.method, "seed": self.seed}
        if self.failed is not None:
            row |= {"failed": self.failed}
        if self.best_epoch is not None:
            row |= {"best_epoch": self.best_epoch, "epochs": self.epochs}
        if self.errors is not None:
            row |= shown(self.errors)
        if self.forgotten is not None:
            row |= shown(self.forgotten, "forgotten_")
        return row if self.run is None else row | asdict(self.run)


@dataclass(frozen=True)
class Comparison:
    """A bake-off of ways to train.

    Attributes
    ----------
    rows
        The pretrained potential, then each way and seed.
    by
        Errors apart by kind, of each training by its name.
    n_others, n_replay
        Structures of other chemistries that judged what was forgotten, and those that were replay data.
    n_test
        Labels that judged.
    options
        Of the trainer.
    stability
        The hot run; None without one.
    notes
        What is to be said of the split.
    """

    rows: tuple[CompareRow, ...]
    by: Mapping[str, tuple[ErrorsApart, ...]]
    n_others: int
    n_replay: int
    n_test: int
    options: Mapping[str, Any]
    stability: StabilityTest | None
    notes: tuple[str, ...]


StudyResult = LabelCheck | Curve | Search | Comparison
