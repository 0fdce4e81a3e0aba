"""The sections ``train`` and ``validate`` of the campaign file.

Defaults are the values of the papers where they give one: paper A is Deng et al. 2025 (doi 10.1039/d5ta05321h), paper B
the study of Li3YCl6-xBrx with a fine-tuned CHGNet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from superionic.settings.base import (
    Count,
    Element,
    Fraction,
    NotNegative,
    Number,
    Positive,
    Problem,
    StageSection,
    TrainerName,
)


class TrainSettings(StageSection):
    """Fine-tuning of the potential that sampled, on the labels."""

    trainer: TrainerName | None = Field(
        default=None,
        description="Trainer; left out, that of the sampling potential's engine. No other one fits but `nep`, which "
        "learns a small potential from the labels alone, whatever sampled.",
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
    replay: str | None = Field(
        default=None,
        min_length=1,
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


class ValidateSettings(StageSection):
    """Errors of the fine-tuned and of the original potential on labels that training has not seen."""

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


def replay_problems(raw: Mapping[str, Any], train: Mapping[str, Any], engine: str) -> Iterator[Problem]:
    """Find replay data that are missing or of no use, and atomic energies that the trainer cannot take.

    Parameters
    ----------
    raw
        The completed campaign file as plain values; values of a wrong type are skipped.
    train
        Its section ``train``.
    engine
        Name of the trainer.
    """
    from superionic.training.base import FOUNDATION, NEEDS_REPLAY, can_replay, has_option, trainer_names

    able = ", ".join(name for name in trainer_names() if can_replay(name))
    options = train.get("options")
    options = options if isinstance(options, Mapping) else {}
    multihead = options.get("mode") == NEEDS_REPLAY and can_replay(engine)
    given = train.get("replay")
    if given is not None and not can_replay(engine):
        message = f"the trainer '{engine}' cannot learn from replay data"
        yield Problem(("train", "replay"), message, f"leave `replay` out, or sample with a potential of {able}")
    elif given is not None and not multihead:
        message = "replay data are of use in multi-head training alone"
        yield Problem(("train", "replay"), message, "add `options: {mode: multihead}`, or leave `replay` out")
    elif multihead and given is None:
        message = "multi-head training without replay data forgets, as naive fine-tuning does"
        hint = f"add `replay: FILE` (extended XYZ) or `replay: {FOUNDATION}`, or say `mode: naive`"
        yield Problem(("train", "options", "mode"), message, hint)
    if train.get("replay_weight") is not None and given is None:
        yield Problem(("train", "replay_weight"), "there are no replay data to weigh", "add `replay`, or leave it out")
    e0s = train.get("e0s")
    if not isinstance(e0s, Mapping):
        return
    if not has_option(engine, "e0s"):
        message = f"the trainer '{engine}' fits the energies of the elements"
        yield Problem(("train", "e0s"), message, "leave `e0s` out")
    elif options.get("mode") == "scratch":
        message = "a new network takes the energies of its labels"
        yield Problem(("train", "e0s"), message, "leave `e0s` out, or choose another `mode`")
    states = raw.get("oxidation_states")
    missing = [str(element) for element in states if element not in e0s] if isinstance(states, Mapping) else []
    if missing:
        yield Problem(("train", "e0s"), f"the energy of {', '.join(missing)} is missing", "give that of every element")
