        -- What keywords bring, and the terms by which what vectors bring is scored.
        WITH
{question},
{keyword_leg}
        SELECT
          (SELECT array_agg(term.term) FROM term), (SELECT array_agg(term.idf) FROM term),
          question.bound, question.mean_length, brought.*
        INTO
          answer.terms, answer.idfs, answer.bound, answer.mean_length,
          {brought_arrays}, answer.brought_generations, answer.brought_scores
        FROM question CROSS JOIN (
          SELECT
            {brought_aggregates},
            array_agg(keyword_leg.generation ORDER BY keyword_leg.keyword_rank),
            array_agg(keyword_leg.keyword_score ORDER BY keyword_leg.keyword_rank)
          FROM keyword_leg
        ) AS brought
