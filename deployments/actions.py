"""What the commands do: each starts cognee, and runs in one event loop."""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from session_memory.errors import SessionsNotPersisted

if TYPE_CHECKING:
    from session_memory.forecast import Forecast
    from session_memory.forget_report import ForgetReport
    from session_memory.pending_report import PendingReport
    from session_memory.report import PersistReport, RebuildReport
    from session_memory.status import StatusReport
    from session_memory.verify_report import VerifyReport


async def persist(
    user: str | None, session_ids: list[str], dataset: str, *, background: bool = False
) -> "PersistReport":
    from flows.persist_sessions import persist_sessions

    return await persist_sessions(user=user, session_ids=session_ids, dataset=dataset, run_in_background=background)


async def persist_pending(users: list[str] | None, datasets: list[str] | None) -> "PendingReport":
    from flows.persist_pending_sessions import persist_pending_sessions

    return await persist_pending_sessions(users=users, datasets=datasets)


async def retry(user: str | None, session_id: str, dataset: str) -> "PersistReport":
    from session_memory import runtime

    await runtime.start()
    from session_memory.failures import told_in_our_words
    from session_memory.quarantine import release

    with told_in_our_words():
        await release(user, session_id, dataset)
    return await persist(user, [session_id], dataset)


async def plan(users: list[str] | None, datasets: list[str] | None, session_ids: list[str] | None) -> "Forecast":
    from session_memory import runtime
    from session_memory.settings import get_settings

    await runtime.start()
    from session_memory import forecast
    from session_memory.failures import told_in_our_words

    with told_in_our_words():
        return await forecast.forecast(users, datasets, session_ids, get_settings())


async def status(users: list[str] | None, datasets: list[str] | None, session_ids: list[str] | None) -> "StatusReport":
    from session_memory import runtime
    from session_memory.settings import get_settings

    await runtime.start()
    from deployments.last_runs import last_runs
    from session_memory import status
    from session_memory.failures import told_in_our_words

    with told_in_our_words():
        report = await status.status(users, datasets, session_ids, get_settings())
    return report.model_copy(update={"last_runs": await last_runs()})


async def verify(
    user: str | None, session_ids: list[str] | None, dataset: str, *, repair: bool, say: Callable[[str], None]
) -> "VerifyReport":
    from session_memory import runtime
    from session_memory.settings import get_settings

    await runtime.start()
    from session_memory import verification
    from session_memory.access import authorise
    from session_memory.failures import told_in_our_words
    from session_memory.repair import reopen

    settings = get_settings().making_no_dataset()

    async def look() -> "VerifyReport":
        return await verification.verify(
            target, session_ids, settings, done=lambda count: say(f"{count} documents verified…")
        )

    with told_in_our_words():
        target = await authorise(user, dataset, settings)
        report = await look()
        if not repair or not report.problems:
            return report
        say("Repairing…")
        reopened = await reopen(target, {one.data_id for one in report.problems}, settings)
    if reopened:
        again = list(dict.fromkeys(window.session_id for window in reopened))
        # What fails of them stays pending, and is told so by the verification that follows.
        with suppress(SessionsNotPersisted):
            await persist(str(target.user_id), again, str(target.dataset_id))
    with told_in_our_words():
        after = await look()
    waiting = max(after.turns_pending - report.turns_pending, 0)
    repaired = sum(len(window.turns) for window in reopened) - waiting
    return after.model_copy(update={"turns_repaired": repaired, "turns_to_write": waiting})


async def forget(user: str | None, session_id: str, turn: str | None, dataset: str, *, cache: bool) -> "ForgetReport":
    from session_memory import runtime
    from session_memory.settings import get_settings

    await runtime.start()
    from session_memory import forgetting
    from session_memory.access import authorise
    from session_memory.failures import told_in_our_words

    settings = get_settings().making_no_dataset()
    with told_in_our_words():
        target = await authorise(user, dataset, settings)
        report = await forgetting.forget(target, session_id, turn=turn, cache=cache, settings=settings)
    if report.turns_rewritten:
        try:
            await persist(str(target.user_id), [session_id], str(target.dataset_id))
        except SessionsNotPersisted:
            return report.model_copy(update={"rewritten": False})
    return report


async def rebuild(user: str | None, dataset: str, *, drop: bool) -> "RebuildReport":
    from session_memory import runtime
    from session_memory.settings import get_settings

    await runtime.start()
    from session_memory import adoption
    from session_memory.access import authorise
    from session_memory.failures import told_in_our_words

    with told_in_our_words():
        return await adoption.rebuild(await authorise(user, dataset, get_settings()), drop=drop)
