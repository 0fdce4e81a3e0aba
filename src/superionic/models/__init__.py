"""Interatomic potentials: one folder per model, with everything specific to it; see :mod:`superionic.registry`."""
