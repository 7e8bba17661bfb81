-- What keywords bring, and the terms by which what vectors bring is scored.
WITH
{question},
{keyword_leg}
SELECT
  (SELECT array_agg(term.term) FROM term) AS terms,
  (SELECT array_agg(term.idf) FROM term) AS idfs,
  question.bound, question.mean_length, brought.*
INTO answer.brought
FROM question CROSS JOIN (
  SELECT
    {brought_aggregates},
    array_agg(keyword_leg.generation ORDER BY keyword_leg.keyword_rank) AS generations,
    array_agg(keyword_leg.keyword_score ORDER BY keyword_leg.keyword_rank) AS scores
  FROM keyword_leg
) AS brought
