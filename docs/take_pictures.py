"""Take the pictures of Dagster's UI that the documentation shows: `python docs/take_pictures.py [FOLDER]`.

Three days of flights are loaded in one run, in a scratch folder with an embedded server of its own. The second day has more
damaged rows than its budget allows. Then Chromium, which must be on the PATH, opens the pages without a window.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from websockets.sync.client import ClientConnection, connect

from pipeline.nycflights import land_flights

ROOT = Path(__file__).parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DAYS = [date(2013, 12, day) for day in (29, 30, 31)]  # the UI lists the newest days first
BAD_DAY = DAYS[1]
WIDTH, HEIGHT = 1200, 720


@dataclass(frozen=True)
class Picture:
    """A page of the UI, the text that it shows once it has its data, and a tab that is opened on it."""

    name: str
    page: str
    shows: str
    tab: str = ""


PICTURES = (
    Picture("asset-page", "/assets/flights?view=overview", "non-nullable"),
    Picture(
        "checks-per-day",
        "/assets/flights?view=checks&checkDetail=dead_letters_within_budget",
        "Latest execution",
        tab="Partitions",
    ),
    Picture("failed-run", "/runs/{run_id}", "What to do"),
    Picture("launchpad", "/locations/rowledger/jobs/flights_load/playground", "batch_rows"),
)
START_TIMEOUT_S = 120
PAGE_TIMEOUT_S = 120
SETTLES_S = 4  # the UI asks for its data piece by piece, and says nowhere that it has all


def main() -> None:
    """Take all pictures; ends the process with a message where something is missing."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"error: none of {', '.join(BROWSERS)} is on the PATH; install Chromium, then run this again")
    pictures = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs" / "pictures").resolve()
    pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rowledger-pictures-") as name:
        folder = Path(name)
        environment = _environment(folder)
        try:
            _load(folder, environment)
            with _webserver(folder, environment) as url:
                run_id = _last_run(url)
                for picture in PICTURES:
                    with _browser(browser, folder) as window:
                        _take(window, url + picture.page.format(run_id=run_id), picture, pictures)
        finally:
            _run(folder, environment, "rowledger", "db", "stop")


def _environment(folder: Path) -> dict[str, str]:
    """The environment of this process, with a home, a database and a Dagster instance in the scratch folder."""
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, folder)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ROWLEDGER_", "DAGSTER_"))}
    return inherited | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "ROWLEDGER_HOME": str(folder / "home")}


def _load(folder: Path, environment: Mapping[str, str]) -> None:
    landing = folder / "home" / "landing" / "flights"
    land_flights(DAYS, landing)
    file = landing / f"{BAD_DAY}.parquet"
    flights = pl.read_parquet(file)
    damaged = pl.when(pl.int_range(pl.len()) % 9 == 0).then(-1).otherwise(pl.col("distance"))
    flights.with_columns(distance=damaged.cast(flights.schema["distance"])).write_parquet(file)
    days = f"{DAYS[0]}...{DAYS[-1]}"
    command = ("asset", "materialize", "-m", "pipeline.definitions", "--select", "flights", "--partition-range", days)
    if _run(folder, environment, "dagster", *command) == 0:
        sys.exit(f"error: the load of {BAD_DAY} should have failed")


def _run(folder: Path, environment: Mapping[str, str], module: str, *arguments: str) -> int:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode  # noqa: S603 - own commands


@contextmanager
def _webserver(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "dagster_webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, cwd=folder, env=environment)  # noqa: S603 - as above
    try:
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while not _answers(url):
            if server.poll() is not None or time.monotonic() > give_up_at:
                sys.exit("error: Dagster's webserver does not start")
            time.sleep(0.5)
        yield url
    finally:
        server.terminate()
        server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=5):  # noqa: S310 - an address of this machine
            return True
    except (OSError, urllib.error.URLError):
        return False


def _last_run(url: str) -> str:
    query = json.dumps({"query": "{ runsOrError(limit: 1) { ... on Runs { results { runId } } } }"}).encode()
    request = urllib.request.Request(f"{url}/graphql", query, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        run_id: str = json.load(answer)["data"]["runsOrError"]["results"][0]["runId"]
    return run_id


class Window:
    """A window of Chromium without a screen, driven through its DevTools protocol."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """The result of one command; raises RuntimeError if Chromium refuses it."""
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._connection.recv(timeout=PAGE_TIMEOUT_S))
            if answer.get("id") == self._number:
                break
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def wait_for(self, condition: str) -> None:
        """Wait until the JavaScript expression is true; raises TimeoutError."""
        give_up_at = time.monotonic() + PAGE_TIMEOUT_S
        while not self.call("Runtime.evaluate", expression=condition)["result"].get("value"):
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"not true after {PAGE_TIMEOUT_S} s: {condition}")
            time.sleep(0.5)


@contextmanager
def _browser(program: str, folder: Path) -> Iterator[Window]:
    profile = Path(tempfile.mkdtemp(dir=folder))
    command = [
        program,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        f"--window-size={WIDTH},{HEIGHT}",
        "about:blank",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603 - a program that was found on the PATH
    try:
        port_file = profile / "DevToolsActivePort"
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while not port_file.exists() or not port_file.read_text():
            if process.poll() is not None or time.monotonic() > give_up_at:
                sys.exit(f"error: {program} does not start")
            time.sleep(0.2)
        port = port_file.read_text().splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
            (page,) = [found for found in json.load(answer) if found["type"] == "page"]
        with connect(page["webSocketDebuggerUrl"], max_size=None) as connection:
            yield Window(connection)
    finally:
        process.terminate()
        process.wait()


def _take(window: Window, url: str, picture: Picture, folder: Path) -> None:
    size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    window.call("Emulation.setDeviceMetricsOverride", **size)
    window.call("Page.navigate", url=url)
    window.wait_for(f"document.body !== null && document.body.innerText.includes({json.dumps(picture.shows)})")
    if picture.tab:  # the last of that name, since the asset's own tabs come first
        tabs = (
            f"[...document.querySelectorAll('[role=tab]')].filter(tab => tab.innerText === {json.dumps(picture.tab)})"
        )
        window.wait_for(f"{tabs}.length > 0 && ({tabs}.at(-1).click(), true)")
    time.sleep(SETTLES_S)
    file = folder / f"{picture.name}.png"
    file.write_bytes(base64.b64decode(window.call("Page.captureScreenshot", format="png")["data"]))
    print(f"{file} ({file.stat().st_size / 1024:.0f} KiB)")  # noqa: T201 - a script


if __name__ == "__main__":
    main()
