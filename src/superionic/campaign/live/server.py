"""Show the live page on this machine only: on the loopback interface, behind a token, read-only.

Whoever has an account on the machine can reach its loopback interface, and so can any page that a browser shows. So
each request needs the token, which the address printed at the start hands to the browser's cookies, and must name the
server by its loopback address, so that no foreign name that was made to point here is answered.
"""

from __future__ import annotations

import errno
import hmac
import html
import json
import secrets
import socket
import string
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from superionic.campaign.live.watcher import Watched, Watcher
from superionic.errors import StorageError

_LOOPBACK: Final = "127.0.0.1"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".cif": "text/plain; charset=utf-8",
}
_PLAIN: Final = "application/octet-stream"
_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; frame-src 'self'; "
    "frame-ancestors 'none'; form-action 'none'; base-uri 'none'"
)


def serve(campaign: Watched, *, port: int = 0, every_s: float = 3.0, announce: Callable[[str], object] = print) -> None:
    """Show a campaign as a live page until the process is interrupted. Nothing is written to the run folder.

    Parameters
    ----------
    campaign
        The campaign, whether a run of it is at work or not.
    port
        Port on the loopback interface; 0 takes a free one.
    every_s
        Time between two looks at the campaign, in s.
    announce
        Is given the address of the page, with its token.

    Raises
    ------
    StorageError
        If the port cannot be had.
    """
    with Watcher(campaign, every_s) as watcher, _open(port, watcher) as server:
        announce(server.address)
        server.serve_forever(poll_interval=0.2)


class LiveServer(ThreadingHTTPServer):
    """The server of one campaign.

    Attributes
    ----------
    token
        What a browser must know.
    """

    daemon_threads = True

    def __init__(self, port: int, watcher: Watcher) -> None:
        self.watcher = watcher
        self.token = secrets.token_urlsafe(24)
        super().__init__((_LOOPBACK, port), _Handler)

    def server_bind(self) -> None:
        """Bind the socket, without the search for a host name that the base class makes."""
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows would let two servers share the port
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = _LOOPBACK, self.server_address[1]

    @property
    def address(self) -> str:
        """Address of the page, with the token."""
        return f"http://{_LOOPBACK}:{self.server_port}/?token={self.token}"

    @property
    def cookie(self) -> str:
        """Name of the cookie: browsers share cookies between all ports of a machine."""
        return f"superionic-{self.server_port}"


def _open(port: int, watcher: Watcher) -> LiveServer:
    try:
        return LiveServer(port, watcher)
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "is in use" if taken else f"cannot be opened ({error})"
        raise StorageError(
            f"port {port} {reason}", where=_LOOPBACK, fix="choose another --port, or leave it out"
        ) from error


class _Handler(BaseHTTPRequestHandler):
    """Answers one request, and closes the connection: none outlives the server."""

    server: LiveServer
    server_version = "superionic"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        """Answer with the page, what it is made of, the state, or a file of the report."""
        url = urlsplit(self.path)
        if self.headers.get("Host") not in self._own_names():
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "This server is known by its loopback address only.")
        elif url.path == "/" and "token" in (query := parse_qs(url.query)):
            self._admit(query["token"][0])
        elif not self._is_admitted():
            self._refuse(HTTPStatus.FORBIDDEN, "Open the address that superionic serve printed; it holds the token.")
        elif url.path == "/":
            self._send(_page(self.server.watcher.title), ".html", policy=_PAGE_POLICY)
        elif url.path in ("/live.css", "/live.js"):
            self._send(_asset(url.path[1:]), Path(url.path).suffix)
        elif url.path == "/state.json":
            state = json.dumps(self.server.watcher.view.to_dict(), ensure_ascii=False, allow_nan=False)
            self._send(state.encode(), ".json")
        elif (file := self._file_of_report(unquote(url.path))) is not None:
            self._send(file.read_bytes(), file.suffix)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such page.")

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class gives
        """Log nothing: the terminal is the user's."""

    def _own_names(self) -> tuple[str, str]:
        port = self.server.server_port
        return f"{_LOOPBACK}:{port}", f"localhost:{port}"

    def _admit(self, token: str) -> None:
        """Hand the token to the browser's cookies, and take it out of the address bar and the history."""
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "This token is not, or no longer, that of this server.")
            return
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Set-Cookie", f"{self.server.cookie}={token}; Path=/; HttpOnly; SameSite=Strict")
        self.send_header("Location", "/")
        self._end({"Content-Length": "0"})

    def _is_admitted(self) -> bool:
        try:
            cookies = SimpleCookie(self.headers.get("Cookie", ""))
        except CookieError:
            return False
        shown = cookies.get(self.server.cookie)
        return shown is not None and hmac.compare_digest(shown.value.encode(), self.server.token.encode())

    def _file_of_report(self, path: str) -> Path | None:
        """Return a file of the report by its path under ``/report/``; None if there is none."""
        folder = self.server.watcher.report_folder
        if not path.startswith("/report/") or "\0" in path:
            return None
        file = (folder / path.removeprefix("/report/")).resolve()
        return file if file.is_relative_to(folder.resolve()) and file.is_file() else None

    def _send(self, content: bytes, suffix: str, policy: str = "") -> None:
        self.send_response(HTTPStatus.OK)
        headers = {"Content-Type": _TYPES.get(suffix, _PLAIN), "Content-Length": str(len(content))}
        self._end(headers | ({"Content-Security-Policy": policy} if policy else {}))
        if self.command != "HEAD":
            self.wfile.write(content)

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        content = f"{words}\n".encode()
        self.send_response(status)
        self._end({"Content-Type": _TYPES[".txt"], "Content-Length": str(len(content))})
        if self.command != "HEAD":
            self.wfile.write(content)

    def _end(self, headers: dict[str, str]) -> None:
        always = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        for name, value in (always | headers).items():
            self.send_header(name, value)
        self.end_headers()

    def handle(self) -> None:
        """Answer the request; the browser may close the connection at any time."""
        with suppress(ConnectionError, TimeoutError):
            super().handle()


def _asset(name: str) -> bytes:
    own = resources.files("superionic.campaign.live").joinpath("page", name).read_bytes()
    if not name.endswith(".css"):
        return own
    return resources.files("superionic.report").joinpath("page", "page.css").read_bytes() + own


def _page(title: str) -> bytes:
    return string.Template(_asset("live.html").decode()).substitute(title=html.escape(title)).encode()
