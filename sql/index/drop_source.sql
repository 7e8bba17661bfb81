-- With whatever arguments: their type goes by the name that the table has now. Only the search
-- index itself calls it.
-- squawk-ignore ban-drop-function, require-lock-timeout
DROP FUNCTION IF EXISTS {reader};

-- squawk-ignore ban-drop-function, require-lock-timeout
DROP FUNCTION IF EXISTS {read};
