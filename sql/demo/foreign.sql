-- Rows of `document` that the demo did not load, or that someone changed since: how many, and the
-- first one's title. The second row of a title is one of them too.
SELECT count(*), (array_agg(title ORDER BY id))[1]
FROM (
  SELECT id, title, body, kind, module, row_number() OVER (PARTITION BY title ORDER BY id) AS copy
  FROM document
) AS found
LEFT JOIN demo_entry AS entry USING (title)
WHERE found.copy > 1
   OR NOT coalesce(
        found.body = entry.edited
        OR (found.body, found.kind, found.module) = (entry.body, entry.kind, entry.module),
        false
      )
