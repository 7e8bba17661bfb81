"""Latency and recall of search beside SQL written by hand and beside peers, in one run.

python -m bench.search [--rows 200000 --rows 1000000] [--json FILE] [--svg FOLDER]
"""
