(
    -- The nearest by a coarse graph, to be ranked by what the column holds.
    SELECT * FROM {chunk} AS chunk
    WHERE {has_vector} {unless_found}
      {timely}
    ORDER BY {scan_distance}
    LIMIT {chunks}
  )
