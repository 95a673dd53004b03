"""What a PostgreSQL server takes by its own settings, and whether a budget leaves room beside it. Pure."""

from dataclasses import dataclass

NEAR = 0.05  # part of the connections for ordinary logins that should be left beside the budget


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The server's settings."""

    maximum: int
    """max_connections."""
    reserved: int
    """superuser_reserved_connections and reserved_connections together."""
    started: str
    """When the server started, in its own words."""

    @property
    def usable(self) -> int:
        """Connections for ordinary logins: PostgreSQL refuses those when only reserved ones are left."""
        return max(0, self.maximum - self.reserved)

    def exceeded_by(self, most: int) -> bool:
        """Whether `most` connections are more than the server takes."""
        return most > self.usable

    def near(self, budget: int) -> bool:
        """Whether almost nothing is left beside the budget."""
        return self.usable - budget < max(1, NEAR * self.usable)
