"""Makes a ConnectionPool of another pooler's configuration, and says line by line what cannot be kept. Pure."""
