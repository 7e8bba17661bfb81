-- Puts back what the demo deleted.
INSERT INTO document (title, body, kind, module)
SELECT title, body, kind, module FROM demo_entry AS entry
WHERE body IS NOT NULL AND NOT EXISTS (SELECT FROM document WHERE document.title = entry.title)
ORDER BY position
