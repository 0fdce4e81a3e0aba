"""From a disordered crystal to the orderings that matter: what ``superionic enumerate`` and the stage share."""
