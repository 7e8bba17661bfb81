-- Gives back their text to the rows that the demo updated.
UPDATE document SET body = entry.body
FROM demo_entry AS entry
WHERE document.title = entry.title AND document.body = entry.edited AND entry.body IS NOT NULL
