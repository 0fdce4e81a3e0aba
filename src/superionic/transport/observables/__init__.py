"""Observables of a run besides transport: framework, volumes, vibrations, rotation, pair distributions."""
