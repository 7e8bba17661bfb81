-- Asked for each chunk that the scan comes to, and no further: a minus sign meets nearly all.
    AND ({condition} IS NULL OR (
      SELECT document.tsv @@ {condition} FROM {document} AS document
      WHERE ({document_key}) = ({chunk_key})
    ))
