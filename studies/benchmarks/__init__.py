"""The benchmarks of `studies/throughput.py`, one a file; each compares sides in turns and returns `Findings`."""
