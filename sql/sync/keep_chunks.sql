-- Chunks whose content is unchanged only move to the new generation: a HOT update.
UPDATE {chunk} SET generation = %(generation)s
WHERE ({key}) = ({key_values}) AND ordinal = ANY(%(ordinals)s) AND generation <> %(generation)s
