"""langchain-postgres' own virtual environment."""

from __future__ import annotations

from typing import Final

from bench.environment import Environment

LANGCHAIN: Final = Environment("langchain-postgres", "0.0.19", (), without="--no-langchain")
