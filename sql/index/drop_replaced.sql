-- Nobody calls these any more.
-- squawk-ignore ban-drop-function, require-lock-timeout
DROP FUNCTION IF EXISTS {replaced}, {passages_replaced};

-- squawk-ignore ban-drop-function, require-lock-timeout
DROP FUNCTION IF EXISTS {terms_replaced}(text, integer);
