"""What the watches bring: one small view of each object, and the pools and servers that a change concerns."""
