-- Documents when statistics were last taken, and changes since; NULL if they never were.
SELECT coalesce(i.document_count, 0), s.last_value - i.statistics_generation
FROM pgsearch.search_index AS i, {generation} AS s
WHERE i.id = %(id)s
