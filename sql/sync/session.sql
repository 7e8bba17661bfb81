-- What a worker's session needs, whatever its role or database has set. Keys travel as text: they
-- must be written the same way always, and read back as what they were.
SELECT set_config(name, value, false)
FROM (VALUES
  ('statement_timeout', '0'),
  ('lock_timeout', '0'),
  ('idle_in_transaction_session_timeout', '0'),
  ('default_transaction_isolation', 'read committed'),
  ('default_transaction_read_only', 'off'),
  ('standard_conforming_strings', 'on'),
  ('extra_float_digits', '1'),
  ('DateStyle', 'ISO'),
  ('IntervalStyle', 'postgres'),
  ('TimeZone', 'UTC')
) AS setting (name, value)
