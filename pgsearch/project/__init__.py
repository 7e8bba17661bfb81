"""A project that uses Alembic: its configuration, its env.py, and what they need for pgsearch."""
