"""Disordered crystals, their symmetry, supercells, composition and charges."""
