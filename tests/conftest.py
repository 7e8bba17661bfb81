"""What all tests share; the server and databases are in `tests.plugins.postgres`."""

pytest_plugins = [
    "tests.plugins.postgres",
    "tests.plugins.worker",
    "tests.plugins.orm",
    "tests.plugins.letters",
    "tests.plugins.autogenerate",
    "tests.plugins.drift",
    "tests.plugins.reconcile",
    "tests.plugins.pgbouncer",
    "tests.plugins.security",
    "tests.plugins.published",
    "tests.plugins.canary",
]
