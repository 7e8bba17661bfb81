"""What can be asked at all: it is refused here, before the database is."""

from __future__ import annotations

import math

from pgsearch.errors import QueryError
from pgsearch.schema.search import FUSIONS, MODES

MAX_K = 1000
MAX_EF_SEARCH = 1000
MAX_QUERY_LENGTH = 8192


def check_request(query: str, limit: int, offset: int, mode: str, *, is_vector_given: bool) -> None:
    """Raise QueryError unless a request can be answered."""
    if not isinstance(query, str):
        raise QueryError(
            f"The query is not a text but {query!r}.", hint="Pass what was asked, as a str."
        )
    if not query.strip() and not (mode == "vector" and is_vector_given):
        raise QueryError(
            "The query is empty.", hint="Pass at least one word, or a vector and mode 'vector'."
        )
    if len(query) > MAX_QUERY_LENGTH:
        raise QueryError(
            f"The query is {len(query)} characters long, at most {MAX_QUERY_LENGTH} are answered.",
            hint="Pass the words or sentences that matter.",
        )
    if "\x00" in query or any("\ud800" <= character <= "\udfff" for character in query):
        raise QueryError(
            "The query holds a NUL character or a lone surrogate, which no PostgreSQL text can.",
            hint="Remove it, as in query.replace('\\x00', '').encode('utf-8', 'ignore').decode().",
        )
    if not 1 <= limit <= MAX_K:
        raise QueryError(
            f"limit={limit} is outside 1 to {MAX_K}.", hint="Ask for the best few, as in limit=10."
        )
    if not 0 <= offset <= MAX_K - limit:
        raise QueryError(
            f"offset={offset} with limit={limit} is outside 0 to {MAX_K - limit}.",
            hint=f"The first {MAX_K} results are to be had; ask another question, or with where=….",
        )
    if mode not in MODES:
        raise QueryError(
            f"There is no mode {mode!r}.", hint=f"There are {', '.join(map(repr, MODES))}."
        )


def check_options(ef_search: int | None, fusion: str, keyword_weight: float | None) -> None:
    """Raise QueryError unless a request's options mean something."""
    if ef_search is not None and not 1 <= ef_search <= MAX_EF_SEARCH:
        raise QueryError(
            f"ef_search={ef_search} is outside 1 to {MAX_EF_SEARCH}.",
            hint="Leave it out to have it chosen by the limit.",
        )
    if fusion not in FUSIONS:
        raise QueryError(
            f"There is no fusion {fusion!r}.", hint=f"There are {', '.join(map(repr, FUSIONS))}."
        )
    if keyword_weight is not None and not 0 <= keyword_weight < math.inf:
        raise QueryError(
            f"keyword_weight={keyword_weight} is no weight.", hint="Pass 0 or more, as in 4.0."
        )


def check_passages(per_document: int | None, *, passages: bool) -> None:
    """Raise QueryError unless a limit of passages for each document means something."""
    if per_document is None:
        return
    if not passages:
        raise QueryError(
            f"per_document={per_document} limits passages, but documents are asked for.",
            hint="Pass passages=True, too.",
        )
    if per_document < 1:
        raise QueryError(
            f"per_document={per_document} leaves no passage.",
            hint="Pass 1 or more, or leave it out for no limit.",
        )
