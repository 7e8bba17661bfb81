-- The sample as one kind of column would hold it: out of the row where it is long, as in a search
-- index.
CREATE TEMPORARY TABLE pgsearch_sample WITH (toast_tuple_target = 128) AS
SELECT n, {kept}::{type} AS embedding FROM pg_temp.pgsearch_drawn WHERE n > {queries}
