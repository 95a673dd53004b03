"""How long what was read counts as known, and how long to wait before something is done about it. Pure."""

from dataclasses import dataclass

from pgbouncer_operator.pgbouncer.session import OUTLIVES


@dataclass(frozen=True, slots=True)
class Intervals:
    """How long each thing counts, in seconds. The operator runs with these values; tests give others."""

    limits: float = 55.0
    """Seconds for which an answer of PostgreSQL with its limits counts: a little less than `authority`, so that each
    server is asked again at every look."""
    failed_limits: float = 15.0
    """The same for a failure to read the limits, and until the next look at such a server."""
    authority: float = 60.0
    """Seconds for which a server's CA counts as known, and until the next look at a server at rest: no watch brings a
    renewed CA."""
    labels: float = 600.0
    """Seconds for which the labels of a namespace count as known while they let its pools in."""
    refused: float = 4.0
    """The same for labels that keep pools out and for a CA that cannot be read: a correction is soon noticed."""
    admission: float = 20.0
    """Seconds for which a pool waits for its PostgresServer before its status says so."""
    absent: float = 30.0
    """Seconds between two looks for a namespace that could not be listed."""
    ask: float = 60.0
    """Seconds for which an answer of another operator counts, that it serves its objects."""
    answer: float = 30.0
    """Seconds that another operator has to answer: more than the election of its next leader takes."""
    sessions: int = OUTLIVES
    """Seconds for which PostgreSQL may count sessions of a pod whose end is unknown."""


NORMAL = Intervals()
