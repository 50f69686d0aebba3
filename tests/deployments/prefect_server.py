"""A real Prefect server, and what a team runs beside it: workers, deployments. All processes, all ended by pid."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.servers import free_port, postgres

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class PrefectServer:
    """A server's HTTP API, as an application sees it, and the commands a person types."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.address = f"http://127.0.0.1:{free_port()}"
        self.api = httpx.AsyncClient(base_url=f"{self.address}/api", timeout=120)

    @property
    def environment(self) -> dict[str, str]:
        """What points a process at this server."""
        return {
            "PREFECT_API_URL": f"{self.address}/api",
            "PREFECT_UI_URL": self.address,
            "PREFECT_HOME": str(self.home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }

    @contextmanager
    def serving(self) -> Iterator["PrefectServer"]:
        """The server while the block does, on Postgres: on SQLite its automations stop it for a minute at times."""
        # Not below pytest's own folder: every other pytest of this account closes that to Postgres' account.
        with (
            tempfile.TemporaryDirectory(prefix="prefect-postgres-", ignore_cleanup_errors=True) as folder,
            postgres(Path(folder)) as database,
            self._serving(database),
        ):
            yield self

    @contextmanager
    def _serving(self, database: str) -> Iterator[None]:
        port = self.address.rsplit(":", 1)[1]
        with self.program(
            *("server", "start", "--host", "127.0.0.1", "--port", port),
            log=self.home / "server.log",
            PREFECT_SERVER_UI_API_URL=f"{self.address}/api",
            PREFECT_API_DATABASE_CONNECTION_URL=database,
        ) as process:
            for _ in range(480):
                assert process.poll() is None, (self.home / "server.log").read_text()
                try:
                    if httpx.get(f"{self.address}/api/health").is_success:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.25)
            yield

    @contextmanager
    def program(self, *arguments: str, log: Path, tool: str = "prefect", **extra: str) -> Iterator[subprocess.Popen]:
        """A command that goes on while the block does; ended with everything it started."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                [BIN / tool, *arguments],
                cwd=ROOT,
                env={**os.environ, **self.environment, **extra},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            end(process.pid)
            process.wait()

    @contextmanager
    def worker(self, *options: str, **extra: str) -> Iterator[subprocess.Popen]:
        """A worker of the pool `session-memory`, polling every second; the server knows it."""
        extra |= {"PREFECT_WORKER_QUERY_SECONDS": "1"}
        name = f"worker-{free_port()}"
        log = self.home / f"{name}.log"
        arguments = ("worker", "start", "--pool", "session-memory", "--name", name, *options)
        with self.program(*arguments, log=log, **extra) as process:
            for _ in range(240):
                assert process.poll() is None, log.read_text()
                if self._knows(name):
                    break
                time.sleep(0.25)
            yield process

    def _knows(self, worker: str) -> bool:
        url = f"{self.address}/api/work_pools/session-memory/workers/filter"
        return any(one["name"] == worker for one in httpx.post(url, json={}).json())

    def command(self, *arguments: str, tool: str = "prefect") -> str:
        """A command to its end; what it printed."""
        done = subprocess.run(
            [BIN / tool, *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    async def find(self, what: str, **body: Any) -> list[dict[str, Any]]:
        """`POST /<what>/filter`."""
        response = await self.api.post(f"/{what}/filter", json=body)
        response.raise_for_status()
        found = response.json()
        return found["events"] if what == "events" else found

    async def deployment(self, name: str) -> dict[str, Any]:
        response = await self.api.get(f"/deployments/name/{name}")
        response.raise_for_status()
        return response.json()

    async def request_run(self, name: str, **parameters: Any) -> httpx.Response:
        """Ask for a run of a deployment, as an application does."""
        deployment = await self.deployment(name)
        url = f"/deployments/{deployment['id']}/create_flow_run"
        while (response := await self.api.post(url, json={"parameters": parameters})).status_code == 503:
            # On SQLite the server asks for another try while its database is locked.
            await asyncio.sleep(1)
        return response

    async def run(self, name: str, **parameters: Any) -> dict[str, Any]:
        """Run a deployment to its end; the flow run."""
        response = await self.request_run(name, **parameters)
        assert response.status_code == 201, response.text
        return await self.ended(response.json()["id"])

    async def read_run(self, run_id: str) -> dict[str, Any]:
        response = await self.api.get(f"/flow_runs/{run_id}")
        response.raise_for_status()
        return response.json()

    async def ended(self, run_id: str, seconds: float = 240) -> dict[str, Any]:
        """A flow run, once it has ended."""
        async with asyncio.timeout(seconds):
            while (run := await self.read_run(run_id))["state_type"] not in FINAL:
                await asyncio.sleep(0.25)
        return run

    async def logs(self, run_id: str) -> str:
        found = await self.find("logs", logs={"flow_run_id": {"any_": [run_id]}}, limit=200)
        return "\n".join(one["message"] for one in found)

    async def told(self, run: dict[str, Any]) -> str:
        """What a run told, for a test that expected something else of it."""
        return f"{run['state']['message']}\n{await self.logs(run['id'])}"

    async def artifact(self, run_id: str, kind: str) -> dict[str, Any]:
        """The artifact of a kind that a run made."""
        (one,) = await self.find("artifacts", artifacts={"flow_run_id": {"any_": [run_id]}, "type": {"any_": [kind]}})
        return one

    async def events(self, name: str, **more: Any) -> list[dict[str, Any]]:
        return await self.find("events", filter={"event": {"name": [name]}} | more, limit=50)

    async def events_of(self, run_id: str, name: str) -> list[dict[str, Any]]:
        """A run's events of a name, once there are any: the server takes them in a moment later."""
        async with asyncio.timeout(120):
            while not (found := await self.events(name, related={"id": [f"prefect.flow-run.{run_id}"]})):
                await asyncio.sleep(0.5)
        return found


def end(pid: int, *, hard: bool = False) -> None:
    """End a process and everything it started; `hard` as `kill -9` does."""
    if not psutil.pid_exists(pid):
        return
    root = psutil.Process(pid)
    every = [root, *root.children(recursive=True)]
    for process in every:
        try:
            process.kill() if hard else process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(every, timeout=15)
    for process in alive:
        process.kill()
