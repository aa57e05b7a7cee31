"""Where the recordings lie that are too large, or not free enough, for the project itself.

``SENSOR_GUARD_RECORDINGS`` names the folder; without it, ``shared/data`` beside the checkout is used if it is there.
Tests that need it carry the marker ``recordings``. They are left out, with a line in the summary, where there is no
such folder; where the variable names one that is missing, they fail: somebody wanted them.
"""

import os
from pathlib import Path

VARIABLE = "SENSOR_GUARD_RECORDINGS"
CHECKOUT = Path(__file__).resolve().parents[2]
WATER = "water_weusedto_naples"
ELECTRICITY = "elec_sgsc_au"
MOTION = "adl_ordonez_a"


def recordings_folder() -> Path:
    """Say where the recordings are, or would be."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else CHECKOUT.parent / "shared" / "data"


def recordings_wanted() -> bool:
    """Whether the tests on them are to run: they are there, or somebody says that they are."""
    return VARIABLE in os.environ or recordings_folder().is_dir()
