"""The life of an incident and what people hear of it."""

from dataclasses import replace
from datetime import time
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from actors.alerts.incidents import MOST_OPEN, OVERFLOW
from actors.alerts.routing import QuietHours, Route, Routing
from actors.store.records import DAEMON, Severity, State
from tests.alerts.samples import HOUR, LOUD_ONLY, MINUTE, PEOPLE, PROGRAM, SECOND, START, Story, anomaly, book


def kinds(changes: object) -> list[tuple[str, str]]:
    return [(n.channel, n.kind.removeprefix("incident.")) for n in changes.notifications]  # type: ignore[attr-defined]  # Changes, named by its use


def test_an_anomaly_opens_an_incident_and_is_told_at_once() -> None:
    story = Story(book())
    said = story.at(START, anomaly())
    (notification,) = said.notifications
    assert (notification.kind, notification.not_before, notification.created) == ("incident.opened", START, START)
    assert said.transitions[0].state == "opened"
    assert said.incidents[0].state is State.OPEN


def test_the_payload_is_what_the_webhook_channel_promises() -> None:
    (notification,) = Story(book()).at(START, anomaly()).notifications
    payload = notification.payload
    assert list(payload) == [
        "id",
        "kind",
        "tenant",
        "signal",
        "severity",
        "scope",
        "title",
        "text",
        "evidence",
        "at",
    ]
    assert payload["id"] == notification.incident
    assert payload["at"] == "2023-11-14T22:13:20.000Z"
    assert payload["evidence"] == {"count": 1, "customer": "cus_1"}


def test_the_text_answers_what_how_sure_since_when_what_first_and_how_to_acknowledge() -> None:
    seen = replace(
        anomaly("cus_9", at=START - 20 * MINUTE, score=0.97),
        evidence={
            "observed": 14,
            "expected": 0.61234,
            "refunds": 14,
            "customer": "cus_9",
            "amount_minor": 2900,
            "charges": ["ch_1", "ch_2"],
            "codes": {"fraud": 9, "other": 5},
            "window_s": 1200,
            "since": "2023-11-14T21:50:00Z",
            "links": ["https://dashboard.stripe.com/customers/cus_9", "https://dashboard.stripe.com/payments/ch_1"],
        },
    )
    (notification,) = Story(book()).at(START, seen).notifications
    assert notification.payload["text"].splitlines() == [
        "charged twice: $29.00 within 60 s",
        "expected 0.6123 · refunds 14 · charges 2 · codes fraud 9, other 5 · window 20 min",
        "since 21:50 UTC · cus_9 · 97% sure",
        "first: open both payments and refund one; look for a missing idempotency key in your checkout",
        "see: https://dashboard.stripe.com/customers/cus_9",
        "see: https://dashboard.stripe.com/payments/ch_1",
        f"{notification.incident} · ack: nightdesk ack {notification.incident}",
    ]


def test_the_text_shows_no_cents_and_no_powers_of_ten() -> None:
    seen = replace(
        anomaly("account", at=START),
        signal="mrr_drop",
        evidence={"observed": 18_000, "expected": 22_500, "lost_percent": 20.0, "equity": 73_320.96},
    )
    (notification,) = Story(book()).at(START, seen).notifications
    assert notification.payload["text"].splitlines()[1] == "lost percent 20 · equity 73,320.96"


def test_what_the_detector_says_to_do_first_beats_the_general_advice() -> None:
    seen = replace(anomaly(), evidence={"first": "refund ch_2"})
    (notification,) = Story(book()).at(START, seen).notifications
    assert "first: refund ch_2" in notification.payload["text"]


def test_the_same_anomaly_again_prolongs_the_incident_and_says_nothing() -> None:
    story = Story(book())
    story.at(START, anomaly(quiet_s=600))
    again = story.at(START + 5 * MINUTE, anomaly(quiet_s=600))
    assert (again.transitions, again.notifications) == ((), ())
    assert story.at(START + 14 * MINUTE).transitions == ()
    assert [t.at for t in story.at(START + 16 * MINUTE).transitions] == [START + 15 * MINUTE]


def test_it_resolves_once_exactly_when_the_quiet_window_has_passed() -> None:
    story = Story(book())
    story.at(START, anomaly(quiet_s=600))
    assert story.at(START + 600 * SECOND - 1).transitions == ()
    resolved = story.at(START + 600 * SECOND)
    assert kinds(resolved) == [("ops", "resolved")]
    assert resolved.incidents[0].resolved == START + 600 * SECOND
    assert story.at(START + 2 * HOUR).transitions == ()


def test_after_it_is_resolved_the_same_trouble_is_a_new_incident() -> None:
    story = Story(book())
    first = story.at(START, anomaly(quiet_s=600)).incidents[0]
    story.at(START + 600 * SECOND)
    second = story.at(START + 601 * SECOND, anomaly(quiet_s=600)).incidents[0]
    assert (first.id != second.id, second.opened) == (True, START + 601 * SECOND)


def test_an_update_within_the_hour_is_kept_back_and_told_when_the_hour_is_over() -> None:
    story = Story(book())
    story.at(START, anomaly())
    assert story.at(START + 20 * MINUTE, anomaly(count=2)).notifications == ()
    assert story.at(START + 59 * MINUTE).notifications == ()
    assert kinds(story.at(START + HOUR)) == [("ops", "updated")]


def test_what_has_calmed_down_is_not_reminded_of_shortly_before_it_is_over() -> None:
    story = Story(book())
    story.at(START, anomaly())
    story.at(START + 10 * MINUTE, anomaly(count=2))
    assert kinds(story.at(START + 2 * HOUR)) == [("ops", "resolved")]


def test_reminders_come_after_1_2_4_8_16_24_and_24_hours_while_it_worsens() -> None:
    story = Story(book())
    heard = []
    for minutes in range(0, 100 * 60, 30):
        at = START + minutes * MINUTE
        heard += [n.created for n in story.at(at, anomaly(count=minutes)).notifications]
    gaps = [(later - earlier) // HOUR for earlier, later in pairwise(heard)]
    assert gaps == [1, 2, 4, 8, 16, 24, 24]


def test_what_does_not_worsen_is_not_repeated() -> None:
    story = Story(book())
    story.at(START, anomaly(quiet_s=90 * 60))
    heard = [n for minutes in range(30, 3000, 30) for n in story.at(START + minutes * MINUTE, anomaly()).notifications]
    assert heard == []


def test_a_rise_in_severity_is_told_at_once_and_a_fall_is_not() -> None:
    story = Story(book())
    story.at(START, anomaly())
    risen = story.at(START + MINUTE, anomaly(severity=Severity.CRITICAL, count=2))
    assert kinds(risen) == [("ops", "updated")]
    fallen = story.at(START + 2 * MINUTE, anomaly(severity=Severity.INFO, count=3))
    assert fallen.notifications == ()
    assert fallen.incidents[0].severity is Severity.CRITICAL


def test_a_channel_first_hears_of_an_incident_as_opened_even_if_it_was_open_before() -> None:
    story = Story(book(PROGRAM, LOUD_ONLY))
    assert kinds(story.at(START, anomaly())) == [("ops", "opened")]
    risen = story.at(START + MINUTE, anomaly(severity=Severity.CRITICAL))
    assert kinds(risen) == [("ops", "updated"), ("pager", "opened")]


def test_who_never_heard_of_an_incident_does_not_hear_that_it_is_over() -> None:
    story = Story(book(PROGRAM, LOUD_ONLY))
    story.at(START, anomaly())
    assert kinds(story.at(START + HOUR)) == [("ops", "resolved")]


def test_a_tenant_is_told_on_its_own_channels_only() -> None:
    story = Story(book(PROGRAM, PEOPLE))
    story.book.reroute(Routing((PROGRAM, PEOPLE), {"acme": frozenset({"slack"})}))
    assert kinds(story.at(START, anomaly())) == [("slack", "opened")]
    assert kinds(story.at(START, anomaly(tenant="other"))) == [("ops", "opened"), ("slack", "opened")]


def test_a_failing_channel_is_told_on_the_others_and_never_on_itself() -> None:
    story = Story(book(PROGRAM, PEOPLE))
    said = story.at(START, anomaly("slack", tenant=DAEMON, signal="channel_failed"))
    assert kinds(said) == [("ops", "opened")]


def test_after_an_ack_there_are_no_reminders_but_the_end_is_told() -> None:
    story = Story(book())
    incident = story.at(START, anomaly()).incidents[0]
    story.book.command({"command": "ack", "incident": incident.id, "by": 0})
    assert story.heard().incidents[0].acked == START
    story.at(START + 10 * MINUTE, anomaly(count=2))
    assert kinds(story.at(START + 5 * HOUR)) == [("ops", "resolved")]


def test_a_snooze_keeps_everything_back_until_it_ends() -> None:
    story = Story(book())
    incident = story.at(START, anomaly(quiet_s=5 * 3600)).incidents[0]
    story.book.command({"command": "snooze", "incident": incident.id, "until": START + 3 * HOUR})
    story.at(START + HOUR, anomaly(count=2, quiet_s=5 * 3600))
    assert story.at(START + 3 * HOUR - 1).notifications == ()
    assert kinds(story.at(START + 3 * HOUR)) == [("ops", "updated")]


def test_the_end_of_a_snoozed_incident_is_told_when_the_snooze_is_over() -> None:
    story = Story(book())
    incident = story.at(START, anomaly()).incidents[0]
    story.book.command({"command": "snooze", "incident": incident.id, "until": START + 3 * HOUR})
    (notification,) = story.at(START + 2 * HOUR).notifications
    assert (notification.kind, notification.not_before) == ("incident.resolved", START + 3 * HOUR)


def test_worse_news_passes_a_snooze() -> None:
    story = Story(book())
    incident = story.at(START, anomaly()).incidents[0]
    story.book.command({"command": "snooze", "incident": incident.id, "until": START + 3 * HOUR})
    (notification,) = story.at(START + MINUTE, anomaly(severity=Severity.CRITICAL)).notifications
    assert notification.not_before == START + MINUTE


def test_a_false_positive_ends_this_incident_and_marks_no_later_one() -> None:
    story = Story(book())
    incident = story.at(START, anomaly()).incidents[0]
    story.book.command({"command": "false_positive", "incident": incident.id})
    said = story.heard()
    assert kinds(said) == [("ops", "resolved")]
    assert (said.incidents[0].false_positive, said.incidents[0].state) == (True, State.RESOLVED)
    assert story.at(START + MINUTE, anomaly()).incidents[0].false_positive is False


def test_an_incident_that_is_over_can_still_be_marked_as_false() -> None:
    story = Story(book())
    incident = story.at(START, anomaly()).incidents[0]
    story.at(START + HOUR)
    story.book.command({"command": "false_positive", "incident": incident.id})
    said = story.heard()
    assert (said.false_positives, said.incidents, said.notifications) == ((incident.id,), (), ())


def test_a_command_for_an_unknown_incident_changes_nothing() -> None:
    story = Story(book())
    story.book.command({"command": "ack", "incident": "inc_unknown"})
    assert story.heard().incidents == ()


def test_what_is_known_to_be_over_resolves_without_waiting() -> None:
    story = Story(book())
    story.at(START, anomaly())
    story.book.settle("acme", "duplicate_charge", "cus_1")
    story.book.settle("acme", "duplicate_charge", "cus_unknown")
    assert kinds(story.heard()) == [("ops", "resolved")]


def test_fifty_customers_in_an_hour_reach_people_as_three_messages_and_a_few_gathered_ones() -> None:
    story = Story(book(PEOPLE))
    releases = [
        n.not_before
        for customer in range(50)
        for n in story.at(START + customer * MINUTE, anomaly(f"cus_{customer}", quiet_s=7200)).notifications
    ]
    at_once = [release for customer, release in enumerate(releases) if release == START + customer * MINUTE]
    assert len(at_once) == 3
    assert len(set(releases)) <= 6


def test_a_program_is_told_of_every_incident_at_once() -> None:
    story = Story(book(PROGRAM))
    said = story.at(START, *(anomaly(f"cus_{customer}") for customer in range(50)))
    assert [n.not_before for n in said.notifications] == [START] * 50


def test_from_the_fifth_tenant_on_people_get_one_message_at_the_next_full_minute() -> None:
    story = Story(book(PEOPLE))
    said = story.at(START, *(anomaly(tenant=f"tenant_{n}") for n in range(9)))
    releases = [n.not_before for n in said.notifications]
    assert releases[:4] == [START] * 4
    assert set(releases[4:]) == {(START // MINUTE + 1) * MINUTE}


def test_quiet_hours_hold_a_warning_until_the_morning_and_let_critical_pass() -> None:
    night = QuietHours(time(22), time(7), ZoneInfo("UTC"))
    story = Story(book(PROGRAM, quiet_hours=night))
    (held,) = story.at(START, anomaly()).notifications
    assert held.payload["at"].startswith("2023-11-14T22:13")
    assert held.not_before == START + (8 * 60 + 46) * MINUTE + 40 * SECOND  # 07:00 the next day
    (passed,) = story.at(START, anomaly("cus_2", severity=Severity.CRITICAL)).notifications
    assert passed.not_before == START


def test_an_incident_held_by_quiet_hours_that_turns_critical_is_opened_at_once() -> None:
    night = QuietHours(time(22), time(7), ZoneInfo("UTC"))
    story = Story(book(PROGRAM, quiet_hours=night))
    story.at(START, anomaly())
    (notification,) = story.at(START + HOUR - 1, anomaly(severity=Severity.CRITICAL)).notifications
    assert (notification.kind, notification.not_before) == ("incident.opened", START + HOUR - 1)


def test_what_follows_a_held_opening_and_is_held_as_long_is_an_update() -> None:
    night = QuietHours(time(22), time(7), ZoneInfo("UTC"))
    story = Story(book(PROGRAM, quiet_hours=night))
    story.at(START, anomaly(quiet_s=4 * 3600))
    story.at(START + 30 * MINUTE, anomaly(count=2, quiet_s=4 * 3600))
    assert kinds(story.at(START + HOUR)) == [("ops", "updated")]


@pytest.mark.parametrize(
    ("clock", "end"), [((23, 30), 7.5), ((3, 0), 4.0), ((6, 59), 1 / 60), ((7, 0), 0.0), ((21, 59), 0.0)]
)
def test_quiet_hours_end_in_the_local_morning(clock: tuple[int, int], end: float) -> None:
    """Nights from 22 to 7 in Berlin, a day in November (UTC+1)."""
    night = QuietHours(time(22), time(7), ZoneInfo("Europe/Berlin"))
    midnight = (1_700_006_400 - 3600) * SECOND  # 2023-11-15 00:00 in Berlin
    at = midnight + (clock[0] * 60 + clock[1]) * MINUTE
    assert night.end_of(at) - at == round(end * 60) * MINUTE


def test_beyond_a_thousand_open_incidents_of_one_signal_the_rest_share_one() -> None:
    story = Story(book())
    said = story.at(START, *(anomaly(f"cus_{n}") for n in range(MOST_OPEN + 50)))
    assert len(said.incidents) == MOST_OPEN + 1
    assert said.incidents[-1].scope == OVERFLOW


def test_a_channel_that_was_renamed_hears_of_an_open_incident_when_it_worsens() -> None:
    story = Story(book(Route("old")))
    story.at(START, anomaly())
    story.book.reroute(Routing((Route("new"),)))
    story.at(START + 30 * MINUTE, anomaly(count=2))
    assert kinds(story.at(START + HOUR)) == [("new", "opened")]


def test_open_incidents_survive_a_snapshot_of_another_version() -> None:
    """What the rows know is kept: the incident is not opened a second time, and its end is told."""
    story = Story(book())
    incident = story.at(START, anomaly()).incidents[0]
    parts = {place: (version + 1, data) for place, (version, data) in story.book.save().items()}
    later = Story(book())
    later.book.load(parts, [replace(incident, notified=START)])
    said = later.at(START + HOUR)
    assert (said.incidents[0].id, kinds(said)) == (incident.id, [("ops", "resolved")])
