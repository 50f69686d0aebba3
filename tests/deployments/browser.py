"""A real browser, for pages that people look at."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Page, async_playwright

#: For people to look at; git ignores it.
SCREENSHOTS = Path(__file__).parent / "screenshots"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

needed = pytest.mark.skipif(
    CHROMIUM is None and "REQUIRE_BROWSER" not in os.environ,
    reason="no Chromium on this machine: apt-get install chromium",
)


@asynccontextmanager
async def showing(width: int, height: int, colours: Literal["light", "dark"] = "light") -> AsyncIterator[Page]:
    """A page of a browser, so many pixels wide and high."""
    SCREENSHOTS.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        # As root, which CI is, Chromium runs only without its sandbox.
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": width, "height": height}, color_scheme=colours)
        page.set_default_timeout(20_000)
        yield page
        await browser.close()
