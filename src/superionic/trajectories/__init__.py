"""Trajectories from any program: reading, unwrapping, the sites of known crystals in them, and their analysis."""
