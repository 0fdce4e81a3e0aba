"""The sections ``train`` and ``validate`` of the campaign file.

Defaults are the values of the papers where they give one: paper A is Deng et al. 2025 (doi 10.1039/d5ta05321h), paper B
the study of Li3YCl6-xBrx with a fine-tuned CHGNet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from superionic.errors import CampaignFileError
from superionic.foreign import open_regular
from superionic.registry import DELTA, find, trainable
from superionic.settings.base import (
    Count,
    Element,
    Fraction,
    NotNegative,
    Number,
    Positive,
    StageSection,
    TrainerName,
)
from superionic.settings.inputs import Potentials
from superionic.settings.rules import FileName, Problem, no_such, rule, rule_of_file, shortened
from superionic.settings.sample import SampleSettings

_LONGEST_HEAD: Final = 1_000_000
_FOUNDATION: Final = "foundation"  # that of `superionic.training.base`, which takes a second to import


class TrainSettings(StageSection):
    """Fine-tuning of the potential that sampled, on the labels."""

    trainer: TrainerName | None = Field(
        default=None,
        description="Trainer; left out, that of the sampling potential's engine. No other one fits but `delta`, which "
        "adds a correction to any potential, and for which few labels suffice, and `nep`, which learns a small "
        "potential from the labels alone, whatever sampled.",
    )
    epochs: Count = Field(default=100, description="Largest number of epochs (paper A: 500).")
    patience: Count | None = Field(
        default=20,
        description="Epochs without a better validation loss after which training ends (paper A: 20); null: never.",
    )
    learning_rate: Positive | None = Field(
        default=None,
        description="Initial learning rate; left out, the trainer's own (chgnet: 0.001; paper A, MACE: 0.01).",
    )
    decay_fraction: NotNegative | None = Field(
        default=None,
        description="Learning rate at the end, as a fraction of the initial one (cosine in between); left out, the "
        "trainer's own (chgnet: 0.01).",
    )
    batch_size: Count = Field(default=8, description="Structures in one batch.")
    freeze: str | None = Field(
        default=None,
        description="Parts of the network that keep their pretrained weights; left out, the trainer's own. For chgnet "
        "and sevennet `none`, `embeddings`, `one-block`, `two-blocks` or `all-but-readout`.",
    )
    initial: Literal["pretrained", "random"] | None = Field(
        default=None, description="What training begins from; `random` is training from scratch, for comparison."
    )
    energy_weight: NotNegative = Field(default=1.0, description="Weight of the energy per atom in the loss.")
    force_weight: NotNegative = Field(default=1.0, description="Weight of the forces in the loss.")
    stress_weight: NotNegative = Field(default=0.1, description="Weight of the stress in the loss.")
    huber_delta: Positive | None = Field(
        default=None,
        description="Where the Huber loss turns linear, in eV/atom, eV/Å and GPa; left out, the trainer's own "
        "(CHGNet: 0.1).",
    )
    options: dict[str, bool | int | float | str | None] = Field(
        default_factory=dict, description="Further options that this trainer alone has, by name."
    )
    replay: Annotated[str, Field(min_length=1), FileName(words=(_FOUNDATION,))] | None = Field(
        default=None,
        description="What multi-head training (`options: {mode: multihead}`, mace alone) goes on learning, so that it "
        "does not forget: an extended XYZ file of labels that the checkpoint was trained on, relative to the campaign "
        "file; or `foundation`: the ranked structures and reference phases, displaced, labelled by the checkpoint "
        "itself. Structures without labels need `options: {replay_labels: foundation}`.",
    )
    replay_weight: Positive | None = Field(
        default=None,
        description="Weight of the loss over the replay data against that over the labels; left out: 1.",
    )
    e0s: dict[Element, Number] | None = Field(
        default=None,
        description="Energy in eV of an isolated atom of each element by the method of the labels (mace alone); left "
        "out, the shifts between labels and potential are fitted to the training labels.",
    )
    split_by: Literal["run", "ordering", "composition"] = Field(
        default="run",
        description="What never lies on two sides of the split: a run of sampling, all runs of an ordering, or all of "
        "a composition. What is held out in one round is held out in all later ones.",
    )
    validation_fraction: Fraction = Field(default=0.1, description="Share of the labels that choose the best epoch.")
    test_fraction: Fraction = Field(default=0.1, description="Share of the labels that are kept for `validate`.")
    preflight: Literal["stop", "warn"] = Field(
        default="stop",
        description="What happens if the labels look wrong before training (a unit or sign, leakage, a missing "
        "element): the campaign stops, or goes on and says so in the report.",
    )
    epochs_per_segment: Count = Field(default=5, description="Epochs in one segment: what a killed run loses at most.")

    @rule
    def _trainer_fits_the_potential(self, sample: SampleSettings | None, potentials: Potentials) -> Iterator[Problem]:
        name, engine = self._sampling(sample, potentials)
        if engine is None or self._learns_from_labels or self.trainer == DELTA:
            return
        if engine not in trainable():
            message = f"superionic cannot train the potential '{name}' of `sample`, which is of {engine}"
            hint = f"write trainer: {DELTA}; or sample with a potential of one of: {', '.join(trainable())}"
            yield Problem(("trainer",), message, hint)
        elif self.trainer not in (None, engine) and self.trainer not in {each.engine for each in potentials.values()}:
            yield self._no_checkpoint(engine)
        elif self.trainer not in (None, engine):
            message = f"the trainer '{self.trainer}' cannot train the potential '{name}' of `sample`"
            hint = f"sample with a potential of that engine, or write trainer: {DELTA}"
            yield Problem(("trainer",), f"{message}, which is of {engine}", hint)

    def _no_checkpoint(self, engine: str) -> Problem:
        """Return the problem of a trainer of whose engine the campaign has no potential to begin from."""
        model = find(self.trainer)
        file = "" if model is None or model.file is None else f": its `file` is {model.file}"
        hint = f"add one of `engine: {self.trainer}`{file}; or write `trainer: {engine}`, which has rates of its own"
        message = f"`train` fine-tunes {self.trainer}, and no entry of `potentials` is a checkpoint of it"
        return Problem(("trainer",), message, hint)

    @rule
    def _options_are_those_of_the_trainer(
        self, sample: SampleSettings | None, potentials: Potentials
    ) -> Iterator[Problem]:
        trainer = self._fitting_trainer(sample, potentials)
        if trainer is None:
            return
        from superionic.training.base import options_of

        shared = ("epochs", "batch_size", "learning_rate", "freeze", "initial")
        try:
            options_of(trainer, {name: getattr(self, name) for name in shared}, self.options)
        except CampaignFileError as error:
            key = str(error.where or "").rpartition(".")[2]
            path = ("options", key) if key in self.options else (key,) if key in type(self).model_fields else ()
            yield Problem(path, error.message, error.fix or "")

    @rule
    def _replay_data_are_of_use(self, sample: SampleSettings | None, potentials: Potentials) -> Iterator[Problem]:
        trainer = self._fitting_trainer(sample, potentials)
        if trainer is None:
            return
        from superionic.training.base import NEEDS_REPLAY, can_replay, trainer_names

        multihead = self.options.get("mode") == NEEDS_REPLAY and can_replay(trainer)
        if self.replay is not None and not can_replay(trainer):
            message = f"the trainer '{trainer}' cannot learn from replay data"
            able = ", ".join(name for name in trainer_names() if can_replay(name))
            yield Problem(("replay",), message, f"leave `replay` out, or sample with a potential of {able}")
        elif self.replay is not None and not multihead:
            message = "replay data are of use in multi-head training alone"
            yield Problem(("replay",), message, "add `options: {mode: multihead}`, or write `replay: null`")
        elif multihead and self.replay is None:
            message = "multi-head training without replay data forgets, as naive fine-tuning does"
            hint = f"add `replay: FILE` (extended XYZ) or `replay: {_FOUNDATION}`, or say `mode: naive`"
            yield Problem(("options", "mode"), message, hint)
        if self.replay_weight is not None and self.replay is None:
            yield Problem(("replay_weight",), "there are no replay data to weigh", "add `replay`, or leave it out")

    @rule
    def _trainer_takes_atomic_energies(
        self, sample: SampleSettings | None, potentials: Potentials, oxidation_states: Mapping[str, float]
    ) -> Iterator[Problem]:
        trainer = self._fitting_trainer(sample, potentials)
        if trainer is None or self.e0s is None:
            return
        from superionic.training.base import has_option

        if not has_option(trainer, "e0s"):
            message = f"the trainer '{trainer}' fits the energies of the elements"
            yield Problem(("e0s",), message, "leave `e0s` out")
        elif self.options.get("mode") == "scratch":
            message = "a new network takes the energies of its labels"
            yield Problem(("e0s",), message, "leave `e0s` out, or choose another `mode`")
        missing = [element for element in oxidation_states if element not in self.e0s]
        if missing:
            message = f"the energy of {', '.join(missing)} is missing"
            yield Problem(("e0s",), message, "give that of every element")

    @rule
    def _labels_are_left_to_train_on(self) -> Iterator[Problem]:
        if self.validation_fraction + self.test_fraction >= 1.0:
            shares = f"validation ({self.validation_fraction:g}) and test ({self.test_fraction:g}) fractions"
            yield Problem(("validation_fraction",), f"{shares} leave nothing to train on")

    @rule
    def _labels_are_left_to_validate(self, validate_: ValidateSettings | None) -> Iterator[Problem]:
        if self.test_fraction == 0.0 and validate_ is not None:
            yield Problem(("test_fraction",), "`validate` needs labels that training has not seen")

    @rule
    def _something_is_weighed(self) -> Iterator[Problem]:
        if self.energy_weight == self.force_weight == self.stress_weight == 0.0:
            yield Problem(("energy_weight",), "at least one of the weights of the loss must be above 0")

    @rule_of_file
    def _replay_data_can_be_read(self) -> Iterator[Problem]:
        """Look at the first structure: training is far away, and the wrong file is named quickly."""
        if self.replay is None or self.replay == _FOUNDATION:
            return
        file, path = Path(self.replay), ("replay",)
        try:
            with open_regular(file) as lines:
                count, comment = (lines.readline(_LONGEST_HEAD).decode("utf-8") for _ in range(2))
        except (OSError, ValueError):
            hint = "name an extended XYZ file, or write foundation"
            yield Problem(path, f"the file {shortened(self.replay)} cannot be read", hint, missing_file=file)
            return
        needed = ["Lattice="]
        if self.options.get("replay_labels") != _FOUNDATION:
            needed += ["energy", "forces"]
        missing = [word for word in needed if word not in comment]
        if not count.strip().isdigit() or "Lattice=" in missing:
            yield Problem(path, f"{shortened(file.name)} is no extended XYZ file", "write it as ASE does")
        elif missing:
            hint = "give labels, or let the checkpoint label them: `options: {replay_labels: foundation}`"
            message = f"the first structure of {file.name} has no {' and no '.join(missing)}"
            yield Problem(path, message, hint)

    @property
    def _learns_from_labels(self) -> bool:
        """Whether the trainer makes a potential of its own from the labels, whatever sampled."""
        model = find(self.trainer)
        return model is not None and model.from_labels

    def trained_engine(self, sample: SampleSettings | None, potentials: Potentials) -> str | None:
        """Return the engine of the potential that training makes; None where its potential is not known."""
        return self.trainer if self._learns_from_labels else self._sampling(sample, potentials)[1]

    def _fitting_trainer(self, sample: SampleSettings | None, potentials: Potentials) -> str | None:
        """Return the trainer of a campaign; None where none fits."""
        if self.trainer == DELTA:
            return DELTA
        engine = self.trained_engine(sample, potentials)
        return engine if engine in trainable() and self.trainer in (None, engine) else None

    def _sampling(self, sample: SampleSettings | None, potentials: Potentials) -> tuple[str, str | None]:
        """Return the name of the potential that samples, and its engine; None where it is not known."""
        name = None if sample is None else sample.potential
        return str(name), potentials[name].engine if name is not None and name in potentials else None


class ValidateSettings(StageSection):
    """Errors of the potential before and after training on labels it has not seen; without `train`, as it is on all."""

    potential: str | None = Field(
        default=None,
        description="Entry of `potentials` that is checked in a campaign without `train`, such as the teacher; the one "
        "that samples if left out.",
    )
    max_energy_mae_meV_per_atom: Positive | None = Field(
        default=3.5, description="The report warns of a model above this (paper B reached 3.5); null for no such limit."
    )
    max_force_mae_meV_per_A: Positive | None = Field(default=50.0, description="The same for forces (paper B: 50).")
    max_stress_mae_GPa: Positive | None = Field(default=0.085, description="The same for stresses (paper B: 0.085).")
    min_force_slope: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=0.9,
        description="Slope of predicted against reference forces below which the report warns of a potential that is "
        "too soft (it melts too early), and above the reciprocal of which of one that is too stiff; null: none.",
    )
    max_stress_bias_GPa: Positive | None = Field(
        default=0.2,
        description="Mean error of the normal stresses above which the report warns of cells of a wrong size (1 % "
        "where the bulk modulus is 20 GPa); null for no such limit.",
    )

    @rule
    def _potential_is_known(self, potentials: Potentials, train: TrainSettings | None) -> Iterator[Problem]:
        if self.potential is None:
            return
        if train is not None:
            hint = "leave it out, or leave out `train`"
            yield Problem(("potential",), "the potential that `train` makes is validated", hint)
        elif self.potential not in potentials:
            yield no_such("potential", self.potential, potentials, ("potential",))
