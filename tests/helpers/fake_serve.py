"""A program that serves as OpenAI's API does, and that has the faults it is given.

    python fake_serve.py --port N --folder DIR [--model NAME] [--dies_after N ...]

Each start adds a line with its process id to DIR/starts; what is asked is written to DIR/asked.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--model", help="the only one that it answers for")
    parser.add_argument("--dies_after", type=int, nargs="*", default=[], help="of each start")
    parser.add_argument("--ends", type=int, help="at once, with this status")
    parser.add_argument("--loads", type=int, default=0, help="requests that find it loading")
    parser.add_argument("--taken", type=int, default=0, help="starts that find their port taken")
    parser.add_argument("--silent", action="store_true", help="never listens")
    parser.add_argument("--deaf", action="store_true", help="ignores SIGTERM")
    parser.add_argument("--child", action="store_true", help="starts one that leaves its group")
    parser.add_argument("--takes", type=float, default=0.0, help="seconds for an answer")
    return parser.parse_args()


def main() -> None:
    options = parse()
    print("starting", flush=True)
    with (options.folder / "starts").open("a") as file:
        file.write(f"{os.getpid()}\n")
    if options.deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.child:
        code = "import os, time; os.setsid(); time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", code])
        with (options.folder / "starts").open("a") as file:
            file.write(f"{child.pid}\n")
    if options.ends is not None:
        print("first line\nno such \x1b[31mmodel\x1b[0m here", flush=True)
        sys.exit(options.ends)
    if options.silent:
        time.sleep(600)
    serve(options)


def serve(options: argparse.Namespace) -> None:
    num_starts = len((options.folder / "starts").read_text().split())
    limits = dict(enumerate(options.dies_after, start=1))
    limit = limits.get(num_starts)
    lock = threading.Lock()
    num_answered = num_loading = 0
    another = socket.socket()
    if num_starts <= options.taken:
        another.bind(("127.0.0.1", options.port))
        another.listen()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal num_answered, num_loading
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if options.model and body["model"] != options.model:
                self.reply(404, {"error": {"message": f"no model {body['model']}"}})
                return
            with lock:
                num_loading += 1
                is_loading = num_loading <= options.loads
            if is_loading:
                self.reply(503, {"error": {"message": "loading"}})
                return
            asked = body["messages"][-1]["content"]
            is_first = body["max_tokens"] == 1
            if not is_first:
                time.sleep(options.takes)
                with lock:
                    if num_answered == limit:
                        os.kill(os.getpid(), signal.SIGKILL)
                    num_answered += 1
                    with (options.folder / "asked").open("a") as file:
                        file.write(json.dumps(asked) + "\n")
            said = {"content": f"It is {asked}.\nFinal Answer: 2"}
            choice = {"message": said, "finish_reason": "stop"}
            usage = {"prompt_tokens": 10, "completion_tokens": 5}
            self.reply(200, {"choices": [choice], "usage": usage})

        def reply(self, status: int, values: dict[str, Any]) -> None:
            raw = json.dumps(values).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.daemon_threads = True
    server.serve_forever(0.02)


if __name__ == "__main__":
    main()
