"""What holds for the book whatever happens: any anomalies, commands, pauses and restarts."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.alerts.incidents import Changes, IncidentBook
from actors.alerts.routing import Routing
from actors.kernel.clock import chance
from actors.store.records import Anomaly, NewNotification, Severity, State
from tests.alerts.samples import HOUR, LOUD_ONLY, PEOPLE, PROGRAM, SECOND, START, anomaly

ROUTING = Routing((PROGRAM, PEOPLE, LOUD_ONLY))


@dataclass(frozen=True)
class Step:
    """After `wait_s` of log time, something happens: an anomaly, a word about the n-th incident so far, or nothing."""

    wait_s: int
    anomaly: Anomaly | None = None
    command: tuple[str, int] | None = None
    settle: str | None = None


anomalies = st.builds(
    anomaly,
    scope=st.sampled_from(["cus_1", "cus_1", "cus_2", "cus_3", "cus_4", "cus_5"]),
    tenant=st.sampled_from(["acme", "other"]),
    severity=st.sampled_from(Severity),
    count=st.integers(0, 3),
    quiet_s=st.sampled_from([60, 600, 3600, 4 * 3600]),
)
lasting = st.builds(anomaly, severity=st.sampled_from(Severity), count=st.integers(0, 99), quiet_s=st.just(4 * 3600))
waits = st.one_of(st.integers(0, 120), st.sampled_from([600, 3600]), st.integers(0, 3 * 3600))
steps = st.lists(
    st.one_of(
        st.builds(Step, waits, anomaly=anomalies),
        st.builds(Step, waits, anomaly=lasting),
        st.builds(Step, waits, anomaly=lasting),
        st.builds(
            Step, waits, command=st.tuples(st.sampled_from(["ack", "snooze", "false_positive"]), st.integers(0, 9))
        ),
        st.builds(Step, waits, settle=st.sampled_from(["cus_1", "cus_2"])),
        st.builds(Step, waits),
    ),
    max_size=40,
)


@dataclass
class Run:
    """A book that has been through some steps, and all it said."""

    book: IncidentBook
    at: int = START
    seq: int = 0

    def __post_init__(self) -> None:
        self.said: list[Changes] = []
        self.ids: list[str] = []

    def take(self, step: Step) -> Changes:
        self.at += step.wait_s * SECOND
        self.seq += 1
        self.book.advance(self.at)
        if step.anomaly:
            self.book.observe(step.anomaly, self.seq)
        if step.command and self.ids:
            command, nth = step.command
            incident = self.ids[nth % len(self.ids)]
            self.book.command({"command": command, "incident": incident, "until": self.at + HOUR})
        if step.settle:
            self.book.settle("acme", "duplicate_charge", step.settle)
        said = self.book.drain()
        self.said.append(said)
        self.ids += [t.incident.id for t in said.transitions if t.state == "opened"]
        return said

    @property
    def notifications(self) -> list[NewNotification]:
        return [notification for said in self.said for notification in said.notifications]


def run(happening: list[Step]) -> Run:
    told = Run(IncidentBook(ROUTING))
    for step in happening:
        told.take(step)
    return told


@given(steps)
def test_each_incident_is_opened_once_and_resolved_at_most_once_and_one_is_open_per_key(happening: list[Step]) -> None:
    states: dict[str, list[str]] = {}
    open_keys: set[tuple[str, str, str]] = set()
    for said in run(happening).said:
        for transition in said.transitions:
            incident = transition.incident
            key = (incident.tenant, incident.signal, incident.scope)
            states.setdefault(incident.id, []).append(transition.state)
            if transition.state == "opened":
                assert key not in open_keys
                open_keys.add(key)
            elif transition.state == "resolved":
                open_keys.remove(key)
    for history in states.values():
        assert history[0] == "opened"
        assert history.count("opened") == 1
        assert history.count("resolved") <= 1
        assert "resolved" not in history[:-1]


@given(steps)
def test_nothing_resolves_by_itself_before_its_quiet_window_has_passed(happening: list[Step]) -> None:
    told = Run(IncidentBook(ROUTING))
    for step in happening:
        by_word = step.command is not None or step.settle is not None
        for transition in told.take(step).transitions:
            incident = transition.incident
            quiet_until = incident.last_seen + incident.quiet_s * SECOND
            if transition.state == "resolved" and not (by_word and transition.at == told.at):
                assert transition.at == incident.resolved == quiet_until <= told.at


@given(steps)
def test_the_story_is_told_in_the_order_of_time(happening: list[Step]) -> None:
    times = [transition.at for said in run(happening).said for transition in said.transitions]
    assert times == sorted(times)


@given(steps)
def test_everything_is_over_when_it_has_been_quiet_for_long(happening: list[Step]) -> None:
    told = run(happening)
    told.take(Step(5 * 3600))
    assert told.book.open_incidents == []
    assert told.book.due is None


@given(steps)
def test_keys_are_unique_and_say_which_incident_change_and_channel(happening: list[Step]) -> None:
    notifications = run(happening).notifications
    keys = [notification.key for notification in notifications]
    assert len(keys) == len(set(keys))
    assert all(
        key.startswith(n.incident) and key.endswith(n.channel) for key, n in zip(keys, notifications, strict=True)
    )


@given(steps)
def test_a_channel_hears_of_the_opening_first_and_of_the_end_last(happening: list[Step]) -> None:
    heard: dict[tuple[str, str], list[NewNotification]] = {}
    for notification in run(happening).notifications:
        heard.setdefault((notification.channel, notification.incident), []).append(notification)
    for story in heard.values():
        assert story[0].kind == "incident.opened"
        assert all(n.kind != "incident.resolved" for n in story[:-1])
        if story[-1].kind == "incident.resolved":
            assert story[-1].not_before >= max(n.not_before for n in story[:-1])


@given(steps)
def test_the_opening_is_told_at_once_to_programs(happening: list[Step]) -> None:
    told = run(happening)
    opened = {t.incident.id: t.at for said in told.said for t in said.transitions if t.state == "opened"}
    first = {n.incident: n for n in reversed(told.notifications) if n.channel == PROGRAM.channel}
    assert {id_: notification.not_before for id_, notification in first.items()} == opened


@given(steps)
def test_severity_only_rises_while_an_incident_is_open(happening: list[Step]) -> None:
    ranks: dict[str, list[int]] = {}
    for said in run(happening).said:
        for incident in said.incidents:
            ranks.setdefault(incident.id, []).append(incident.severity.rank)
    assert all(history == sorted(history) for history in ranks.values())


@given(steps)
def test_after_an_ack_only_a_rise_in_severity_and_the_end_are_told(happening: list[Step]) -> None:
    told = Run(IncidentBook(ROUTING))
    acked: dict[str, Severity] = {}
    for step in happening:
        said = told.take(step)
        for notification in said.notifications:
            if (before := acked.get(notification.incident)) and notification.kind != "incident.resolved":
                assert notification.severity.rank > before.rank
        acked |= {i.id: i.severity for i in said.incidents if i.acked is not None}


@given(steps)
def test_of_one_incident_updates_are_an_hour_apart_unless_severity_rises(happening: list[Step]) -> None:
    last: dict[str, NewNotification] = {}
    for n in run(happening).notifications:
        before = last.get(n.incident)
        if n.channel == PROGRAM.channel:
            if before and n.kind != "incident.resolved" and n.severity is before.severity:
                assert n.created - before.created >= HOUR
            last[n.incident] = n


def long_story(seed: int, length: int = 150) -> list[Step]:
    """Hours in which incidents of all kinds overlap, worsen and are dealt with."""
    rng = chance(seed)
    story = []
    for _ in range(length):
        wait_s = rng.choice([5, 60, 900, 3600])
        what = rng.random()
        if what < 0.6:
            lasts = rng.random() < 0.7
            seen = anomaly(
                "cus_1" if lasts else f"cus_{rng.randrange(9)}",
                tenant=rng.choice(["acme", "other"]),
                severity=rng.choice(list(Severity)[: 1 + rng.randrange(3)]),
                count=rng.randrange(99),
                quiet_s=4 * 3600 if lasts else 600,
            )
            story.append(Step(wait_s, anomaly=seen))
        elif what < 0.7:
            story.append(Step(wait_s, command=(rng.choice(["ack", "snooze", "false_positive"]), rng.randrange(99))))
        else:
            story.append(Step(wait_s))
    return story


@pytest.mark.parametrize("seed", range(5))
def test_a_snapshot_and_the_rest_give_what_all_gives_wherever_the_daemon_was_restarted(seed: int) -> None:
    story = long_story(seed)
    whole = run(story)
    assert any(incident.reminders for said in whole.said for incident in said.incidents)
    upto = Run(IncidentBook(ROUTING))
    parts: dict[tuple[str, str], tuple[int, bytes]] = {}
    for done, step in enumerate(story, 1):
        upto.take(step)
        parts |= upto.book.save()
        rest = Run(IncidentBook(ROUTING), at=upto.at, seq=upto.seq)
        rest.ids = list(upto.ids)
        rest.book.load(parts)
        assert [rest.take(later) for later in story[done:]] == whole.said[done:]


@given(st.lists(anomalies, max_size=8, unique_by=lambda a: (a.tenant, a.scope)), st.randoms())
def test_what_different_keys_do_in_one_instant_does_not_depend_on_their_order(
    together: list[Anomaly],
    rng: object,
) -> None:
    shuffled = list(together)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random, whose module the lint keeps for the kernel
    assert outcome_of(together) == outcome_of(shuffled)


def outcome_of(together: list[Anomaly]) -> dict[tuple[str, str], tuple[Severity, State]]:
    told = run([Step(0, anomaly=each) for each in together] + [Step(5 * 60)])
    latest = {(i.tenant, i.scope): (i.severity, i.state) for said in told.said for i in said.incidents}
    return dict(sorted(latest.items()))


@given(st.lists(anomalies, min_size=1, max_size=6))
def test_the_severity_of_an_incident_is_that_of_its_worst_anomaly_in_any_order(together: list[Anomaly]) -> None:
    for order in (together, together[::-1]):
        for incident in run([Step(0, anomaly=each) for each in order]).book.open_incidents:
            mine = [a for a in together if (a.tenant, a.scope) == (incident.tenant, incident.scope)]
            assert incident.severity is max((a.severity for a in mine), key=lambda severity: severity.rank)
            assert incident.quiet_s == max(a.quiet_s for a in mine)


@settings(max_examples=20)
@given(st.integers(10, 200), st.integers(1, 120))
def test_a_flood_reaches_people_in_few_messages(customers: int, gap_s: int) -> None:
    """However many customers: three at once, then at most one gathered message per 10 minutes, fewer later."""
    told = run([Step(gap_s, anomaly=anomaly(f"cus_{n}", quiet_s=86_400)) for n in range(customers)])
    releases = {n.not_before for n in told.notifications if n.channel == PEOPLE.channel}
    lasted = customers * gap_s
    assert len(releases) <= 3 + 3 + lasted // 3600 + 1
    assert all(n.not_before - n.created <= HOUR for n in told.notifications)
