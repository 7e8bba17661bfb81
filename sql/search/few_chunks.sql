  (SELECT {chunk_key}, chunk.ordinal, {distance} AS distance
   FROM few JOIN {chunk} AS chunk USING ({key})
   WHERE (SELECT are_few FROM filtered) AND {has_vector}
     {timely} {conditional})
  UNION ALL
