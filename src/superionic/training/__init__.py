"""Fine-tuning of potentials, and the measures of how well it went."""
