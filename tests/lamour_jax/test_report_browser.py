"""The page in a real browser, headless: no error, no request, and a robot that moves."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lamour_jax.report.__main__ import main
from tests.lamour_jax.made_up_run import HOSTILE, write, write_generation

webdriver = pytest.importorskip("selenium.webdriver")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="needs a browser (Debian: apt-get install chromium chromium-driver)",
)
SOFTWARE_WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
NO_WEBGL = ("--disable-3d-apis",)


class Browser:
    """A headless Chromium that keeps what it logs and what it asks for."""

    def __init__(self, *options: str):
        settings = webdriver.ChromeOptions()
        settings.binary_location = CHROMIUM
        for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", *options):
            settings.add_argument(option)
        settings.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(settings, webdriver.ChromeService(DRIVER))
        self.look(600, 500)

    def look(self, width: int, height: int, dark: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def open(self, page: Path) -> None:
        self.driver.get(page.as_uri())

    def ask(self, script: str) -> Any:
        return self.driver.execute_script(f"return {script}")

    def replay(self) -> dict[str, str]:
        return self.ask("({...document.getElementById('replay').dataset})")

    def click(self, selector: str) -> None:
        self.ask(f"document.querySelector({json.dumps(selector)}).click()")

    def seek(self, seconds: float) -> None:
        self.driver.execute_script(
            "const scrubber = document.querySelector('[data-part=scrubber]');"
            f"scrubber.value = {seconds};"
            "scrubber.dispatchEvent(new Event('input'));"
        )

    def wait(self, met: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + 30.0
        while not met():
            assert time.monotonic() < deadline, f"in 30 s not: {what}"
            time.sleep(0.1)

    def picture(self, selector: str) -> np.ndarray:
        element = self.driver.find_element("css selector", selector)
        with Image.open(io.BytesIO(element.screenshot_as_png)) as picture:
            return np.asarray(picture.convert("RGB")).astype(int)

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> set[str]:
        events = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        urls = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return {url.partition(":")[0] for url in urls}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write(tmp_path_factory.mktemp("browser") / "run", device=HOSTILE)
    write_generation(folder, HOSTILE)
    (folder / "reward.py").write_text(HOSTILE)
    assert main([str(folder)]) == 0
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser(*SOFTWARE_WEBGL)
    yield browser
    browser.driver.quit()


@pytest.fixture
def opened(browser: Browser, page: Path) -> Browser:
    browser.look(600, 500)
    browser.open(page)
    if not browser.ask("document.createElement('canvas').getContext('webgl2') !== null"):
        pytest.skip("this browser has no WebGL, not even in software")
    return browser


def test_loads_without_a_complaint_or_a_request(opened: Browser) -> None:
    opened.wait(lambda: int(opened.replay()["frame"]) > 2, "a few frames played")
    assert opened.complaints() == []
    requests = opened.requests()
    assert "file" in requests  # the page itself: the log works
    assert requests <= {"file", "data"}
    assert opened.ask("window.pwned === undefined")
    assert not opened.ask("document.querySelector('.fallback').offsetHeight")


def test_the_replay_moves_and_stops(opened: Browser) -> None:
    opened.click("[data-part=play]")
    assert opened.replay()["playing"] == "false"
    still = opened.picture("#replay canvas")
    assert len(np.unique(still.reshape(-1, 3), axis=0)) > 100, "the canvas is blank"
    np.testing.assert_array_equal(opened.picture("#replay canvas"), still)
    frame = int(opened.replay()["frame"])
    opened.click("[data-part=play]")
    opened.wait(lambda: int(opened.replay()["frame"]) > frame + 10, "half a second played")
    opened.click("[data-part=play]")
    assert (np.abs(opened.picture("#replay canvas") - still).max(axis=2) > 30).mean() > 0.002


def test_an_episode_is_chosen_and_sought_in(opened: Browser) -> None:
    assert opened.replay()["episode"] == "median"
    buttons = "[...document.querySelectorAll('[data-part=episodes] button')]"
    names = opened.ask(f"{buttons}.map((button) => button.textContent)")
    assert names == ["worst", "median", "best", "original policy"]
    facts = "document.querySelector('[data-part=facts]').textContent"
    assert opened.ask(facts) == "healthy for good after 2.00 s; return 900"
    opened.click("[data-part=episodes] button:nth-child(1)")
    assert opened.replay()["episode"] == "worst"
    assert opened.ask(facts) == "did not come back; return 0"
    opened.click("[data-part=play]")
    opened.click("[data-part=episodes] button:nth-child(3)")
    assert opened.replay()["episode"] == "best"
    assert opened.replay()["playing"] == "true"
    opened.click("[data-part=play]")
    health = "document.querySelector('[data-part=health]').textContent"
    # Best: healthy from step 20 of 0.05 s on.
    expected = ((0.5, 10, "not healthy"), (1.0, 20, "healthy"), (5.0, 100, "healthy"))
    for seconds, frame, words in expected:
        opened.seek(seconds)
        assert (int(opened.replay()["frame"]), opened.ask(health)) == (frame, words)


def test_the_end_of_an_episode_stops_it(opened: Browser) -> None:
    opened.driver.execute_script("document.querySelector('[data-part=speed]').value = '4'")
    opened.seek(4.0)
    opened.wait(lambda: opened.replay()["playing"] == "false", "the episode ended")
    assert int(opened.replay()["frame"]) == 100
    opened.click("[data-part=play]")
    opened.wait(lambda: int(opened.replay()["frame"]) < 100, "it began anew")


@pytest.mark.parametrize(("width", "dark"), [(1000, False), (1000, True), (375, False)])
def test_fits_and_follows_the_light(opened: Browser, page: Path, width: int, dark: bool) -> None:
    opened.look(width, 800, dark)
    opened.open(page)
    opened.click("[data-part=play]")
    assert opened.ask("document.documentElement.scrollWidth") <= width
    brightness = opened.picture("#replay canvas").mean()
    assert brightness < 100 if dark else brightness > 150
    folder = os.environ.get("SCREENSHOTS")  # to look at them
    if folder:
        opened.look(width, int(opened.ask("document.documentElement.scrollHeight")), dark)
        opened.driver.save_screenshot(f"{folder}/{width}-{'dark' if dark else 'light'}.png")


def test_without_webgl_there_are_stills(page: Path) -> None:
    browser = Browser(*NO_WEBGL)
    try:
        browser.open(page)
        assert browser.complaints() == []
        assert browser.ask("document.querySelector('.fallback').innerText").startswith(
            "The moving picture needs WebGL"
        )
        assert browser.ask("document.querySelector('.fallback img').complete")
        assert not browser.ask("document.querySelector('[data-part=play]').offsetHeight")
    finally:
        browser.driver.quit()
