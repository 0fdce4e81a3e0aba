"""Monte Carlo of orderings on the sites of a crystal."""
