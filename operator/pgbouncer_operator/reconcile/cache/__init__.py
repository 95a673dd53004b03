"""What the watches know: one slim view for each object, and which keys a change concerns."""
