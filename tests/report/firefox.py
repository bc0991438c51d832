"""Firefox without a window, driven by WebDriver BiDi: it needs no driver beside the browser itself."""

import json
import re
import subprocess
import time
from itertools import count

import websocket

PATIENCE = 180
"""Seconds, on a machine with much else to do."""


class Firefox:
    """One page in Firefox: scripts, pointer and keys, as a reader has them, and what the console says."""

    def __init__(self, program, profile, width=1400, height=1300):
        self._ids, self.console, self._socket = count(1), [], None
        line = [program, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"]
        said = profile / "said.txt"
        with said.open("w") as file:
            self._process = subprocess.Popen(line, stdout=file, stderr=file)
        try:
            self._socket = websocket.create_connection(_address(said), suppress_origin=True, timeout=PATIENCE)
            self._send("session.new", capabilities={})
            self._send("session.subscribe", events=["log.entryAdded"])
            self._context = self._send("browsingContext.getTree")["contexts"][0]["context"]
            self.resize(width, height)
        except BaseException:
            self.quit()
            raise

    def _send(self, method, **params):
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("method") == "log.entryAdded":
                self.console.append(answer["params"]["text"])
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                return answer["result"]

    def resize(self, width, height):
        self._send("browsingContext.setViewport", context=self._context, viewport={"width": width, "height": height})

    def open(self, url):
        self._send("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def run(self, script):
        """Return what a script returns, which may wait."""
        code = f"(async () => JSON.stringify(await (async () => {{ {script} }})() ?? null))()"
        answer = self._send("script.evaluate", expression=code, target={"context": self._context}, awaitPromise=True)
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])

    def settle(self):
        self.run("await new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")

    def point(self, x, y, *, times=0):
        """Move the pointer to a place of the window, and click there so many times."""
        click = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        moves = [{"type": "pointerMove", "x": round(x), "y": round(y)}, *(times * click)]
        self._act({"type": "pointer", "id": "mouse", "actions": moves})

    def keys(self, text):
        strokes = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keyboard", "actions": strokes})

    def _act(self, actions):
        self._send("input.performActions", context=self._context, actions=[actions])
        self.settle()

    def quit(self):
        if self._socket is not None:
            self._socket.close()
        self._process.terminate()
        self._process.wait(PATIENCE)


def _address(said):
    """Wait until Firefox says where it listens."""
    for _ in range(10 * PATIENCE):
        found = re.search(r"BiDi listening on (ws:\S+)", said.read_text())
        if found:
            return f"{found[1]}/session"
        time.sleep(0.1)
    raise TimeoutError(f"Firefox does not listen; it says: {said.read_text()}")
