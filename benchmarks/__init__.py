"""Measurements. Each module prints a table: `make bench`, or `python -m benchmarks.NAME`."""
