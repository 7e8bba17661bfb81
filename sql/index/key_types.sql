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

-- Triggers compare keys with the operators of pg_catalog alone: others, whoever made them, would run
-- with the rights of the search index's owner.
DO $pgsearch$
DECLARE
  compared record;
BEGIN
  SELECT k.attname AS name, k.atttypid::regtype AS type INTO compared
  FROM pg_attribute AS k
  JOIN pg_opclass AS c ON c.opcintype = k.atttypid AND c.opcdefault
  JOIN pg_am AS m ON m.oid = c.opcmethod AND m.amname = 'btree'
  JOIN pg_amop AS o ON o.amopfamily = c.opcfamily AND o.amopstrategy = 3
    AND o.amoplefttype = k.atttypid AND o.amoprighttype = k.atttypid
  JOIN pg_operator AS equal ON equal.oid = o.amopopr
  WHERE k.attrelid = {document_name}::regclass AND k.attname IN ({key_names})
    AND equal.oprnamespace <> 'pg_catalog'::regnamespace;
  IF {is_new} AND FOUND THEN
    RAISE EXCEPTION 'pgsearch: key column % is of type %, which compares by an operator of its own',
        quote_ident(compared.name), compared.type
      USING ERRCODE = 'feature_not_supported',
            HINT = 'Key the table by a type of PostgreSQL itself; such a column can be a text or a filter.';
  END IF;
END
$pgsearch$;
