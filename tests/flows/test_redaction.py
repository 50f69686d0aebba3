"""What was masked before it was frozen is nowhere but in the cache, and the promises of exactly once hold as before."""

import json
import signal
import uuid
from pathlib import Path

import cognee
import pytest

from session_memory import fault_points
from session_memory.errors import RedactionNotFound
from session_memory.models import Outcome
from session_memory.redaction import Redacted
from session_memory.settings import get_settings
from tests.conftest import HOME
from tests.faults import processes
from tests.flows.test_privacy import assert_prefect_holds_no
from tests.running import outcomes, persist
from tests.world import all_rows, files_below, new_session

pytestmark = pytest.mark.usefixtures("prefect_server")

BUILT_IN = "session_memory.redaction:mask"
EMAIL, CARD, PHONE = "zanzibarquux@example.com", "4111 1111 1111 1111", "+44 20 7946 0958"


def breaks_at_poison(text: str) -> Redacted:
    """A hook of somebody's own, which cannot do one text."""
    if "Poison" in text:
        raise ValueError(text)
    return Redacted(text.replace("Zanzibar", "[place]"), {"place": text.count("Zanzibar")})


@pytest.fixture
def redact(monkeypatch):
    """Set the redaction of the runs to come."""

    def use(hook: str) -> None:
        settings = get_settings().model_copy(update={"redact": hook})
        monkeypatch.setattr("tasks.extract_user_sessions.get_settings", lambda: settings)

    return use


async def ledger_of(session_id: str) -> str:
    """The rows that the ledger holds of a session."""
    rows = await all_rows()
    return str([row for row in rows["session_memory_window"] if session_id in str(row)])


async def test_what_is_masked_is_in_no_row_document_graph_log_or_file_and_the_report_counts_it(
    world, llm, redact, all_logs, capfd
):
    redact(BUILT_IN)
    session = new_session()
    # Of this test alone: others write theirs down.
    email, card = f"marmot{uuid.uuid4().hex}@example.com", "5500 0000 0000 0004"
    await world.say(session, question=f"Is {email} the Marmot of Ada?", answer=f"Yes, and {card} is her card.")
    await world.say(session, question="What of the Otter?", answer=f"Ask {email}.")
    report = await persist(world, session)

    assert outcomes(report) == {session: Outcome.PERSISTED}
    assert report.masked == {"email": 2, "card": 1}
    assert report.sessions[0].masked == report.masked
    assert "masked: 2 e-mail addresses, 1 card number" in report.asstr().splitlines()
    assert "Masked: 2 e-mail addresses, 1 card number" in report.to_markdown().splitlines()
    assert json.loads(report.model_dump_json())["masked"] == {"email": 2, "card": 1}
    assert await world.times("Is [email] the Marmot of Ada?") == (1, 1)
    assert await world.times("Yes, and [card] is her card.") == (1, 1)

    captured = capfd.readouterr()
    seen = [report.model_dump_json(), *all_logs, captured.out, captured.err, str(llm.calls), str(await all_rows())]
    seen += [*await world.document_texts(), str(await world.nodes())]
    for marker in (email, card):
        assert not [text for text in seen if marker in text]
        await assert_prefect_holds_no(marker)
        assert [file for file in holding(marker) if not is_of_the_cache(file)] == []
    # The test can fail: the cache has it.
    assert holding(email)


def holding(marker: str) -> list[Path]:
    """The files of the tests' home with a marker in them."""
    return [file for file in files_below(HOME) if marker.encode() in file.read_bytes()]


def is_of_the_cache(file: Path) -> bool:
    """Whether it is cognee's session cache, or the index that cognee keeps of it for its own recall."""
    return file.name.startswith("cache.db") or "SessionQAVector_text.lance" in file.parts


async def test_a_second_run_says_nothing_new_and_so_does_one_without_or_with_another_redaction(world, llm, redact):
    redact(BUILT_IN)
    session = new_session()
    await world.say(session, answer=f"Ask {EMAIL}.")
    await persist(world, session)
    llm.calls.clear()
    for hook in (BUILT_IN, "", f"{__name__}:breaks_at_poison"):
        redact(hook)
        report = await persist(world, session)
        assert outcomes(report) == {session: Outcome.NOTHING_NEW}
        assert report.masked == {}
        assert "masked" not in report.asstr()
    assert llm.calls == []
    assert await world.all_stored_once()


async def test_switched_on_later_it_plans_nothing_again_and_masks_what_comes(world, llm, redact):
    session = new_session()
    first = await world.say(session, answer=f"Ask {EMAIL}.")
    await persist(world, session)
    redact(BUILT_IN)
    assert outcomes(await persist(world, session)) == {session: Outcome.NOTHING_NEW}
    second = await world.say(session, answer=f"Call {PHONE}.")
    report = await persist(world, session)
    assert (report.turns_persisted, report.masked) == (1, {"phone": 1})
    assert await world.times(EMAIL) == (1, 1)
    assert await world.times(PHONE) == (0, 0)
    # A document that is written anew holds what is masked today.
    await world.edit(session, first)
    assert (await persist(world, session)).masked == {"email": 1}
    assert await world.times(EMAIL) == (0, 0)
    assert await world.all_stored_once()
    assert {first, second} == set(world.said)


async def test_an_edit_of_a_masked_turn_replaces_it_and_leaves_the_others_as_they_were_masked(world, redact):
    redact(BUILT_IN)
    session = new_session()
    kept = await world.say(session, answer=f"Ask {EMAIL}.")
    edited = await world.say(session, answer=f"Call {PHONE}.")
    await persist(world, session)
    await world.edit(session, edited, f"Who has Ferret {CARD}?")
    # What was masked stays so, also under a redaction that would not mask it.
    redact(f"{__name__}:breaks_at_poison")
    assert (await persist(world, session)).masked == {}
    assert await world.times("Ask [email].") == (1, 1)
    assert await world.times(world.said[kept]) == (1, 1)
    redact(BUILT_IN)
    await world.edit(session, edited, f"Who else has Ferret {CARD}?")
    assert (await persist(world, session)).masked == {"card": 1, "phone": 1}
    assert await world.times("Who else has Ferret [card]?") == (1, 1)
    assert await world.times("Ask [email].") == (1, 1)
    assert await world.times(EMAIL) == (0, 0)
    assert len(await world.documents()) == 1


async def test_a_turn_that_cognees_own_path_stored_unmasked_is_recognised(world, llm, redact):
    session = new_session()
    await world.say(session, answer=f"Ask {EMAIL}.")
    await cognee.improve(dataset=world.dataset.name, session_ids=[session], user=world.user)
    redact(BUILT_IN)
    llm.calls.clear()
    report = await persist(world, session)
    assert outcomes(report) == {session: Outcome.NOTHING_NEW}
    assert (report.sessions[0].turns_foreign, report.masked) == (1, {})
    assert llm.calls == []
    assert await world.all_stored_once()


@pytest.mark.parametrize("cache", ["same", "expired"])
async def test_a_masked_turn_that_cognee_stored_after_a_kill_is_not_there_twice(world, cache):
    session = new_session()
    await world.say(session, question=f"Who is the Lynx at {EMAIL}?")
    await world.say(session)
    killed = await processes.run(
        world, session, SESSION_MEMORY_REDACT=BUILT_IN, **{fault_points.VARIABLE: "frozen=kill"}
    )
    assert killed.returncode == -signal.SIGKILL, killed.output[-2000:]
    assert "Lynx at [email]" in await ledger_of(session)
    await cognee.improve(dataset=world.dataset.name, session_ids=[session], user=world.user)
    if cache == "expired":
        await world.expire(session)
    assert outcomes(await persist(world, session)) == {session: Outcome.NOTHING_NEW}
    assert await world.all_stored_once()
    assert await world.times("Lynx at") == (1, 1)


async def test_a_hook_that_raises_fails_its_session_alone_and_lets_nothing_through(world, llm, redact, all_logs):
    redact(f"{__name__}:breaks_at_poison")
    good, bad = new_session(), new_session()
    await world.say(good, question="What is the Newt of Zanzibar?")
    await world.say(bad, question="What is the Heron of Zanzibar?")
    poison = await world.say(bad, answer="Poison Quaggaredact.")
    report = await persist(world, good, bad)
    assert outcomes(report) == {good: Outcome.PERSISTED, bad: Outcome.FAILED}
    assert await world.times("What is the Newt of [place]?") == (1, 1)
    assert report.masked == {"place": 1}
    assert "masked: 1 place" in report.asstr().splitlines()
    failed = next(one for one in report.sessions if one.session_id == bad)
    assert failed.error_code == "redaction_failed"
    assert "(ValueError)" in failed.error
    # Nothing of the session was kept, and its words are told to nobody.
    assert await ledger_of(bad) == "[]"
    assert not [call for call in llm.calls if "Heron" in str(call)]
    assert "Quaggaredact" not in report.model_dump_json() + str(await all_rows()) + "".join(all_logs)
    await assert_prefect_holds_no("Quaggaredact")
    # Nothing is lost: the next run takes it up.
    redact(BUILT_IN)
    assert outcomes(await persist(world, good, bad)) == {good: Outcome.NOTHING_NEW, bad: Outcome.PERSISTED}
    assert poison in world.said
    assert await world.times("What is the Heron of Zanzibar?") == (1, 1)


async def test_a_hook_that_is_not_there_stops_the_run_before_anything_is_frozen(world, llm, redact):
    redact("no_such_package:mask")
    session = new_session()
    await world.say(session)
    with pytest.raises(RedactionNotFound, match="no_such_package:mask"):
        await persist(world, session)
    assert await ledger_of(session) == "[]"
    assert llm.calls == []
    redact("")
    assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
