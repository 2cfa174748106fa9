"""Histories of requests, starts and time, replayed against the pool of one function."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.model import Service
from lab.runtime.pool import Action, Assign, Pool, Refuse, Start, Stop


def pool(**fields: float) -> Pool:
    limits = {"max_instances": 2, "max_concurrent_starts": 1, "idle_timeout_s": 60.0, "queue_deadline_s": 10.0}
    return Pool(Service(name="f", scaling="to_zero", instances=0, concurrency=1, **{**limits, **fields}))  # type: ignore[arg-type]


def filled(*instances: str, **fields: float) -> Pool:
    p = pool(**fields)
    for i, instance in enumerate(instances):
        p.adopt(instance, float(i))
    return p


def test_from_zero_one_start_per_request_and_the_wait_counts_as_cold() -> None:
    p = pool()
    assert p.arrive(1, 0.0) == [Start(1)]
    assert p.started(1, "a", 0.7) == [Assign(1, "a", queue_s=0.0, cold_s=0.7)]
    assert p.finished("a", 0.8) == []
    assert p.arrive(2, 1.0) == [Assign(2, "a", queue_s=0.0)]


def test_at_most_max_concurrent_starts_at_once_and_max_instances_in_all() -> None:
    p = pool(max_instances=2)
    assert p.arrive(1, 0.0) == [Start(1)]
    assert p.arrive(2, 0.0) == []
    assert p.started(1, "a", 1.0) == [Assign(1, "a", 0.0, 1.0), Start(2)]
    assert p.arrive(3, 1.0) == []
    assert p.started(2, "b", 2.0) == [Assign(2, "b", queue_s=1.0, cold_s=1.0)]
    assert p.instances == 2


def test_several_starts_at_once_are_told_apart() -> None:
    p = pool(max_concurrent_starts=2)
    assert p.arrive(1, 0.0) == [Start(1)]
    assert p.arrive(2, 0.5) == [Start(2)]
    assert p.started(2, "b", 1.0) == [Assign(1, "b", queue_s=0.5, cold_s=0.5)]
    assert p.started(1, "a", 1.5) == [Assign(2, "a", queue_s=0.0, cold_s=1.0)]


def test_whatever_is_free_first_takes_the_head_of_the_queue_and_no_start_is_wasted_on_a_served_request() -> None:
    p = filled("a")
    p.arrive(1, 1.0)
    assert p.arrive(2, 1.0) == [Start(1)]
    assert p.finished("a", 1.2) == [Assign(2, "a", queue_s=0.19999999999999996)]
    assert p.started(1, "b", 2.0) == []
    assert p.arrive(3, 2.5) == [Assign(3, "b", 0.0)]


def test_first_come_first_served() -> None:
    p = filled("a", max_instances=1)
    p.arrive(1, 1.0)
    for request in (2, 3, 4):
        assert p.arrive(request, 1.0 + request / 10) == []
    order = []
    for now in (2.0, 3.0, 4.0):
        (action,) = p.finished("a", now)
        assert isinstance(action, Assign)
        order.append(action.request)
    assert order == [2, 3, 4]


def test_the_instance_that_became_free_last_is_used_first_so_the_other_goes_idle() -> None:
    p = filled("a", "b")
    for now in (10.0, 30.0, 50.0):
        assert p.arrive(1, now) == [Assign(1, "b", 0.0)]
        assert p.finished("b", now + 1) == []
    assert p.next_s() == 60.0
    assert p.expire(60.0) == [Stop("a")]
    assert p.next_s() == 111.0


def test_a_deadline_refuses_exactly_the_requests_that_waited_that_long() -> None:
    p = pool(queue_deadline_s=2.0)
    p.arrive(1, 0.0)
    p.arrive(2, 1.0)
    assert p.next_s() == 2.0
    assert p.expire(1.999) == []
    assert p.expire(2.0) == [Refuse(1, 2.0)]
    assert p.next_s() == 3.0
    assert p.started(1, "a", 2.5) == [Assign(2, "a", queue_s=0.0, cold_s=1.5)]


def test_a_failed_start_takes_one_request_with_it_and_the_next_gets_a_start_of_its_own() -> None:
    p = pool()
    p.arrive(1, 0.0)
    p.arrive(2, 0.0)
    assert p.start_failed(1, 1.0) == [Refuse(1, 1.0, failed_start=True), Start(2)]
    assert p.start_failed(2, 2.0) == [Refuse(2, 2.0, failed_start=True)]
    assert p.instances == 0


def test_a_dead_instance_is_replaced_only_while_somebody_waits() -> None:
    p = filled("a", "b", max_instances=2)
    p.arrive(1, 2.0)
    assert p.died("b", 3.0) == []
    p.arrive(2, 3.0)
    p.arrive(3, 3.0)
    assert p.died("a", 4.0) == []  # one is starting for 3 already
    assert (p.instances, len(p.starting)) == (1, 1)


def test_an_unsent_request_goes_to_the_head_of_the_queue_or_to_a_free_instance() -> None:
    p = filled("a", "b", max_instances=2)
    p.arrive(1, 2.0)
    assert p.return_unsent("b", 2.0, 2.1) == [Assign(1, "a", queue_s=0.10000000000000009)]
    p = filled("a", max_instances=1)
    p.arrive(1, 2.0)
    p.arrive(2, 2.0)
    assert p.return_unsent("a", 2.0, 2.1) == [Start(1)]
    assert p.started(1, "b", 3.0) == [Assign(1, "b", queue_s=0.10000000000000009, cold_s=0.8999999999999999)]


def test_a_client_that_hung_up_is_not_served() -> None:
    p = filled("a", max_instances=1)
    p.arrive(1, 1.0)
    p.arrive(2, 1.0)
    p.arrive(3, 1.0)
    p.withdraw(2)
    assert p.finished("a", 2.0) == [Assign(3, "a", queue_s=1.0)]


def test_fill_starts_one_after_the_other_until_the_count_is_there() -> None:
    p = pool(max_instances=3)
    assert p.fill(5, 0.0) == [Start(1)]
    assert p.started(1, "a", 1.0) == [Start(2)]
    assert p.started(2, "b", 2.0) == [Start(3)]
    assert p.started(3, "c", 3.0) == []
    assert (len(p.idle), p.floor) == (3, 0)
    assert p.expire(61.0) == [Stop("a")], "what was filled goes idle like any other"


def test_drain_stops_the_free_now_the_busy_and_the_starting_as_they_become_free() -> None:
    p = filled("a", "b", max_instances=4)
    p.arrive(1, 2.0)
    p.fill(3, 2.0)
    assert p.drain(3.0) == [Stop("a")]
    assert p.finished("b", 3.5) == [Stop("b")]
    assert p.started(1, "c", 4.0) == [Stop("c")]
    for instance in "abc":
        p.stopped(instance, 5.0)
    assert p.instances == 0
    assert p.arrive(2, 6.0) == [Start(2)]
    assert p.started(2, "d", 7.0) == [Assign(2, "d", 0.0, 1.0)]
    assert p.finished("d", 7.5) == [], "a request ends the draining"


def test_an_instance_that_is_still_stopping_counts_against_the_limit() -> None:
    p = filled("a", max_instances=1)
    p.drain(1.0)
    assert p.arrive(1, 1.1) == []
    assert p.stopped("a", 1.5) == [Start(1)]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(["arrive", "finish", "die", "unsent", "up", "down", "stop", "expire", "fill", "drain"]), max_size=60),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_whatever_happens_no_limit_is_broken_and_every_request_is_answered_once(
    events: list[str], max_instances: int, max_concurrent_starts: int
) -> None:
    p = pool(max_instances=max_instances, max_concurrent_starts=max_concurrent_starts, idle_timeout_s=3.0, queue_deadline_s=5.0)
    starting: list[int] = []
    stopping: list[str] = []
    working: dict[str, int] = {}
    open_requests: set[int] = set()
    now = 0.0

    def follow(actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Start(number):
                    starting.append(number)
                case Stop(instance):
                    stopping.append(instance)
                    assert instance not in working, "a busy instance was stopped"
                case Assign(request, instance, queue_s, cold_s):
                    assert instance not in working, "two requests at once in one instance"
                    assert request in open_requests and request not in working.values()
                    assert queue_s > -1e-9 and cold_s >= 0
                    working[instance] = request
                case Refuse(request):
                    open_requests.remove(request)

    for i, event in enumerate(events):
        now += 0.7
        if event == "arrive":
            open_requests.add(i)
            follow(p.arrive(i, now))
        elif event in ("finish", "die", "unsent") and working:
            instance, request = working.popitem()
            if event == "unsent":
                follow(p.return_unsent(instance, now, now))
            else:
                open_requests.remove(request)
                follow(p.finished(instance, now) if event == "finish" else p.died(instance, now))
        elif event == "up" and starting:
            follow(p.started(starting.pop(), f"i{i}", now))
        elif event == "down" and starting:
            follow(p.start_failed(starting.pop(0), now))
        elif event == "stop" and stopping:
            follow(p.stopped(stopping.pop(), now))
        elif event == "expire":
            follow(p.expire(now))
        elif event == "fill":
            follow(p.fill(2, now))
        elif event == "drain":
            follow(p.drain(now))
        assert p.instances <= max_instances
        assert len(p.starting) == len(starting) <= max_concurrent_starts
        assert p.busy == working
        assert not (p.waiting and p.idle), "somebody waits beside a free instance"
        if p.waiting and len(starting) < max_concurrent_starts and p.instances < max_instances:
            assert len(starting) >= len(p.waiting), "somebody waits and nothing starts"
