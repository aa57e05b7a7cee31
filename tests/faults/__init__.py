"""Faults on purpose: real processes are killed, stopped and lied to, and then everything is counted."""
