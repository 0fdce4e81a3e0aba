"""Lennard-Jones ions: no potential to believe, but a whole model."""

from superionic.registry import Model

MODEL = Model(
    name="toy",
    package=__name__,
    potential=f"{__name__}.potential",
    evaluation_s_per_atom=2e-5,
    citation=("J. E. Jones, Proc. R. Soc. A 106, 463–477 (1924)", "10.1098/rspa.1924.0082"),
)
