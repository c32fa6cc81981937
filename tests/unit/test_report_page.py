"""The page of a run: what it shows, that it escapes all of it, and that it needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from chaos.errors import HistoryError
from chaos.judge import judge
from chaos.report import FILE, write_report
from chaos.report.build import build_page
from chaos.report.evidence import MOST_ROWS, sample
from chaos.report.page import render
from chaos.spi import Anomaly, Batch, Caveat, Facts, Figure, Finding, Json, Stage, Verdict
from tests.histories import Fault, History, at, drop, right

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x1b[2J"


class Says:
    """A verifier that gives the finding which a test wants."""

    question = "Is all well?"
    tables: frozenset[str] = frozenset()

    def __init__(self, finding: Finding) -> None:
        self.finding = finding

    def start(self) -> None:
        """Nothing to remember."""

    def fold(self, state: None, batch: Batch) -> None:
        """Nothing to see."""

    def merge(self, a: None, b: None) -> None:
        """Nothing to add."""

    def finish(self, state: None, facts: Facts) -> Finding:
        """What was wanted."""
        return self.finding


FINE = Finding(Verdict.PASS, "All is well.", (Figure("lost", 0, "messages", "<= 0", True),))


def view(time_s: float, leader: str | None, in_sync: tuple[str, ...], since_s: float) -> Json:
    nodes = ["kafka-1", "kafka-2"]
    return {
        "time_ns": at(time_s), "kind": "view", "since_ns": at(since_s), "controller": "kafka-1",
        "leaders": {"0": leader}, "replicas": {"0": nodes}, "in_sync": {"0": list(in_sync)},
    }  # fmt: skip


def a_run(
    directory: Path, finding: Finding = FINE, caveats: tuple[Caveat, ...] = (), **changes: Any
) -> Path:
    """A judged run of 4 s with a fault from 1 s to 2 s; kafka-2 leads from 1.5 s on."""
    history = right(400)
    drop(history.deliveries, 120)
    history.faults = [Fault("1-process.kill", 1.0, 2.0)]
    history.more_events = [
        view(-0.5, "kafka-1", ("kafka-1", "kafka-2"), -0.6),
        view(1.2, None, ("kafka-2",), 1.1),
        view(1.5, "kafka-2", ("kafka-2",), 1.4),
        view(2.5, "kafka-2", ("kafka-1", "kafka-2"), 2.4),
    ]
    for name, value in changes.items():
        setattr(history, name, [*getattr(history, name), *value])
    history.write(directory)
    judge(directory, {"loss": Says(finding)}, caveats)
    return directory


LOST = Finding(
    Verdict.FAIL, "1 of 400 acknowledged messages were lost.",
    (Figure("lost", 1, "messages", "<= 0", False), Figure("acknowledged", 400, "messages")),
    details=({"who": "partition 0", "gap_s": 1.25, "until_ns": at(2.0)},),
    anomalies=(Anomaly("lost", 0, 120),),
    stages=(
        Stage("1-process.kill", 0, "all", "new leader chosen", at(1.0), at(1.5), 100_000_000,
              ("suspected by the cluster",)),
        Stage("1-process.kill", 0, "all", "in-sync set whole", at(1.5), None),
    ),
)  # fmt: skip


def words(text: str) -> str:
    """The text of a page as one sees it."""

    class Reader(HTMLParser):
        found: list[str]
        silent = False

        def handle_starttag(self, tag: str, attributes: object) -> None:
            self.silent = tag in {"script", "style"}

        def handle_data(self, data: str) -> None:
            if not self.silent:
                self.found.append(data)

    reader = Reader()
    reader.found = []
    reader.feed(text)
    return " ".join(" ".join(reader.found).split())


def page(run: Path) -> str:
    return write_report(run).read_text()


# ------------------------------------------------------------------------------------ what it says


def test_a_fail_says_what_when_under_which_fault_and_what_then(tmp_path: Path) -> None:
    """On top of the page, in words."""
    caveats = (Caveat("loss", "acks=1", "only the leader has it"),)
    found = build_page(a_run(tmp_path / "run", LOST, caveats))
    (wrong,) = found.wrong
    assert wrong.title == "1 of 400 acknowledged messages were lost."
    assert dict(wrong.points) == {
        "When": "acknowledged 2.2 s to 2.2 s into the run",
        "Under": "process.kill on kafka-1",
        "Where": "partition 0",
        "Then": "kafka-2 led partition 0 from 2.5 s on",
        "Why": "unsafe setting: acks=1: only the leader has it",
    }
    assert found.verdict == "FAIL"
    text = words(render(found))
    assert text.index(wrong.title) < text.index("What happened, over time")


def test_a_pass_says_what_was_done_and_what_came_of_it(tmp_path: Path) -> None:
    """The answers that people ask for first."""
    found = build_page(a_run(tmp_path / "run"))
    assert found.lead == ("Under load: process.kill on kafka-1 for 1 s.", "All is well.")
    assert found.wrong == ()
    assert [(tile.value, tile.name) for tile in found.tiles] == [("0 messages", "lost")]


def test_leaders_and_in_sync_sets_are_lanes(tmp_path: Path) -> None:
    """From the views, cut to the axis, with what nobody led told as such."""
    found = build_page(a_run(tmp_path / "run"))
    lanes = {(lane.head, lane.name): lane for lane in found.lanes}
    told = {
        name: [(bar.label, round(bar.from_s, 2), round(bar.to_s, 2)) for bar in lane.bars]
        for (_, name), lane in lanes.items()
    }
    assert told["leader"] == [("kafka-1", 1, 2.2), ("none", 2.2, 2.5), ("kafka-2", 2.5, 5)]
    assert told["kafka-1"] == [("in sync", 1, 2.2), ("out of sync", 2.2, 3.5), ("in sync", 3.5, 5)]
    assert told["kafka-2"] == [("in sync", 1, 5)]
    assert told["fault"] == [("process.kill on kafka-1", 2, 3)]
    assert told["controller"] == [("kafka-1", 1, 5)]
    assert ("partition 0", "leader") in lanes


def test_alarms_and_blocked_clients_are_lanes(tmp_path: Path) -> None:
    """From when on, until when, and why."""
    alarmed = {**view(1.7, "kafka-2", ("kafka-2",), 1.6), "alarms": {"kafka-1": ["disk"]}}
    client = {"kind": "connection", "client": "producer-0"}
    found = build_page(a_run(tmp_path / "run", more_events=[
        alarmed,
        {**client, "time_ns": at(1.9), "blocked": "low on disk"},
        {**client, "time_ns": at(2.6), "blocked": None},
    ]))  # fmt: skip
    lanes = {lane.name: lane.bars for lane in found.lanes}
    (bar,) = lanes["alarm on kafka-1"]
    assert (bar.label, round(bar.from_s, 2), round(bar.to_s, 2)) == ("disk", 2.7, 3.5)
    (bar,) = lanes["producer-0 blocked"]
    assert (bar.label, round(bar.from_s, 2), round(bar.to_s, 2)) == ("low on disk", 2.9, 3.6)


def test_evidence_has_a_lane(tmp_path: Path) -> None:
    """When the lost ones were acknowledged, beside who led and which fault was on."""
    lanes = {lane.name: lane.bars for lane in build_page(a_run(tmp_path / "run", LOST)).lanes}
    (bar,) = lanes["lost"]
    assert bar.label == "1 lost"
    assert bar.from_s <= 2.201 <= bar.to_s


def test_stages_are_bars_on_one_scale(tmp_path: Path) -> None:
    """How long each took, how sure that is, what it contains, and what never ended."""
    (group,) = build_page(a_run(tmp_path / "run", LOST)).stages
    assert group.title == "process.kill on kafka-1: partition 0, all clients"
    chosen, whole = group.bars
    assert (chosen.length, chosen.ended) == ("500 ms", True)
    assert chosen.note == "ended at most 100 ms earlier; contains: suspected by the cluster"
    assert (whole.length, whole.ended) == ("over 2.50 s", False)
    assert whole.note == "not by the end of the load"
    assert (chosen.from_share, whole.to_share) == (0, 1)
    assert chosen.to_share == whole.from_share == pytest.approx(0.5 / 3)


def test_it_shows_the_answers_faults_and_events(tmp_path: Path) -> None:
    """With figures, thresholds, details and proofs."""
    told = words(page(a_run(tmp_path / "run", LOST)))
    for part in (
        "Is all well?",
        "lost 1 messages <= 0 ✗ not met",
        "acknowledged 400 messages",
        "who gap until partition 0 1.25 s 3.000 s",
        "broken promise : these settings should not allow it",
        "process.kill on kafka-1 ✓ proved on and gone",
        "attempted 2.000 s, injected 2.010 s, proved on 2.020 s, healing 2.900 s, proved gone 3.0",
        "leader of partition 0: none -> kafka-2",
        "1 lost. All are in evidence.jsonl",
    ):
        assert part in told, part


def test_settings_in_force_are_shown(tmp_path: Path) -> None:
    """As read back from the cluster, and as the experiment has them."""
    event = {"time_ns": at(-0.9), "kind": "settings", "in_force": {"broker": {"a.b": {"c": True}}}}
    run = a_run(tmp_path / "run", more_events=[event])
    (run / "experiment.json").write_text('{"name": "x", "load": {"producers": {"count": 2}}}')
    assert dict(build_page(run).settings) == {
        "in force: broker": (("a.b.c", "true"),),
        "experiment: load": (("producers.count", "2"),),
    }


def test_the_backlog_of_the_group_is_drawn(tmp_path: Path) -> None:
    """The last one seen in each bucket, over all partitions."""
    events: list[Json] = [
        {"time_ns": at(second), "kind": "group", "state": "Stable", "members": 1,
         "lag": {"0": lag, "1": 1}}
        for second, lag in ((0.55, 1), (2.25, 7))
    ]  # fmt: skip
    found = build_page(a_run(tmp_path / "run", more_events=events)).plots
    lag = dict(zip((round(x, 2) for x in found["x"]), found["lag"], strict=True))
    assert (lag[1.45], lag[1.55], lag[3.15], lag[3.25]) == (None, 2, 2, 8)


# ------------------------------------------------------------------------------ broken off, damaged


def test_a_run_without_a_verdict_has_a_page(tmp_path: Path) -> None:
    """It was killed before it was judged: the page says so, and is UNKNOWN."""
    run = a_run(tmp_path / "run")
    (run / "verdict.json").unlink()
    (run / "evidence.jsonl").unlink()
    found = build_page(run)
    assert found.verdict == "UNKNOWN"
    assert "This run was not judged" in words(render(found))


def test_a_torn_run_has_a_page(tmp_path: Path) -> None:
    """The tool was killed under load: half a record, half an event, no end of anything."""
    run = a_run(tmp_path / "run")
    sends = run / "history" / "producer-0.sends.arrow"
    sends.write_bytes(sends.read_bytes()[:-1000])
    events = (run / "events.jsonl").read_text().splitlines()
    kept = [line for line in events if '"gone"' not in line and '"ended"' not in line]
    (run / "events.jsonl").write_text("\n".join(kept) + '\n{"time_ns": 17')
    judge(run, {"loss": Says(FINE)}, ())
    found = build_page(run)
    assert found.verdict == "UNKNOWN"
    assert found.faults[0].state == "NOT HEALED"
    assert found.preconditions
    assert "not proved gone" in words(render(found))


def test_a_run_without_load_or_views_has_a_page(tmp_path: Path) -> None:
    """It ended while the cluster started."""
    run = History().write(tmp_path / "run")
    (run / "history").mkdir()
    (run / "events.jsonl").write_text('{"time_ns": 5, "kind": "run", "name": "x", "run": "1"}\n')
    assert build_page(run).lanes == ()


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    """Nothing recorded, no history, a damaged verdict: each by the name of the file."""
    with pytest.raises(HistoryError, match="events"):
        write_report(tmp_path)
    run = a_run(tmp_path / "run")
    (run / "verdict.json").write_text("{")
    with pytest.raises(HistoryError, match=r"verdict\.json"):
        write_report(run)
    shutil.rmtree(run / "history")
    (run / "verdict.json").unlink()
    with pytest.raises(HistoryError, match="history: no such directory"):
        write_report(run)


def test_damaged_evidence_is_told(tmp_path: Path) -> None:
    """By the name of its file."""
    run = a_run(tmp_path / "run", LOST)
    (run / "evidence.jsonl").write_text('{"question": "loss"}\n')
    with pytest.raises(HistoryError, match=r"evidence\.jsonl"):
        write_report(run)


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    """Wherever and whenever it is made."""
    run = a_run(tmp_path / "run", LOST)
    first = page(run)
    moved = tmp_path / "elsewhere" / "run"
    shutil.copytree(run, moved)
    assert page(moved) == page(run) == first


# ---------------------------------------------------------------------------------- much evidence


def test_much_evidence_makes_no_monster(tmp_path: Path) -> None:
    """A bounded sample is on the page, and how much there is in all."""
    run = a_run(tmp_path / "run", LOST)
    (line,) = (run / "evidence.jsonl").read_text().splitlines()
    row = json.loads(line)
    with (run / "evidence.jsonl").open("w") as file:
        for number in range(50_000):
            sent = at(0.5 + number / 50_000)
            changed = row | {"sequence": number, "done_ns": sent, "partition": number % 3}
            file.write(json.dumps(changed) + "\n")
    found = build_page(run)
    assert found.evidence.kinds == (("lost", 50_000, MOST_ROWS),)
    numbers = [each[3] for each in found.evidence.rows]
    assert numbers == sorted(numbers) == [*sample(50_000, MOST_ROWS)]
    assert numbers[:3] == [0, 1, 2]
    assert numbers[-1] == 49_999
    assert found.evidence.partitions == (0, 1, 2)
    text = render(found)
    assert len(text) < 1_000_000
    assert "50,000 lost (of which 2,000 are here" in words(text)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_a_sample_has_both_ends_and_no_row_twice(count: int) -> None:
    """Whatever there is to choose from."""
    places = sample(count, 8)
    assert len(places) == min(count, 8)
    assert places == sorted(set(places))
    if count:
        assert (places[0], places[-1]) == (0, count - 1)


# --------------------------------------------------------------------------------------- safety


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))


def tags(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(text)
    return parser.found


def hostile(directory: Path) -> Path:
    """A run in which everything that others can name is called HOSTILE."""
    finding = Finding(
        Verdict.FAIL, HOSTILE, (Figure(HOSTILE, 1, HOSTILE, HOSTILE, False),),
        details=({HOSTILE: HOSTILE},),
        anomalies=(Anomaly("lost", 0, 120, note=HOSTILE), Anomaly(HOSTILE, 0, 121)),
        stages=(Stage(HOSTILE, 0, HOSTILE, HOSTILE, at(1), at(2), 1, (HOSTILE,)),),
    )  # fmt: skip
    run = a_run(
        directory, finding, (Caveat("loss", HOSTILE, HOSTILE),),
        faults=[Fault(HOSTILE, 1.5, 2.0, fault=HOSTILE, nodes=(HOSTILE,))],
        more_events=[
            view(1.6, HOSTILE, (HOSTILE,), 1.5) | {"controller": HOSTILE},
            {"time_ns": at(0.1), "kind": "note", "text": HOSTILE + "\ud800"},
            {"time_ns": at(0.2), "kind": "error", "why": HOSTILE},
            {"time_ns": at(0.3), "kind": "phase", "phase": HOSTILE},
            {"time_ns": at(0.4), "kind": "group", "state": HOSTILE, "members": 1, "lag": {}},
            {"time_ns": at(0.4), "kind": "settings", "in_force": {HOSTILE: {HOSTILE: HOSTILE}}},
            {"time_ns": at(-1), "kind": "run", "run": HOSTILE, "name": HOSTILE, "seed": HOSTILE,
             "runtime": HOSTILE, "versions": {"mqchaos": HOSTILE, HOSTILE: HOSTILE}},
        ],
    )  # fmt: skip
    (run / "experiment.json").write_text(
        json.dumps({"about": HOSTILE, "cluster": {"broker": HOSTILE, HOSTILE: [HOSTILE]}})
    )
    (run / "logs").mkdir()
    (run / "logs" / "<img src=x onerror=alert(3)>.log").write_text("x")
    return run


def test_nothing_that_a_run_names_becomes_markup(tmp_path: Path) -> None:
    """No tag, no attribute, no second script out of any text."""
    text = page(hostile(tmp_path / "run"))
    found = tags(text)
    assert [tag for tag, _ in found].count("script") == 3
    assert not {tag for tag, _ in found} & {"img", "iframe", "object", "embed", "link", "base"}
    names = {name for _, attributes in found for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    assert "style" not in names
    # It is there all the same, as text.
    assert words(text).count("alert(1)") > 20
    assert "\x1b" not in text
    assert text.isascii()


def test_the_data_of_the_page_is_what_was_recorded(tmp_path: Path) -> None:
    """Escaped for HTML, and read back as it was."""
    text = page(hostile(tmp_path / "run"))
    (data,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL
    )
    assert "<" not in data
    rows = json.loads(data)["evidence"]["rows"]
    assert {row[0] for row in rows} == {"lost", HOSTILE}
    assert HOSTILE in {row[-1] for row in rows}


def test_it_loads_nothing(tmp_path: Path) -> None:
    """No reference leads out of the file, but relative ones that people may follow; and a browser
    is told to load nothing and to run only the scripts that are in it."""
    text = page(a_run(tmp_path / "run", LOST))
    for tag, attributes in tags(text):
        assert not {"src", "srcset", "action", "data", "poster", "background"} & attributes.keys()
        target = attributes.get("href") or attributes.get("xlink:href") or "#"
        assert not re.match(r"[a-z]+:|//", target), (tag, target)
        assert tag != "link"
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert "@import" not in text
    # The only address is the one in the notice of uPlot.
    assert re.findall(r"https?://[^\s)*]+", text) == ["https://github.com/leeoniya/uPlot"]
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|importScripts)\b", text)


def test_its_policy_names_exactly_its_scripts_and_style(tmp_path: Path) -> None:
    """By their hashes: a script that came in by a hole would not run."""
    text = page(a_run(tmp_path / "run"))
    policies = [
        attributes["content"] for tag, attributes in tags(text)
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]  # fmt: skip
    assert len(policies) == 1
    rules = dict(rule.split(" ", 1) for rule in (policies[0] or "").split("; "))
    assert rules["default-src"] == "'none'"

    def hashes(pattern: str) -> set[str]:
        return {
            f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'"
            for body in re.findall(pattern, text, re.DOTALL)
        }

    assert set(rules["script-src"].split()) == hashes("<script>(.*?)</script>")
    assert set(rules["style-src"].split()) == hashes("<style>(.*?)</style>")


def test_files_are_linked_by_relative_names(tmp_path: Path) -> None:
    """Those of the run, percent-encoded, and not the page itself."""
    run = a_run(tmp_path / "run")
    (run / "logs").mkdir()
    (run / "logs" / "a b#c.log").write_text("x")
    write_report(run)
    links = {attributes.get("href") for _, attributes in tags(page(run))}
    assert {"events.jsonl", "logs/a%20b%23c.log"} <= links
    assert FILE not in links


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
def test_in_a_browser_it_comes_alive_and_stays_itself(tmp_path: Path) -> None:
    """Plots are drawn, evidence is listed, and no text of a run was executed."""
    assert CHROMIUM
    path = write_report(hostile(tmp_path / "run"))
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/p",
         "--virtual-time-budget=3000", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    found = tags(done.stdout)
    assert [tag for tag, _ in found].count("canvas") >= 2
    assert [tag for tag, _ in found].count("script") == 3
    assert "img" not in {tag for tag, _ in found}
    assert "2 of 2 rows" in done.stdout
