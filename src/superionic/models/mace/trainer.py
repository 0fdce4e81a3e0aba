"""Training of MACE in segments that resume exactly: several ways to fine-tune a user's checkpoint, and new networks.

Modes (:data:`superionic.models.mace.state.MODES`):

- ``naive``: all weights are trained. The model learns fast, and forgets whatever is not in the labels.
- ``frozen``: the modules named by ``freeze`` keep their weights.
- ``lora``: small low-rank additions are trained (``mace.modules.lora``), and merged into the final weights.
- ``multihead``: a second head learns the labels while the first keeps training on replay data, which stabilises the
  part that they share (paper A). Each step takes a batch of labels and one of replay data. Without replay data the mode
  is refused: it would be naive fine-tuning under another name.
- ``scratch``: a new network.

mace's own runner cannot be stopped and resumed without a trace and silently changes settings (see
``docs/how-to/train-mace.md``), so networks, heads and losses are mace's and the loop is ours: the order of the batches
is a function of seed and epoch, the learning rate one of the step, and :class:`TrainState` carries weights, their
running means and Adam's moments bit for bit. On one CPU thread, k segments equal one long run exactly.

Labels are brought to the checkpoint's zero of energy by per-element shifts, which :func:`start` fits to the training
set (or takes from the options) and :func:`train_epochs` subtracts; a fine-tuned model keeps that zero. A new network
has the zero of its labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms

from superionic.errors import CampaignFileError, StageError
from superionic.labels.base import Progress
from superionic.models.mace import graphs as mace_graphs
from superionic.models.mace import network as mace_network
from superionic.models.mace import weights as mace_weights
from superionic.models.mace.loop import EVALUATED_AT_A_TIME, Run, check_frame
from superionic.models.mace.state import MODES, TrainOptions, TrainState
from superionic.potentials.checkpoints import checksum
from superionic.training.dataset import ElementReferences, LabelledSet, Targets, fit_element_references
from superionic.training.loop import arrays
from superionic.training.metrics import errors

__all__ = [
    "MODES",
    "TrainOptions",
    "TrainState",
    "declared_shifts",
    "predict",
    "pseudo_labelled",
    "start",
    "train_epochs",
    "write_file",
]


def start(
    model: str | None = None,
    *,
    file: str | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    seed: int,
    options: TrainOptions | None = None,
    train: LabelledSet | None = None,
    replay: LabelledSet | None = None,
    trust_sha256: str | None = None,
) -> TrainState:
    """Begin a training.

    Parameters
    ----------
    model
        Name of the checkpoint; ``"test"`` without ``file`` starts from the small test network.
    file
        The checkpoint: a bridge file (``superionic engines convert mace``), or a ``.model`` with ``trust_sha256``.
    weights
        Initial weights, from an earlier training (a previous rung of a ladder); ``scratch`` ignores them.
    seed
        Seed of the order of the batches, and of random initial weights.
    options
        Options of the training.
    train
        The training set, to whose labels per-element shifts are fitted; without it, labels must have the checkpoint's
        zero of energy. A new network (``scratch``) requires it.
    replay
        Replay data of ``multihead``: labels with the checkpoint's zero of energy, ideally those it was trained on; or
        any structures, if ``replay_labels`` is ``"foundation"``.
    trust_sha256
        SHA-256 of a ``.model`` that is trusted although it is a pickle.

    Raises
    ------
    CampaignFileError
        If replay data are missing or not usable, or an option contradicts the checkpoint.
    PotentialError
        If the checkpoint cannot be read, or does not cover an element of the labels.
    StageError
        If no label has a stress although it has a weight, or replay labels have another zero of energy.
    EngineError
        If mace cannot be imported here.
    """
    options = TrainOptions() if options is None else options
    _check_sets(options, train, replay)
    mace_network.prepare()
    import torch

    dtype = getattr(torch, options.dtype)
    notes: list[str] = []
    references: ElementReferences | None = None
    digest = ""
    if options.mode == "scratch" and train is not None:
        network = mace_network.scratch(options, train, seed).to(dtype=dtype)
    else:
        network = mace_network.checkpoint(
            model, file, weights, foundation_head=options.foundation_head, trust_sha256=trust_sha256
        )
        digest = checksum(file) if file is not None else ""
        if not digest and weights is not None and mace_weights.is_complete(weights):
            digest = mace_network.file_of(weights)
        mace_network.check_form(network, options)
        if options.mode == "multihead":
            network = network if mace_network.is_double(network) else mace_network.double_head(network)
        else:
            network = mace_network.single_head(network, None)
        network = network.to(dtype=dtype)
        numbers = [int(number) for number in network.atomic_numbers]
        if replay is not None:
            mace_graphs.check_elements(replay.structures, numbers, "the replay data")
            replay, more = _replay(network, replay, options)
            notes.extend(more)
        if train is not None:
            mace_graphs.check_elements(train.structures, numbers, "the training set")
            references = _references(network, train, options)
            if references.degenerate:
                notes.append(
                    "the training labels do not determine the energy shift of each element, only that of cells of the "
                    "same compositions"
                )
    if train is not None:
        notes.extend(mace_graphs.stress_notes(train, "the training set"))
    first = mace_weights.pack(network, file_sha256=digest)
    if options.mode == "lora":
        network = mace_network.add_lora(network, options, seed)
    trained = arrays(mace_network.trained_parameters(network, options))
    return TrainState(
        model=model or (f"file {digest[:12]}" if digest else options.mode),
        file_sha256=digest,
        seed=seed,
        options=options,
        epoch=0,
        steps=0,
        fixed={name: array for name, array in first.items() if name not in trained},
        trained=trained,
        averaged={} if options.ema_decay is None else trained,
        first_moments={},
        second_moments={},
        largest_moments={},
        best_weights=first,
        best_epoch=0,
        best_loss=None,
        references=references,
        replay=replay,
        notes=tuple(notes),
        history=(),
        file=file,
    )


def train_epochs(
    state: TrainState,
    train: LabelledSet,
    validation: LabelledSet | None,
    n_epochs: int,
    options: TrainOptions | None = None,
    *,
    progress: Progress | None = None,
) -> TrainState:
    """Train for one segment; see :meth:`superionic.training.loop.Trainer.train_epochs`.

    Raises
    ------
    CalculationFailed
        If the loss is no longer finite (a learning rate too high, or a broken label).
    PotentialError
        If the network does not cover an element of the labels.
    StageError
        If the labels have another zero of energy than the network, or no stress although it has a weight.
    EngineError
        If mace cannot be imported here.
    ValueError
        If ``options`` are not those of ``state``.
    """
    if options is not None and options != state.options:
        raise ValueError("options cannot change during a training")
    _check_stress(train, state.options)
    mace_network.prepare()
    run = Run(state, train, validation)
    if state.epoch == 0 and not state.history:
        state = run.before(state)
    last = min(state.epoch + n_epochs, state.options.epochs)
    n_planned = max(1, (last - state.epoch) * run.n_batches)
    first_step = state.steps

    def report(steps: int, epoch: int, loss: float) -> None:
        if progress is not None:
            progress((steps - first_step) / n_planned, f"epoch {epoch}/{run.options.epochs}, loss {loss:.4g}")

    while state.epoch < last and not state.stopped_early:
        state = run.epoch(state, report)
    return state


def declared_shifts(
    structures: Sequence[Atoms],
    options: TrainOptions,
    *,
    model: str | None = None,
    file: str | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    trust_sha256: str | None = None,
) -> dict[str, float]:
    """Return the shift in eV of each element: its energy in ``options.e0s`` minus that in the checkpoint.

    Raises
    ------
    CampaignFileError
        If ``options`` declare no energy of an element.
    PotentialError
        If the checkpoint cannot be read, or does not cover an element.
    """
    mace_network.prepare()
    head = options.foundation_head
    network = mace_network.checkpoint(model, file, weights, foundation_head=head, trust_sha256=trust_sha256)
    network = mace_network.single_head(network, None)
    mace_graphs.check_elements(structures, [int(number) for number in network.atomic_numbers], "the labels")
    symbols = dict.fromkeys(symbol for atoms in structures for symbol in sorted(set(atoms.get_chemical_symbols())))
    return mace_network.declared_shifts(network, 0, options.e0s or {}, symbols)


def predict(
    structures: Sequence[Atoms],
    *,
    model: str | None = None,
    file: str | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    head: str | None = None,
    trust_sha256: str | None = None,
    dtype: str = "float64",
    batch_size: int = EVALUATED_AT_A_TIME,
) -> Targets:
    """Evaluate MACE on many structures, with its own zero of energy.

    Parameters
    ----------
    structures
        Periodic structures.
    model, file, weights, trust_sha256
        As in :func:`start`.
    head
        Name of the head; required for a file with several. For weights of a multi-head training, the default is the
        tuned head; the other is ``"foundation"``.
    dtype
        Precision of the evaluation.
    batch_size
        Number of structures evaluated at a time.

    Raises
    ------
    PotentialError
        If the checkpoint cannot be read, has no such head or does not cover an element.
    """
    mace_network.prepare()
    import torch

    network = mace_network.checkpoint(model, file, weights, head=head, trust_sha256=trust_sha256)
    index = mace_weights.choose_head(list(network.heads), None)
    network = network.to(dtype=getattr(torch, dtype))
    mace_graphs.check_elements(structures, [int(z) for z in network.atomic_numbers], "the set")
    return mace_graphs.evaluate(network, mace_graphs.graphs(network, structures), index, batch_size)


def pseudo_labelled(structures: Sequence[Atoms], **checkpoint: Any) -> LabelledSet:
    """Label structures with a checkpoint itself, as replay data for it; options as in :func:`predict`."""
    labels = predict(structures, **checkpoint)
    groups = tuple(str(number) for number in range(len(structures)))
    return LabelledSet(tuple(structures), labels, groups, "the checkpoint itself", "that of the checkpoint")


def write_file(weights: Mapping[str, np.ndarray], path: str, *, head: str | None = None) -> str:
    """Write trained weights as a bridge file with one head, which all of superionic accepts as ``file``.

    Parameters
    ----------
    weights
        ``best_weights`` of a training.
    path
        Path of the file, ending in ``.npz``.
    head
        Name of the head of a multi-head training; by default the tuned one.

    Returns
    -------
    str
        SHA-256 of the file.
    """
    from superionic.models.mace.bridge import write

    mace_network.prepare()
    with mace_network.double_precision():
        write(mace_network.single_head(mace_weights.unpack(weights), head), path)
    return checksum(path)


def _check_sets(options: TrainOptions, train: LabelledSet | None, replay: LabelledSet | None) -> None:
    """Refuse a training whose data do not fit its mode."""
    if options.mode == "multihead" and (replay is None or len(replay) == 0):
        raise CampaignFileError(
            "Multi-head training of MACE needs replay data: without them its first head forgets, as in naive "
            "fine-tuning.",
            where="train.mode",
            fix="Give some of the data that the checkpoint was trained on, or structures with replay_labels: "
            "foundation; or set mode: naive.",
        )
    if options.mode != "multihead" and replay is not None:
        raise CampaignFileError(
            f"Mode {options.mode} of MACE has no use for replay data.",
            where="train.mode",
            fix="Set mode: multihead, or leave out the replay data.",
        )
    if options.mode == "scratch" and train is None:
        raise CampaignFileError(
            "A new MACE network is built for its training labels, but none are given.",
            where="train.mode",
            fix="Give the training set to start().",
        )
    if train is not None:
        _check_stress(train, options)


def _check_stress(train: LabelledSet, options: TrainOptions) -> None:
    if options.stress_weight > 0.0 and not np.isfinite(train.targets.stresses_eV_per_A3).all(axis=1).any():
        raise StageError(
            f"The stress has a weight of {options.stress_weight:g} in the loss, but no training label has a stress.",
            where="train.stress_weight",
            fix="Calculate labels with stress (variable cells need it), or set stress_weight: 0.",
        )


def _replay(network: Any, replay: LabelledSet, options: TrainOptions) -> tuple[LabelledSet, tuple[str, ...]]:
    """Return the replay data for the first head, and remarks on them."""
    own = mace_graphs.evaluate(network, mace_graphs.graphs(network, replay.structures), 0, EVALUATED_AT_A_TIME)
    if options.replay_labels == "foundation":
        note = f"the {len(replay)} structures of the replay data are labelled by the checkpoint itself"
        return replace(replay, targets=own), (note,)
    error = errors(own, replay.targets).mean_error_energy_meV_per_atom
    check_frame(error, "replay labels", options)
    return replay, mace_graphs.stress_notes(replay, "the replay data")


def _references(network: Any, train: LabelledSet, options: TrainOptions) -> ElementReferences:
    """Return the shifts from the network's energies to the labels: fitted, or according to the options."""
    head = mace_weights.choose_head(list(network.heads), None)
    own = mace_graphs.evaluate(network, mace_graphs.graphs(network, train.structures), head, EVALUATED_AT_A_TIME)
    differences = train.targets.energies_eV - own.energies_eV
    if options.e0s is None:
        return fit_element_references(differences, train.compositions())
    symbols = dict.fromkeys(symbol for counts in train.compositions() for symbol in counts)
    shifts = mace_network.declared_shifts(network, head, options.e0s, symbols)
    references = ElementReferences(shifts, rank=len(shifts), rms_residual_eV_per_atom=0.0)
    left = (differences - references.energies_eV(train.compositions())) / train.targets.n_atoms
    check_frame(-1.0e3 * float(np.mean(left)), "training labels", options)
    return replace(references, rms_residual_eV_per_atom=float(np.sqrt(np.mean(left**2))))
