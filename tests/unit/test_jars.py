"""Jars from a repository that is slow, torn, wrong or gone: the cache never has a bad one."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chaos.errors import Unavailable
from chaos_adapters.runtimes import jars
from chaos_adapters.runtimes.jars import Jar, JarError, ensure, parse_lock

CONTENT = {f"part-{number}": bytes([number]) * (1000 + number) for number in range(5)}


def jar(name: str) -> Jar:
    content = CONTENT[name]
    return Jar(hashlib.sha256(content).hexdigest(), len(content), "org.example.mq", name, "1.2")


JARS = tuple(jar(name) for name in CONTENT)
Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


def whole(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def torn(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[: len(content) // 2])
    handler.close_connection = True


def status(number: int) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        handler.send_response(number)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@dataclass
class Repository:
    """A Maven repository on loopback; each artifact may have an answer of its own."""

    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    answers: dict[str, Answer] = field(default_factory=dict)

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.split("/")[-3]
        expected = f"/maven2/org/example/mq/{name}/1.2/{name}-1.2.jar"
        self.asked[name] += 1
        answer = self.answers.get(name, whole) if handler.path == expected else status(404)
        answer(handler, CONTENT[name])


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Repository]:
    found = Repository()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.handle(self)

        def log_message(self, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/maven2"
    monkeypatch.setenv("MQCHAOS_MAVEN_URL", found.url + "/")
    monkeypatch.setenv("MQCHAOS_CACHE", str(tmp_path / "cache"))
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "jars"


def held(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir()) if store.is_dir() else []


def test_missing_jars_are_fetched_once_and_given_in_order(repository: Repository) -> None:
    """The order is that of the class path; a second run needs no repository."""
    paths = ensure(JARS)
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    repository.answers = dict.fromkeys(CONTENT, status(500))
    assert ensure(JARS) == paths
    assert repository.asked == dict.fromkeys(CONTENT, 1)


def test_only_what_is_missing_or_cut_short_is_fetched(repository: Repository) -> None:
    """A jar that a power loss truncated is replaced."""
    paths = ensure(JARS)
    paths[1].unlink()
    paths[3].write_bytes(b"short")
    assert ensure(JARS) == paths
    assert paths[3].read_bytes() == CONTENT["part-3"]
    assert [repository.asked[name] for name in CONTENT] == [1, 2, 1, 2, 1]


def test_a_torn_download_never_enters_the_cache(repository: Repository, store: Path) -> None:
    """It is told with the jar and what to do; the others may be kept; no half file is left."""
    repository.answers["part-2"] = torn
    with pytest.raises(JarError, match=r"org\.example\.mq:part-2:1\.2.*MQCHAOS_MAVEN_URL"):
        ensure(JARS)
    assert jar("part-2").filename not in held(store)
    assert not [name for name in held(store) if name.endswith(".partial")]
    repository.answers.clear()
    assert ensure(JARS)[2].read_bytes() == CONTENT["part-2"]


def test_a_jar_with_another_content_is_refused_with_both_hashes(
    repository: Repository, store: Path
) -> None:
    """Even of the same length: the hash decides."""
    wrong = CONTENT["part-2"][:-1] + b"!"
    repository.answers["part-2"] = lambda handler, content: whole(handler, wrong)
    with pytest.raises(JarError) as caught:
        ensure(JARS)
    assert jar("part-2").sha256 in str(caught.value)
    assert hashlib.sha256(wrong).hexdigest() in str(caught.value)
    assert jar("part-2").filename not in held(store)


@pytest.mark.parametrize("number", [403, 404, 500])
def test_a_repository_that_does_not_have_it_is_told(repository: Repository, number: int) -> None:
    """With the address and the status; it is an Unavailable: exit 2, nothing was started."""
    repository.answers["part-4"] = status(number)
    with pytest.raises(Unavailable, match=rf"{repository.url}/.*part-4.*HTTP {number}"):
        ensure(JARS)


def test_offline_is_told_with_what_helps(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    """Go online once, name a mirror, or copy the cache, whose place it says."""
    monkeypatch.setenv("MQCHAOS_MAVEN_URL", "http://127.0.0.1:9")
    with pytest.raises(JarError, match="go online") as caught:
        ensure(JARS[:1])
    assert str(store) in str(caught.value)
    assert "MQCHAOS_MAVEN_URL" in str(caught.value)


def test_a_cache_that_cannot_be_written_is_told(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variable that moves it."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MQCHAOS_CACHE", str(tmp_path / "file"))
    with pytest.raises(JarError, match="set MQCHAOS_CACHE"):
        ensure(JARS[:1])


FETCH = """
import sys
from chaos_adapters.runtimes.jars import ensure, parse_lock
print(*ensure(parse_lock(sys.stdin.read())), sep="\\n")
"""


def fetcher() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert process.stdin
    process.stdin.write("\n".join(each.line() for each in JARS))
    process.stdin.close()
    process.stdin = None
    return process


def test_two_runs_at_once_both_get_all_jars(repository: Repository, store: Path) -> None:
    """They do the same work twice, held up at the same moment, and nobody sees half a jar."""
    meeting = threading.Barrier(2)

    def late(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        meeting.wait(20)
        whole(handler, content)

    repository.answers["part-0"] = late
    said = [process.communicate(timeout=60)[0] for process in (fetcher(), fetcher())]
    expected = [str(store / each.filename) for each in JARS]
    assert [text.split() for text in said] == [expected, expected]
    assert held(store) == sorted(each.filename for each in JARS)
    assert [Path(path).read_bytes() for path in expected] == list(CONTENT.values())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_download_leaves_nothing_that_counts(
    repository: Repository, store: Path, number: signal.Signals
) -> None:
    """Killed while a jar is half there: the next run fetches it and has every jar whole."""
    half, release = threading.Event(), threading.Event()

    def slow(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:500])
        half.set()
        release.wait(20)

    repository.answers["part-1"] = slow
    process = fetcher()
    try:
        assert half.wait(20)
        process.send_signal(number)
        release.set()
        assert process.wait(30) != 0
    finally:
        release.set()
        process.kill()
        process.communicate()
    assert jar("part-1").filename not in held(store)
    repository.answers.clear()
    assert [path.read_bytes() for path in ensure(JARS)] == list(CONTENT.values())


def test_what_killed_runs_left_is_swept_once_it_is_old(repository: Repository, store: Path) -> None:
    """A young one may belong to a run that is alive."""
    store.mkdir(parents=True)
    for name, age_s in (("old", jars.STALE_S + 60), ("young", 60)):
        left = store / f"{name}{jars.PARTIAL}"
        left.write_bytes(b"half")
        moment = left.stat().st_mtime - age_s
        os.utime(left, (moment, moment))
    ensure(JARS[:1])
    assert held(store) == sorted([f"young{jars.PARTIAL}", JARS[0].filename])


def test_a_changed_pin_is_another_file() -> None:
    """Two versions of this tool may use one cache."""
    other = Jar("0" * 64, JARS[0].size, JARS[0].group, JARS[0].artifact, JARS[0].version)
    assert other.filename != JARS[0].filename


def test_a_lock_is_read_as_it_is_written() -> None:
    """In the order of the class path; comments and empty lines are skipped."""
    text = "# made by hand\n\n" + "\n".join(each.line() for each in JARS) + "\n"
    assert parse_lock(text) == JARS


@pytest.mark.parametrize("path", sorted(Path(jars.__file__).parents[1].rglob("*.lock")), ids=str)
def test_a_shipped_lock_pins_every_jar(path: Path) -> None:
    """SHA-256 and size of each, none twice, among them what a broker starts from."""
    found = parse_lock(path.read_text())
    assert len(found) > 10
    assert len({each.filename for each in found}) == len(found)
    for each in found:
        assert len(bytes.fromhex(each.sha256)) == 32
        assert each.size > 0


def test_the_cache_is_where_it_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """MQCHAOS_CACHE, XDG_CACHE_HOME, ~/.cache."""
    monkeypatch.setenv("MQCHAOS_CACHE", "/own")
    assert jars.cache_dir() == Path("/own")
    monkeypatch.delenv("MQCHAOS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert jars.cache_dir() == Path("/xdg/mqchaos")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/me")
    assert jars.cache_dir() == Path("/me/.cache/mqchaos")


def test_a_cached_run_imports_no_http_client(repository: Repository) -> None:
    """It would cost a tenth of a second on every start."""
    ensure(JARS)
    code = FETCH + "assert 'requests' not in sys.modules\n"
    subprocess.run(
        [sys.executable, "-c", code], input="\n".join(each.line() for each in JARS), text=True,
        check=True, stdout=subprocess.DEVNULL, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
