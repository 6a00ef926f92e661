"""Every report in headless Chromium: no script runs, nothing is asked for, nothing is wider than the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, sync_playwright
from sampled import PAYLOADS, everywhere

from rmm.model.report import Document
from rmm.report_run import render
from rmm.settings.reports import report_names

WIDTHS = (1280, 794)  # a screen; A4 at 96 dpi


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium here: install chromium-headless-shell")
    with sync_playwright() as driver:
        one = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield one
        one.close()


def check(browser: Browser, path: Path) -> None:
    """Opened with scripts allowed, so that one of the page's would run if its policy let it."""
    context = browser.new_context(java_script_enabled=True)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        said.append(dialog.message)
        dialog.dismiss()

    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", dismiss)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.scripts.length") == 0
        assert page.evaluate("document.querySelectorAll('img, iframe, object, embed, link, base, form').length") == 0
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[-1]
    assert len(page.pdf(format="A4")) > 5000
    assert set(asked) == {path.as_uri()}
    assert said == []
    context.close()


@pytest.mark.parametrize("name", report_names())
def test_reports(browser: Browser, documents: Mapping[str, Document], name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.html"
    path.write_bytes(render(documents[name], "html"))
    check(browser, path)


def test_hostile_texts_in_every_place(browser: Browser, tmp_path: Path) -> None:
    for number, payload in enumerate(PAYLOADS):
        path = tmp_path / f"{number}.html"
        path.write_bytes(render(everywhere(payload), "html"))
        check(browser, path)


def test_a_script_would_be_seen(browser: Browser, tmp_path: Path) -> None:
    """What the checks look for can be found: a page without escaping and policy does not pass."""
    path = tmp_path / "bad.html"
    path.write_text("<!doctype html><img src='http://127.0.0.1:9/x'><script>alert(1)</script>")
    with pytest.raises(AssertionError):
        check(browser, path)
