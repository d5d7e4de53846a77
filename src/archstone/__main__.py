"""Lets `python -m archstone` be the command line."""

from archstone.cli import main

if __name__ == "__main__":
    main()
