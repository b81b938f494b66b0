"""Pictures of studies: one function each, from tables to a matplotlib figure."""
