"""Parse the text of a crystal file into a crystal, in this process; the disk is read elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from superionic.errors import StructureError
from superionic.foreign import shown
from superionic.structures.crystal.disordered import EMPTY, DisorderedCrystal, crystal_from_sites
from superionic.structures.io.cif.crystal import sites_of_cif
from superionic.structures.io.filesites import FileOxidationStates, FileSites, check_count, oxidation_states_of


def sites_of_text(text: str, kind: str, where: str, *, block: str | None = None) -> FileSites:
    """Read the sites of a crystal from the text of a file.

    Parameters
    ----------
    text
        The contents of the file.
    kind
        Its format, as :func:`superionic.structures.io.files.kind_of_file` returns it.
    where
        Name of the file, for error messages.
    block
        Name of the data block of a CIF; the first that lists atoms where not given.

    Raises
    ------
    StructureError
        If the text is not a crystal in that format, or `block` is given and the file is not a CIF.
    """
    if block is not None and kind != "cif":
        raise StructureError(
            f"Only CIFs have data blocks, so {shown(block)!r} cannot be chosen.", where=where, fix="Leave it out."
        )
    if "\0" in text:
        raise StructureError(
            "The file holds binary data, not text.", where=where, fix="Save it as plain text (UTF-8, not UTF-16)."
        )
    if not text.strip():
        raise StructureError("The file is empty.", where=where, fix="Give a file with a crystal in it.")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            plain = text.removeprefix("\ufeff")
            sites = sites_of_cif(plain, where, block) if kind == "cif" else _sites_of_others(plain, kind, where)
        except (StructureError, MemoryError):
            raise
        except Exception as error:  # whatever a hostile file causes counts as a refusal
            raise _misunderstood(error, where) from error
    if not sites.occupancies:
        raise StructureError("The crystal has no sites.", where=where, fix="Check that the file lists its atoms.")
    check_count(len(sites.occupancies), where)
    return sites


def _sites_of_others(text: str, kind: str, where: str) -> FileSites:
    from superionic.structures.io import formats

    readers = {"json": formats.sites_of_json, "poscar": formats.sites_of_poscar, "extxyz": formats.sites_of_extxyz}
    return readers[kind](text, where)


def crystal_of_text(
    text: str,
    kind: str,
    where: str,
    *,
    name: str,
    symprec: float = 0.01,
    block: str | None = None,
    keep_empty: Sequence[str] = (),
) -> DisorderedCrystal:
    """Read a crystal from the text of a file and find its symmetry; see :func:`sites_of_text`.

    Parameters
    ----------
    text, kind, where
        As in :func:`sites_of_text`.
    symprec
        Distance tolerance in Å for finding the symmetry.
    keep_empty
        Elements whose sites are kept where the file lists them with occupancy 0, with the occupancy
        :data:`~superionic.structures.crystal.disordered.EMPTY`, so that they can be filled.

    Raises
    ------
    StructureError
        If the text is not a crystal in that format, or its crystal is impossible.
    """
    sites = sites_of_text(text, kind, where, block=block)
    empty = [site for site in sites.empty if site[1] in keep_empty]
    occupancies = [*sites.occupancies, *({element: EMPTY} for _, element, x in empty for _ in x)]
    labels = [*sites.labels, *(label for label, _, x in empty for _ in x)]
    fractional = np.concatenate([sites.fractional, *(x for _, _, x in empty)])
    alternatives = [*sites.alternatives, *[None] * len(labels)][: len(labels)]
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            crystal = crystal_from_sites(
                name, sites.cell_A, fractional, occupancies,
                labels=labels, symprec=symprec, alternatives=alternatives,
            )  # fmt: skip
        reason = oxidation_states_of(sites).reason if sites.averages else None
        return replace(crystal, notes=(*sites.notes, *([reason] if reason else [])))
    except StructureError as error:
        detail = "" if error.where is None else error.where.removeprefix(name).lstrip(", ")
        raise StructureError(error.message, where=f"{where}, {detail}" if detail else where, fix=error.fix) from error
    except MemoryError:
        raise
    except Exception as error:
        raise _misunderstood(error, where) from error


def oxidation_states_of_text(text: str, kind: str, where: str, *, block: str | None = None) -> FileOxidationStates:
    """Read the oxidation states that the text of a crystal file gives; see :func:`sites_of_text`."""
    return oxidation_states_of(sites_of_text(text, kind, where, block=block))


def _misunderstood(error: Exception, where: str) -> StructureError:
    return StructureError(
        f"The file cannot be understood ({type(error).__name__}: {shown(str(error), 120)}).",
        where=where,
        fix="Correct the file, or export the crystal again with another program.",
    )
