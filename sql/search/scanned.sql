          SELECT ROW(
            {found_key}, 1 - found.distance, NULL::double precision, NULL::integer,
            1 - found.distance, (row_number() OVER (ORDER BY found.distance, {found_key}))::integer,
            found.content, found.stale, answer.encoder
          )::{hit}
          FROM (
            -- Keys are those of documents: in an array they would have lost their collation.
            SELECT DISTINCT ON ({document_key})
              {document_key}, near.distance, near.content,
              near.generation <> document.generation AS stale
            FROM unnest({near_arrays}, answer.distances, answer.contents, answer.generations)
              AS near ({key}, distance, content, generation)
            JOIN {document} AS document ON ({document_key}) = ({near_key}) AND document.length >= 0
            ORDER BY {document_key}, near.distance
          ) AS found
          ORDER BY found.distance, {found_key} LIMIT $2 OFFSET $6
