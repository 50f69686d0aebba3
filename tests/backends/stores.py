"""The stores that teams use, by name: what runs them for a session of tests, and the environment that names them.

`TEST_REDIS_URL` and `TEST_POSTGRES_URL` name servers of one's own instead; a database is made there and dropped again.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import URL, create_engine, make_url, text

from tests import servers

#: Names a set of stores for the whole test session (`tests/conftest.py`).
VARIABLE = "TEST_STORES"

_PASSWORD = "a password: of tests/@"


@contextmanager
def serving(name: str, folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a set of stores, whose servers run as long."""
    with ExitStack() as stack:
        if name == "redis":
            yield stack.enter_context(_redis(folder))
        elif name == "fs":
            yield {"CACHE_BACKEND": "fs"}
        elif name == "postgres":
            yield _on_postgres(stack.enter_context(_database(folder)))
        elif name == "postgres-graph":
            url = stack.enter_context(_database(folder))
            yield (
                _on_postgres(url)
                | _account("GRAPH_DATABASE_", url)
                | {
                    "GRAPH_DATABASE_PROVIDER": "postgres_demo",
                    "GRAPH_DATASET_DATABASE_HANDLER": "postgres_graph",
                }
            )
        else:
            raise ValueError(name)


@contextmanager
def _redis(folder: Path) -> Iterator[dict[str, str]]:
    own = os.environ.get("TEST_REDIS_URL")
    with ExitStack() as stack:
        if own:
            url = make_url(own)
        else:
            port = stack.enter_context(servers.redis(folder, _PASSWORD))
            url = URL.create("redis", password=_PASSWORD, host="127.0.0.1", port=port)
        yield {
            "CACHE_BACKEND": "redis",
            "CACHE_HOST": url.host or "localhost",
            "CACHE_PORT": str(url.port or 6379),
            "CACHE_PASSWORD": url.password or "",
        }


@contextmanager
def _database(folder: Path) -> Iterator[URL]:
    """An empty database."""
    with ExitStack() as stack:
        server = make_url(os.environ.get("TEST_POSTGRES_URL") or stack.enter_context(servers.postgres(folder)))
        name = f"session_memory_test_{uuid.uuid4().hex[:8]}"
        engine = create_engine(server.set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        try:
            yield server.set(database=name)
        finally:
            with engine.connect() as connection:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
            engine.dispose()


def _on_postgres(url: URL) -> dict[str, str]:
    """cognee's tables, vectors and session cache."""
    return (
        _account("DB_", url)
        | _account("VECTOR_DB_", url)
        | {
            "DB_PROVIDER": "postgres",
            "VECTOR_DB_PROVIDER": "pgvector",
            "VECTOR_DATASET_DATABASE_HANDLER": "pgvector",
            "CACHE_BACKEND": "postgres",
        }
    )


def _account(prefix: str, url: URL) -> dict[str, str]:
    return {
        f"{prefix}HOST": url.host or "",
        f"{prefix}PORT": str(url.port or 5432),
        f"{prefix}NAME": url.database or "",
        f"{prefix}USERNAME": url.username or "",
        f"{prefix}PASSWORD": url.password or "",
    }
