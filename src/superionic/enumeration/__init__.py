"""From a disordered crystal to the orderings that matter: shared by ``superionic enumerate`` and the stage."""
