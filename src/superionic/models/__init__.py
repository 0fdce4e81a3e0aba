"""Interatomic potentials: one folder a model, with all that is known of it; see :mod:`superionic.registry`."""
