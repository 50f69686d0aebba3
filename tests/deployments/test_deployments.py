"""The three ways in, against a real server and a real worker: over HTTP, by schedule, by an event."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.deployments.llm_server import LLMServer
from tests.deployments.prefect_server import ROOT, PrefectServer
from tests.running import until
from tests.world import World, new_session

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("worker", "llm")]


async def test_deploying_again_changes_nothing_and_tells_no_path_of_this_machine(server: PrefectServer):
    before = await everything(server)
    server.command("deploy", "--all")
    server.command("automations", tool="session-memory")
    after = await everything(server)
    assert [one["name"] for one in after["automations"]] == [one["name"] for one in before["automations"]]
    assert len(after["automations"]) == 5
    assert {f"{one['name']}": one["id"] for one in after["deployments"]} == {
        f"{one['name']}": one["id"] for one in before["deployments"]
    }
    assert str(ROOT) not in str(after)
    schedules = {one["name"]: [s["schedule"]["cron"] for s in one["schedules"]] for one in after["deployments"]}
    assert schedules == {"on-demand": [], "nightly": ["0 2 * * *"], "expiring": ["30 * * * *"]}
    assert all(len(one["description"].split()) > 10 for one in after["deployments"])


async def everything(server: PrefectServer) -> dict[str, list]:
    return {
        "deployments": sorted(await server.find("deployments"), key=lambda one: one["name"]),
        "automations": sorted(await server.find("automations"), key=lambda one: one["name"]),
    }


async def test_on_demand_over_http_the_turns_are_in_the_graph_and_the_page_tells_it(
    server: PrefectServer, world: World
):
    session = new_session()
    await world.say(session)
    await world.say(session)
    run = await server.run("persist-sessions/on-demand", session_ids=[session], dataset=world.dataset.name)
    assert run["state_name"] == "Completed", await server.told(run)
    assert run["state"]["message"].startswith("1 session: 1 persisted; 2 turns, ")
    assert await world.all_stored_once()
    report = await server.artifact(run["id"], "markdown")
    assert report["key"] == f"session-memory-{world.dataset.name}"
    assert "Persisted: 1 of 1 session" in report["data"]
    assert "| 2 | 20 | 10 |" in report["data"], "LLM calls and tokens, where the provider says"
    table = await server.artifact(run["id"], "table")
    assert f'"session": "{session}"' in table["data"]
    assert (await server.artifact(run["id"], "progress"))["data"] == 100.0
    (event,) = await told_of(server, "session-memory.session.persisted", session)
    assert (event["payload"]["turns_persisted"], event["payload"]["all_persisted"]) == (2, True)
    finished = await server.events_of(run["id"], "session-memory.run.finished")
    assert [one["payload"]["turns_persisted"] for one in finished] == [2]


async def told_of(server: PrefectServer, name: str, session: str) -> list[dict[str, Any]]:
    """The events of a name about a session, once there are any: the server takes them in a moment later."""
    found: list[dict[str, Any]] = []

    async def are_there() -> bool:
        found[:] = [one for one in await server.events(name) if one["payload"]["session_id"] == session]
        return bool(found)

    await until(are_there, 120)
    return found


async def test_a_refused_session_is_told_by_an_event_and_in_the_report(
    server: PrefectServer, llm_server: LLMServer, world: World
):
    fine, refused = new_session(), new_session()
    await world.say(fine)
    await world.say(refused, question="What is Poison?")
    llm_server.refusing = "Poison"
    run = await server.run("persist-sessions/on-demand", session_ids=[fine, refused], dataset=world.dataset.name)
    llm_server.refusing = None
    assert run["state_name"] == "Failed"
    assert run["state"]["message"].startswith("2 sessions: 1 quarantined, 1 persisted; 1 turn, "), run["state"]
    (event,) = await told_of(server, "session-memory.session.quarantined", refused)
    assert (event["payload"]["turns_quarantined"], event["payload"]["all_persisted"]) == (1, False)
    report = (await server.artifact(run["id"], "markdown"))["data"]
    assert "try it again with `session-memory retry`" in report.split("## What to do")[1]
    everything = [run, await server.logs(run["id"]), report, await server.artifact(run["id"], "table"), event]
    assert "Poison" not in str(everything)


async def test_the_nightly_run_finds_the_pending_sessions_of_every_user(server: PrefectServer):
    worlds = [await World.own() for _ in range(3)]
    for world in worlds:
        for _ in range(2):
            await world.say(new_session())
    users = [world.user.email for world in worlds]
    run = await server.run("persist-pending-sessions/nightly", users=users)
    assert run["state_name"] == "Completed", await server.told(run)
    assert run["state"]["message"].startswith("6 sessions of 3 users in 3 datasets: 6 persisted; 6 turns, ")
    for world in worlds:
        assert await world.all_stored_once()
    report = await server.artifact(run["id"], "markdown")
    assert all(user in report["data"] for user in users)
    links = [part.split(")")[0] for part in report["data"].split("](")[1:]]
    assert len(links) == 3
    for link in links:
        assert (await server.read_run(link.rsplit("/", 1)[1]))["state_name"] == "Completed"


async def test_a_wrong_parameter_is_named_and_nothing_runs(server: PrefectServer):
    for wrong, named in (
        ({"session_ids": "chat-1"}, "session_ids"),
        ({"session_ids": []}, "session_ids"),
        ({"session_ids": ["s"], "dataset": 3}, "dataset"),
        ({"session_ids": ["s"], "run_in_background": "perhaps"}, "run_in_background"),
    ):
        response = await server.request_run("persist-sessions/on-demand", **wrong)
        assert (response.status_code, named in response.text) == (409, True), response.text
    response = await server.request_run("persist-pending-sessions/nightly", max_sessions=0)
    assert (response.status_code, "max_sessions" in response.text) == (409, True), response.text


async def test_an_unknown_parameter_ends_the_run_at_its_first_step_with_its_name(server: PrefectServer):
    run = await server.run("persist-sessions/on-demand", session_ids=["s"], colour="red")
    assert run["state_name"] == "Failed"
    assert run["state"]["message"].startswith("There is no parameter colour. The flow takes user, session_ids,")
    assert "Traceback" not in await server.logs(run["id"])
    (log,) = [text for path in server.home.glob("worker-*.log") if "no parameter colour" in (text := path.read_text())]
    assert "Traceback" not in log.split("no parameter colour")[1][:2000]


async def test_a_closed_session_is_persisted_at_once(server: PrefectServer, world: World):
    session = new_session()
    await world.say(session)
    await server.api.post(
        "/events",
        json=[
            {
                "occurred": datetime.now(UTC).isoformat(),
                "id": str(uuid.uuid4()),
                "event": "cognee.session.closed",
                "resource": {"prefect.resource.id": f"cognee.session.{session}"},
                "payload": {"session_id": session, "user": world.user.email, "dataset": str(world.dataset.id)},
            }
        ],
    )

    async def is_started() -> bool:
        return bool(await runs_of(server, session))

    await until(is_started, 180)
    run = await server.ended((await runs_of(server, session))[0]["id"])
    assert run["state_name"] == "Completed", await server.told(run)
    assert await world.all_stored_once()


async def runs_of(server: PrefectServer, session: str) -> list[dict]:
    return [run for run in await server.find("flow_runs") if session in (run["parameters"].get("session_ids") or [])]
