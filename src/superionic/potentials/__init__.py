"""Machine-learned and analytic potentials behind one small protocol."""
