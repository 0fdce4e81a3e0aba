"""The campaign: its file, its plan, its run and its state."""
