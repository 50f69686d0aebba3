"""The automations: what Prefect's server does when a run fails, goes silent, or turns are about to expire."""

from datetime import timedelta

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, CallWebhook, ChangeFlowRunState, DoNothing, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from session_memory.errors import AlertBlockNotFound
from session_memory.settings import Settings, get_settings
from tasks.events import TURNS_EXPIRING

#: Every automation of ours begins so; what is applied again replaces what has its name.
PREFIX = "session-memory: "

Labels = dict[str, str | list[str]]

_ANY_RUN: Labels = {"prefect.resource.id": "prefect.flow-run.*"}
_OUR_FLOWS: Labels = {
    "prefect.resource.role": "flow",
    "prefect.resource.name": ["persist-sessions", "persist-pending-sessions"],
}
#: Runs that a worker can take up again; those that another run started belong to that one.
_OUR_DEPLOYMENTS: Labels = {
    "prefect.resource.role": "deployment",
    "prefect.resource.name": ["on-demand", "nightly", "expiring"],
}
_FAILED = (
    "{{ flow.name }} / {{ flow_run.name }}: {{ flow_run.state.name }}. {{ flow_run.state.message }} "
    "{{ flow_run|ui_url }}"
)
_EXPIRING = (
    "Turns that are in no dataset and about to expire from the cache: {{ event.payload.turns }}, of sessions: "
    "{{ event.payload.sessions }}, the first at {{ event.payload.next_expiry_at }}. "
    "The artifact session-memory-pending says why they were left."
)

#: Signs of life come every 30 s (`prefect.yaml`).
_SILENCE = timedelta(seconds=90)


async def apply(client: PrefectClient, settings: Settings) -> list[str]:
    """Create or update every automation; doing it again changes nothing.

    Returns:
        Their names.

    Raises:
        AlertBlockNotFound: SESSION_MEMORY_ALERT_BLOCK names a block that the server does not have.
    """
    wanted = await _wanted(client, settings)
    for automation in wanted:
        await _put(client, automation)
    return [automation.name for automation in wanted]


async def missing(client: PrefectClient, settings: Settings) -> list[str]:
    """The names of automations that `apply` would create.

    Raises:
        AlertBlockNotFound: as `apply`.
    """
    there = {one.name for one in await client.read_automations()}
    return [one.name for one in await _wanted(client, settings) if one.name not in there]


async def _wanted(client: PrefectClient, settings: Settings) -> list[AutomationCore]:
    return [
        _alert(
            "a run failed or crashed",
            _runs_that("Failed", "Crashed", "TimedOut"),
            await _tell(client, settings, _FAILED),
        ),
        _alert(
            "turns are about to expire",
            EventTrigger(expect={TURNS_EXPIRING}, posture=Posture.Reactive, threshold=1),
            await _tell(client, settings, _EXPIRING),
        ),
        AutomationCore(
            name=f"{PREFIX}heartbeat lost",
            description="A run that gave no sign of life for 90 s, because its worker died too, is marked Crashed.",
            trigger=EventTrigger(
                after={"prefect.flow-run.heartbeat"},
                expect={"prefect.flow-run.*"},
                match=_ANY_RUN,
                match_related=_OUR_FLOWS,
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=_SILENCE,
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED, name="Crashed", message="No sign of life for 90 s.", force=False
                )
            ],
        ),
        AutomationCore(
            name=f"{PREFIX}run again once",
            description="A run that crashed for the first time is run again; what was finished is not repeated.",
            trigger=_runs_that("Crashed", labels={"prefect.run-count": "1"}),
            actions=[
                ChangeFlowRunState(
                    state=StateType.SCHEDULED, name="AwaitingRetry", message="It crashed; run again once.", force=True
                )
            ],
        ),
    ]


async def apply_to_server() -> list[str]:
    """`apply`, to the server that PREFECT_API_URL names."""
    async with get_client() as client:
        return await apply(client, get_settings())


def _runs_that(*states: str, labels: Labels | None = None) -> EventTrigger:
    return EventTrigger(
        expect={f"prefect.flow-run.{state}" for state in states},
        match=_ANY_RUN | (labels or {}),
        match_related=[_OUR_FLOWS, _OUR_DEPLOYMENTS],
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
    )


def _alert(what: str, trigger: EventTrigger, action: ActionTypes) -> AutomationCore:
    return AutomationCore(
        name=f"{PREFIX}{what}",
        description="An alert: an event of this automation, and a message where SESSION_MEMORY_ALERT_BLOCK is set.",
        trigger=trigger,
        actions=[action],
    )


async def _tell(client: PrefectClient, settings: Settings, body: str) -> ActionTypes:
    """What raises an alert: the block that is set, or the event alone that every automation leaves when it fires."""
    if not settings.alert_block:
        return DoNothing()
    kind, name = settings.alert_block.split("/")
    try:
        block = await client.read_block_document_by_name(name, kind)
    except ObjectNotFound:
        raise AlertBlockNotFound(block=settings.alert_block) from None
    if kind == "webhook":
        return CallWebhook(block_document_id=block.id, payload=body)
    return SendNotification(block_document_id=block.id, subject="Session Memory", body=body)


async def _put(client: PrefectClient, automation: AutomationCore) -> None:
    known = await client.read_automations_by_name(automation.name)
    if not known:
        await client.create_automation(automation)
        return
    await client.update_automation(known[0].id, automation)
    for double in known[1:]:
        await client.delete_automation(double.id)
