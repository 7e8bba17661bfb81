"""pgai's own virtual environment."""

from __future__ import annotations

from typing import Final

from bench.environment import Environment

#: What its worker imports for plain text and an endpoint like OpenAI's. The extra
#: `vectorizer-worker` brings the same, and gigabytes to read PDF files: docling and torch.
ENVIRONMENT: Final = Environment(
    "pgai",
    "0.12.1",
    (
        "filetype==1.2.0",
        "ijson>=3.3,<4",
        "numpy<3",
        "openai>=1.44,<2",
        "pgvector>=0.3,<1",
        "tiktoken>=0.7,<1",
        "tokenizers<1",
    ),
    without="--no-pgai",
)
