        -- The fusion of what was found. Keys are those of documents, where there is one: in an array they
        -- would have lost their collation.
        WITH term AS MATERIALIZED (
          SELECT * FROM unnest(answer.terms, answer.idfs) AS term (term, idf)
        ),
        question AS MATERIALIZED (
          SELECT answer.bound AS bound, answer.mean_length AS mean_length
        ),
        near AS MATERIALIZED (
          SELECT DISTINCT ON ({document_key})
            {document_key}, document.generation, document.tsv, document.length,
            near.ordinal, near.distance
          FROM unnest({near_arrays}, answer.ordinals, answer.distances)
            AS near ({key}, ordinal, distance)
          JOIN {document} AS document ON ({document_key}) = ({near_key}) AND document.length >= 0
          ORDER BY {document_key}, near.distance, near.ordinal
        ),
        vector_leg AS MATERIALIZED (
          SELECT
            near.*, 1 - near.distance AS similarity,
            row_number() OVER (ORDER BY near.distance, {near_key}) AS vector_rank
          FROM near
          WHERE (SELECT count(*) >= {k} + {skip} FROM near)
          ORDER BY near.distance, {near_key}
          LIMIT {depth}
        ),
        scored AS MATERIALIZED (
          SELECT
            {precise_key}, coalesce(brought.generation, document.generation) AS generation,
            brought.keyword_rank, document.vector_rank,
            coalesce(brought.keyword_score, (
              SELECT sum({document_bm25}) FROM term
            )) AS keyword_score,
            coalesce(document.similarity, 1 - brought.distance) AS similarity,
            coalesce(document.ordinal, brought.ordinal) AS ordinal
          FROM unnest(
            {brought_arrays}, answer.brought_generations, answer.brought_scores,
            answer.brought_ordinals, answer.brought_distances
          ) WITH ORDINALITY
            AS brought ({key}, generation, keyword_score, ordinal, distance, keyword_rank)
          FULL JOIN vector_leg AS document USING ({key})
          -- Too few documents, where many chunks belong to one or rows are gone: nothing here.
          WHERE EXISTS (SELECT FROM vector_leg)
        ),
{fused}
