      -- Autovacuum gives way to who has waited for deadlock_timeout, and nobody is to wait so long behind
      -- this. So wait for a lock that holds up neither reads nor writes, and have autovacuum end.
      IF attempt > 1 AND to_regclass({table_name}) IS NOT NULL
        AND has_table_privilege({table_name}, 'UPDATE, DELETE, TRUNCATE') THEN
        PERFORM set_config('lock_timeout', (
          SELECT (setting::integer + 1000)::text FROM pg_catalog.pg_settings
          WHERE name = 'deadlock_timeout'
        ), true);
        LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE;
      END IF;
