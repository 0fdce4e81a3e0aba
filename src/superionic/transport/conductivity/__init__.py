"""Conductivity as a function of temperature: lines, bands, budgets and doubts."""
