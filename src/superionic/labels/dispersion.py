"""Names of functionals with their van der Waals correction: with and without D3 they are different methods.

Energies with and without a dispersion correction differ by tens of meV per atom, and by more where the density
changes; so the correction is part of the name of the functional, and its parameters belong to the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

VASP_IVDW: Final[Mapping[int, str]] = {
    1: "D2", 10: "D2", 11: "D3(0)", 12: "D3(BJ)", 13: "D4", 14: "libMBD", 15: "simple-DFT-D3", 2: "TS", 20: "TS",
    21: "TS/HI", 202: "MBD@rsSCS", 263: "MBD/FI", 3: "dDsC", 4: "dDsC",
}  # fmt: skip
"""Values of IVDW."""
_KERNELS: Final[Mapping[str, str]] = {
    "MK": "optB86b-vdW", "BO": "optB88-vdW", "OR": "optPBE-vdW", "RE": "vdW-DF", "ML": "vdW-DF2",
}  # fmt: skip
"""Functionals meant by LUSE_VDW together with a value of GGA."""
_REV_VDW_DF2_ZAB: Final = -1.8867
VASP_PARAMETERS: Final = (
    "VDW_S6", "VDW_S8", "VDW_SR", "VDW_A1", "VDW_A2", "VDW_D", "VDW_RADIUS", "VDW_CNRADIUS", "VDW_C6", "VDW_R0",
    "VDW_ALPHA", "VDW_VERSION", "VDW_XC",
)  # fmt: skip
"""Tags of the INCAR that change a correction; they are part of the reference if given."""
VASP_KERNEL_PARAMETERS: Final = ("AGGAC", "ZAB_VDW", "PARAM1", "PARAM2", "PARAM3", "BPARAM", "CPARAM")
"""Tags that change a van der Waals functional."""


def vasp_correction(parameters: Mapping[str, Any], incar: Mapping[str, Any]) -> int:
    """Return IVDW of a run: 0 without a correction; LVDW is the old name of D2."""
    ivdw = incar.get("IVDW", parameters.get("IVDW"))
    if ivdw:
        return int(ivdw)
    return 1 if incar.get("LVDW", parameters.get("LVDW")) else 0


def with_vasp_dispersion(name: str, parameters: Mapping[str, Any], incar: Mapping[str, Any]) -> str:
    """Return the name of a VASP functional including its van der Waals functional and correction.

    Parameters
    ----------
    name
        The functional itself.
    parameters, incar
        Tags of the run, see :func:`superionic.labels.vasprun.reference_settings`.
    """
    if parameters.get("LUSE_VDW") or incar.get("LUSE_VDW"):
        gga = str(parameters.get("GGA", incar.get("GGA", "--"))).strip().upper()
        zab = float(incar.get("ZAB_VDW", 0.0) or 0.0)
        meta = str(incar.get("METAGGA", parameters.get("METAGGA", "--"))).strip().upper()
        if meta.isalnum() and meta not in ("NONE", "F", "FALSE"):
            name = f"{name}+rVV10"
        elif gga == "MK" and abs(zab - _REV_VDW_DF2_ZAB) < 1.0e-3:
            name = "rev-vdW-DF2"
        else:
            name = _KERNELS.get(gga, f"{name}+vdW-DF")
    correction = vasp_correction(parameters, incar)
    return f"{name}-{VASP_IVDW.get(correction, f'IVDW={correction}')}" if correction else name
