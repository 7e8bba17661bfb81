-- Which keys are in the queue, and whether they are only parked there. One that is NULL stands for
-- all: the table was truncated.
SELECT wanted.ordinal, bool_and(queue.failed_at IS NOT NULL)
FROM unnest({key_arrays}) WITH ORDINALITY AS wanted ({key}, ordinal)
JOIN {queue} AS queue ON ({queue_key}) = ({wanted_key})
GROUP BY wanted.ordinal
UNION ALL
SELECT NULL, false
WHERE EXISTS (SELECT FROM {queue} AS queue WHERE num_nulls({queue_key}) > 0)
