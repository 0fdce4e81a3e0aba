"""The campaign file: its whole, its presets, how it is read, what is said of its mistakes, and its reference."""
