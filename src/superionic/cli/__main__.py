"""Run the command line by ``python -m superionic.cli``."""

from __future__ import annotations

from superionic.cli import main

if __name__ == "__main__":
    main()
