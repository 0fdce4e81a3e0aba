"""What there is to say of an engine: where it comes from, what it needs, and how it proves itself."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class NativeBuild:
    """What the engine compiles, and how to find out beforehand whether this machine can.

    Attributes
    ----------
    source
        A C++ program that includes and links what the engine needs.
    libraries
        Libraries that it links.
    debian_packages
        Debian packages that bring a compiler, the headers and the libraries.
    from_python
        The first Python version for which there is no ready-made wheel.
    """

    source: str
    libraries: tuple[str, ...]
    debian_packages: tuple[str, ...]
    from_python: tuple[int, int] = (3, 0)


@dataclass(frozen=True)
class EngineSpec:
    """An engine that superionic knows how to install and to prove.

    Attributes
    ----------
    name
        Name in campaign files and on the command line.
    requirement
        The engine itself, as ``distribution==version``.
    module
        Module whose import shows that the engine is there.
    purpose, licence
        For people.
    main_packages
        Distributions whose versions a result depends on; they make the engine's identity.
    size_GB
        Disk space that the finished environment takes.
    proof, proof_settings
        Task function (``module:name``) that compares the engine with a value on record, and its settings.
    native
        What has to be compiled, if anything.
    files
        Extra files of the environment, by name; ``{}`` of a value in ``build_environment`` is the environment's folder.
    build_environment
        Environment variables for building the engine itself from source; if given, it is built without isolation,
        with the build tools among the pins, and never taken from pip's cache of wheels built in other ways.
    as_pinned
        Install the pins exactly as they stand, without asking the packages for their requirements: where those exclude
        a combination that was proved to be right.
    last_python
        The last Python version for which all pins can be installed; None if there is no such limit.
    package
        Package that holds the exact versions of the environment as ``pins.txt``; where not given, they are among those
        of :mod:`superionic.execution`.
    """

    name: str
    requirement: str
    module: str
    purpose: str
    licence: str
    main_packages: tuple[str, ...]
    size_GB: float
    proof: str
    proof_settings: Mapping[str, Any] = field(default_factory=dict)
    native: NativeBuild | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    build_environment: Mapping[str, str] = field(default_factory=dict)
    as_pinned: bool = False
    last_python: tuple[int, int] | None = None
    package: str | None = None

    def fits_python(self, version: tuple[int, int]) -> bool:
        """Whether the engine can be installed for a version of Python."""
        return self.last_python is None or version <= self.last_python

    @property
    def distribution(self) -> str:
        """Name of the engine in the package index."""
        return self.requirement.partition("==")[0]

    @property
    def version(self) -> str:
        """The pinned version."""
        return self.requirement.partition("==")[2]

    def pins(self) -> str:
        """Return the text of the file with the exact versions of this engine's environment."""
        if self.package is not None:
            return importlib.resources.files(self.package).joinpath("pins.txt").read_text(encoding="utf-8")
        pins = importlib.resources.files("superionic.execution") / "pins" / f"{self.name}.txt"
        return pins.read_text(encoding="utf-8")

    def pinned_version(self, distribution: str) -> str | None:
        """Return the exact version that the pins demand of a distribution, or None."""
        for line in self.pins().splitlines():
            name, _, version = line.partition("==")
            if version and name.lower() == distribution.lower():
                return version.strip()
        return None

    def recipe_sha256(self) -> str:
        """Hash what the environment is made from: versions and build settings, not comments."""
        pins = [line for line in self.pins().splitlines() if line and not line.startswith("#")]
        made_of = json.dumps([pins, dict(self.files), dict(self.build_environment)], sort_keys=True)
        return hashlib.sha256(made_of.encode()).hexdigest()


@dataclass(frozen=True)
class DataSpec:
    """A file of a model that a package of others carries: it is taken out of it, and comes neither with superionic.

    Attributes
    ----------
    name
        Name on the command line, and of the model in campaign files.
    engine
        Name of the model that evaluates it.
    requirement
        The package, as ``distribution==version``.
    wheel
        Options of ``pip download`` that choose a wheel of it; it is opened and not installed.
    member
        The file in the wheel.
    purpose, licence
        For people.
    energy_convention, level_of_theory
        What its energies are.
    elements
        That it covers, in order of atomic number.
    caution
        What there is to know before it is used, in a sentence.
    rigid_cell
        Whether it is unfit wherever the cell follows its stress.
    """

    name: str
    engine: str
    requirement: str
    wheel: tuple[str, ...]
    member: str
    sha256: str
    purpose: str
    licence: str
    energy_convention: str
    level_of_theory: str
    elements: tuple[str, ...]
    caution: str
    rigid_cell: bool = False

    @property
    def kept_name(self) -> str:
        """Name by which tasks refer to it; see :mod:`superionic.execution.kept_files`."""
        return f"sha256:{self.sha256}/{self.member.rpartition('/')[2]}"

    @property
    def proof(self) -> str:
        """Task function that compares it with the values on record."""
        return "superionic.potentials.proof:prove_file"

    @property
    def proof_settings(self) -> Mapping[str, Any]:
        """Settings of :attr:`proof`."""
        return {"potential": self.engine, "model": self.name, "options": {"file": self.kept_name}}
