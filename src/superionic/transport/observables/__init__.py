"""What a run shows besides transport: framework, volumes, vibrations, rotation, pair distributions."""
