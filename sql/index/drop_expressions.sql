-- With whatever arguments: their type goes by the name that the table has now.
DROP FUNCTION IF EXISTS {evaluate};

DROP FUNCTION IF EXISTS {expression};
