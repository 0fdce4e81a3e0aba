"""The settings of the stages, as typed sections of the campaign file."""
