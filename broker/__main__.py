"""Runs the command `broker` as `python -m broker`."""

from broker.cli import main

if __name__ == "__main__":
    main()
