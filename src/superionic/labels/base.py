"""Labels, the protocol of labellers, and the registry that loads labellers by name.

A :class:`Label` is energy, forces and stress of one structure from a reference method, with its provenance. Labels may
share a training set only if their *reference* is the same: code, version, functional, energy convention and every
setting that changes a number. That is what :attr:`LabellerIdentity.settings_hash` identifies.

Signs and units are those of ASE: forces are -dE/dr in eV/Å; stress is (1/V) dE/dε in eV/Å³ in Voigt order
xx, yy, zz, yz, xz, xy (positive under tension, negative under compression).
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import CampaignFileError
from superionic.labels.dispersion import with_vasp_dispersion
from superionic.potentials.base import frozen

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[float, str], None]

# The modules of the labellers; each offers `describe(settings, **kwargs) -> LabellerIdentity` and
# `load(settings, **kwargs) -> Labeller`, and imports its engine only inside `load` or later.
_ADAPTERS: dict[str, str] = {
    "gpaw": "superionic.labels.gpaw",
    "vasp": "superionic.labels.vasp",
    "tblite": "superionic.labels.tblite",
    "potential": "superionic.labels.potential",
}


@dataclass(frozen=True)
class LabellerIdentity:
    """The labeller, and everything that must be equal for two labels to share a training set.

    Attributes
    ----------
    name
        Name in the registry: ``"gpaw"``, ``"vasp"``, ``"tblite"`` or ``"potential:<name>"``.
    code, version
        The program that computes, and its version.
    functional
        Level of theory, e.g. ``"PBE"``; of a potential, what it was trained to reproduce.
    energy_convention
        Zero and corrections of the energies. Energies of two conventions never share a hull.
    settings
        All settings that change a number, complete and in canonical form (plain JSON values).
    engine
        Name of the engine environment that the labeller needs; ``"core"`` if none is needed.
    stand_in
        Whether this is another potential in place of a reference method: useful for tests, for distillation and for
        studies of method, and always named as such.
    """

    name: str
    code: str
    version: str
    functional: str
    energy_convention: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "core"
    stand_in: bool = False

    @property
    def settings_hash(self) -> str:
        """SHA-256 of everything above except ``name`` and ``engine``."""
        return settings_hash(
            {
                "code": self.code,
                "version": self.version,
                "functional": self.functional,
                "energy_convention": self.energy_convention,
                "settings": dict(self.settings),
            }
        )

    def provenance(self) -> dict[str, Any]:
        """Return the provenance that each label carries (plain JSON values)."""
        return {
            "labeller": self.name,
            "code": self.code,
            "version": self.version,
            "functional": self.functional,
            "energy_convention": self.energy_convention,
            "settings": dict(self.settings),
            "settings_hash": self.settings_hash,
            "stand_in": self.stand_in,
        }


@dataclass(frozen=True)
class Label:
    """Energy, forces and stress of one structure from a reference method.

    Attributes
    ----------
    energy_eV
        Energy of the whole cell in eV, consistent with the forces (the free energy if bands are smeared).
    forces_eV_per_A
        Forces, shape (n_atoms, 3), in eV/Å.
    stress_eV_per_A3
        Stress in Voigt order, shape (6,), in eV/Å³ (ASE's sign); ``None`` if the method gives none.
    provenance
        Plain JSON values; has at least ``code``, ``version``, ``functional``, ``energy_convention``,
        ``settings_hash`` and ``stand_in``.
    diagnostics
        Data for judging the label: number of electronic steps, net force removed, and so on.

    Raises
    ------
    ValueError
        If a shape is wrong or the provenance lacks its settings hash. Values that are not finite are left to the
        gates, so that the reason is recorded.
    """

    energy_eV: float
    forces_eV_per_A: FloatArray
    stress_eV_per_A3: FloatArray | None
    provenance: Mapping[str, Any]
    diagnostics: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        forces, stress = frozen(self.forces_eV_per_A, self.stress_eV_per_A3)
        object.__setattr__(self, "energy_eV", float(self.energy_eV))
        object.__setattr__(self, "forces_eV_per_A", forces)
        object.__setattr__(self, "stress_eV_per_A3", stress)
        if "settings_hash" not in self.provenance:
            raise ValueError("a label must carry the hash of the settings that made it")
        object.__setattr__(self, "provenance", dict(self.provenance))
        object.__setattr__(self, "diagnostics", dict(self.diagnostics))

    @property
    def settings_hash(self) -> str:
        """The hash that all labels of one set share."""
        return str(self.provenance["settings_hash"])


@dataclass(frozen=True)
class Reference:
    """The method common to the labels of one set.

    Attributes
    ----------
    labeller
        Name of the labeller; empty if a file does not state it.
    code, version, functional, energy_convention
        As in :class:`LabellerIdentity`.
    settings_hash
        SHA-256 of the method with all its settings.
    stand_in
        Whether a potential takes the place of a reference method.
    """

    labeller: str
    code: str
    version: str
    functional: str
    energy_convention: str
    settings_hash: str
    stand_in: bool
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, label: Label) -> Reference:
        """Take the reference from the provenance of a label."""
        words = {
            name: str(label.provenance.get(name, ""))
            for name in ("labeller", "code", "version", "functional", "energy_convention")
        }
        return cls(
            **words,
            settings_hash=label.settings_hash,
            stand_in=bool(label.provenance.get("stand_in", False)),
            settings=dict(label.provenance.get("settings", {})),
        )


@runtime_checkable
class Labeller(Protocol):
    """The interface of a labeller."""

    @property
    def identity(self) -> LabellerIdentity:
        """The identity of the labeller."""
        ...

    def label(self, atoms: Atoms, *, scratch: Path | None = None, progress: Progress | None = None) -> Label:
        """Label one structure, which is not changed.

        Parameters
        ----------
        atoms
            Periodic structure of n atoms.
        scratch
            Folder for files of the code; must exist. ``None`` for none (codes that need one make their own).
        progress
            Called as ``progress(fraction, message)`` from time to time.

        Returns
        -------
        Label
            With forces in the order of ``atoms``.

        Raises
        ------
        CalculationFailed
            If the calculation ends without a converged, finite result.
        PotentialError
            If an element is not covered.
        """
        ...


def canonical_settings_json(value: Any) -> str:
    """Return the one JSON text of a tree of plain values: sorted keys, no spaces, shortest exact floats."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def settings_hash(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON text of plain values."""
    return hashlib.sha256(canonical_settings_json(value).encode("ascii")).hexdigest()


def renewed_provenance(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provenance of a label with the present hash of its settings.

    Earlier, EDIFF was part of VASP's reference, so that cells of two sizes, each with its own EDIFF, had two
    references; and any functional with a dispersion correction was called ``+vdW``.
    """
    settings = provenance.get("settings")
    if provenance.get("code") != "vasp" or not isinstance(settings, Mapping):
        return dict(provenance)
    before = str(provenance.get("functional", ""))
    functional = before
    if before.endswith("+vdW") and settings.get("IVDW") and not settings.get("LUSE_VDW"):
        functional = with_vasp_dispersion(before.removesuffix("+vdW"), settings, settings)
    if "EDIFF" not in settings and functional == before:
        return dict(provenance)
    convention = provenance.get("energy_convention")
    if isinstance(convention, str):
        convention = convention.replace(before, functional) if before else convention
    named = {
        "code": provenance.get("code"),
        "version": provenance.get("version"),
        "functional": functional if before else provenance.get("functional"),
        "energy_convention": convention,
    }
    remaining = {name: value for name, value in settings.items() if name != "EDIFF"}
    return {
        **provenance,
        **named,
        "settings": remaining,
        "settings_hash": settings_hash({**named, "settings": remaining}),
    }


def refuse_unknown(settings: Mapping[str, Any], known: Sequence[str], who: str, where: str = "label") -> None:
    """Raise :class:`CampaignFileError` if the labeller ``who`` does not know a setting."""
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise CampaignFileError(
            f"{who} no setting called {', '.join(unknown)}.", where=where, fix=f"Use only: {', '.join(known)}."
        )


def describe_labeller(
    name: str, settings: Mapping[str, Any] | None = None, **potential_options: Any
) -> LabellerIdentity:
    """Describe a labeller without importing its engine.

    Parameters
    ----------
    name
        ``"gpaw"``, ``"vasp"``, ``"tblite"`` or ``"potential:<name>"``.
    settings
        Settings of the labeller, see its module; missing keys take their documented default.
    potential_options
        For ``potential:<name>`` only: ``weights`` of a fine-tuned model.

    Raises
    ------
    CampaignFileError
        If there is no such labeller or setting.
    PotentialError
        If there is no such potential.
    """
    kind, argument = _parse(name)
    adapter = importlib.import_module(_ADAPTERS[kind])
    identity = adapter.describe(argument, dict(settings or {}), **potential_options)
    if not isinstance(identity, LabellerIdentity):
        raise TypeError(f"{name}: describe() must return a LabellerIdentity")
    return identity


def load_labeller(name: str, settings: Mapping[str, Any] | None = None, **potential_options: Any) -> Labeller:
    """Load a labeller, ready to label.

    Parameters
    ----------
    name, settings, potential_options
        As for :func:`describe_labeller`.

    Raises
    ------
    CampaignFileError
        If there is no such labeller or setting.
    EngineError
        If its engine cannot be imported in this environment.
    PotentialError
        If there is no such potential.
    """
    kind, argument = _parse(name)
    adapter = importlib.import_module(_ADAPTERS[kind])
    labeller: Labeller = adapter.load(argument, dict(settings or {}), **potential_options)
    return labeller


def _parse(name: str) -> tuple[str, str]:
    kind, _, argument = name.partition(":")
    if kind not in _ADAPTERS or (kind == "potential") != bool(argument):
        raise CampaignFileError(
            f"There is no labeller called {name!r}.",
            where="label.engine",
            fix="Use 'gpaw', 'vasp', 'tblite', or 'potential:<name>' to use another potential in place of a "
            "reference method.",
        )
    return kind, argument
