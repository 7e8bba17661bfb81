-- What a worker's transaction needs, whatever its role or database has set; for the transaction
-- only, since the session may be that of a pooler, and somebody else's in a moment. Keys travel as
-- text: they must be written the same way always, and read back as what they were.
SELECT set_config(name, value, true)
FROM (VALUES
  ('statement_timeout', '0'),
  ('lock_timeout', '0'),
  -- A worker does next to nothing between two statements, unless its machine or its network stands
  -- still: then it shall not hold anybody up.
  ('idle_in_transaction_session_timeout', '10s'),
  ('transaction_timeout', '0'),
  ('row_security', 'off'),
  ('standard_conforming_strings', 'on'),
  ('extra_float_digits', '1'),
  ('DateStyle', 'ISO'),
  ('IntervalStyle', 'postgres'),
  ('TimeZone', 'UTC')
) AS setting (name, value)
-- Not every version knows every setting.
WHERE current_setting(name, true) IS NOT NULL
