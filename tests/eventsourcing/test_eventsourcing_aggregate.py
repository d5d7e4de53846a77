"""Decisions record events, and only events change the state. No database here."""

import pytest
from es_users import EmailChanged, NameChanged, SameEmail, User, UserCreated, john

from archstone.data import Event
from archstone.eventsourcing import Aggregate, HandlerError, apply


class Counted(Event, name="estest.counted"):
    by: int = 1


class Unheard(Event, name="estest.unheard"):
    pass


class Nameless(Event):
    pass


class Counter(Aggregate, name="counter"):
    total: int = 0

    @apply
    def counted(self, event: Counted) -> None:
        self.total += event.by


def test_the_guides_example_ends_in_the_state_that_its_events_say():
    user = john()
    assert (user.name, user.email, user.version) == ("John Doe", "john@email.com", 3)
    assert user.pending == [
        UserCreated(user_id="1", name="John", email="john@old.com"),
        EmailChanged(user_id="1", email="john@email.com"),
        NameChanged(user_id="1", name="John Doe"),
    ]
    assert user.stored_version == 0


def test_a_decision_that_refuses_records_nothing():
    user = john()
    with pytest.raises(SameEmail):
        user.change_email("john@email.com")
    assert len(user.pending) == user.version == 3


def test_replayed_events_make_the_same_state_and_are_not_pending():
    again = User("1").replay(john().pending)
    assert (again.name, again.email, again.version, again.stored_version) == ("John Doe", "john@email.com", 3, 3)
    assert again.pending == []


def test_an_event_without_a_handler_is_refused_when_it_is_recorded_and_changes_nothing():
    counter = Counter("a")
    with pytest.raises(HandlerError) as caught:
        counter.record(Unheard())
    assert str(caught.value) == (
        "Counter: has no handler for Unheard (estest.unheard version 1): write an @apply method whose parameter is "
        "annotated with it"
    )
    assert (counter.version, counter.pending) == (0, [])
    with pytest.raises(HandlerError, match="no handler for Unheard"):
        counter.replay([Unheard()])


def test_a_handler_may_take_several_events():
    class Both(Aggregate, name="both"):
        heard: int = 0

        @apply
        def any_of_them(self, event: Counted | Unheard) -> None:
            self.heard += 1

    both = Both("a").replay([Counted(), Unheard()])
    assert both.heard == 2


def test_a_subclass_inherits_handlers_and_may_replace_one():
    class Double(Counter, name="double"):
        @apply
        def counted_twice(self, event: Counted) -> None:
            self.total += 2 * event.by

    assert Double("a").replay([Counted(by=3)]).total == 6
    assert Counter("a").replay([Counted(by=3)]).total == 3


def test_a_class_that_is_written_wrongly_is_refused_with_all_its_faults():
    with pytest.raises(HandlerError) as caught:

        class Wrong(Aggregate, name="wrong"):
            @apply
            def one(self, event: Counted) -> None: ...

            @apply
            def two(self, event: Counted) -> None: ...

            @apply
            def number(self, event: int) -> None: ...  # type: ignore[type-var]

            @apply
            def nameless(self, event: Nameless) -> None: ...

            @apply
            def nothing(self) -> None: ...  # type: ignore[arg-type]

            @apply
            def bare(self, event) -> None: ...

    told = str(caught.value)
    assert told.startswith("test_a_class_that_is_written_wrongly_is_refused_with_all_its_faults.<locals>.Wrong: ")
    assert "one and two both handle Counted: keep one" in told
    assert "@apply number annotates event with <class 'int'>: name Event classes that have a name" in told
    assert "@apply nameless annotates event with" in told
    assert "@apply nothing takes 1 parameters: the event is number 2" in told
    assert "@apply bare annotates event with None" in told


def test_a_class_that_cannot_be_made_from_its_id_is_refused():
    with pytest.raises(HandlerError, match="__init__ also needs size: it is made from its id alone"):

        class Sized(Aggregate, name="sized"):
            def __init__(self, id: str, size: int) -> None:
                super().__init__(id)


@pytest.mark.parametrize("every", [0, -1])
def test_snapshots_are_every_one_event_or_more(every: int):
    with pytest.raises(HandlerError, match=f"snapshot_every={every} must be at least 1, or None"):

        class Often(Aggregate, name="often", snapshot_every=every):
            pass


def test_a_slash_in_a_name_is_refused():
    with pytest.raises(HandlerError, match="name='a/b' must be without a slash"):

        class Slashed(Aggregate, name="a/b"):
            pass
