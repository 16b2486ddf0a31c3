"""A headless Chromium for tests: what a page logs, asks the network for, prints and hands over."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.parse import urlsplit

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--enable-logging=stderr",
    # nothing leaves the machine, whatever a page or the browser itself would ask for
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
# the browser asks these by itself, flags or not: the time, a dictionary, updates
OWN_HOSTS = ("google.com", "googleapis.com", "gvt1.com", "gstatic.com")
LIMIT_S = 30
# copies above 4 first, so that neither overwrites the other
_ON_3_AND_4 = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""


@dataclass(frozen=True)
class Visit:
    """What came of opening a page: its text as the browser holds it, console lines, and addresses it asked for."""

    dom: str
    console: list[str]
    requests: list[str]


@dataclass(frozen=True)
class Browser:
    """A browser whose profile and other files lie in `folder`."""

    binary: str
    folder: Path

    @classmethod
    def find(cls, folder: Path) -> "Browser":
        """Skips the test where there is none."""
        found = next(filter(None, map(shutil.which, NAMES)), None)
        if found is None:
            pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the path")
        return cls(found, folder)

    def visit(self, page: Path) -> Visit:
        """Open `page`."""
        log = self.folder / "net.json"
        done = self._run(page, f"--log-net-log={log}", "--dump-dom")
        console = [line for line in done.stderr.splitlines() if re.search(r":CONSOLE[(:]", line)]
        return Visit(done.stdout, console, asked(json.loads(log.read_text())))

    def pdf(self, page: Path) -> bytes:
        """Print `page`."""
        target = self.folder / "page.pdf"
        self._run(page, "--no-pdf-header-footer", f"--print-to-pdf={target}")
        return target.read_bytes()

    def evaluate(self, page: Path, *expressions: str, downloads: Path, widths: tuple[int, ...] = (1200,)) -> list[Any]:
        """The values of scripts run on `page` as if a person had clicked, at each width of the window in turn."""
        with self._session() as session:
            session.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
            target = session.call("Target.createTarget", url="about:blank")["targetId"]
            session.id = session.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            session.call("Page.enable")
            session.call("Page.navigate", url=page.as_uri())
            session.wait("Page.loadEventFired")
            values = []
            for width in widths:
                session.call(
                    "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
                )
                for expression in expressions:
                    answer = session.call(
                        "Runtime.evaluate",
                        expression=expression, userGesture=True, awaitPromise=True, returnByValue=True,
                    )  # fmt: skip
                    assert "exceptionDetails" not in answer, answer
                    values.append(answer["result"].get("value"))
            return values

    def _command(self, *more: str) -> list[str]:
        return [self.binary, *FLAGS, f"--user-data-dir={self.folder / 'profile'}", *more]

    def _run(self, page: Path, *flags: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self._command(*flags, page.as_uri()),
            capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=LIMIT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return done

    @contextmanager
    def _session(self) -> Iterator["_Session"]:
        # by pipe, on descriptors 3 and 4: no port to find, no websocket to speak
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        command = self._command("--remote-debugging-pipe")
        process = subprocess.Popen(
            [sys.executable, "-c", _ON_3_AND_4, str(to_read), str(from_write), *command],
            pass_fds=(to_read, from_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(from_write)
        late = Timer(LIMIT_S, process.kill)  # which ends a read that waits in vain
        late.start()
        try:
            with os.fdopen(to_write, "wb", 0) as write, os.fdopen(from_read, "rb") as read:
                session = _Session(write, read)
                yield session
                session.id = None
                with suppress(EOFError):
                    session.call("Browser.close")
            process.wait(LIMIT_S)
        finally:
            late.cancel()
            process.kill()
            process.wait()


class _Session:
    """Chromium's DevTools protocol: JSON messages, each ended by a zero byte."""

    def __init__(self, write: Any, read: Any) -> None:
        self.id: str | None = None
        self._write, self._read, self._count = write, read, 0

    def call(self, method: str, **params: Any) -> Any:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self.id is not None:
            message["sessionId"] = self.id
        self._write.write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def wait(self, event: str) -> None:
        while self._next().get("method") != event:
            pass

    def _next(self) -> Any:
        data = bytearray()
        while (byte := self._read.read(1)) != b"\0":
            if not byte:
                raise EOFError("the browser ended")
            data += byte
        return json.loads(data)


def asked(log: Any) -> list[str]:
    """The network addresses in a net log that a page asked for, the browser's own left out."""
    urls, own = set(), set()
    for event in log["events"]:
        params = event.get("params", {})
        url = params.get("url")
        if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https", "ws", "wss"):
            continue
        urls.add(url)
        host = urlsplit(url).hostname or ""
        if params.get("initiator") == "not an origin" and host.endswith(OWN_HOSTS):
            own.add(url)
    return sorted(urls - own)
