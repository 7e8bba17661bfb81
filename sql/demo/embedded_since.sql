-- Documents with a passage that is newer than a generation.
SELECT count(DISTINCT id) FROM document_search_chunk WHERE generation > %(generation)s
