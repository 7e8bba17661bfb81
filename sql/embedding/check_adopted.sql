  IF NOT EXISTS (
    SELECT FROM pg_catalog.pg_attribute
    WHERE attrelid = pgsearch.source_table({schema_literal}, {index_literal})
      AND attname = {adopt_column} AND NOT attisdropped
      AND format_type(atttypid, NULL) ~ '(^|\.)(vector|halfvec)$'
      AND atttypmod IN (-1, {dimensions})
  ) THEN
    RAISE EXCEPTION 'pgsearch: the table of search index % has no column % of vectors with % dimensions',
        quote_ident({index_literal}), quote_ident({adopt_column}), {dimensions}
      USING ERRCODE = 'undefined_column',
            HINT = 'Name the column that holds them, of type vector or halfvec, and the model that made them.';
  END IF;
