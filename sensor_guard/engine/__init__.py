"""The engine: a pure, deterministic function of the journal. Standard library only; no clock, no I/O."""
