"""Declarations into SQL, out of the files in `sql/`."""
