"""I2 and I4: nothing is reported that the dataset does not hold."""

import pytest

from session_memory.models import Outcome
from tests.running import outcomes, persist
from tests.world import new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


async def test_a_document_that_vanishes_before_the_report_is_not_reported_persisted(world, monkeypatch):
    """Somebody removes it between our last write and our report."""
    import cognee

    from session_memory import settlement

    session = new_session()
    await world.say(session)
    settle = settlement.settle

    async def after_a_deletion(*args, **kwargs):
        (row,) = await world.documents()
        await cognee.datasets.delete_data(dataset_id=world.dataset.id, data_id=row.id, user=world.user)
        return await settle(*args, **kwargs)

    monkeypatch.setattr(settlement, "settle", after_a_deletion)
    report = await persist(world, session)
    assert report.turns_persisted == 0
    assert outcomes(report)[session] != Outcome.PERSISTED


async def test_a_pipeline_that_says_completed_and_stored_nothing_is_not_believed(world, monkeypatch):
    from session_memory import graph_writer

    session = new_session()
    await world.say(session)

    async def pretends(*args, **kwargs):
        return {}, {}

    monkeypatch.setattr(graph_writer, "_cognify", pretends)
    report = await persist(world, session)
    assert outcomes(report) == {session: Outcome.FAILED}
    assert report.sessions[0].turns_pending == 1
    monkeypatch.undo()
    assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
    assert await world.all_stored_once()
