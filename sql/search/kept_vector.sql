          -- Keys are those of documents: in an array they would have lost their collation.
          WITH near AS MATERIALIZED (
            SELECT DISTINCT ON ({document_key})
              {document_key}, near.distance, near.content,
              near.generation <> document.generation AS stale
            FROM unnest({near_arrays}, answer.distances, answer.contents, answer.generations)
              AS near ({key}, distance, content, generation)
            JOIN {document} AS document ON ({document_key}) = ({near_key}) AND document.length >= 0
            ORDER BY {document_key}, near.distance
          )
          SELECT
            {near_key}, 1 - near.distance, NULL::double precision, NULL::integer, 1 - near.distance,
            (row_number() OVER (ORDER BY near.distance, {near_key}))::integer,
            near.content, near.stale, {encoder}
          FROM near
          WHERE (SELECT count(*) >= {k} + {skip} FROM near)
          ORDER BY near.distance, {near_key} LIMIT {k} OFFSET {skip}
