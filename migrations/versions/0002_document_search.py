"""Search on `document`: keywords at once, vectors as soon as a worker has made them.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op

from pgsearch import Chunking, Model

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.pgsearch_install(version=1)
    op.create_search_index(
        "document_search",
        "document",
        key={"id": "bigint"},
        text={"title": "A", "body": "B"},
        language="english",
        filters={"kind": "text"},
        chunking=Chunking(max_tokens=256, overlap=32, heading="title"),
    )
    op.add_embedding(
        "document_search",
        "minilm_v1",
        Model(
            "sentence-transformers/all-MiniLM-L6-v2",
            revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
            dimensions=384,
        ),
    )


def downgrade() -> None:
    op.drop_search_index("document_search", "document")
    op.pgsearch_uninstall()
