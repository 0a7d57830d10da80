"""`python -m shopperd` is the command `shopperd`."""

from __future__ import annotations

from shopperd.cli import main

if __name__ == "__main__":
    main()
