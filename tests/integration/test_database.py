"""Connections to a real server: what goes wrong is said, with what to do about it."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from pgsearch import database as product
from pgsearch.errors import ConnectionFailed, ExtensionMissing


def test_a_connection_says_who_it_is(connection: product.Connection) -> None:
    shown = connection.execute(
        "SELECT current_setting('application_name'), current_setting('row_security')"
    ).fetchone()
    assert shown == ("pgsearch", "off")
    assert connection.autocommit


def test_a_url_may_say_otherwise(database: str) -> None:
    url = f"{database}&application_name=app&options=-c%20work_mem%3D7MB"
    with product.connect(url, autocommit=False, row_security=True) as connection:
        shown = connection.execute(
            "SELECT current_setting('application_name'), current_setting('work_mem'), "
            "current_setting('row_security')"
        ).fetchone()
        assert not connection.autocommit
    assert shown == ("app", "7MB", "on")


def test_the_end_of_the_other_side_is_noticed(database: str) -> None:
    with product.connect(database) as connection:
        known = connection.info.get_parameters()
    assert (known["keepalives_idle"], known["tcp_user_timeout"]) == ("30", "60000")
    with product.connect(f"{database}&keepalives_idle=7&tcp_user_timeout=0") as connection:
        known = connection.info.get_parameters()
    assert (known["keepalives_idle"], known["keepalives_count"]) == ("7", "3")
    assert known.get("tcp_user_timeout", "0") == "0"


def test_options_of_the_url_are_kept_without_row_security(database: str) -> None:
    with product.connect(f"{database}&options=-c%20work_mem%3D7MB") as connection:
        shown = connection.execute(
            "SELECT current_setting('work_mem'), current_setting('row_security')"
        ).fetchone()
    assert shown == ("7MB", "off")


def test_a_table_is_never_read_in_part(database: str) -> None:
    """A worker whose role is under row-level security fails; it does not miss rows silently."""
    with psycopg.connect(database, autocommit=True) as owner:
        role = sql.Identifier(f"reader_{owner.info.dbname}")
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        owner.execute("CREATE TABLE article (id integer)")
        owner.execute("INSERT INTO article VALUES (1)")
        owner.execute("ALTER TABLE article ENABLE ROW LEVEL SECURITY")
        owner.execute(sql.SQL("GRANT SELECT ON article TO {}").format(role))
        reader = f"reader_{owner.info.dbname}"
    url = urlsplit(database)._replace(netloc=f"{reader}@").geturl()
    try:
        with product.connect(url, row_security=True) as connection:
            assert connection.execute("SELECT id FROM article").fetchall() == []
        with (
            product.connect(url) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"),
        ):
            connection.execute("SELECT id FROM article")
    finally:
        with psycopg.connect(database, autocommit=True) as owner:
            owner.execute(sql.SQL("DROP OWNED BY {}").format(role))
            owner.execute(sql.SQL("DROP ROLE {}").format(role))


def test_no_server_there() -> None:
    with pytest.raises(ConnectionFailed, match="Connection refused") as caught:
        product.connect("postgresql://ann@127.0.0.1:1/app")
    assert "that the server is running" in str(caught.value.hint)


def test_no_socket_there() -> None:
    with pytest.raises(ConnectionFailed, match="No such file or directory") as caught:
        product.connect("postgresql://ann@/app?host=/nowhere")
    assert "that the server is running" in str(caught.value.hint)


def test_no_host_of_that_name() -> None:
    with pytest.raises(ConnectionFailed, match=r"nowhere\.invalid") as caught:
        product.connect("postgresql://ann@nowhere.invalid/app")
    assert caught.value.hint == "Check the host in the URL."


def test_a_server_that_does_not_answer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(ConnectionFailed, match="timeout") as caught:
            product.connect(f"postgresql://ann@127.0.0.1:{port}/app?connect_timeout=2")
        assert time.monotonic() - started < 8
    assert "no firewall is in the way" in str(caught.value.hint)


def test_no_database_of_that_name(server_url: str) -> None:
    url = urlsplit(server_url)._replace(path="/nowhere").geturl()
    with pytest.raises(ConnectionFailed, match='database "nowhere" does not exist') as caught:
        product.connect(url)
    assert "createdb" in str(caught.value.hint)


def test_no_user_of_that_name(server_url: str) -> None:
    url = urlsplit(server_url)._replace(netloc="nobody@").geturl()
    with pytest.raises(ConnectionFailed, match='role "nobody" does not exist') as caught:
        product.connect(url)
    assert "createuser" in str(caught.value.hint)


def test_pgvector_that_is_there_passes(connection: product.Connection) -> None:
    product.check_extension(connection)
    product.register_vectors(connection)
    row = connection.execute("SELECT '[1,2]'::vector").fetchone()
    assert row is not None
    assert list(row[0].to_list()) == [1, 2]


def test_pgvector_that_the_server_does_not_have(server_without_pgvector: str) -> None:
    with product.connect(server_without_pgvector) as connection:
        major = connection.info.server_version // 10000
        with pytest.raises(ExtensionMissing, match="does not have the extension") as caught:
            product.register_vectors(connection)
    assert f"postgresql-{major}-pgvector" in str(caught.value.hint)
    assert f"pgvector/pgvector:pg{major}" in str(caught.value.hint)
    assert "managed services" in str(caught.value.hint)


def test_pgvector_that_is_not_created(empty_database: str) -> None:
    with product.connect(empty_database) as connection:
        with pytest.raises(ExtensionMissing, match="not created in the database") as caught:
            product.check_extension(connection)
        with pytest.raises(ExtensionMissing, match="not created in the database"):
            product.register_vectors(connection)
    assert "CREATE EXTENSION vector;" in str(caught.value.hint)


def test_pgvector_that_is_too_old(database: str) -> None:
    with product.connect(database) as connection:
        connection.execute("UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'")
        with pytest.raises(ExtensionMissing, match=r"is 0\.7\.4; pgsearch needs 0\.8\.0") as caught:
            product.check_extension(connection)
    assert "ALTER EXTENSION vector UPDATE;" in str(caught.value.hint)


def test_pgvector_that_is_off_the_search_path(empty_database: str) -> None:
    with product.connect(empty_database) as connection:
        connection.execute("CREATE SCHEMA extensions")
        connection.execute("CREATE EXTENSION vector SCHEMA extensions")
        with pytest.raises(ExtensionMissing, match="schema extensions, which is not on") as caught:
            product.register_vectors(connection)
        assert "Add extensions to search_path" in str(caught.value.hint)
        connection.execute("SET search_path = public, extensions")
        product.register_vectors(connection)


@pytest.mark.parametrize("pipelined", [False, True])
def test_a_transaction_that_fails_leaves_nothing(
    connection: product.Connection, pipelined: bool
) -> None:
    connection.execute("CREATE TABLE leaf (id integer PRIMARY KEY)")

    def insert(*numbers: int) -> None:
        with product.transaction(connection, by_key=True, pipelined=pipelined):
            for number in numbers:
                connection.execute("INSERT INTO leaf VALUES (%s)", [number])

    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(1, 1, 2)
    with product.transaction(connection, pipelined=pipelined):
        found = connection.execute("SELECT count(*) FROM leaf").fetchone()
        connection.execute("INSERT INTO leaf VALUES (3)")
    assert found == (0,)
    assert connection.execute("SELECT id FROM leaf").fetchall() == [(3,)]
    assert connection.execute("SHOW enable_hashjoin").fetchone() == ("on",)


def test_a_long_statement_is_sent_to_its_end(connection: product.Connection) -> None:
    connection.execute("CREATE TABLE leaf (id integer, letters text)")
    with product.transaction(connection, pipelined=True):
        connection.execute("INSERT INTO leaf VALUES (1, %s)", ["x" * 20_000_000])
        connection.execute("INSERT INTO leaf VALUES (2, %s)", ["x"])
    assert connection.execute("SELECT sum(length(letters)) FROM leaf").fetchone() == (20_000_001,)
