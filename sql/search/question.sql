-- The query's terms. All of them score; those of tier 1, the rarest, bring documents to score, and
-- tier 2 is the next one, where those may bring fewer than are wanted: at least 50, so that the pages
-- up to there come from the same documents. Quoted phrases and words with a minus sign hold for every
-- result: as a part of what is looked up, by the GIN index. Under row-level security that index is no
-- help, for policies are asked first.
--
-- Where even the rarest term is common, documents that hold another one, too, are looked at first, and
-- of those that do not, some: to score all would take as long as the table is large.
term AS MATERIALIZED (
{asked_terms}
),
question AS MATERIALIZED (
  SELECT
    condition, bound, mean_length,
    -- An empty tsquery, as where there is no condition, would raise a notice with each search.
    coalesce(any_term && condition, any_term) AS any_term,
    coalesce(sought && condition, sought) AS rarest,
    coalesce(alone && condition, alone) AS alone,
    coalesce(next_rarest && !!rarest && condition, next_rarest && !!rarest) AS next_rarest,
    coalesce(others && !!rarer && condition, others && !!rarer) AS others
  FROM (
    SELECT
      *,
      CASE WHEN is_common THEN rarest && rest ELSE rarest END AS sought,
      CASE WHEN is_common THEN rarest && !!rest END AS alone
    FROM (
      SELECT
        {condition} AS condition,
        -- What a document that is full of every term would score.
        nullif(sum(idf), 0) AS bound,
        nullif(max(mean_length), 0) AS mean_length,
        string_agg(term::text, ' | ')::tsquery AS any_term,
        (string_agg(term::text, ' | ') FILTER (WHERE tier = 1))::tsquery AS rarest,
        (string_agg(term::text, ' | ') FILTER (WHERE tier = 2))::tsquery AS next_rarest,
        (string_agg(term::text, ' | ') FILTER (WHERE tier <= 2))::tsquery AS rarer,
        (string_agg(term::text, ' | ') FILTER (WHERE tier IS NULL))::tsquery AS others,
        (string_agg(term::text, ' | ') FILTER (WHERE tier IS DISTINCT FROM 1))::tsquery AS rest,
        sum(document_frequency) FILTER (WHERE tier = 1) > 4000
          AND count(*) FILTER (WHERE tier IS DISTINCT FROM 1 AND document_frequency > 0) > 0 AS is_common
      FROM term
    ) AS asked
  ) AS asked
)
