"""MQTT in, over two connections. parts.py owns their threads."""

from sensor_guard.mqtt.access import Access
from sensor_guard.mqtt.lane import Before, Topics
from sensor_guard.mqtt.subscriber import Subscriber

__all__ = ["Access", "Before", "Subscriber", "Topics"]
