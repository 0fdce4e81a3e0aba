"""Weights of a trained MACE that include the settings of their network.

A training may change the network: from scratch there is no checkpoint at all, and multi-head training adds a head. The
weights from :mod:`superionic.models.mace.trainer` therefore include the settings of their network among the arrays
(under :data:`SETTINGS`), and can be loaded without the checkpoint from which training started.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from superionic.errors import PotentialError

SETTINGS: Final = "superionic.settings"
"""Name of the array with the settings of the network, as the bytes of JSON text."""

_ORIGIN: Final = "file_sha256"
_WHERE: Final = "`modal` of a file, `foundation_head` to train from it, `head` of trained weights"

FOUNDATION: Final = "foundation"
"""Head of a multi-head training that continues to reproduce the checkpoint."""

TUNED: Final = "tuned"
"""Head of a multi-head training for the new labels."""


def is_complete(weights: Mapping[str, np.ndarray]) -> bool:
    """Return whether weights include the settings of their network."""
    return SETTINGS in weights


def settings_of_weights(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Read the settings of the network from complete weights.

    Raises
    ------
    PotentialError
        If they are not complete, or damaged.
    """
    try:
        settings: dict[str, Any] = json.loads(np.asarray(weights[SETTINGS], dtype=np.uint8).tobytes())
    except (KeyError, ValueError) as error:
        raise PotentialError(
            "These weights lack the settings of their MACE network.",
            fix="Give the unchanged `best_weights` of a training by superionic.",
        ) from error
    return settings


def check_origin(weights: Mapping[str, np.ndarray], file_sha256: str) -> None:
    """Check that training of complete weights started from a file, if they record the file.

    Raises
    ------
    PotentialError
        If it started from another one.
    """
    origin = settings_of_weights(weights).get(_ORIGIN, "")
    if origin not in ("", file_sha256):
        raise PotentialError(
            f"These weights were trained from another checkpoint (SHA-256 {origin[:12]}...) than the given file "
            f"({file_sha256[:12]}...).",
            fix="Give the `file` from which the training started.",
        )


def pack(network: Any, *, file_sha256: str = "") -> dict[str, np.ndarray]:
    """Return all weights of a network of MACE by name, together with its settings.

    Parameters
    ----------
    file_sha256
        SHA-256 of the checkpoint from which it was trained, if there is one.

    Raises
    ------
    PotentialError
        If the bridge does not support this kind of network.
    """
    from superionic.models.mace.bridge import settings_of

    settings, _ = settings_of(network)
    settings[_ORIGIN] = file_sha256
    text = np.frombuffer(json.dumps(settings, sort_keys=True).encode(), dtype=np.uint8).copy()
    return {SETTINGS: text} | arrays_of(network)


def arrays_of(network: Any) -> dict[str, np.ndarray]:
    """Return all weights of a network by name, without its settings."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()}


def unpack(weights: Mapping[str, np.ndarray]) -> Any:
    """Build the network of complete weights, in double precision.

    Raises
    ------
    PotentialError
        If the weights are not complete or do not fit the installed mace.
    """
    from superionic.models.mace.bridge import build_for_weights, load_arrays

    settings = settings_of_weights(weights)
    arrays = {name: array for name, array in weights.items() if name != SETTINGS}
    names = {
        "atomic_energies": "atomic_energies_fn.atomic_energies",
        "atomic_inter_scale": "scale_shift.scale",
        "atomic_inter_shift": "scale_shift.shift",
    }
    network = build_for_weights(settings, {name: arrays[key] for name, key in names.items() if key in arrays})
    load_arrays(network, arrays)
    return network


def choose_head(heads: Sequence[str], head: str | None) -> int:
    """Return the index of a head by name; without a name, the only one, or the tuned one of a multi-head training.

    Raises
    ------
    PotentialError
        If there is no such head, or there are several and none is named: energies of a wrong head look right.
    """
    if head is None and len(heads) == 1:
        return 0
    if head is None and tuple(heads) == (FOUNDATION, TUNED):
        return list(heads).index(TUNED)
    if head is None or head not in heads:
        what = "several heads" if head is None else f"no head {head!r}"
        raise PotentialError(f"The MACE model has {what}.", fix=f"Name one ({_WHERE}): {', '.join(heads)}.")
    return list(heads).index(head)
