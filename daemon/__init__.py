"""The top floor: the process, its command line, its logs."""

__version__ = "0.1.0"
