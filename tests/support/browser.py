"""A headless Chromium, driven over its debugging pipe by the standard library alone."""
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """with Browser() as browser: browser.open(page) … What went wrong in a page stands in `errors`."""

    def __init__(self, seconds=60):
        self.seconds, self.asked, self.rest, self.events, self.errors = seconds, 0, b"", [], []
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs_in, self.to = os.pipe()
        self.from_, theirs_out = os.pipe()
        # Chromium reads from file 3 and writes to file 4; the copies above keep clear of both.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in (theirs_in, theirs_out)]

        def ends():
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
                 "--disable-background-networking", "--hide-scrollbars", f"--user-data-dir={self.profile.name}",
                 "--remote-debugging-pipe", "about:blank"]
        self.process = subprocess.Popen([PROGRAM, *flags], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=ends)
        for fd in (theirs_in, theirs_out, *high):
            os.close(fd)
        self.session = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(domain + ".enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.session = None
            self.ask("Browser.close")
        except (OSError, RuntimeError):
            self.process.kill()
        self.process.wait()
        os.close(self.to)
        os.close(self.from_)
        self.profile.cleanup()

    def _next(self, deadline):
        while b"\0" not in self.rest:
            if not select.select([self.from_], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise RuntimeError("the browser does not answer")
            more = os.read(self.from_, 1 << 20)
            if not more:
                raise RuntimeError("the browser ended")
            self.rest += more
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def _event(self, message):
        method, told = message["method"], message["params"]
        self.events.append(method)
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(told["exceptionDetails"].get("exception", told["exceptionDetails"])))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.errors.append(str(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.errors.append(told["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not told["request"]["url"].startswith(("file:", "data:", "about:")):
            self.errors.append("asked the network: " + told["request"]["url"])

    def ask(self, method, **parameters):
        self.asked += 1
        message = {"id": self.asked, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self.seconds
        while True:
            answer = self._next(deadline)
            if "method" in answer:
                self._event(answer)
            elif answer.get("id") == self.asked:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def look(self, width=1280, height=900, dark=False):
        """The size of the window and the reader's taste."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def open(self, page):
        """Seconds until a page is loaded and was painted."""
        self.events.clear()
        begin = time.monotonic()
        self.ask("Page.navigate", url=Path(page).resolve().as_uri())
        while "Page.loadEventFired" not in self.events:
            message = self._next(begin + self.seconds)
            if "method" in message:
                self._event(message)
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return time.monotonic() - begin

    def evaluate(self, expression):
        answer = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"].get("exception", answer["exceptionDetails"])))
        return answer["result"].get("value")

    def picture(self, file):
        """The whole page as PNG, also what lies below the window."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        taken = self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip={**size, "scale": 1})
        Path(file).write_bytes(base64.b64decode(taken["data"]))

    def printed(self, file):
        """The page as PDF, as it would leave the printer."""
        Path(file).write_bytes(base64.b64decode(self.ask("Page.printToPDF", printBackground=False)["data"]))
