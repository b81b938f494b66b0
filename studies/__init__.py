"""Studies: questions asked of the method on a Ray cluster."""
