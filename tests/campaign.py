"""How long the long tests run: short in continuous integration, at full length by one variable.

PGBOUNCER_TEST_CAMPAIGN=full runs every campaign at full length. The variable of one campaign sets only its length.
"""

import os
from collections.abc import Mapping

CAMPAIGN = "PGBOUNCER_TEST_CAMPAIGN"


def length(variable: str, short: int, full: int, environment: Mapping[str, str] = os.environ) -> int:
    """The length of a campaign: its own variable, else `full` or `short`. ValueError names the variable to correct."""
    chosen = environment.get(CAMPAIGN, "short")
    if chosen not in ("short", "full"):
        raise ValueError(f"{CAMPAIGN} is {chosen!r}: set it to full, or to short, which is the default")
    text = environment.get(variable, "")
    if not text:
        return full if chosen == "full" else short
    if not text.isdecimal() or not int(text):
        raise ValueError(f"{variable} is {text!r}: set it to a whole number of at least 1")
    return int(text)
