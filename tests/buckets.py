"""An S3 server on the loopback interface, by moto, that can be stopped, started, and made to fail."""

import itertools
import logging
import threading
import urllib.request
from pathlib import Path

from moto.server import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from defocal.synth.places import place

BUCKET = "datasets"
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrPLANTED+SECRET/EXAMPLE",
    "AWS_SESSION_TOKEN": "FwoGPLANTEDTOKEN",
}


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    protocol_version = "HTTP/1.1"

    def log(self, type, message, *args):
        pass


class Server:
    """A server whose buckets outlive it.

    Attributes
    ----------
    every
        Each so-manieth request is answered with 503; 0 for none.
    broken
        Requests whose path holds this are answered with 500; nothing for none.
    deaf
        Conditions of requests are ignored.
    """

    def __init__(self):
        self.app = create_backend_app("s3")
        self.port, self.every, self.broken, self.deaf = 0, 0, "", False
        self.count, self.failed = itertools.count(1), 0
        self.start()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/{BUCKET}", method="PUT")).close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self.server = make_server("127.0.0.1", self.port, self._answer, threaded=True, request_handler=Quiet)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def _answer(self, environ, start):
        fails = self.every and next(self.count) % self.every == 0
        if fails or (self.broken and self.broken in environ["PATH_INFO"]):
            self.failed += 1
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("503 Slow Down" if fails else "500 Internal Server Error", [("Content-Length", "0")])
            return [b""]
        if self.deaf:
            environ.pop("HTTP_IF_NONE_MATCH", None)
            environ.pop("HTTP_IF_MATCH", None)
        return self.app(environ, start)


def contents(where):
    """Content of all objects, or of all files, by name."""
    where = place(str(where))
    if isinstance(where, Path):
        return {p.relative_to(where).as_posix(): p.read_bytes() for p in where.rglob("*") if p.is_file()}
    return {name: (where / name).read_bytes() for name, _ in where.files()}


def upload(files, where):
    """Write objects."""
    for name, content in files.items():
        (where / name).write_bytes(content)
