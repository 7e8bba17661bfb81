"""Measurements of pgsearch: each module is run as `python -m bench.NAME`."""
