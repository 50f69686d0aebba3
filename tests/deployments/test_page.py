"""Prefect's page, as a person uses it, in a real browser: the form, the run, its report."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.deployments import browser
from tests.deployments.browser import SCREENSHOTS
from tests.deployments.prefect_server import PrefectServer
from tests.world import World, new_session

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("worker", "llm"), browser.needed]


@pytest_asyncio.fixture(loop_scope="session")
async def page() -> AsyncIterator[Page]:
    async with browser.showing(1280, 1400) as page:
        yield page


async def test_the_form_runs_it_and_the_runs_page_shows_the_report(server: PrefectServer, world: World, page: Page):
    session, unknown = new_session(), new_session()
    await world.say(session)
    deployment = await server.deployment("persist-sessions/on-demand")
    await page.goto(f"{server.address}/deployments/deployment/{deployment['id']}/run")
    await expect(page.get_by_text("The sessions to persist, as the agent named them")).to_be_visible()
    await page.get_by_role("button", name="list", exact=True).click()
    for position, one in enumerate((session, unknown)):
        await page.get_by_role("button", name="Add item").click()
        await page.locator("form .p-draggable-list textarea").nth(position).fill(one)
    # The last text of the form is the dataset's.
    await page.locator("form textarea").last.fill(world.dataset.name)
    await page.screenshot(path=SCREENSHOTS / "form.png")
    await page.get_by_role("button", name="Submit").click()
    await page.get_by_role("button", name="View run").last.click()
    await page.wait_for_url(re.compile(r"/runs/flow-run/"))
    run = await server.ended(page.url.rsplit("/", 1)[1].split("?")[0])
    assert await world.all_stored_once(), await server.told(run)

    # The page follows the run by itself; an unknown session makes it Failed, and the message says why.
    await expect(page.get_by_text("Failed", exact=True).first).to_be_visible(timeout=60_000)
    await page.screenshot(path=SCREENSHOTS / "run.png")
    await page.get_by_role("tab", name="Artifacts").or_(page.get_by_text("Artifacts", exact=True)).first.click()
    await page.wait_for_timeout(1_000)
    await page.screenshot(path=SCREENSHOTS / "artifacts.png")

    report = await server.artifact(run["id"], "markdown")
    await page.goto(f"{server.address}/artifacts/artifact/{report['id']}")
    await expect(page.get_by_text("Not found: 1 of 2 sessions")).to_be_visible()
    await expect(page.get_by_text("Persisted: 1 of 2 sessions")).to_be_visible()
    await expect(page.get_by_role("heading", name="What to do")).to_be_visible()
    await expect(page.get_by_text("Neither the cache nor the ledger knows it")).to_be_visible()
    await page.screenshot(path=SCREENSHOTS / "report.png")

    table = await server.artifact(run["id"], "table")
    await page.goto(f"{server.address}/artifacts/artifact/{table['id']}")
    await expect(page.get_by_text(session).first).to_be_visible()
    await page.screenshot(path=SCREENSHOTS / "table.png")

    await page.goto(f"{server.address}/runs")
    await expect(page.get_by_text(run["name"]).first).to_be_visible()
    await page.screenshot(path=SCREENSHOTS / "runs.png")


async def test_a_run_that_completes_says_so(server: PrefectServer, world: World, page: Page):
    session = new_session()
    await world.say(session)
    deployment = await server.deployment("persist-sessions/on-demand")
    await page.goto(f"{server.address}/deployments/deployment/{deployment['id']}/run")
    await page.get_by_role("button", name="list", exact=True).click()
    await page.get_by_role("button", name="Add item").click()
    await page.locator("form .p-draggable-list textarea").fill(session)
    await page.locator("form textarea").last.fill(world.dataset.name)
    await page.get_by_role("button", name="Submit").click()
    await page.get_by_role("button", name="View run").last.click()
    await page.wait_for_url(re.compile(r"/runs/flow-run/"))
    run = await server.ended(page.url.rsplit("/", 1)[1].split("?")[0])
    await expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=60_000)
    await page.screenshot(path=SCREENSHOTS / "completed.png")
    assert run["state_name"] == "Completed", await server.told(run)
    assert await world.all_stored_once()
