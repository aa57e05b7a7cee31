"""Texts, channels and the worker, through the real Twilio client against the stand-in."""
