"""sensor_guard notices that an elderly person living alone is in trouble, and makes sure somebody looks."""

__version__ = "0.1.0"
