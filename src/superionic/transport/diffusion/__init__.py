"""From displacements to diffusion coefficients with their errors."""
