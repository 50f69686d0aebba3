"""Everything on one machine, with no work pool: a Prefect server with its page, the deployments, their schedules."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import psutil
from rich.console import Console

from session_memory.errors import PrefectUnreachable, ServerPortTaken

if TYPE_CHECKING:
    from prefect.runner import Runner

HOST = "127.0.0.1"
_START_SECONDS = 120
_STOP_SECONDS = 20


def choose_server(port: int) -> str | None:
    """Where the server is: the one that PREFECT_API_URL names, or else one to be started on `port`.

    To be called before Prefect is imported, which reads its settings then.

    Returns:
        The address of the server to start; None when there is one already.

    Raises:
        ServerPortTaken: the port is in use.
    """
    if os.environ.get("PREFECT_API_URL"):
        return None
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise ServerPortTaken(port=port) from None
    address = f"http://{HOST}:{port}"
    os.environ.update(PREFECT_API_URL=f"{address}/api", PREFECT_UI_URL=address)
    return address


async def serve(console: Console, start_at: str | None) -> None:
    """Serve until interrupted; then pause the schedules, cancel what runs, and leave no process behind.

    Args:
        console: what is told there.
        start_at: the address of the server to start, as `choose_server` gave it.

    Raises:
        PrefectUnreachable: the server did not come up.
        AlertBlockNotFound: see `automations.apply`.
    """
    from prefect.runner import Runner

    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with _server(start_at) as before:
        _heed(loop, interrupted)
        # The runner forgets to pause them once it has run anything.
        runner = Runner(pause_on_shutdown=False)
        try:
            served = await _register(runner)
            _tell(console)
            await _serve_until(interrupted, runner, console)
            await _pause_schedules(served)
        finally:
            await asyncio.to_thread(_end, [child for child in _children() if child not in before])
    console.print("Stopped.")


async def _serve_until(interrupted: asyncio.Event, runner: "Runner", console: Console) -> None:
    serving = asyncio.create_task(runner.start())
    while not runner.started and not serving.done():  # noqa: ASYNC110 - it has no event to wait for
        await asyncio.sleep(0.05)
    # Again: the runner takes SIGTERM for itself when it starts, and leaves schedules active then.
    _heed(asyncio.get_running_loop(), interrupted)
    waiting = asyncio.create_task(interrupted.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not serving.done():
        console.print("Stopping: schedules are paused, runs are cancelled.")
        await runner.astop()
    await serving


async def _register(runner: "Runner") -> list[UUID]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate

    from deployments import automations, definitions
    from session_memory.settings import get_settings

    registered = []
    async with get_client() as client:
        for definition in definitions.load():
            os.environ.update(definitions.environment(definition))
            deployment_id = await runner.aadd_deployment(await definitions.served(definition))
            schema = (await client.read_deployment(deployment_id)).parameter_openapi_schema or {}
            # A parameter that no flow has is refused with the request, instead of being found by the run.
            closed = DeploymentUpdate(parameter_openapi_schema={**schema, "additionalProperties": False})
            await client.update_deployment(deployment_id, closed)
            registered.append(deployment_id)
        await automations.apply(client, get_settings())
    return registered


async def _pause_schedules(deployment_ids: list[UUID]) -> None:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        for deployment_id in deployment_ids:
            for schedule in await client.read_deployment_schedules(deployment_id):
                await client.update_deployment_schedule(deployment_id, schedule.id, active=False)


def _tell(console: Console) -> None:
    from prefect.settings import get_current_settings

    from deployments import definitions

    settings = get_current_settings()
    page = settings.ui_url or str(settings.api.url).removesuffix("/api")
    for definition in definitions.load():
        flow = definition["entrypoint"].rsplit(".", 1)[1].replace("_", "-")
        when = ", ".join(f"{one['cron']} {one['timezone']}" for one in definition.get("schedules", []))
        console.print(f"  {flow}/{definition['name']}" + (f"  ({when})" if when else ""), highlight=False)
    console.print(f"Prefect's page: {page}/deployments", style="bold", highlight=False, soft_wrap=True)
    console.print(f"From elsewhere on this machine: export PREFECT_API_URL={page}/api", highlight=False, soft_wrap=True)
    console.print("Ctrl-C ends all of it.")


@asynccontextmanager
async def _server(address: str | None) -> AsyncIterator[set[psutil.Process]]:
    """Prefect's server, for as long as it is needed; the processes that are its own."""
    if address is None:
        yield _children()
        return
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", address.rsplit(":", 1)[1]]
    leases = "prefect.server.concurrency.lease_storage.filesystem"
    process = await asyncio.create_subprocess_exec(
        *command,
        # In memory, a slot that is held when the server stops would be lost for good.
        env={
            **os.environ,
            "PREFECT_SERVER_UI_API_URL": f"{address}/api",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": leases,
        },
        stdout=DEVNULL,
        stderr=DEVNULL,
        # Ctrl-C is for this process, which needs the server until the schedules are paused.
        start_new_session=True,
    )
    try:
        await _until_it_answers(address, process)
        yield _children()
    finally:
        await asyncio.to_thread(_end, [psutil.Process(process.pid)] if process.returncode is None else [])
        await process.wait()


async def _until_it_answers(address: str, process: Process) -> None:
    async with httpx.AsyncClient() as client:
        for _ in range(_START_SECONDS * 4):
            if process.returncode is not None:
                break
            try:
                if (await client.get(f"{address}/api/health")).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.25)
    raise PrefectUnreachable(url=address)


def _heed(loop: asyncio.AbstractEventLoop, interrupted: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _end(processes: list[psutil.Process]) -> None:
    """End processes and what they started, gently first."""
    every = [one for process in processes if process.is_running() for one in (*process.children(True), process)]
    for process in every:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(every, timeout=_STOP_SECONDS)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=_STOP_SECONDS)
