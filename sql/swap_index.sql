-- The new index takes the name of the old one, which answers until then and goes after it.
IF to_regclass({new_name}) IS NOT NULL THEN
  -- squawk-ignore renaming-object
  ALTER INDEX IF EXISTS {index} RENAME TO {old_plain};
  -- squawk-ignore renaming-object
  ALTER INDEX {new} RENAME TO {index_plain};
END IF;
