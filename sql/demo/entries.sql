-- The rows that the demo works on, as they should be. `edited` is the text that the demo itself
-- gives to a few of them for a moment; a row that it inserts for a moment has only that.
CREATE TEMPORARY TABLE demo_entry (
  position integer,
  title    text    PRIMARY KEY,
  body     text,
  kind     text,
  module   text,
  edited   text
)
