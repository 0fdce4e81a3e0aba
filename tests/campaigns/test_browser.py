"""The pages of real campaigns in Debian's Chromium: what is only visible in a browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from superionic.report.draw_plotly import surface_json
from superionic.report.plots import Surface, Volume

from .conftest import write_campaign
from .test_live import CAMPAIGN as WATCHED

pytestmark = pytest.mark.browser

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
_DRAWN = """
return Array.from(document.querySelectorAll(".chart")).map(function (chart) {
  var points = (chart.data || []).reduce(function (sum, trace) {
    var x = trace.x || trace.z || [];
    return sum + (x.bdata ? x.bdata.length : x.length);
  }, 0);
  return {id: chart.id, told: !!chart.querySelector(".no-webgl"), points: points,
          svg: !!chart.querySelector(".main-svg"), canvas: !!chart.querySelector("canvas"),
          width: chart.getBoundingClientRect().width};
});
"""


class Tab:
    """A tab of the browser, and what a reader does in it."""

    def __init__(self, driver) -> None:
        self.driver = driver

    def open(self, page: Path | str, *, width: int = 1200, height: int = 900, scheme: str = "light") -> None:
        """Open a file, or an address."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.requests()  # forget those before
        self.errors()
        self.driver.get(page if isinstance(page, str) else page.as_uri())

    def command(self, name: str, **arguments) -> dict:
        return self.driver.execute_cdp_cmd(name, arguments)

    def script(self, code: str, *arguments):
        return self.driver.execute_script(code, *arguments)

    def press(self, key: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        ActionChains(self.driver).send_keys(getattr(Keys, key)).perform()

    def click(self, selector: str) -> None:
        self.script(
            "document.querySelector(arguments[0]).scrollIntoView({block: 'center', behavior: 'instant'})", selector
        )
        self.find(selector).click()

    def find(self, selector: str):
        return self.driver.find_element("css selector", selector)

    def focused(self) -> str:
        return self.script("return document.activeElement.className || document.activeElement.id")

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self) -> list[str]:
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


@pytest.fixture(scope="module")
def tab(tmp_path_factory) -> Iterator[Tab]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # The path is given, so that selenium looks for no driver elsewhere.
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield Tab(driver)
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def analysis_page(polymorphs, tmp_path_factory) -> Path:
    """The page of the analysis of all runs of a campaign."""
    from superionic import analyse

    return analyse(polymorphs.campaign.run_folder, density_grid_A=1.0, sites="density").write(
        tmp_path_factory.mktemp("analysis"), formats=("svg",)
    )


@pytest.fixture(scope="module", params=["two axes", "polymorphs", "ladder", "analysis"])
def page(request) -> Path:
    if request.param == "analysis":
        return request.getfixturevalue("analysis_page")
    return request.getfixturevalue(request.param.replace(" ", "_")).report / "report.html"


@pytest.fixture(scope="module")
def opened(tab, page) -> Path:
    """A page that is open, for tests that only look at it."""
    tab.open(page)
    return page


def test_everything_is_drawn_and_nothing_is_asked_of_anyone(tab, opened):
    charts = tab.script(_DRAWN)
    assert charts
    for chart in charts:
        assert chart["told"] or (chart["svg"] and chart["points"]), chart
    assert tab.errors() == []
    asked = [url for url in tab.requests() if not url.startswith(("data:", "blob:"))]
    assert asked == [opened.as_uri()]


@pytest.mark.usefixtures("opened")
def test_the_first_screen_says_the_result_and_how_far_to_trust_it(tab):
    lines = tab.script("return Array.from(document.querySelectorAll('.line')).map(line => line.innerText)")
    bottom = tab.script("return document.querySelector('.lines').getBoundingClientRect().bottom")
    assert 2 <= len(lines) <= 5
    assert bottom <= 900


@pytest.mark.usefixtures("opened")
def test_links_lead_to_files_that_are_there(tab):
    for target in tab.script(
        "return Array.from(document.querySelectorAll('a[href]')).map(a => a.getAttribute('href'))"
    ):
        if target.startswith("#"):
            assert tab.script("return !!document.getElementById(arguments[0])", target[1:]), target
        else:
            assert tab.script("return new URL(arguments[0], location).protocol", target) == "file:"
            assert Path(
                tab.script("return decodeURIComponent(new URL(arguments[0], location).pathname)", target)
            ).is_file()


def test_a_narrow_screen_needs_no_scrolling_sideways(tab, page):
    tab.open(page, width=400, height=800, scheme="dark")
    assert tab.script("return document.documentElement.scrollWidth") <= 400
    assert all(chart["width"] <= 400 for chart in tab.script(_DRAWN))
    assert tab.errors() == []


def test_the_light_is_switched_by_keyboard_and_remembered(tab, ladder):
    page = ladder.report / "report.html"
    tab.open(page, scheme="dark")
    theme = "return document.documentElement.dataset.theme"
    ink = "return document.querySelector('.chart').layout.font.color"
    assert tab.script(theme) == "dark"
    dark_ink = tab.script(ink)
    tab.script("document.getElementById('theme').focus()")
    tab.press("ENTER")
    assert tab.script(theme) == "light"
    assert tab.script(ink) != dark_ink
    tab.open(page, scheme="dark")
    assert tab.script(theme) == "light"
    tab.script("localStorage.clear()")


def test_the_keyboard_reaches_the_results_past_the_contents(tab, ladder):
    tab.open(ladder.report / "report.html")
    tab.press("TAB")
    assert tab.focused() == "skip"
    tab.press("ENTER")
    assert tab.script("return location.hash") == "#summary"
    tab.press("TAB")
    assert tab.script("return !!document.activeElement.closest('main')")


def test_long_tables_are_folded(tab, polymorphs):
    tab.open(polymorphs.report / "report.html")
    shown = (
        "var table = document.getElementById(document.querySelector('button.fold').getAttribute('aria-controls'));"
        "return Array.from(table.querySelectorAll('tbody tr')).filter(row => row.offsetParent !== null).length"
    )
    rows = tab.script(shown.replace(".filter(row => row.offsetParent !== null)", ""))
    assert rows > 30
    assert tab.script(shown) == 30
    tab.script("document.querySelector('button.fold').focus()")
    tab.press("ENTER")
    assert tab.script(shown) == rows
    assert tab.find("button.fold").get_attribute("aria-expanded") == "true"
    tab.press("SPACE")
    assert tab.script(shown) == 30


def test_tables_are_sorted_by_number_and_back(tab, two_axes):
    tab.open(two_axes.report / "report.html")
    head = "#stability table.sortable thead th.number"
    cells = (
        "var head = document.querySelector(arguments[0]), table = head.closest('table');"
        "return Array.from(table.tBodies[0].rows).map(row => row.cells[head.cellIndex].innerText)"
    )

    def numbers() -> list[float]:
        return [float(cell.replace("\N{MINUS SIGN}", "-")) for cell in tab.script(cells, head)]

    original = numbers()
    assert tab.find(head).get_attribute("aria-sort") == "none"
    tab.click(f"{head} button")
    assert tab.find(head).get_attribute("aria-sort") == "ascending"
    assert numbers() == sorted(original)
    tab.press("ENTER")
    assert tab.find(head).get_attribute("aria-sort") == "descending"
    assert numbers() == sorted(original, reverse=True)
    tab.press("ENTER")
    assert numbers() == original


def test_names_of_the_legend_hide_what_they_name(tab, two_axes):
    tab.open(two_axes.report / "report.html")
    tab.click(".legend button")
    name = tab.find(".legend button").get_attribute("data-name")
    visible = tab.script(
        "return Array.from(document.querySelector('.legend').closest('figure').querySelectorAll('.chart'))"
        ".flatMap(chart => chart.data || []).filter(trace => trace.meta === arguments[0]).map(trace => trace.visible)",
        name,
    )
    assert visible
    assert not any(visible)
    tab.click(".legend button")
    assert tab.find(".legend button").get_attribute("aria-pressed") == "true"


_SURFACE = """
var box = document.querySelector(".level:not([hidden])"), chart = box.closest(".panel").querySelector(".chart");
var mesh = chart.data[0];
return {type: mesh.type, name: mesh.name, triangles: mesh.i.length, words: box.querySelector("output").textContent,
        others: chart.data.slice(1).map(function (trace) { return trace.name; }),
        level: Number(box.querySelector("input").value), width: chart.getBoundingClientRect().width};
"""
_MOVE = """
var slider = document.querySelector(".level:not([hidden]) input");
slider.value = arguments[0];
slider.dispatchEvent(new Event("input"));
"""


def test_a_reader_chooses_the_level_of_the_density(tab, polymorphs):
    from selenium.webdriver.support.wait import WebDriverWait

    tab.open(polymorphs.report / "report.html")
    first = tab.script(_SURFACE)
    assert (first["type"], first["name"]) == ("mesh3d", "density of Li")
    assert first["triangles"] > 0
    assert {"Cl", "Y"} <= set(first["others"])  # the framework
    shares = []
    for level in (50, 450):
        before = tab.script(_SURFACE)["triangles"]
        tab.script(_MOVE, level)
        WebDriverWait(tab.driver, 10).until(lambda _, old=before: tab.script(_SURFACE)["triangles"] != old)
        words = tab.script(_SURFACE)["words"]
        assert "× 10⁻" in words
        shares.append(int(words.partition("around ")[2].partition(" %")[0]))
    assert shares[0] > shares[1]
    assert tab.errors() == []


def test_the_page_makes_the_surface_that_the_density_has(tab, polymorphs):
    n, cell = 24, np.array([[8.0, 0.0, 0.0], [-3.0, 7.0, 0.0], [1.0, 0.5, 9.0]])
    places = np.stack(np.meshgrid(*(np.arange(n) / n,) * 3, indexing="ij"), axis=-1) - 0.5
    density = np.exp(-np.square(np.linalg.norm(places @ cell, axis=-1)))
    volume = Volume(density, 1e-3 * float(density.max()), [])
    tab.open(polymorphs.report / "report.html")
    packed = surface_json(Surface(cell, [], volume=volume), 400)["volume"]
    mesh = tab.script("return densitySurface.mesh(arguments[0], arguments[1])", packed, float(np.exp(-4.0)))
    vertices = np.array([mesh["x"], mesh["y"], mesh["z"]]).T - 0.5 * cell.sum(axis=0)
    assert np.linalg.norm(vertices, axis=1) == pytest.approx(2.0, abs=0.03)  # exp(-r²) is exp(-4) at 2 Å
    a, b, c = (vertices[mesh[corner]] for corner in "ijk")
    normals = 0.5 * np.cross(b - a, c - a)
    assert np.linalg.norm(normals, axis=1).sum() == pytest.approx(16.0 * np.pi, rel=0.03)
    assert (np.einsum("ij,ij->i", normals, a + b + c) > 0).mean() > 0.999  # fronts look away from the dense side
    share = tab.script("return densitySurface.enclosed(arguments[0], arguments[1])", packed, float(np.exp(-4.0)))
    assert share == pytest.approx(float(density[density > np.exp(-4.0)].sum() / density.sum()), abs=0.01)


def test_the_live_page_shows_the_stages_and_the_report(tab, polymorphs):
    import threading

    from selenium.webdriver.support.wait import WebDriverWait

    from superionic.campaign.live.server import LiveServer
    from superionic.campaign.live.watcher import Watcher

    with Watcher(polymorphs.campaign) as watcher, LiveServer(0, watcher) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tab.open(server.address, width=400)
        wait = WebDriverWait(tab.driver, 120)
        wait.until(lambda _: tab.script("return !document.getElementById('report').hidden"))
        rows = "document.querySelectorAll('#stages tbody tr')"
        states = tab.script(f"return Array.from({rows}).map(row => [row.cells[0].innerText, row.className])")
        assert states == [[stage.stage, "done"] for stage in polymorphs.campaign.status().stages]
        assert tab.script("return document.querySelector('.line b').innerText.trim()") == "Everything is done."
        assert tab.script("return document.documentElement.scrollWidth") <= 400
        tab.driver.switch_to.frame(tab.find("#report"))
        wait.until(lambda _: tab.script("return document.readyState") == "complete" and tab.script(_DRAWN))
        for chart in tab.script(_DRAWN):
            assert chart["told"] or (chart["svg"] and chart["points"]), chart
        tab.driver.switch_to.default_content()
        assert "token" not in tab.script("return location.href")
        assert tab.errors() == []
        own = ("data:", "blob:", server.address.partition("?")[0])
        assert [url for url in tab.requests() if not url.startswith(own)] == []
        server.shutdown()
    wait.until(lambda _: "does not answer" in tab.script("return document.getElementById('lines').innerText"))


def test_the_live_page_follows_a_run_from_its_first_task_to_the_report(tab, root, tmp_path):
    """The page is opened before anything is done, and is never loaded again."""
    import threading

    from selenium.webdriver.support.wait import WebDriverWait

    from superionic import Campaign
    from superionic.campaign.live.server import LiveServer
    from superionic.campaign.live.watcher import Watcher

    campaign = Campaign.load(write_campaign(root, tmp_path, WATCHED))
    states = "return Array.from(document.querySelectorAll('#stages tbody tr')).map(row => row.className)"
    with Watcher(campaign, every_s=0.5) as watcher, LiveServer(0, watcher) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tab.open(server.address)
        wait = WebDriverWait(tab.driver, 120)
        n_stages = len(campaign.status().stages)
        wait.until(lambda _: len(tab.script(states)) == n_stages)
        assert "done" not in tab.script(states)
        assert tab.script("return document.getElementById('report').hidden")
        tab.script("window.isTheSamePage = true")
        campaign.run()
        wait.until(lambda _: tab.script(states) == ["done"] * n_stages)
        wait.until(lambda _: not tab.script("return document.getElementById('report').hidden"))
        assert tab.script("return document.querySelector('.line b').innerText.trim()") == "Everything is done."
        assert tab.script("return window.isTheSamePage")
        assert tab.errors() == []
        server.shutdown()
