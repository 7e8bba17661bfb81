"""Search that follows its table: the schema `pgsearch` in version 2, and its search index with it.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from alembic import op

from pgsearch import Chunking

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.pgsearch_install(version=2)
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
