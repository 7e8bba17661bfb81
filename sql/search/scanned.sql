          SELECT ROW(
            {found_key}, 1 - found.distance, NULL::double precision, NULL::integer,
            1 - found.distance, (row_number() OVER (ORDER BY found.distance, {found_key}))::integer,
            found.content, found.stale, answer.encoder
          )::{hit}
          FROM (
            SELECT DISTINCT ON ({near_key})
              {near_key}, near.distance, near.content,
              near.generation <> document.generation AS stale
            FROM unnest({near_arrays}, answer.distances, answer.contents, answer.generations)
              AS near ({key}, distance, content, generation)
            JOIN {document} AS document ON ({document_key}) = ({near_key}) AND document.length >= 0
            ORDER BY {near_key}, near.distance
          ) AS found
          ORDER BY found.distance, {found_key} LIMIT $2 OFFSET $6
