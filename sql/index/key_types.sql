-- Keys are kept in the types that were declared, or that the table had when its search index was
-- made: of a domain, in the type below it. Into a narrower one they would not fit, and the
-- application's writes would fail.
DO $pgsearch$
DECLARE
  kept record;
BEGIN
  SELECT k.attname AS name, format_type(k.atttypid, k.atttypmod) AS type,
         format_type(base.type, base.typmod) AS source_type
  INTO kept
  FROM pg_attribute AS k
  JOIN pg_attribute AS s ON s.attrelid = {table_name}::regclass AND s.attname = k.attname
  CROSS JOIN LATERAL (
    WITH RECURSIVE below (type, typmod, depth) AS (
      SELECT s.atttypid, s.atttypmod, 0
      UNION ALL
      SELECT d.typbasetype, CASE WHEN typmod = -1 THEN d.typtypmod ELSE typmod END, depth + 1
      FROM below JOIN pg_type AS d ON d.oid = below.type AND d.typtype = 'd'
    )
    SELECT type, typmod FROM below ORDER BY depth DESC LIMIT 1
  ) AS base
  WHERE k.attrelid = {document_name}::regclass AND k.attname IN ({key_names})
    AND (k.atttypid <> base.type OR k.atttypmod NOT IN (-1, base.typmod))
    AND (k.atttypid::regtype::text, base.type::regtype::text, k.atttypmod) NOT IN (
      ('bigint', 'integer', -1), ('bigint', 'smallint', -1), ('integer', 'smallint', -1),
      ('text', 'character varying', -1), ('character varying', 'text', -1));
  IF FOUND THEN
    RAISE EXCEPTION 'pgsearch: key column % of % is %, but search index % keeps it as %',
        quote_ident(kept.name), {table_name}, kept.source_type, quote_ident({index_literal}), kept.type
      USING ERRCODE = 'datatype_mismatch', HINT = format(
        'Declare key={{"%s": "%s"}}. A search index that is there already has to be dropped and created anew.',
        kept.name, kept.source_type);
  END IF;
END
$pgsearch$;
