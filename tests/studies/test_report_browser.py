"""The page of a study in a browser: opened, read, sorted by mouse and keyboard, at a desk and on a phone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studies.results.report import write_report
from studies.results.store import ResultStore
from tests.studies.browser import chromium, set_width

pytestmark = pytest.mark.slow

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample_store"
STUDIES = ("sweep", "label_efficiency", "ablation")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, store = tmp_path_factory.mktemp("pages"), ResultStore(str(SAMPLE))
    return {study: write_report(store, study, folder / f"{study}.html") for study in STUDIES}


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


def requested(driver: Any) -> list[str]:
    """Addresses that the browser asked for since this was last called."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith("data:")]


def column(driver: Any, table: str, title: str) -> list[str]:
    """The cells of a column as they stand."""
    script = """
        const table = document.querySelector(arguments[0]);
        const heads = Array.from(table.tHead.rows[0].cells, (cell) => cell.textContent.trim());
        const index = heads.indexOf(arguments[1]);
        return Array.from(table.tBodies[0].rows, (row) => row.cells[index].textContent.trim());
    """
    return list(driver.execute_script(script, table, title))


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("width", [400, 1280])
def test_page_is_complete_and_fits(driver: Any, pages: dict[str, Path], study: str, width: int) -> None:
    set_width(driver, width)
    driver.get_log("performance"), driver.get_log("browser")
    driver.get(pages[study].as_uri())
    assert driver.get_log("browser") == []
    assert requested(driver) == [pages[study].as_uri()]
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    sizes = driver.execute_script(
        "return Array.from(document.images, (image) => image.naturalWidth * image.naturalHeight)"
    )
    assert len(sizes) >= 4 and min(sizes) > 0
    missing = driver.execute_script(
        "return Array.from(document.links, (a) => a.hash.slice(1)).filter((id) => !document.getElementById(id))"
    )
    assert missing == []
    assert driver.find_element("css selector", "h1").text == study
    assert driver.find_element("css selector", "section.answers p").text


def test_tables_sort_by_click_and_by_key(driver: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.keys import Keys

    set_width(driver, 1280)
    driver.get(pages["sweep"].as_uri())
    table = "#trials-table table"
    (head,) = [h for h in driver.find_elements("css selector", f"{table} th") if h.text.strip() == "dev (%)"]
    button = head.find_element("css selector", "button")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
    button.click()
    values = [float(value) for value in column(driver, table, "dev (%)") if value]
    assert head.get_attribute("aria-sort") == "descending"
    assert values == sorted(values, reverse=True) and len(set(values)) > 5
    assert driver.find_element("id", "announce").get_attribute("textContent") == "Sorted by dev (%), descending"

    button.send_keys(Keys.ENTER)
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(value) for value in column(driver, table, "dev (%)") if value] == sorted(values)

    # search trials have no test accuracy: empty cells come last in either order
    (test,) = [h for h in driver.find_elements("css selector", f"{table} th") if h.text.strip() == "test (%)"]
    for order in ("descending", "ascending"):
        test.find_element("css selector", "button").click()
        assert test.get_attribute("aria-sort") == order and head.get_attribute("aria-sort") == "none"
        shown = column(driver, table, "test (%)")
        filled = [bool(value) for value in shown]
        assert filled == sorted(filled, reverse=True) and not all(filled) and any(filled)
        numbers = [float(value) for value in shown if value]
        assert numbers == sorted(numbers, reverse=order == "descending")


def test_a_link_leads_to_its_trial(driver: Any, pages: dict[str, Path]) -> None:
    set_width(driver, 1280)
    driver.get(pages["sweep"].as_uri())
    link = driver.find_element("css selector", "#leaderboards table tbody tr:first-child a")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", link)
    target = str(link.get_attribute("href")).partition("#")[2]
    link.click()
    assert driver.current_url.endswith(f"#{target}")
    assert driver.execute_script("return document.querySelector(':target').tagName") == "TR"


def test_dark_and_print_styles_apply(driver: Any, pages: dict[str, Path]) -> None:
    driver.get(pages["sweep"].as_uri())
    background = "return getComputedStyle(document.body).backgroundColor"
    light = driver.execute_script(background)
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    assert light == "rgb(255, 255, 255)" and driver.execute_script(background) == "rgb(20, 23, 26)"
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert driver.execute_script("return getComputedStyle(document.querySelector('nav')).display") == "none"
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
