"""`chaos run` with an engine that does nothing, `chaos verify`, and what all commands share."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import fake_plugins
import pytest
from junitparser import JUnitXml
from printed import assert_plain

from chaos.cli import commands, main
from chaos.cli import run as running
from chaos.cli.codes import worst
from chaos.cli.ended import Ended
from chaos.cli.stopping import supervised
from chaos.errors import ClusterError, HistoryError, Unavailable, UsageError
from chaos.experiment import Experiment
from chaos.run.engine import Options, Result
from chaos.spi import Verdict
from chaos.verdict import Document

GOOD = "name: NAME\ncluster: {broker: fake}\nfaults: []\n"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory to work in, and one for the state of clusters."""
    fake_plugins.install(monkeypatch)
    monkeypatch.setenv("CHAOS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CHAOS_DEBUG", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def write(*names: str) -> None:
    """Experiment files, each named as its file."""
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(GOOD.replace("NAME", path.stem))


def document(name: str, verdict: Verdict = Verdict.PASS) -> Document:
    return Document(
        run="1", name=name, verdict=verdict, reasons=(), questions=(), preconditions=(), faults=(),
        healed=True, interrupted=False, started_ns=1, load_started_ns=1, load_ended_ns=2,
        records={},
    )  # fmt: skip


class Engine:
    """Takes the place of the engine: ends each run with the wanted code, or raises it."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.options: list[Options] = []
        self.ends: dict[str, int | Exception] = {}
        self.unfit: dict[str, Exception] = {}
        self.meanwhile: Callable[[], None] = lambda: None

    def choose_runtime(self, experiment: Experiment, runtime: str | None) -> str:
        if error := self.unfit.get(experiment.name):
            raise error
        return runtime or "near"

    def execute(self, experiment: Experiment, options: Options) -> Result:
        self.ran.append(experiment.name)
        self.options.append(options)
        self.meanwhile()
        end = self.ends.get(experiment.name, 0)
        if isinstance(end, Exception):
            raise end
        for listener in options.listeners:
            listener({"time_ns": 5, "kind": "run", "name": experiment.name})
        verdict = {0: Verdict.PASS, 1: Verdict.FAIL, 3: Verdict.UNKNOWN}.get(end)
        judged = document(experiment.name, verdict) if verdict else None
        return Result(options.runs / experiment.name, judged, end, ("went wrong",) if end else ())


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """What the engine was asked for, and what it is to answer."""
    fake = Engine()
    monkeypatch.setattr(running, "execute", fake.execute)
    monkeypatch.setattr(running, "choose_runtime", fake.choose_runtime)
    return fake


def chaos(*arguments: str) -> int:
    return main(arguments)


# ------------------------------------------------------------------------------------- running


def test_everything_is_checked_before_anything_starts(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files and what their places can do; all problems at once."""
    write("a.yaml", "far.yaml")
    Path("bad.yaml").write_text(GOOD.replace("NAME", "bad").replace("faults", "fautls"))
    engine.unfit["far"] = Unavailable("far needs a daemon")
    assert chaos("run", "a.yaml", "bad.yaml", "far.yaml") == 2
    assert engine.ran == []
    told = capsys.readouterr()
    assert told.out == ""
    for part in ('bad.yaml:3:1: fautls: unknown key "fautls"; did', "far needs a daemon"):
        assert part in told.err


def test_what_the_command_line_says_reaches_the_engine(engine: Engine) -> None:
    """Every option of a run."""
    write("a.yaml")
    Path("b.yaml").write_text(GOOD.replace("NAME", "b"))
    assert chaos("run", "a.yaml", "b.yaml", "--runtime", "far", "--keep", "--runs", "out") == 0
    assert engine.ran == ["a", "b"]
    for options in engine.options:
        assert (options.runtime, options.keep, options.runs) == ("far", True, Path("out"))
        assert len(options.listeners) == 1


def test_the_worst_exit_code_counts() -> None:
    """4, 70, 130, 1, 3, 2, 0."""
    assert worst([0, 2, 3, 1, 130, 70, 4]) == 4
    assert worst([70, 130]) == 70
    assert worst([130, 1]) == 130
    assert worst([1, 3]) == 1
    assert worst([2, 3]) == 3
    assert worst([0, 2]) == 2
    assert worst([0, 9]) == 70
    assert worst([]) == 0


@pytest.mark.parametrize(
    ("first", "ran", "code"),
    [
        (0, 2, 0), (1, 2, 1), (3, 2, 3), (70, 2, 70), (130, 1, 130), (4, 1, 4),
        (HistoryError("no room"), 2, 3), (UsageError("no such node"), 2, 2),
        (ClusterError("not ready"), 2, 3),
    ],
)  # fmt: skip
def test_the_rest_runs_unless_it_must_not(
    engine: Engine,
    capsys: pytest.CaptureFixture[str],
    first: int | Exception,
    ran: int,
    code: int,
) -> None:
    """After an interrupt or a fault that is not healed nothing more is started."""
    write("x/a.yaml", "x/b.yaml")
    engine.ends["a"] = first
    assert chaos("run", "x") == code
    assert len(engine.ran) == ran
    told = capsys.readouterr()
    assert "not run" in told.out or ran == 2
    if isinstance(first, Exception):
        assert f"a was not run: {first}" in told.err


def test_output_without_a_terminal_is_plain(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    """No control characters, whatever the environment says about colours."""
    write("x/a.yaml", "x/b.yaml")
    engine.ends["a"] = 1
    os.environ["FORCE_COLOR"] = "1"
    try:
        assert chaos("run", "x") == 1
    finally:
        del os.environ["FORCE_COLOR"]
    told = capsys.readouterr().out
    assert_plain(told)
    for part in ("0.0 s  run of a", "FAIL  a: an expectation was not met", "PASS      b "):
        assert part in told


def test_a_run_without_a_verdict_says_why(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    """And where what was recorded lies."""
    write("a.yaml")
    engine.ends["a"] = 4
    assert chaos("run", "a.yaml") == 4
    told = " ".join(capsys.readouterr().out.split())
    assert "no verdict could be written What went wrong with the run - went wrong" in told
    assert "record: runs/a" in told


def test_junit_has_a_suite_for_every_experiment(engine: Engine) -> None:
    """Also for one that was not run or judged: a suite that is missing would look like a pass."""
    write("x/a.yaml", "x/b.yaml", "x/c.yaml", "x/d.yaml")
    engine.ends |= {"b": HistoryError("no room"), "c": 4}
    assert chaos("run", "x", "--junit", "out/report.xml") == 4
    suites = {suite.name: suite for suite in JUnitXml.fromfile("out/report.xml")}
    assert list(suites) == ["a", "b", "c", "d"]
    assert [suite.errors for suite in suites.values()] == [0, 1, 1, 1]
    told = Path("out/report.xml").read_text()
    for part in ("no room", "went wrong", "because of the run before it"):
        assert part in told


def test_a_pass_with_an_error_is_no_pass_for_a_pipeline() -> None:
    """What went wrong after the verdict was judged, such as brokers that could not be removed."""
    ended = Ended(0, "a", Path("runs/a"), document("a"), ("process 17 does not end",))
    assert ended.document.verdict is Verdict.UNKNOWN
    assert ended.document.preconditions == ("process 17 does not end",)


def test_a_junit_file_that_cannot_be_written_costs_nothing_else(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    """It makes a PASS an error, and leaves a graver exit code as it is."""
    write("a.yaml", "file")
    assert chaos("run", "a.yaml", "--junit", "file/report.xml") == 3
    assert "file/report.xml: cannot be written" in capsys.readouterr().err
    engine.ends["a"] = 1
    assert chaos("run", "a.yaml", "--junit", "file/report.xml") == 1


# ------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_in_order(
    engine: Engine, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    """The engine's stop is set, nothing is raised in it, and no other run is started."""
    write("x/a.yaml", "x/b.yaml")
    engine.ends["a"] = 130
    before = signal.getsignal(number)

    def strike() -> None:
        stop = engine.options[0].stop
        os.kill(os.getpid(), number)
        assert stop.wait(10)
        os.kill(os.getpid(), number)

    engine.meanwhile = strike
    assert chaos("run", "x") == 130
    assert engine.ran == ["a"]
    assert f"{number.name}: stopping: healing first" in capsys.readouterr().out
    assert signal.getsignal(number) is before


def test_later_signals_are_asked_for_patience() -> None:
    """Each signal is answered, and only the first one sets anything in motion."""
    said: list[str] = []
    heard = threading.Condition()

    def say(text: str) -> None:
        with heard:
            said.append(text)
            heard.notify()

    def work(stop: threading.Event) -> bool:
        for count in (1, 2, 3):
            os.kill(os.getpid(), signal.SIGINT)
            with heard:
                assert heard.wait_for(lambda count=count: len(said) >= count, 10)
        return stop.is_set()

    assert supervised(work, say, "stopping") is True
    assert said[0] == "SIGINT: stopping"
    assert all("still stopping; please be patient" in text for text in said[1:])
    assert len(said) == 3


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    """nohup, and jobs in the background of a script."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:

        def work(stop: threading.Event) -> bool:
            os.kill(os.getpid(), signal.SIGHUP)
            return stop.wait(0.1)

        assert supervised(work, lambda text: None, "stopping") is False
    finally:
        signal.signal(signal.SIGHUP, before)


# -------------------------------------------------------------------------------------- errors


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes `chaos plugins` raise something."""

    def breaking(error: BaseException) -> None:
        def app(arguments: Sequence[str], prog_name: str) -> None:
            secret = "s3cret-" + "value"  # noqa: F841 - must not be shown
            raise error

        monkeypatch.setattr(commands, "app", app)

    return breaking


@pytest.mark.parametrize(
    ("error", "code"),
    [(UsageError("no"), 2), (Unavailable("no"), 2), (ClusterError("no"), 3)],
)
def test_an_error_that_we_can_explain_is_a_message_and_its_code(
    broken: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
) -> None:
    """On standard error, without a traceback."""
    broken(error)
    assert chaos("plugins") == code
    assert capsys.readouterr() == ("", "no\n")


def test_ctrl_c_outside_of_a_run_is_130(
    broken: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a traceback."""
    broken(KeyboardInterrupt())
    assert chaos("plugins") == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_unexpected_error_is_70_and_its_traceback_is_saved(
    broken: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """For its owner only, and without local variables, which may be passwords."""
    broken(ZeroDivisionError("by nothing"))
    assert chaos("plugins") == 70
    told = capsys.readouterr().err
    assert told.startswith("internal error: ZeroDivisionError: by nothing\nThe traceback is in ")
    (saved,) = (Path(os.environ["CHAOS_HOME"]) / "errors").iterdir()
    assert str(saved) in told
    assert saved.stat().st_mode & 0o777 == 0o600
    assert "raise error" in saved.read_text()
    assert "s3cret-value" not in saved.read_text()


@pytest.mark.parametrize("way", ["environment", "nowhere to save"])
def test_the_traceback_is_shown_when_wanted_or_when_it_cannot_be_saved(
    broken: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    """CHAOS_DEBUG=1; or a CHAOS_HOME that is a file."""
    broken(ZeroDivisionError("by nothing"))
    if way == "environment":
        monkeypatch.setenv("CHAOS_DEBUG", "1")
    else:
        Path("file").touch()
        monkeypatch.setenv("CHAOS_HOME", str(Path("file").absolute()))
    assert chaos("plugins") == 70
    told = capsys.readouterr().err
    assert "Traceback (most recent call last)" in told
    assert "s3cret-value" not in told


def test_debug_shows_where_an_explained_error_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`chaos --debug COMMAND`."""
    monkeypatch.setenv("CHAOS_DEBUG", "0")
    assert chaos("--debug", "run", "nothing-like-this") == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_wrong_usage_is_2() -> None:
    """An unknown command, an unknown option, no command at all."""
    assert chaos("rnu") == 2
    assert chaos("run", "--kepp", "x") == 2
    assert chaos("--version") == 0
    assert chaos("run", "--help") == 0


# -------------------------------------------------------------------------------------- verify


def test_verify_tells_what_is_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A directory that is not there is wrong usage; one that is no run cannot be judged."""
    assert chaos("verify", "gone") == 2
    Path("dir").mkdir()
    assert chaos("verify", "dir") == 3
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "gone: no such directory; give one that `chaos run` made"
    assert told[1].startswith("dir: not a run")
