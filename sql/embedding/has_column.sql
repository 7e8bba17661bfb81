SELECT EXISTS (
  SELECT FROM pg_catalog.pg_attribute
  WHERE attrelid = to_regclass(:chunk) AND attname = :column AND NOT attisdropped
)
