"""Messages to readings: pure, one file per device convention, one table of them."""

from sensor_guard.decode.protocol import DECODERS, Decoder
from sensor_guard.decode.router import Router

__all__ = ["DECODERS", "Decoder", "Router"]
