"""Toxiproxy's API: many servers at once, every failure told; where it is there, the real one."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chaos.errors import ClusterError
from chaos.spi import Address, Port
from chaos.timing import wait_until
from chaos_adapters.runtimes import toxiproxy
from chaos_adapters.runtimes.mesh import DockerLink, Pod
from chaos_adapters.runtimes.toxiproxy import Server


class Fake(ThreadingHTTPServer):
    """As much of Toxiproxy as is used: GET /proxies, toxics of a proxy, POST of a proxy."""

    daemon_threads = True

    def __init__(self, *proxies: str) -> None:
        super().__init__(("127.0.0.1", 0), FakeHandler)
        self.proxies: dict[str, dict[str, Any]] = {
            name: {"name": name, "listen": "l", "upstream": "u", "enabled": True, "toxics": []}
            for name in proxies
        }
        self.fails = 0
        self.hangs = threading.Event()
        self.hangs.set()
        self.asked: list[str] = []
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def server_at(self) -> Server:
        return Server(Address("127.0.0.1", self.server_port))

    def end(self) -> None:
        self.hangs.set()
        self.shutdown()
        self.thread.join()
        self.server_close()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        if path == "/version":
            return 200, "fake 1"
        if path == "/proxies":
            return 200, self.proxies
        if parts[1] not in self.proxies:
            return 404, {"error": "proxy not found"}
        proxy = self.proxies[parts[1]]
        toxics: list[dict[str, Any]] = proxy["toxics"]
        if method == "GET":
            return 200, toxics
        if method == "DELETE":
            toxics[:] = [toxic for toxic in toxics if toxic["name"] != parts[3]]
            return 204, None
        if len(parts) == 2:
            proxy.update(body)
            return 200, proxy
        if len(parts) == 4:
            (known,) = (toxic for toxic in toxics if toxic["name"] == parts[3])
            known["toxicity"] = body["toxicity"]
            known["attributes"] |= body["attributes"]
            return 200, known
        if body["type"] == "nonsense":
            return 400, {"error": "invalid toxic type"}
        if any(toxic["name"] == body["name"] for toxic in toxics):
            return 409, {"error": "toxic already exists"}
        toxics.append(body)
        return 200, body


class FakeHandler(BaseHTTPRequestHandler):
    server: Fake

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.hangs.wait(30)
        if self.server.fails:
            self.send_error(self.server.fails)
            return
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        status, answer = self.server.answer(self.command, self.path, body)
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_DELETE = do_GET  # noqa: N815 - http.server calls these names

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def fake() -> Iterator[Fake]:
    server = Fake("a.inner", "b.inner")
    yield server
    server.end()


def test_a_toxic_is_put_on_found_and_taken_off(fake: Fake) -> None:
    """On the proxy and the direction that were named, with its attributes."""
    server = fake.server_at
    assert server.toxics("a.inner") == {}
    server.add("a.inner", "x.upstream", "latency", "upstream", {"latency": 5.0})
    (toxic,) = fake.proxies["a.inner"]["toxics"]
    assert toxic["attributes"] == {"latency": 5.0}
    assert (toxic["type"], toxic["stream"], toxic["toxicity"]) == ("latency", "upstream", 1.0)
    assert server.toxics("a.inner") == {"x.upstream": "upstream"}
    assert server.toxics("b.inner") == {}
    server.remove("a.inner", "x.upstream")
    assert server.toxics("a.inner") == {}


def test_adding_replaces_and_removing_again_is_fine(fake: Fake) -> None:
    """Acts and heals are repeated after errors."""
    server = fake.server_at
    for latency in (1.0, 2.0):
        server.add("a.inner", "x", "latency", "upstream", {"latency": latency})
    assert [toxic["attributes"] for toxic in fake.proxies["a.inner"]["toxics"]] == [{"latency": 2}]
    server.remove("a.inner", "x")
    server.remove("a.inner", "x")
    assert server.toxics("a.inner") == {}


def test_what_stands_before_others_is_made_to_do_nothing_until_they_are_gone(fake: Fake) -> None:
    """Toxiproxy does not survive it otherwise; other directions have chains of their own."""
    server = fake.server_at
    for name, stream in (("a", "upstream"), ("b", "upstream"), ("c", "downstream")):
        server.add("a.inner", name, "latency", stream, {"latency": 1.0})
    server.remove("a.inner", "a")
    assert server.toxics("a.inner") == {"b": "upstream", "c": "downstream"}
    left = {toxic["name"]: toxic["toxicity"] for toxic in fake.proxies["a.inner"]["toxics"]}
    assert left == {"a": 0, "b": 1, "c": 1}
    server.add("a.inner", "a", "latency", "upstream", {"latency": 2.0})
    assert "a" in server.toxics("a.inner")
    server.remove("a.inner", "a")
    server.remove("a.inner", "b")
    assert [toxic["name"] for toxic in fake.proxies["a.inner"]["toxics"]] == ["c"]


def test_a_proxy_is_led_elsewhere(fake: Fake) -> None:
    """Only its upstream changes."""
    fake.server_at.redirect("b.inner", "127.0.1.2:9092")
    assert fake.proxies["b.inner"]["upstream"] == "127.0.1.2:9092"
    assert fake.proxies["b.inner"]["listen"] == "l"


ACTS = {
    "toxics": lambda server: server.toxics("a.inner"),
    "add": lambda server: server.add("a.inner", "x", "latency", "upstream", {}),
    "remove": lambda server: server.remove("a.inner", "x"),
    "redirect": lambda server: server.redirect("a.inner", "127.0.0.1:1"),
}
each_act = pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)


@each_act
@pytest.mark.parametrize("status", [500, 503])
def test_an_answer_of_500_is_an_error(fake: Fake, act: Any, status: int) -> None:
    """The library takes it for success: a toxic that was never set would be believed in."""
    fake.fails = status
    with pytest.raises(ClusterError, match=rf"Toxiproxy at 127\.0\.0\.1:{fake.server_port}"):
        act(fake.server_at)
    assert not fake.server_at.answers() or status == 200


@each_act
def test_a_server_that_is_not_there_is_an_error(act: Any) -> None:
    """Refused at once."""
    with pytest.raises(ClusterError):
        act(Server(Address("127.0.0.1", 9)))
    assert not Server(Address("127.0.0.1", 9)).answers()


@each_act
def test_a_server_that_hangs_is_an_error_in_time(
    fake: Fake, act: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen pod must not stop the heal of the others for ever."""
    monkeypatch.setattr(toxiproxy, "_TIMEOUT_S", 0.1)
    fake.hangs.clear()
    with pytest.raises(ClusterError, match="timed out"):
        act(fake.server_at)


@each_act
def test_an_unknown_proxy_is_an_error_that_names_it(act: Any) -> None:
    """The pod was made by another version, or is not ours."""
    server = Fake()
    try:
        with pytest.raises(ClusterError, match=r"has no .*a\.inner|a\.inner.*not found"):
            act(server.server_at)
    finally:
        server.end()


def test_an_unknown_kind_of_toxic_is_an_error(fake: Fake) -> None:
    """With what the server says of it."""
    with pytest.raises(ClusterError, match="invalid toxic type"):
        fake.server_at.add("a.inner", "x", "nonsense", "upstream", {})


@pytest.mark.parametrize("content", [b"<html>hello</html>", b'{"a.inner": {}}', b"null"])
def test_a_stranger_on_the_port_is_an_error(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """Something else listens there: told as such, not as a KeyError of a library."""

    def answer(handler: FakeHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    monkeypatch.setattr(FakeHandler, "do_GET", answer)
    with pytest.raises(ClusterError):
        fake.server_at.toxics("a.inner")


def test_proxies_of_the_environment_are_ignored(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Companies set HTTP_PROXY; loopback is not behind it."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert fake.server_at.answers()
    fake.server_at.add("a.inner", "x", "latency", "upstream", {})
    assert fake.server_at.toxics("a.inner") == {"x": "upstream"}


def test_a_server_that_is_busy_holds_up_nobody_else(fake: Fake) -> None:
    """Toxiproxy answers only when the bytes that a toxic held have gone on; a heal takes off
    dozens, and may not wait for one after the other."""
    other = Fake("a.inner")
    try:
        fake.hangs.clear()
        with ThreadPoolExecutor(4) as pool:
            slow = [
                pool.submit(fake.server_at.remove, name, "x") for name in ("a.inner", "b.inner")
            ]
            wait_until(lambda: len(fake.asked) == 2, "both to be asked", 10)
            assert other.server_at.toxics("a.inner") == {}
            fake.hangs.set()
            assert [each.result(10) for each in slow] == [None, None]
    finally:
        fake.hangs.set()
        other.end()


def test_many_servers_are_talked_to_at_once(fake: Fake) -> None:
    """The library has one address for the whole process; every call reaches its own server."""
    others = [Fake(f"only-{number}") for number in range(3)]
    try:

        def work(number: int) -> None:
            server, name = others[number % 3].server_at, f"only-{number % 3}"
            server.add(name, f"t{number}", "latency", "downstream", {})
            assert f"t{number}" in server.toxics(name)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(24)))
        for number, other in enumerate(others):
            found = {toxic["name"] for toxic in other.proxies[f"only-{number}"]["toxics"]}
            assert found == {f"t{each}" for each in range(number, 24, 3)}
    finally:
        for other in others:
            other.end()


# ------------------------------------------------------------------------------------- the mesh


def link(fake: Fake, *names: str) -> DockerLink:
    routes = tuple((Port(name, 1, "peers", b"?"), f"{name}.inner", "127.0.0.1:1") for name in names)
    pod = Pod(fake.server_port, 0, 0)
    return DockerLink("x", "y", pod, routes, pod)


def test_a_link_has_its_toxics_on_every_port_and_in_both_directions(fake: Fake) -> None:
    """And takes off only those of one name."""
    both = link(fake, "a", "b")
    both.impose("cut", "latency", latency=86_400_000)
    both.impose("slow", "bandwidth", rate=10)
    for proxy in fake.proxies.values():
        found = {(toxic["name"], toxic["stream"]) for toxic in proxy["toxics"]}
        assert found == {
            ("cut.upstream", "upstream"), ("cut.downstream", "downstream"),
            ("slow.upstream", "upstream"), ("slow.downstream", "downstream"),
        }  # fmt: skip
    assert both.imposed() == {"cut", "slow"}
    both.lift("cut")
    both.lift("cut")
    assert both.imposed() == {"slow"}


def test_what_is_imposed_on_one_port_only_is_still_told(fake: Fake) -> None:
    """Half an injection has to be seen to be healed."""
    link(fake, "b").impose("my.name", "latency", latency=1)
    assert link(fake, "a", "b").imposed() == {"my.name"}
    link(fake, "a", "b").lift("my.name")
    assert link(fake, "a", "b").imposed() == frozenset()


# ------------------------------------------------------------------------------ the real server

BINARY = shutil.which("toxiproxy-server") or shutil.which("toxiproxy")


@pytest.fixture
def real(tmp_path: Path) -> Iterator[tuple[Server, Pod]]:
    """A real Toxiproxy with a `probe` and a link's proxy; the echo server answers one byte."""
    if not BINARY:
        pytest.skip("no toxiproxy-server on PATH")
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    echo = held[0]
    api, probe, listen = (each.getsockname()[1] for each in held[1:])
    for each in held[1:]:
        each.close()
    upstream = f"127.0.0.1:{echo.getsockname()[1]}"
    (tmp_path / "proxies.json").write_text(json.dumps([
        {"name": "probe", "listen": f"127.0.0.1:{probe}", "upstream": upstream, "enabled": True},
        {"name": "a.inner", "listen": f"127.0.0.1:{listen}", "upstream": upstream, "enabled": True},
    ]))  # fmt: skip

    def serve() -> None:
        while True:
            try:
                connection, _ = echo.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while data := connection.recv(100):
                connection.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    process = subprocess.Popen(
        [BINARY, "-host=127.0.0.1", f"-port={api}", f"-config={tmp_path / 'proxies.json'}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    server, pod = Server(Address("127.0.0.1", api)), Pod(api, 0, probe)
    try:
        wait_until(server.answers, "toxiproxy to answer", 10, every_s=0.02)
        wait_until(lambda: bool(listening(listen)), "its proxies", 10, every_s=0.02)
        yield server, Pod(api, listen, probe)
    finally:
        process.kill()
        process.wait(10)
        echo.shutdown(socket.SHUT_RDWR)
        echo.close()
    assert pod


def listening(port: int) -> bool:
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


def test_a_real_link_is_cut_and_heals_on_the_same_connection(real: tuple[Server, Pod]) -> None:
    """Silent while it is cut; what was sent meanwhile arrives at the heal, nothing is closed."""
    _, pod = real
    port = Port("inner", 1, "peers", b"?")
    routes = ((port, "a.inner", f"127.0.0.1:{pod.client}"),)
    found = DockerLink("x", "y", pod, routes, pod)
    assert found.probe(5.0)["inner"] is not None
    with socket.create_connection(("127.0.0.1", pod.client), 5) as connection:
        connection.settimeout(5)
        connection.sendall(b"1")
        assert connection.recv(1) == b"1"
        found.impose("cut", "latency", latency=86_400_000)
        assert found.imposed() == {"cut"}
        assert found.probe(0.2) == {"inner": None}
        connection.sendall(b"2")
        found.lift("cut")
        assert connection.recv(1) == b"2"
    assert found.probe(5.0)["inner"] is not None
    assert found.imposed() == frozenset()


def test_a_real_server_survives_overlapping_toxics(real: tuple[Server, Pod]) -> None:
    """Two of them hold a message back, its sender goes, the first one is taken off, then the other,
    and one more is added: Toxiproxy 2.12 would panic, had the first one really been taken out."""
    server, pod = real
    hang: dict[str, float] = {"latency": 86_400_000}
    for _ in range(5):
        server.add("a.inner", "first", "latency", "upstream", hang)
        server.add("a.inner", "second", "latency", "upstream", hang)
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", pod.client), 5) as connection:
                connection.sendall(b"1")
        server.remove("a.inner", "first")
        server.remove("a.inner", "second")
        server.add("a.inner", "third", "latency", "upstream", hang)
        server.remove("a.inner", "third")
        assert server.answers()
        assert server.toxics("a.inner") == {}


def test_a_real_server_says_what_is_wrong(real: tuple[Server, Pod]) -> None:
    """Unknown proxy, unknown kind."""
    server, _ = real
    with pytest.raises(ClusterError, match="has no"):
        server.toxics("nobody")
    with pytest.raises(ClusterError, match="nobody"):
        server.redirect("nobody", "127.0.0.1:1")
    with pytest.raises(ClusterError):
        server.add("a.inner", "x", "nonsense", "upstream", {})
