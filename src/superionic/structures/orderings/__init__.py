"""The orderings of a supercell: counted, listed, drawn and ranked."""
