-- Removes the document of a row that is gone, unless it came back in the meantime.
DELETE FROM {document} WHERE ({key}) = ({key_values}) AND generation = %(generation)s
