"""The canonical table of the standalone setup: documents, ready to be searched.

An application has tables of its own and declares its search indexes beside them in the same way.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Identity, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from pgsearch.declare import Chunking, Embedding, Model, SearchIndex

#: all-MiniLM-L6-v2: small, quick on a CPU, 384 dimensions, a window of 256 tokens.
MINILM = Model(
    "sentence-transformers/all-MiniLM-L6-v2",
    revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    dimensions=384,
)


class Base(DeclarativeBase):
    """Metadata of the standalone migrations."""


class Document(Base):
    """A text with a title: `kind` and `module` say what it is and where it comes from."""

    __tablename__ = "document"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    title: Mapped[str] = mapped_column(Text)
    body: Mapped[str | None] = mapped_column(Text)
    kind: Mapped[str | None] = mapped_column(Text)
    module: Mapped[str | None] = mapped_column(Text)


document_search = SearchIndex(
    "document_search",
    Document.__table__,
    text={"title": "A", "body": "B"},
    language="english",
    filters=["kind"],
    chunking=Chunking(max_tokens=256, overlap=32, heading="title"),
    embeddings=[Embedding("minilm_v1", MINILM)],
    active="minilm_v1",
)
