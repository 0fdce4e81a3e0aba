"""Crystals, supercells, orderings and their electrostatics."""
