SELECT count({column}), (SELECT setting::bigint FROM pg_settings WHERE name = 'maintenance_work_mem')
FROM {chunk}
