"""The brokers' jars: exactly those of a shipped lock, each checked by its SHA-256.

A lock is a text file with one jar a line, `sha256 bytes group:artifact:version`. `ensure()` gives
their paths; only what is missing is fetched, from Maven Central or `MQCHAOS_MAVEN_URL`.

A jar enters the cache by one rename, after its hash was checked. So a torn download never
becomes visible, and two runs that start on an empty cache only do the same work twice.

`python -m chaos_adapters.runtimes.jars group:artifact:version ... > name.lock` resolves with jgo
and writes a lock. Only this needs jgo: as a downloader it takes 8-12 s where one session takes
0.4 s, only warns of a wrong checksum, and writes into the final place. With `--class-path
name.lock` it fetches what a lock lists, and tells where that is.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.errors import Unavailable

if TYPE_CHECKING:
    import requests
    from jgo.maven import Artifact, MavenContext

FETCHERS = 4
TIMEOUT_S = 20
STALE_S = 3600.0
PARTIAL = ".partial"


class JarError(Unavailable):
    """A jar cannot be had, or is not the one that was pinned."""


@dataclass(frozen=True)
class Jar:
    """One line of a lock."""

    sha256: str
    size: int
    group: str
    artifact: str
    version: str

    @property
    def coordinate(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def filename(self) -> str:
        """Starts with the hash: a changed pin is another file, so both may be in use at once."""
        return f"{self.sha256[:12]}-{self.artifact}-{self.version}.jar"

    @property
    def url(self) -> str:
        folder = f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}"
        return f"{repository()}/{folder}/{self.artifact}-{self.version}.jar"

    def line(self) -> str:
        return f"{self.sha256} {self.size} {self.coordinate}"


def parse_lock(text: str) -> tuple[Jar, ...]:
    """The jars of a lock, in the order of the class path."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return tuple(_parse_line(line) for line in lines)


def _parse_line(line: str) -> Jar:
    sha256, size, coordinate = line.split()
    group, artifact, version = coordinate.split(":")
    return Jar(sha256, int(size), group, artifact, version)


def cache_dir() -> Path:
    """`MQCHAOS_CACHE`, else `XDG_CACHE_HOME/mqchaos`, else `~/.cache/mqchaos`."""
    if own := os.environ.get("MQCHAOS_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mqchaos"


def ensure(jars: Sequence[Jar], cache: Path | None = None) -> list[Path]:
    """The paths of all jars, in order, after fetching what is missing.

    Raises JarError, which names the jar and what to do. Needs no network when all are there.
    """
    store = (cache or cache_dir()) / "jars"
    missing = [jar for jar in jars if not _present(jar, store)]
    if missing:
        _fetch_all(missing, store)
    return [store / jar.filename for jar in jars]


def _present(jar: Jar, store: Path) -> bool:
    # The hash was checked on the way in; the size also catches a file cut short by a power loss.
    try:
        return (store / jar.filename).stat().st_size == jar.size
    except OSError:
        return False


def _fetch_all(jars: Iterable[Jar], store: Path) -> None:
    # Imported here: requests takes 0.1 s, and the warm path does not need it.
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    retry = Retry(total=2, backoff_factor=0.3, status_forcelist=(429, 500, 502, 503, 504))
    with requests.Session() as session, ThreadPoolExecutor(FETCHERS) as pool:
        session.mount("https://", HTTPAdapter(pool_maxsize=FETCHERS, max_retries=retry))
        try:
            store.mkdir(parents=True, exist_ok=True)
            _sweep(store)
            list(pool.map(lambda jar: _keep(_download(jar, session), jar, store), jars))
        except OSError as error:
            raise JarError(f"cannot write {store}: {error}; set MQCHAOS_CACHE") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _sweep(store: Path) -> None:
    """Removes what killed runs left behind; a younger file may belong to a run that is alive."""
    for left in store.glob(f"*{PARTIAL}"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > STALE_S:
                left.unlink()


def _download(jar: Jar, session: requests.Session) -> bytes:
    import requests

    try:
        answer = session.get(jar.url, timeout=TIMEOUT_S)
    except requests.RequestException as error:
        raise JarError(
            f"cannot fetch {jar.coordinate} from {repository()} ({type(error).__name__}): go online"
            " once, set MQCHAOS_MAVEN_URL to a mirror, or copy the directory"
            f" {cache_dir() / 'jars'} from a machine that has it"
        ) from error
    if answer.status_code != 200:
        raise JarError(
            f"{jar.url} answers HTTP {answer.status_code}: set MQCHAOS_MAVEN_URL to"
            " Maven Central or a full mirror of it"
        )
    return answer.content


def _keep(content: bytes, jar: Jar, store: Path) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != jar.sha256:
        raise JarError(
            f"{jar.url} has SHA-256 {found} in {len(content)} bytes, pinned is {jar.sha256} in"
            f" {jar.size}: the repository or a proxy changed it; it was not kept"
        )
    with tempfile.NamedTemporaryFile(suffix=PARTIAL, dir=store, delete=False) as partial:
        partial.write(content)
    Path(partial.name).replace(store / jar.filename)


def repository() -> str:
    """The base URL of the Maven repository."""
    if own := os.environ.get("MQCHAOS_MAVEN_URL"):
        return own.rstrip("/")
    # Imported here: it takes 0.2 s, and the warm path does not need it.
    from jgo.constants import MAVEN_CENTRAL_URL

    return str(MAVEN_CENTRAL_URL).rstrip("/")


def resolve_lock(coordinates: Sequence[str]) -> Iterator[Jar]:
    """Resolves at development time: the named artifacts and what they need at run time.

    The "!" keeps jgo from reading each artifact as a BOM of the others: without it
    log4j-slf4j-impl 2.24.3 turns kafka-clients 4.1.1 into 3.8.0.
    """
    from jgo.maven import MavenContext
    from jgo.parse import Coordinate

    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch), remote_repos={"maven": repository()})
        named = [replace(Coordinate.parse(f"{c}!"), scope="compile") for c in coordinates]
        first, rest = context.resolver.resolve([context.create_dependency(c) for c in named])
        for dependency in (*first, *(d for d in rest if d.scope in ("compile", "runtime"))):
            if dependency.artifact.classifier:
                continue  # native code for one kind of machine, which programs do without
            artifact = _exact(context, dependency.artifact)
            content = artifact.resolve().read_bytes()
            sha256 = hashlib.sha256(content).hexdigest()
            ids = (artifact.groupId, artifact.artifactId, artifact.version)
            yield Jar(sha256, len(content), *ids)


def _exact(context: MavenContext, artifact: Artifact) -> Artifact:
    """The range "[1.53.0]" is the version 1.53.0, which jgo takes for a name."""
    version = artifact.version.strip("[]")
    if version == artifact.version:
        return artifact
    return context.project(artifact.groupId, artifact.artifactId).at_version(version).artifact()


def class_path(lock: Path) -> str:
    """Of all jars of a lock, after fetching what is missing. Raises JarError."""
    return os.pathsep.join(map(str, ensure(parse_lock(lock.read_text()))))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--class-path", lock_file]:
            sys.stdout.write(f"{class_path(Path(lock_file))}\n")
        case coordinates:
            for found_jar in resolve_lock(coordinates):
                sys.stdout.write(f"{found_jar.line()}\n")
