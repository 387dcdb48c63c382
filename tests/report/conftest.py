"""A reproduction's folder, its report, and a real Chromium to read it with."""

import os
import pathlib
import resource
import shutil

import pytest
import reproduction_folder

from t5distill.__main__ import main

HOW_TO_GET_IT = (
    "no Chromium was found; the browser tests of the report need one: `apt-get install chromium` "
    "on Debian, or any chromium, chromium-browser or google-chrome on the path"
)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A finished reproduction with hostile texts, and its report.html, .json and .csv."""
    folder = tmp_path_factory.mktemp("runs") / "magister"
    reproduction_folder.Folder().write(folder)
    assert main(["report", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium, closed with its module: Playwright's event loop runs as long, and no
    other test of the process could have one of its own.
    """
    from playwright import sync_api

    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.fail(HOW_TO_GET_IT)
    # Chromium reserves far more addresses than it uses, and dies where CI bounds them.
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    try:
        with sync_api.sync_playwright() as playwright:
            # Its own sandbox cannot be had by root; the only page that it reads is ours.
            flags = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=path, args=flags)
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
            yield browser
            browser.close()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class Reader:
    """One open page; keeps what it asked for and what it complained of."""

    def __init__(self, context, path):
        self.page = context.new_page()
        self.requests, self.complaints = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.url = pathlib.Path(path).as_uri()
        self.page.goto(self.url)

    def near_predictions(self):
        """Scroll to the browser of predictions and wait until it is unpacked."""
        self.page.locator("#predictions").scroll_into_view_if_needed()
        self.page.wait_for_selector("body[data-ready]")
        return self.page

    def count(self):
        """Return how many predictions the list says that it shows."""
        return int(self.page.inner_text("#count").split(" of ")[0].replace(",", ""))


@pytest.fixture
def read(chromium):
    """Open a page in a window of its own; nothing may be asked for or complained of by the end."""
    contexts, readers = [], []

    def open_page(path, **settings):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        contexts.append(context)
        readers.append(Reader(context, path))
        return readers[-1]

    yield open_page
    for context in contexts:
        context.close()
    for reader in readers:
        assert reader.requests == [reader.url]
        assert reader.complaints == []
