"""Migrations forward and back under load: does any statement of an application fail or wait long?

    python -m bench.migrate [--postgres 16] [--rows 200000] [--connections 8] [--json FILE]

A fresh database, on an embedded server of its own or on the server of DATABASE_URL, gets a table
of `--rows` rows. From then on three other processes are at it: the load (`load`), a worker with a
hashing model, and one that watches who waits for which lock (`locks`). Meanwhile this process
applies every revision of an Alembic project (`project`) and takes them all back, several times
over. In the first cycle it waits until the worker has filled what a revision added, for all rows,
before it goes on; in the others it goes on in the middle.

`longest_wait_ms` is the longest time that a statement of the load waited for a lock which a
migration or a worker held, or was ahead of it in the queue for; it must not exceed
`lock_timeout_ms`. Some transactions of the load hold their locks for two and a half times as long,
so that a migration has to make way and try again. `longest_statement_ms` is what a client saw, with
the work and a busy machine in it. A migration that ends with a lock timeout or a deadlock is run
again, which `reruns` counts.

Searching where there is no search function must fail: the load searches only between the revision
that creates it and the one that drops it.

The exit status is 1 if a target is missed.
"""
