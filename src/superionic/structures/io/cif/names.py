"""CIF data names that are read, those that are known and may be ignored, and those that may be a mistake.

The known names are those of the IUCr core dictionary (cif_core 2.4 and 3), and those that common programs add.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Final

from superionic.errors import StructureError
from superionic.foreign import shown
from superionic.structures.io.cif.text import Block

COORDINATES: Final = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
OPERATIONS: Final = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
HALL_NAMES: Final = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
GROUP_NAMES: Final = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_full",
    "_symmetry_space_group_name_h-m_full",
    "_symmetry_space_group_name_h-m_alt",
    "_space_group_name_h-m",
    "_space_group_name_h-m_ref",
)
GROUP_NUMBERS: Final = ("_space_group_it_number", "_symmetry_int_tables_number")
SETTING: Final = "_space_group_it_coordinate_system_code"

_SITE: Final = "_atom_site_"
_SITE_READ: Final = (
    "label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy", "calc_flag", "attached_hydrogens",
    "disorder_assembly", "disorder_group",
)  # fmt: skip
_SITE_KNOWN: Final = frozenset(
    """
    adp_type b_equiv_geom_mean b_iso_or_equiv calc_attached_atom cartn_x cartn_y cartn_z chemical_conn_number
    constraints description refinement_flags refinement_flags_adp refinement_flags_occupancy refinement_flags_posn
    restraints site_symmetry_multiplicity site_symmetry_order symmetry_multiplicity thermal_displace_type
    u_equiv_geom_mean u_iso_or_equiv wyckoff_symbol wyckoff_label id details footnote_id fract_symmform
    displace_symmform group_pdb type tensor_beta key cartn_xyz fract_xyz
    """.split()  # noqa: SIM905 - sixty quoted words on sixty lines hide them
)
_SITE_KNOWN_ENDS: Final = ("_su", "_esd")
_SITE_KNOWN_STARTS: Final = ("label_", "auth_", "pdbx_", "aniso", "moment", "magnetic_")

_GROUP_READ: Final = (*OPERATIONS, *HALL_NAMES, *GROUP_NAMES, *GROUP_NUMBERS)
_GROUP_KNOWN: Final = frozenset(
    """
    _symmetry_cell_setting _symmetry_equiv_pos_site_id _symmetry_equiv_pos_id _space_group_crystal_system
    _space_group_laue_class _space_group_patterson_name_h-m _space_group_point_group_h-m _space_group_bravais_type
    _space_group_centring_type _space_group_id _space_group_reference_setting _space_group_transform_pp_abc
    _space_group_transform_qq_xyz _space_group_name_schoenflies _space_group_symop_id _space_group_symop_sg_id
    _space_group_symop_generator_xyz _symmetry_entry_id _space_group_symop_operation_id _symmetry_int_tables_name
    """.split()  # noqa: SIM905 - sixty quoted words on sixty lines hide them
)
_MOST_NAMES: Final = 500
_NEAR: Final = 0.8
_NEARER: Final = 0.9

_MODULATED: Final = re.compile(
    r"_cell_(?:modulation_dimension|wave_vector|subsystem)|_space_group_(?:ssg|symop_ssg)|_space_group_symop_magn_ssg|"
    r"_atom_site_(?:fourier|displace_(?:fourier|special|legendre)|occ_(?:fourier|special|legendre)|rot_fourier|"
    r"displ?_fourier|moment_fourier|u_fourier)"
)
_MAGNETIC: Final = re.compile(r"_space_group_(?:magn|symop_magn)|_space_group_name_bns|_space_group_name_og")


def check_kind(block: Block, where: str) -> None:
    """Refuse a modulated crystal, and one whose operations are those of a magnetic group only.

    Raises
    ------
    StructureError
        If the block is one of these.
    """
    names = [*block.columns, *block.other_names]
    modulated = next((n for n in names if _MODULATED.match(n) and _has_meaning(block, n)), None)
    if modulated is not None:
        raise StructureError(
            f"The CIF describes a modulated structure ({shown(modulated)}): its atoms are those of the average cell, "
            "without the modulation that displaces them.",
            where=where,
            fix="Give a commensurate approximant, or the average structure as a CIF of its own: a space group in three "
            "dimensions, and none of the names _cell_modulation…, _cell_wave_vector…, _space_group_ssg… and "
            "_atom_site_…Fourier….",
        )
    magnetic = next((n for n in names if _MAGNETIC.match(n)), None)
    if magnetic is not None and not any(block.value(n) for n in OPERATIONS):
        raise StructureError(
            f"The CIF gives a magnetic space group ({shown(magnetic)}) and no operations without spins; magnetic "
            "groups are not supported.",
            where=where,
            fix="Give the nuclear structure: the operations as _space_group_symop_operation_xyz (those of "
            "_space_group_symop_magn_operation_xyz combined with its centrings, without their last ±1).",
        )


def _has_meaning(block: Block, name: str) -> bool:
    """Return whether a name has a meaningful value; a modulation in 0 dimensions has none."""
    column = block.columns.get(name)
    return column is None or any(v.strip() not in {"?", ".", "", "0"} for v in column.values)


def check_names(block: Block, where: str) -> list[str]:
    """Look for names that may be misspelt, and report those that are not read.

    Returns
    -------
    notes
        Names that are not read although they may matter, one sentence each.

    Raises
    ------
    StructureError
        If a name is a misspelling of a column that matters, and that column is missing.
    """
    if len(block.columns) > _MOST_NAMES:
        raise StructureError(
            f"The data block has {len(block.columns):,} names of cells, atoms and symmetry; at most {_MOST_NAMES} are "
            "read.",
            where=where,
            fix="Give one crystal, with the columns that describe its atoms.",
        )
    unknown: list[str] = []
    accepted: Sequence[str]
    for name in block.columns:
        if name.startswith(_SITE):
            tail = name.removeprefix(_SITE)
            if tail in _SITE_KNOWN or tail in _SITE_READ or tail.startswith(_SITE_KNOWN_STARTS):
                continue
            if tail.endswith(_SITE_KNOWN_ENDS):
                continue
            meant = _meant_site_column(tail)
            accepted = (_SITE + meant,) if meant is not None else ()
        elif name.startswith(("_symmetry_", "_space_group_")) and not _is_known_of_groups(name):
            near = difflib.get_close_matches(name, _GROUP_READ, n=1, cutoff=_NEAR)
            accepted = next(
                (r for r in (OPERATIONS, HALL_NAMES, GROUP_NAMES, GROUP_NUMBERS) if near and near[0] in r), ()
            )
            meant = near[0] if near else None
        else:
            continue
        if accepted and not any(n in block.columns for n in accepted):
            raise _misspelling(block, name, accepted[0] if len(accepted) == 1 else str(meant), where)
        unknown.append(name)
    readable = [*(_SITE + t for t in _SITE_READ), *_GROUP_READ]
    for name in block.other_names:  # a misspelling in the first part of the name
        near = difflib.get_close_matches(name, readable, n=1, cutoff=_NEARER)
        if near and near[0] not in block.columns and not name.startswith("_atom_site_aniso"):
            raise _misspelling(block, name, near[0], where)
    notes = []
    if unknown:
        notes.append(f"not read, since unknown: {', '.join(shown(n) for n in unknown[:8])}" + _more(unknown, 8))
    moments = sum(n.startswith("_atom_site_moment") for n in block.other_names)
    if moments or any(_MAGNETIC.match(n) for n in block.columns):
        notes.append("magnetic moments and magnetic symmetry are not read; the space group is that of the atoms")
    return notes


def _is_known_of_groups(name: str) -> bool:
    return (
        name in _GROUP_READ
        or name in _GROUP_KNOWN
        or name == SETTING
        or name.startswith("_space_group_wyckoff")
        or _MAGNETIC.match(name) is not None
    )


def _more(listed: Sequence[str], limit: int) -> str:
    return f" and {len(listed) - limit} more" if len(listed) > limit else ""


def _meant_site_column(tail: str) -> str | None:
    if re.search(r"occ|^sof|popul|^frac$|^fraction$", tail):
        return "occupancy"
    if tail in {"symbol", "element", "atom_type", "atom_symbol", "species", "element_symbol"}:
        return "type_symbol"
    near = difflib.get_close_matches(tail, _SITE_READ, n=1, cutoff=_NEAR)
    return near[0] if near else None


def _misspelling(block: Block, name: str, meant: str, where: str) -> StructureError:
    column = block.columns.get(name)
    line = f", line {column.lines[0]}" if column is not None and column.lines else ""
    return StructureError(
        f"The name {shown(name)} is unknown, and {meant} is missing.",
        where=f"{where}{line}",
        fix=f"If you mean {meant}, write that; otherwise remove {shown(name)}.",
    )
