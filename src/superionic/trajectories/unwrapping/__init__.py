"""Unwrapped trajectories on an even time axis, in memory or on disk."""
