"""What a PostgreSQL server takes, by its own word, and whether a budget leaves room beside it. Pure."""

from dataclasses import dataclass

NEAR = 0.05  # of the connections for ordinary logins: with less beside the budget, the sum is too near the limit


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The server's settings. started: when it was started, in its own words.

    maximum: max_connections. reserved: superuser_reserved_connections and reserved_connections together.
    """

    maximum: int
    reserved: int
    started: str

    @property
    def usable(self) -> int:
        """Connections for ordinary logins: PostgreSQL refuses those when only reserved ones are left."""
        return max(0, self.maximum - self.reserved)

    def exceeded_by(self, most: int) -> bool:
        """Whether more is handed out than the server takes."""
        return most > self.usable

    def near(self, budget: int) -> bool:
        """Whether next to nothing is left beside the pools."""
        return self.usable - budget < max(1, NEAR * self.usable)
