"""Homes, faults and recordings that sensor_guard can be tried on: to a file with the ground truth, or to a real broker.

``habits`` and ``incidents`` say what a resident does, ``homes`` turns that into what the sensors say, ``faults`` spoils
it on the way, ``files`` and ``publish`` bring it out; ``recordings`` reads what real homes once said, ``scenario`` is
the demo. All of it speaks in ``sensor_guard.model.Reading`` and knows nothing else of the program, so that it can
never agree with it by sharing its mistakes.
"""
