SELECT {rewrite}(jsonb_agg(jsonb_build_object({key_pairs})))
FROM unnest({key_text_arrays}) AS asked ({key})
