"""What is pending and set apart, dataset by dataset."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from session_memory.backlog import LeftSession, PendingSession, Reason
from session_memory.levels import Level, of_datasets

NOW = datetime.now(UTC)
FIRST, SECOND, THIRD = (UUID(int=number) for number in (1, 2, 3))


def pending(dataset_id: UUID, hours: float | None, *, turns: int = 2, turns_quarantined: int = 0) -> PendingSession:
    return PendingSession(
        user_id=uuid4(),
        user_email="u@example.com",
        dataset_id=dataset_id,
        dataset_name=f"d{dataset_id.int}",
        session_id="s",
        turns=turns,
        turns_quarantined=turns_quarantined,
        windows=1,
        oldest_turn_at=NOW - timedelta(hours=hours or 100),
        last_turn_at=NOW,
        expires_at=NOW + timedelta(hours=hours) if hours is not None else None,
    )


def unseen(reason: Reason = Reason.ERROR, dataset_id: UUID | None = None) -> LeftSession:
    return LeftSession(
        user="u",
        session_id="s",
        reason=reason,
        dataset_id=dataset_id,
        dataset="d1",
        expires_at=NOW + timedelta(hours=1),
    )


def test_a_dataset_sums_up_its_sessions_and_one_with_nothing_pending_says_so():
    found = of_datasets([pending(FIRST, 5), pending(FIRST, 3), pending(FIRST, None)], {SECOND: "d2"}, {}, at_most=10)
    assert found == [
        Level(
            dataset_id=str(FIRST),
            dataset_name="d1",
            turns=6,
            oldest_turn_at=NOW - timedelta(hours=100),
            expires_at=NOW + timedelta(hours=3),
        ),
        Level(dataset_id=str(SECOND), dataset_name="d2"),
    ]


def test_a_turn_that_was_refused_counts_as_quarantined_alone():
    sessions = [pending(FIRST, 5, turns=1, turns_quarantined=1), pending(SECOND, 5, turns=3, turns_quarantined=1)]
    first, second = of_datasets(sessions, {}, {FIRST: 1, SECOND: 4}, at_most=10)
    assert first == Level(dataset_id=str(FIRST), dataset_name="d1", quarantined=1)
    assert (second.turns, second.quarantined) == (2, 4)


def test_datasets_beyond_the_number_are_summed_up_and_it_is_always_the_same_ones():
    sessions = [pending(THIRD, 1), pending(SECOND, 2)]
    known = {FIRST: "d1", SECOND: "d2", THIRD: "d3"}
    own, rest = of_datasets(sessions, known, {FIRST: 1}, at_most=1)
    assert (own.dataset_id, own.turns, own.quarantined) == (str(FIRST), 0, 1)
    assert rest == Level(
        dataset_id="other",
        turns=4,
        oldest_turn_at=NOW - timedelta(hours=2),
        expires_at=NOW + timedelta(hours=1),
    )
    assert [level.dataset_id for level in of_datasets(sessions, known, {}, at_most=0)] == ["other"]
    assert "other" not in {level.dataset_id for level in of_datasets(sessions, known, {}, at_most=3)}


def test_a_session_that_could_not_be_looked_at_tells_when_it_expires():
    of_dataset, unknown = of_datasets([unseen(dataset_id=FIRST), unseen()], {}, {}, at_most=10)
    assert of_dataset == Level(dataset_id=str(FIRST), dataset_name="d1", expires_at=NOW + timedelta(hours=1))
    assert unknown == Level(expires_at=NOW + timedelta(hours=1))


def test_what_a_deleted_user_said_is_nobodys_to_wait_for():
    assert of_datasets([unseen(Reason.NO_USER)], {}, {}, at_most=10) == []
