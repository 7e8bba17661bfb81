"""What `pgsearch demo` shows: the documentation of Python's standard library, searched."""
