
      + coalesce((
        SELECT boosted.boost FROM ({boost}) AS boosted WHERE ({boosted_key}) = ({ranked_key})
      ), 0)
