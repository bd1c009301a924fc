"""A local server that speaks like Slack's webhook, and misbehaves as told."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Slack:
    """Answers with the given (status, headers, seconds of silence), the last one for ever; keeps what it got."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], float]] = [(200, {}, 0.0)]
        self.got: list[dict] = []
        self.done = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append(json.loads(body))
                status, headers, silence = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                if silence:
                    outer.done.wait(silence)
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"ok" if status == 200 else b"no_text")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/T0/B0/secret"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.done.set()
        self.server.shutdown()
        self.server.server_close()
