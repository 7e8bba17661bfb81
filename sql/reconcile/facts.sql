-- What there is of some keys: the row and the size of its texts, NULL without a row; the texts
-- themselves, unless they are too long to be read together with others; and the document.
SELECT wanted.ordinal, found.size, CASE WHEN found.size <= %(bytes)s THEN found.texts END,
  found.configuration, document.generation, document.length, document.truncated,
  sha256(tsvectorsend(document.tsv))
FROM unnest({key_arrays}) WITH ORDINALITY AS wanted ({key}, ordinal)
LEFT JOIN LATERAL (
  SELECT read.texts, read.configuration,
    (SELECT coalesce(sum(octet_length(text)), 0) FROM unnest(read.texts) AS text)::bigint AS size
  FROM (
    SELECT source.texts, source.tsconfig::oid AS configuration
    FROM {source_view} AS source WHERE ({source_key}) = ({wanted_key})
    OFFSET 0  -- so that what may be an expression is evaluated once
  ) AS read
) AS found ON true
LEFT JOIN {document} AS document ON ({document_key}) = ({wanted_key})
