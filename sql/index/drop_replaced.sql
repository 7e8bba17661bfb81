-- Nobody calls these any more.
DROP FUNCTION IF EXISTS {replaced};

DROP FUNCTION IF EXISTS {terms}(text, integer);
