"""A trained potential in a file of its own: its weights, what it is, what it was trained on, and its proof.

The file is a zip archive of plain data: ``potential.json`` and the weights as ``.npy`` arrays, which run no code, and
under ``base/`` the user's checkpoint whose network the weights are for, where that is not a published one. Equal
potentials give equal bytes. Every potential with a trainer is exported and loaded by this one form
(:func:`superionic.potentials.base.load_potential` recognises it by its content).
"""

from __future__ import annotations

import atexit
import functools
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np

from superionic.errors import PotentialError
from superionic.foreign import open_regular, sha256_of

FORMAT: Final = "superionic potential"
VERSION: Final = 1
MOST_BYTES: Final = 5_000_000_000
_ABOUT: Final = "potential.json"
_MOST_ABOUT: Final = 50_000_000
_WEIGHTS: Final = "weights/"
_BASE: Final = "base/"
_FIXED_DATE: Final = (1980, 1, 1, 0, 0, 0)

Weights = Mapping[str, "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class Exported:
    """A trained potential as its file describes it.

    Attributes
    ----------
    identity
        Fields of its :class:`superionic.potentials.base.PotentialIdentity`; the checksum is that of the weights.
    model
        Model of the engine that the weights are for; None for its default.
    options
        Options with which it is loaded, without a file: precision, dispersion term…
    trained_on
        What it was trained on and by which versions, its errors on labels that training had not seen, and the licence
        of what it started from; plain values.
    proof
        Energy (``energy_eV``), forces and stress of the stored cell, against which every engine that loads it is
        checked; empty before they are evaluated.
    """

    identity: Mapping[str, Any]
    model: str | None
    options: Mapping[str, Any]
    trained_on: Mapping[str, Any]
    proof: Mapping[str, Any] = field(default_factory=dict)


def write_exported(path: str | Path, exported: Exported, weights: Weights, base: Path | None = None) -> None:
    """Write a potential into a file.

    Parameters
    ----------
    weights
        All weights, as its trainer gave them.
    base
        Checkpoint, or folder with one, whose network the weights are for; None for a published one.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    names = sorted(weights)
    about = {"format": FORMAT, "version": VERSION, "weights": names, **asdict(exported)}
    target = Path(path)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".new-", delete=False) as draft:
        try:
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive:
                _add(archive, _ABOUT, (json.dumps(about, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())
                for number, name in enumerate(names):
                    content = io.BytesIO()
                    np.lib.format.write_array(content, np.asarray(weights[name]), allow_pickle=False)
                    _add(archive, f"{_WEIGHTS}{number:05d}.npy", content.getvalue())
                for member, source in _files_of(base):
                    _add(archive, f"{_BASE}{member}", source.read_bytes())
            draft.close()
            Path(draft.name).replace(target)
        except BaseException:
            Path(draft.name).unlink(missing_ok=True)
            raise


def is_exported(path: str | Path) -> bool:
    """Return whether a file is an exported potential; False for a file that is missing or anything else."""
    try:
        with open_regular(path, MOST_BYTES) as file, zipfile.ZipFile(file) as archive:
            return _ABOUT in archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def read_exported(path: str | Path) -> Exported:
    """Read what an exported potential is, without its weights.

    Raises
    ------
    PotentialError
        If it is none, is damaged, or was written by a newer superionic.
    """
    about = _about(path)
    fields = ("identity", "model", "options", "trained_on", "proof")
    return Exported(**{name: about[name] for name in fields})


def read_weights(path: str | Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read the weights of an exported potential.

    Raises
    ------
    PotentialError
        If the file is damaged.
    """
    names = _about(path)["weights"]
    try:
        with open_regular(path, MOST_BYTES) as file, zipfile.ZipFile(file) as archive:
            return {name: _array(archive.read(f"{_WEIGHTS}{number:05d}.npy")) for number, name in enumerate(names)}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error


def base_of(path: str | Path) -> str | None:
    """Return the path of the checkpoint whose network the weights are for, unpacked until this process ends.

    None where the weights are for a published model.
    """
    return _unpacked(str(path), sha256_of(path, MOST_BYTES))


@functools.cache
def _unpacked(path: str, digest: str) -> str | None:
    del digest
    with open_regular(path, MOST_BYTES) as file, zipfile.ZipFile(file) as archive:
        members = [PurePosixPath(name) for name in archive.namelist() if name.startswith(_BASE)]
        if not members:
            return None
        folder = Path(tempfile.mkdtemp(prefix="superionic-base-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for member in members:
            parts = member.parts[1:]
            if not parts or any(part in ("", ".", "..") for part in parts):
                raise _damaged(path, ValueError(f"a member is called {member}"))
            target = folder.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(str(member)))
        return str(folder / members[0].parts[1])


def _files_of(base: Path | None) -> list[tuple[str, Path]]:
    if base is None:
        return []
    if base.is_dir():
        return [(f"{base.name}/{file.name}", file) for file in sorted(base.iterdir()) if file.is_file()]
    return [(base.name, base)]


def _about(path: str | Path) -> dict[str, Any]:
    try:
        with open_regular(path, MOST_BYTES) as file, zipfile.ZipFile(file) as archive:
            about: dict[str, Any] = json.loads(archive.open(_ABOUT).read(_MOST_ABOUT))
        is_known = about["format"] == FORMAT
        version = int(about["version"])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error
    if not is_known or version > VERSION:
        raise PotentialError(
            f"The exported potential has version {version}; this superionic reads {VERSION}.",
            where=str(path),
            fix="Install a newer superionic, or export the potential again.",
        )
    return about


def _array(content: bytes) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, date_time=_FIXED_DATE), content)


def _damaged(path: str | Path, error: Exception) -> PotentialError:
    return PotentialError(
        f"The exported potential cannot be read: {error}.",
        where=str(path),
        fix="Fetch it again, or export it again: superionic export model CAMPAIGN NAME FILE",
    )
