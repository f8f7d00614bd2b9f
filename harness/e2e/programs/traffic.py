"""Server and client of the traffic contract in README.md, on Python's http.server and http.client."""

import http.client
import http.server
import queue
import socket
import sys
import threading
import time
import urllib.parse


def text(marker: str, size: int) -> bytes:
    unit = marker + "."
    return (unit * (size // len(unit) + 1))[:size].encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urllib.parse.urlsplit(self.path)
        parts = url.path.split("/")
        if len(parts) != 3 or not (parts[1].isdigit() and parts[2].isdigit()):
            self.send_response(400)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        query = urllib.parse.parse_qs(url.query)
        body = text(query.get("m", [""])[0], int(parts[2]))
        time.sleep(int(query.get("delay_ms", ["0"])[0]) / 1000)
        self.send_response(int(parts[1]))
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_args) -> None:
        """Says nothing: stdout is the contract's."""


def serve(address: str) -> None:
    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

    server = Server((address, 0), Handler)
    print("listening", server.server_address[1], flush=True)
    server.serve_forever()


def get(base: str, connections: int) -> None:
    url = urllib.parse.urlsplit(base)
    lines: "queue.SimpleQueue[str]" = queue.SimpleQueue()
    for line in sys.stdin:
        lines.put(line)
    printing = threading.Lock()

    def worker() -> None:
        connection = http.client.HTTPConnection(url.hostname, url.port)
        while True:
            try:
                method, path, body_bytes = lines.get_nowait().split()
            except queue.Empty:
                return
            body = text("b", int(body_bytes)) if int(body_bytes) else None
            connection.request(method, path, body, {"Content-Type": "text/plain"})
            response = connection.getresponse()
            size = len(response.read())
            with printing:
                print(path, response.status, size, flush=True)

    workers = [threading.Thread(target=worker) for _ in range(connections)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1")
    else:
        get(sys.argv[2], int(sys.argv[3]))
