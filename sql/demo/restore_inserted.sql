-- Takes out what the demo inserted.
DELETE FROM document USING demo_entry AS entry
WHERE document.title = entry.title AND document.body = entry.edited AND entry.body IS NULL
