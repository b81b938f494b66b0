"""Results: the Parquet store, statistics, figures and reports."""
