CREATE INDEX CONCURRENTLY {hnsw_index} ON {chunk}
USING hnsw ({indexed} {operator_class}) WITH (m = {m}, ef_construction = {ef_construction})
