"""The command line: verbs, exit codes, and output for people or, with --json, for machines."""

from sensor_guard.cli.main import main

__all__ = ["main"]
