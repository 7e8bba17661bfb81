"""Fresh changes before backfills in one queue: the schema `pgsearch` in version 3.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

from alembic import op

from pgsearch import Chunking

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.pgsearch_install(version=3)
    op.alter_search_index(
        "document_search",
        "document",
        key={"id": "bigint"},
        text={"title": "A", "body": "B"},
        language="english",
        filters={"kind": "text"},
        chunking=Chunking(max_tokens=256, overlap=32, heading="title"),
    )


def downgrade() -> None:
    # Versions of the schema only add, and what is there serves the revision before as well.
    pass
