"""The sections ``train`` and ``validate`` of the campaign file.

Defaults are the values of the papers where they give one: paper A is Deng et al. 2025 (doi 10.1039/d5ta05321h), paper B
the study of Li3YCl6-xBrx with a fine-tuned CHGNet.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from superionic.campaign.schema_base import Count, Fraction, NotNegative, Positive, StageSection


class TrainSettings(StageSection):
    """Fine-tuning of the potential that sampled, on the labels."""

    trainer: Literal["chgnet", "mace", "matgl", "nep", "sevennet"] | None = Field(
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
