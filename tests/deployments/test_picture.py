"""The picture of a run, as a person opens it, in a real browser."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.deployments import browser
from tests.running import persist
from tests.world import World, new_session

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("prefect_server"), browser.needed]

HOSTILE = "<script>alert(1)</script>"
GRAPH = {
    "nodes": [
        {"id": "ada", "name": "Ada", "type": "Person", "description": "Somebody who is asked about."},
        {"id": "voltaris", "name": "Voltaris", "type": "Company", "description": "A maker of batteries."},
        {"id": "tag", "name": HOSTILE, "type": "Tag", "description": HOSTILE},
    ],
    "edges": [{"source_node_id": "ada", "target_node_id": "voltaris", "relationship_name": "works_for"}],
    "summary": "Ada",
    "description": "",
}


@pytest.fixture
async def picture(world: World, llm) -> str:
    """The picture of a run over two sessions."""
    llm.answer("Ada", json.dumps(GRAPH))
    sessions = [new_session(), new_session()]
    for session in sessions:
        await world.say(session, "Where does Ada work?", "Ada works for Voltaris.")
        await world.say(session, "What does Voltaris make?", "Ada says, batteries.")
    report = await persist(world, *sessions)
    assert report.picture
    return report.picture


@asynccontextmanager
async def opened(picture: str, colours: str = "light") -> AsyncIterator[Page]:
    """The page, which must neither complain nor ask for anything."""
    told: list[str] = []
    async with browser.showing(1280, 800, colours) as page:
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("dialog", lambda dialog: told.append(dialog.message))
        page.on("request", lambda request: told.append(request.url))
        await page.goto(Path(picture).as_uri())
        yield page
    assert told == [Path(picture).as_uri()]


async def test_it_opens_and_shows_what_is_chosen_and_what_belongs_to_it(picture: str):
    async with opened(picture) as page:
        await expect(page.get_by_role("heading", level=1)).to_contain_text("What run")
        await expect(page.locator(".turn")).to_have_count(4)
        await expect(page.locator(".entity.added")).to_have_count(3)
        await page.screenshot(path=browser.SCREENSHOTS / "picture.png")
        await page.locator(".entity", has_text="voltaris").click()
        chosen = page.locator("#chosen")
        await expect(chosen).to_contain_text("A maker of batteries.")
        await expect(chosen).to_contain_text("works_for")
        await expect(page.locator("#names")).to_have_text("works_for")
        assert await page.locator(".turn.on").count() == 4
        assert await page.locator(".entity.on").count() == 2
        await page.screenshot(path=browser.SCREENSHOTS / "picture-chosen.png")
        await chosen.get_by_role("button", name="ada").click()
        await expect(chosen.get_by_role("heading", level=3)).to_have_text("ada")
        await page.keyboard.press("Escape")
        await expect(chosen).to_contain_text("Point at anything")


async def test_a_search_finds_names_sessions_and_types_and_goes_from_one_to_the_next(picture: str):
    async with opened(picture, "dark") as page:
        await page.get_by_role("searchbox").fill("company")
        await expect(page.locator("#found")).to_have_text("1")
        await page.get_by_role("searchbox").fill("chat:")
        await expect(page.locator("#found")).to_have_text("2")
        await page.keyboard.press("Enter")
        await expect(page.locator("#found")).to_have_text("1 of 2")
        await expect(page.locator(".session.chosen")).to_have_count(1)
        await page.screenshot(path=browser.SCREENSHOTS / "picture-dark.png")
        await page.locator(".type", has_text="person").click()
        await expect(page.locator(".entity.on")).to_have_text(["ada"])


async def test_it_is_moved_and_zoomed_and_fitted_again(picture: str):
    async with opened(picture) as page:
        at = page.locator("#all")
        fitted = await at.get_attribute("transform")
        await page.mouse.move(300, 300)
        await page.mouse.wheel(0, -300)
        zoomed = await at.get_attribute("transform")
        await page.mouse.down()
        await page.mouse.move(420, 380, steps=4)
        await page.mouse.up()
        moved = await at.get_attribute("transform")
        assert len({fitted, zoomed, moved}) == 3
        await page.get_by_role("button", name="Fit").click()
        assert await at.get_attribute("transform") == fitted
