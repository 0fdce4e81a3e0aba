"""Crystallographic information files."""
