"""The order of what is said holds in any weather; each seed is a run of its own."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.chat_cluster import lines, messages, transcript
from examples.chat_cluster.lines import Epoch, Line, Log
from examples.chat_cluster.transcript import Shown, Transcript
from tests.chat_cluster.weather import Weather, plain, plain_lines

SEEDS = int(os.environ.get("CHAT_SEEDS", "300"))
CHUNK = 100


# --- in any weather


def check(weather: Weather) -> None:
    """All that is promised, once the weather is calm."""
    alive = weather.alive()
    log = max((plain_lines(person.transcript.log.after(0)) for person in alive), key=len)
    assert len(log) == alive[0].transcript.log.end, "the runs are short enough for nothing to be forgotten"
    assert len(set(log)) == len(log), "no line twice"
    for person in alive:
        own = person.transcript
        assert plain_lines(own.log.after(0)) == log[own.log.base :], "the same transcript for all"
        assert (own.shown, own.pending, own.unaccepted) == (len(log), [], 0)
        assert [line for line in log if line.author == person.name] == person.said, "nothing lost, in order"
    for person in weather.people.values():
        said = [line.n for line in log if line.author == person.name]
        assert said == list(range(1, len(said) + 1)), "no line without those that its author said before"
        shown = plain_lines(entry.line for entry in person.screen)
        assert len(set(shown)) == len(shown), "nothing is shown twice"
        if person.alive:
            assert set(shown) == set(log), "every line is on every screen"
        last = 0
        for number, _, when in person.screen:
            assert number > last or when == "meanwhile", "what was said on the other side is marked"
            last = max(last, number)
        for line in shown:
            assert line in log or not survived(weather, line), "what was accepted is not lost"
    if not weather.misjudged:
        check_numbers(weather, log)


def check_numbers(weather: Weather, log: list[Line]) -> None:
    """If nobody was given up who lived, every screen shows the log as it is, and no number is taken back."""
    for person in weather.people.values():
        numbers = [entry.number for entry in person.screen]
        assert numbers == sorted(numbers)
        for number, line, when in person.screen:
            assert when != "meanwhile"
            if person.alive or survived(weather, line):
                assert log[number - 1] == line


def survived(weather: Weather, line: Line) -> bool:
    """Whether anybody lives who was there when the line was accepted."""
    witnesses = weather.witnesses.get(plain(line), [])
    return any(weather.people[name].alive for name in witnesses)


@pytest.mark.parametrize("partitions", [False, True], ids=["whole", "partitions"])
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_one_transcript(first: int, partitions: bool) -> None:
    for seed in range(first, min(first + CHUNK, SEEDS)):
        weather = Weather(seed, partitions=partitions)
        try:
            weather.run()
            check(weather)
        except Exception as error:
            raise AssertionError(f"Weather({seed}, partitions={partitions})") from error


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a short memory: nobody who was there misses anything; newcomers are told what is remembered."""
    monkeypatch.setattr(lines, "HISTORY", 60)
    monkeypatch.setattr(transcript, "_WINDOW", 30)
    monkeypatch.setattr(transcript, "_BATCH", 10)
    forgotten = 0
    for seed in range(200):
        weather = Weather(seed)
        weather.run()
        alive = weather.alive()
        end = alive[0].transcript.log.end
        forgotten += alive[0].transcript.log.base
        remembered = plain_lines(alive[0].transcript.log.after(end - 60))
        for person in alive:
            own = person.transcript
            assert (own.log.end, own.shown, own.unaccepted) == (end, end, 0), seed
            assert len(own.log.after(0)) <= 2 * lines.HISTORY
            assert plain_lines(own.log.after(end - 60)) == remembered, seed
            shown = plain_lines(entry.line for entry in person.screen)
            assert [line for line in shown if line.author == person.name] == person.said, seed
            assert len(set(shown)) == len(shown)
    assert forgotten > 1000


# --- scenes


def converse(*people: Transcript, cut: tuple[str, ...] = ()) -> list[list[Shown]]:
    """Deliver all that is sent, until nothing is left; who is cut off neither sends nor receives."""
    news: list[list[Shown]] = [[] for _ in people]
    names = {person.me: person for person in people if person.me not in cut}
    busy = True
    while busy:
        busy = False
        for person, new in zip(people, news, strict=True):
            for receiver, message in person.outgoing():
                if receiver in names and person.me in names:
                    names[receiver].receive(person.me, message)
                    busy = True
            new.extend(person.news())
    return news


def meet(*names: str) -> list[Transcript]:
    """Members who have met; the first leads."""
    people = [Transcript(name) for name in names]
    for person in people:
        person.see(list(names), names[0])
    converse(*people)
    return people


def texts(news: list[Shown]) -> list[tuple[int, str, str]]:
    return [(number, line.text, when) for number, line, when in news]


def test_the_leader_numbers() -> None:
    ann, bob, cid = meet("ann", "bob", "cid")
    cid.say("one")
    ann.say("two")
    assert (cid.unaccepted, ann.unaccepted) == (1, 1)
    first, second, third = map(texts, converse(ann, bob, cid))
    assert first == second == third == [(1, "two", ""), (2, "one", "")]
    assert (cid.unaccepted, ann.unaccepted) == (0, 0)


def test_nothing_is_accepted_that_a_member_does_not_have() -> None:
    ann, bob, cid = meet("ann", "bob", "cid")
    bob.say("hello")
    assert converse(ann, bob, cid, cut=("cid",)) == [[], [], []]
    ann.see(["ann", "bob"], "ann")  # cid is given up
    first, second, _ = map(texts, converse(ann, bob, cid, cut=("cid",)))
    assert first == second == [(1, "hello", "")]


def test_a_line_said_while_the_leader_dies() -> None:
    ann, bob, cid = meet("ann", "bob", "cid")
    cid.say("before")
    converse(ann, bob, cid)
    bob.say("now")
    for receiver, message in bob.outgoing():
        assert receiver == "ann"
        ann.receive("bob", message)
    ann.outgoing()  # numbered, but nobody hears of it any more
    for person in (bob, cid):
        person.see(["bob", "cid"], "bob")
    second, third = map(texts, converse(bob, cid))
    assert second == third == [(2, "now", "")]


def test_a_newcomer_is_told_what_was_said() -> None:
    ann, bob = meet("ann", "bob")
    ann.say("before")
    converse(ann, bob)
    cid = Transcript("cid")
    cid.say("hello")
    for person in (ann, bob, cid):
        person.see(["ann", "bob", "cid"], "ann")
    *_, third = converse(ann, bob, cid)
    assert texts(third) == [(1, "before", "earlier"), (2, "hello", "")]


def test_an_old_leader_that_wakes_up_has_nothing_accepted() -> None:
    ann, bob, cid = meet("ann", "bob", "cid")
    for person in (bob, cid):
        person.see(["bob", "cid"], "bob")
    bob.say("without ann")
    converse(bob, cid)
    ann.say("in my sleep")  # ann takes herself for the leader still, and all are there for her
    for receiver, message in ann.outgoing():
        {"bob": bob, "cid": cid}[receiver].receive("ann", message)
    for person in (bob, cid):
        (reply,) = person.outgoing()
        assert reply == ("ann", messages.Stale(Epoch(2, "bob")))
    assert ann.news() == []
    for person in (ann, bob, cid):
        person.see(["ann", "bob", "cid"], "bob")
    first, second, third = map(texts, converse(ann, bob, cid))
    assert first == [(1, "without ann", ""), (2, "in my sleep", "")]
    assert second == third == [(2, "in my sleep", "")]


def test_a_leader_that_has_just_come_asks_first() -> None:
    ann, bob = meet("ann", "bob")
    ann.say("before")
    converse(ann, bob)
    cid = Transcript("cid")
    for person in (ann, bob, cid):
        person.see(["ann", "bob", "cid"], "cid")
    cid.say("after")
    first, second, third = map(texts, converse(ann, bob, cid))
    assert first == second == [(2, "after", "")]
    assert third == [(1, "before", "earlier"), (2, "after", "")]


def test_the_newest_log_goes_on_not_the_longest() -> None:
    ann, bob, cid = meet("ann", "bob", "cid")
    for number in range(5):
        ann.say(f"in my sleep {number}")  # numbered by her, and heard by nobody
    ann.outgoing()
    for person in (bob, cid):
        person.see(["bob", "cid"], "bob")
    bob.say("without ann")
    converse(bob, cid)
    for person in (ann, bob, cid):
        person.see(["ann", "bob", "cid"], "ann")
    for _ in range(3):  # she is refused first, and begins another epoch
        news = converse(ann, bob, cid)
        ann.tick()
    assert [person.log[1].text for person in (ann, bob, cid)] == ["without ann"] * 3
    assert texts(news[1])[-1:] == [(6, "in my sleep 4", "")]


def test_a_leader_that_dies_while_it_asks() -> None:
    ann, bob, cid, dan = meet("ann", "bob", "cid", "dan")
    dan.say("once")
    converse(ann, bob, cid, dan)
    for person in (bob, cid, dan):
        person.see(["bob", "cid", "dan"], "bob")
    dan.say("twice?")
    converse(bob, cid, dan, cut=("cid",))  # dan obeys bob, cid has not heard of him
    for person in (cid, dan):
        person.see(["cid", "dan"], "cid")
    converse(cid, dan)  # dan refuses: his promise is to bob
    for person in (cid, dan):
        person.tick()
    converse(cid, dan)
    assert [texts(person.accepted()) for person in (cid, dan)] == [[(1, "once", ""), (2, "twice?", "")]] * 2


def test_two_sides_of_a_partition() -> None:
    people = ann, bob, cid, dan = meet("ann", "bob", "cid", "dan")
    ann.say("together")
    converse(*people)
    for side in (ann, bob), (cid, dan):
        for person in side:
            person.see([other.me for other in side], side[0].me)
        side[0].say(f"{side[0].me} leads here")
        converse(*side)
    for person in people:  # they meet again, and the newer leader leads
        person.see([other.me for other in people], "cid")
    first, second, third, fourth = converse(*people)
    assert texts(first) == texts(second) == [(2, "cid leads here", "meanwhile")]
    assert texts(third) == texts(fourth) == [(3, "ann leads here", "meanwhile")]
    bob.say("again")
    assert {tuple(texts(news)) for news in converse(*people)} == {((4, "again", ""),)}


# --- on the wire

epochs = st.builds(Epoch, st.integers(0, 2**40), st.text(max_size=10))
numbers = st.integers(0, 2**40)
said = st.lists(st.builds(Line, st.text(max_size=8), numbers, st.text(max_size=40), st.booleans())).map(tuple)
anything = st.one_of(
    st.builds(messages.Collect, epochs),
    st.builds(messages.Report, epochs, epochs, numbers),
    st.builds(messages.Fetch, epochs),
    st.builds(messages.Copy, epochs, epochs, numbers, st.dictionaries(st.text(), numbers), said, numbers),
    st.builds(messages.Append, epochs, numbers, said, numbers),
    st.builds(messages.Ack, epochs, numbers, numbers),
    st.builds(messages.Say, epochs, said),
    st.builds(messages.Stale, epochs),
    st.builds(messages.Whisper, st.text()),
)


@given(anything)
def test_messages_arrive_as_they_were_sent(message: messages.Message | messages.Whisper) -> None:
    decoded = messages.decode(messages.encode(message))
    assert decoded == message
    assert type(decoded) is type(message)


@given(st.one_of(st.binary(), anything.map(messages.encode).map(lambda data: data[:-1] + b"\xc0")))
def test_other_bytes_are_refused(data: bytes) -> None:
    try:
        messages.decode(data)
    except ValueError:
        return
    assert messages.encode(messages.decode(data)), "if it can be read, it is a message"


def test_a_log_forgets_in_time() -> None:
    log = Log()
    for n in range(1, 3 * lines.HISTORY):
        log.append(Line("ann", n, "text"))
        log.forget()
        assert len(log.after(0)) <= 2 * lines.HISTORY
    assert log[log.end].n == log.end
    recent = log.recent()
    assert (recent.end, recent.base) == (log.end, log.end - lines.HISTORY)
    assert recent.heard_before == {"ann": recent.base}
    assert (log.after(0)[-5:], Line("ann", 3, "") in recent) == (recent.after(recent.end - 5), True)
