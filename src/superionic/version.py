"""The version of superionic."""

__version__ = "0.1.0"
