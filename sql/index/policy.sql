    -- A row is to be seen by whom its row of the source is: its own policies are asked, for the same
    -- role. One look into the primary key for each row; without OFFSET 0 the planner would rather
    -- read all keys of the source at first, even where a search looks at a hundred rows.
    CREATE POLICY {policy_plain} ON {companion} FOR SELECT USING (
      EXISTS (SELECT FROM {table} AS source WHERE ({source_key}) = ({companion_key}) OFFSET 0)
    );
