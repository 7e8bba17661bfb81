"""What replacing a model costs the application: `python -m bench.upgrade`."""
