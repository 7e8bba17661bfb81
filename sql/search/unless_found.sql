AND ({chunk_key}) NOT IN (SELECT * FROM unnest({found_arrays}))
