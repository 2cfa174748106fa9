"""A group's bill against worked examples written out by hand (COST.md), and what must hold whatever the figures are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.analysis import prices
from lab.analysis.bill import Bill, Variation
from lab.analysis.price_book import PriceBook
from lab.analysis.pricing import price
from lab.analysis.results import Counts, Curve, Group
from lab.model import Stat
from tests.unit.summaries import group, service, stat

MONTH_S = 730 * 3600
NOTHING = Counts(hops=0, store_writes=0, store_reads=0, database_trips=0, bytes_in=0, bytes_out=0)
BOOK = prices.load("aws")


def exact(value: float, unit: str = "ms") -> Stat:
    return Stat(value=value, unit=unit, n=3, low=value, high=value)


def function(ms: float = 100.0, mib: float = 512.0, cpu_ms: float = 1.0, start_s: float = 0.0, calls: float = 1.0) -> Group:
    one = service(
        "f",
        "function",
        cpu_ms,
        cpu_ms_per_request=exact(cpu_ms),
        memory_configured_mib=mib,
        cpus_configured=mib / 1769,
        billed_ms_per_request=ms,
        invocations_per_request=calls,
        durations_ms=(ms / calls,),
        start_s=exact(start_s, "s"),
    )
    return group("function", services=(one,), counts=NOTHING)


def rented(billing: str, cpus: float, mib: float, cpu_ms: float = 1e-3, services: int = 1) -> Group:
    made = tuple(
        service(
            f"s{i}",
            billing,
            cpu_ms,
            cpu_ms_per_request=exact(cpu_ms),
            memory_mib=exact(100.0, "MiB"),
            cpus_configured=cpus,
            memory_configured_mib=mib,
        )
        for i in range(services)
    )
    return group(billing, services=made, counts=NOTHING)


def bill(of: Group, traffic_per_s: float, variation: Variation | None = None, *, throttled: bool = True, book: PriceBook = BOOK) -> Bill:
    return price(of, book, np.array([traffic_per_s]), variation or Variation(), throttled=throttled)


def usd(of: Bill, *kinds: str, service: str = "") -> float:
    return float(sum(x.allocation[0] for x in of.lines if (not kinds or x.kind in kinds) and service in ("", x.service)))


# ---- worked examples -------------------------------------------------------------------------------------------------


def per_million(of: Group, *kinds: str, service: str = "") -> float:
    return usd(bill(of, 1.0), *kinds, service=service) / MONTH_S * 1e6


def test_lambda_512_mb_100_ms_costs_1_033_per_million() -> None:
    """0.5 GB x 0.1 s x 1e6 = 50,000 GB-s x 0.0000166667 = 0.833; requests 0.20; HTTP API 1.00."""
    assert per_million(function(), "compute") == pytest.approx(0.8333, abs=5e-4)
    assert per_million(function(), "requests", service="f") == pytest.approx(0.20)
    assert per_million(function(), service="f") == pytest.approx(1.033, abs=5e-4)
    assert per_million(function()) == pytest.approx(2.033, abs=5e-4)


def test_cold_starts_at_1_percent_of_1_s_add_0_083_per_million() -> None:
    """1e6 x 0.01 x 1 s x 0.5 GB = 5,000 GB-s x 0.0000166667 = 0.083."""
    assert per_million(function(start_s=1.0)) - per_million(function()) == pytest.approx(0.083, abs=5e-4)


def test_one_t3_medium_buys_29_4_million_requests() -> None:
    """0.0416 x 730 = 30.368; / 1.0333 USD per million = 29.4 million a month; / 2,628,000 s = 11.2 requests/s."""
    month = usd(bill(rented("vm", 1, 2048), 1.0), "compute", "idle")
    assert month == pytest.approx(30.37, abs=0.005)
    million = month / per_million(function(), service="f")
    assert million == pytest.approx(29.4, abs=0.05)
    assert million * 1e6 / MONTH_S == pytest.approx(11.2, abs=0.05)


def test_two_small_fargate_tasks_and_a_load_balancer_cost_34_45() -> None:
    """2 x (0.25 x 0.04048 + 0.5 x 0.004445) x 730 = 18.02; + 0.0225 x 730 = 16.43; = 34.45. / 1.0333 = 33.3 million = 12.7/s;
    with an HTTP API in front of the function / 2.0333 = 16.9 million."""
    found = bill(rented("container", 0.25, 512, services=2), 1.0)
    month = usd(found, "compute", "idle", "shared_fixed")
    assert month == pytest.approx(34.45, abs=0.005)
    assert month / per_million(function(), service="f") == pytest.approx(33.3, abs=0.05)
    assert month / per_million(function(), service="f") * 1e6 / MONTH_S == pytest.approx(12.7, abs=0.05)
    assert month / per_million(function()) == pytest.approx(16.9, abs=0.05)


def lambda_busy_hour() -> float:
    """One vCPU (1,769 MB) busy all month: 1 request/s of 1 s each, on a whole core that nobody throttled."""
    return usd(bill(function(ms=1000, cpu_ms=1000), 1.0, throttled=False), "compute") / 730


@pytest.mark.parametrize(
    ("name", "provisioned_hour", "u"),
    [
        ("fargate 1 vCPU + 2 GB", 0.0494, 0.48),
        ("m7i.large", 0.0504, 0.49),
        ("c7i.large", 0.0446, 0.43),
        ("t3.medium", 0.0208, 0.20),
    ],
)
def test_break_even_utilisation(name: str, provisioned_hour: float, u: float) -> None:
    """COST.md: USD per hour of one vCPU over that of a busy function, 1769/1024 GB x 3600 s x 0.0000166667 = 0.1037."""
    if name.startswith("fargate"):
        hour = usd(bill(rented("container", 1, 2048), 1e-3), "compute", "idle") / 730
    else:
        hour = BOOK.price(f"vm.{name}") / BOOK.mapping.vm.types[name].vcpu
    assert hour == pytest.approx(provisioned_hour, abs=5e-5)
    assert lambda_busy_hour() == pytest.approx(0.1037, abs=5e-5)
    assert hour / lambda_busy_hour() == pytest.approx(u, abs=0.005)


def test_provisioned_concurrency_pays_above_60_percent() -> None:
    """4.1667 / (16.6667 - 9.7222) = 0.60."""
    gain = BOOK.price("lambda.duration_first_6e9") - BOOK.price("lambda.provisioned_duration")
    assert BOOK.price("lambda.provisioned_concurrency") / gain == pytest.approx(0.60, abs=0.005)


def test_lambda_tiers_are_cumulative() -> None:
    """1,769 MB busy for 4,000 s each second: 4000 x 2,628,000 x 1.72754 GB = 18.16e9 GB-s: 6e9 at the first, 9e9 at the second price."""
    gb_s = 4000 * MONTH_S * 1769 / 1024
    by_hand = 6e9 * 1.66667e-5 + 9e9 * 1.5e-5 + (gb_s - 15e9) * 1.33334e-5
    assert usd(bill(function(ms=1000, mib=1769), 4000.0), "compute") == pytest.approx(by_hand, rel=1e-9)


def test_the_api_gateways_second_tier_is_of_grade_c_and_left_out_of_headlines() -> None:
    """200/s = 525.6 million: all at 1.00, or with grade C the 225.6 million above 300 at 0.90."""
    assert usd(bill(function(), 200.0), service="gateway") == pytest.approx(525.60)
    assert usd(bill(function(), 200.0, Variation(all_grades=True)), service="gateway") == pytest.approx(300 + 225.6 * 0.9)


def test_store_database_egress_and_balancer_by_hand() -> None:
    """10/s = 26.28 million a month, each one PUT, half a GET, 6,000 bytes in and 300 out, one database trip, one connection."""
    counts = Counts(hops=0, store_writes=1, store_reads=0.5, database_trips=1, bytes_in=6000, bytes_out=300)
    found = bill(replace(rented("container", 0.25, 512), counts=counts), 10.0)
    lines = {x.sku: float(x.allocation[0]) for x in found.lines}
    assert lines["S3 writes and listings"] == pytest.approx(26_280 * 0.005)  # 131.40
    assert lines["S3 reads"] == pytest.approx(13_140 * 0.0004)  # 5.26
    assert lines["S3 storage"] == pytest.approx(26.28e6 * 6000 / 2**30 * 720 / 730 * 0.023)  # 3.33
    assert lines["RDS PostgreSQL"] == pytest.approx(105.85)
    assert lines["RDS PostgreSQL storage"] == pytest.approx(2.30)
    assert lines["to the internet"] == pytest.approx(26.28e6 * 300 / 2**30 * 0.09)  # 0.66
    assert lines["ALB"] == pytest.approx(16.425)
    assert lines["ALB capacity units"] == pytest.approx(10 / 25 * 0.008 * 730)  # 2.34
    assert {found.grade(x) for x in found.lines if x.service in ("database", "network")} == {"C"}


def test_large_bodies_make_the_balancers_capacity_units() -> None:
    """10/s x 2 MiB = 36,000 x 2/1024 GB = 70.3 GB an hour, far above 10/25 units of connections: 70.3 x 0.008 x 730."""
    counts = replace(NOTHING, bytes_in=2**20, bytes_out=2**20)
    found = bill(replace(rented("container", 0.25, 512), counts=counts), 10.0)
    assert usd(found, "requests") == pytest.approx(36_000 * 2 / 1024 * 0.008 * 730)


# ---- machines and functions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("billing", "cpus", "mib", "sku"),
    [
        ("vm", 0.5, 512, "EC2 t3.medium"),
        ("vm", 2, 6000, "EC2 t3.large"),
        ("vm", 3, 4096, "EC2 c7i.xlarge"),
        ("vm", 4, 12000, "EC2 m7i.xlarge"),
        ("container", 0.25, 512, "Fargate 0.25 vCPU / 0.5 GB"),
        ("container", 0.25, 513, "Fargate 0.25 vCPU / 1 GB"),
        ("container", 0.3, 512, "Fargate 0.5 vCPU / 1 GB"),
        ("container", 1, 9000, "Fargate 2 vCPU / 9 GB"),
    ],
)
def test_the_smallest_listed_that_fits(billing: str, cpus: float, mib: float, sku: str) -> None:
    assert {x.sku for x in bill(rented(billing, cpus, mib), 1e-3).lines if x.kind == "compute"} <= {
        sku,
        "surplus CPU credits of t3.medium",
        "surplus CPU credits of t3.large",
    }
    assert sku in {x.sku for x in bill(rented(billing, cpus, mib), 1e-3).lines}


def test_what_was_measured_counts_where_it_is_more_than_was_configured() -> None:
    one = rented("container", 0.25, 512)
    swollen = replace(one, services=(replace(one.services[0], memory_mib=exact(1500, "MiB")),))
    assert any(x.sku == "Fargate 0.25 vCPU / 2 GB" for x in bill(swollen, 1.0).lines)


@pytest.mark.parametrize(("traffic", "count"), [(0.01, 1), (15.0, 1), (15.01, 2), (30.0, 2), (150.0, 10)])
def test_a_replica_takes_requests_up_to_the_target_utilisation(traffic: float, count: int) -> None:
    """0.25 vCPU x 0.6 = 0.15 CPU-s per s; at 10 ms each that is 15 requests/s."""
    assert bill(rented("container", 0.25, 512, cpu_ms=10), traffic).replicas["s0"][0] == count


@pytest.mark.parametrize(
    ("cpus", "mib", "traffic", "count"), [(2, 2048, 120.0, 1), (2, 2048, 120.1, 2), (0.5, 512, 120.0, 1), (0.5, 2048, 60.1, 2)]
)
def test_a_vm_holds_as_many_instances_as_fit(cpus: float, mib: float, traffic: float, count: int) -> None:
    """t3.medium, 2 vCPU x 0.6 = 1.2 CPU-s per s: at 10 ms 120 requests/s; but only two instances of half a vCPU where each needs 2 GiB."""
    assert bill(rented("vm", cpus, mib, cpu_ms=10), traffic).replicas["s0"][0] == count


def test_a_burstable_vm_buys_surplus_credits_above_its_baseline() -> None:
    """100/s x 10 ms = 1 vCPU on one t3.medium (2 vCPU, 20 % baseline): (1 - 0.4) x 0.05 x 730 = 21.90."""
    found = bill(rented("vm", 2, 2048, cpu_ms=10), 100.0)
    assert found.replicas["s0"][0] == 1
    assert usd(found, "compute", "idle") == pytest.approx(30.368 + 21.90)


def test_idle_is_what_is_rented_and_not_used() -> None:
    """0.15 of 0.25 vCPU and 100 of 512 MiB are used."""
    found = bill(rented("container", 0.25, 512, cpu_ms=10), 15.0)
    used = (0.15 * 0.04048 + 100 / 1024 * 0.004445) * 730
    assert usd(found, "compute") == pytest.approx(used)
    assert usd(found, "idle") == pytest.approx((0.25 * 0.04048 + 0.5 * 0.004445) * 730 - used)
    assert float(found.total("usage")[0]) == pytest.approx(float(found.total()[0]) - usd(found, "idle"))


def test_a_function_that_had_a_core_is_not_priced_at_512_mb() -> None:
    """Throttled to 512/1769 of a core: CPU / share is billed. Not throttled: the memory that buys the core. The same CPU costs the same."""
    cpu_bound = function(ms=100, cpu_ms=100)
    whole = bill(cpu_bound, 1.0, throttled=False)
    assert "Lambda 1769 MB" in {x.sku for x in whole.lines}
    throttled = bill(cpu_bound, 1.0)
    assert "Lambda 512 MB" in {x.sku for x in throttled.lines}
    assert usd(throttled, "compute") == pytest.approx(usd(whole, "compute"), rel=0.005)  # 346 ms for 345.5
    waiting = function(ms=100, cpu_ms=1)
    assert usd(bill(waiting, 1.0, throttled=False), "compute") == pytest.approx(usd(bill(waiting, 1.0), "compute") * 1769 / 512)


def test_billed_time_is_rounded_up_per_invocation() -> None:
    assert usd(bill(function(ms=20.2, calls=2.0), 1.0), "compute") == pytest.approx(usd(bill(function(ms=11.0), 1.0), "compute") * 2)


def test_what_rounding_adds_is_the_mean_over_invocations() -> None:
    """Half of them 10.2 ms (11), half 10.8 (11); or 9.9 (10) and 11.1 (12): both are billed 11 for a mean of 10.5. Eight of 1.1 and two of
    6.1 ms have the mean 2.1, and are billed 2 and 7: 3. Of a mean alone, half a ms more is billed, 1 ms at least."""

    def spread(*ms: float, mean: float) -> float:
        of = function(ms=mean, cpu_ms=0.01)
        return usd(bill(replace(of, services=(replace(of.services[0], durations_ms=ms),)), 1.0), "compute")

    def whole(ms: float) -> float:
        return usd(bill(function(ms=ms, cpu_ms=0.01), 1.0), "compute")

    assert spread(10.2, 10.8, mean=10.5) == pytest.approx(whole(11))
    assert spread(9.9, 11.1, mean=10.5) == pytest.approx(whole(11))
    assert spread(*[1.1] * 8, *[6.1] * 2, mean=2.1) == pytest.approx(whole(3))
    assert spread(mean=10.2) == pytest.approx(whole(1) * 10.7)
    assert spread(mean=0.2) == pytest.approx(whole(1))


def test_a_free_tier_counts_once_for_all_functions() -> None:
    """400,000 GB-s x 0.0000166667 + 1 million x 0.20 = 6.87, however many functions there are."""
    full, free = (usd(bill(group("serverless"), 10.0, Variation(free_tier=f), throttled=False)) for f in (False, True))
    assert full - free == pytest.approx(6.87, abs=0.005)
    assert usd(bill(function(), 0.1, Variation(free_tier=True)), service="f") == 0.0


def test_a_twice_as_slow_core_doubles_what_cpu_costs() -> None:
    slow, fast = (bill(function(ms=100, cpu_ms=100), 1.0, Variation(cpu_scale=s), throttled=False) for s in (2.0, 1.0))
    assert usd(slow, "compute") == pytest.approx(2 * usd(fast, "compute"))


def test_a_bill_of_cpu_alone_moves_as_the_cpu_does() -> None:
    """CPU known within +-5 %."""
    one = function(ms=1000, cpu_ms=1000)
    uncertain = replace(one, services=(replace(one.services[0], cpu_ms_per_request=stat(1000, spread=0.05)),))
    low, middle, high = (usd(bill(uncertain, 1.0, Variation(spread=z), throttled=False), "compute") for z in (-1.96, 0.0, 1.96))
    assert high / middle == pytest.approx(1.05, rel=1e-3)
    assert middle / low == pytest.approx(1.05, rel=1e-3)


# ---- whatever the figures are ----------------------------------------------------------------------------------------

SERVICES = st.builds(
    lambda billing, cpu_ms, cpus, mib, used, wall, calls, start: service(
        "s",
        billing,
        cpu_ms,
        cpus_configured=cpus,
        memory_configured_mib=mib,
        memory_mib=stat(used, "MiB"),
        billed_ms_per_request=wall,
        invocations_per_request=calls,
        start_s=stat(start, "s"),
    ),
    st.sampled_from(["vm", "container", "function"]),
    st.floats(0.01, 500),
    st.floats(0.05, 4),
    st.floats(128, 8192),
    st.floats(10, 8192),
    st.floats(0, 2000),
    st.floats(0, 5),
    st.floats(0, 30),
)


@settings(max_examples=150, deadline=None)
@given(
    services=st.lists(SERVICES, min_size=1, max_size=4),
    writes=st.floats(0, 5),
    bytes_in=st.floats(0, 1e6),
    scale=st.floats(0.5, 2),
    spread=st.floats(-3, 3),
    free=st.booleans(),
    throttled=st.booleans(),
)
def test_more_traffic_never_costs_less_and_nothing_is_negative(services, writes, bytes_in, scale, spread, free, throttled) -> None:
    counts = replace(NOTHING, store_writes=writes, database_trips=1.0, bytes_in=bytes_in, bytes_out=bytes_in / 2)
    made = group("any", services=tuple(replace(s, service=f"s{i}") for i, s in enumerate(services)), counts=counts)
    traffic = np.geomspace(0.001, 500, 200)
    found = price(made, BOOK, traffic, Variation(cpu_scale=scale, spread=spread, free_tier=free), throttled=throttled)
    for line in found.lines:
        assert (line.allocation >= 0).all() and (line.usage >= 0).all(), line
        assert (line.allocation >= line.usage - 1e-9).all(), line
    month = found.total()
    assert (np.diff(month) >= -1e-9 * month[:-1]).all()


@pytest.mark.parametrize(("traffic", "count"), [(1.0, 1.0), (2.0, 1.0), (6.0, 1.25), (10.0, 1.5), (20.0, 2.5), (40.0, 5.0)])
@pytest.mark.parametrize("billing", ["container", "vm"])
def test_a_scaler_is_priced_by_the_replicas_that_it_kept(billing: str, traffic: float, count: float) -> None:
    """Measured 1, 1.5 and 2.5 at 2, 10 and 20/s: between in proportion, above by its CPU. Each fills a t3.medium."""
    one = rented(billing, 2, 4096, cpu_ms=10)
    seen = Curve(x=(2.0, 10.0, 20.0), y=(1.0, 1.5, 2.5), low=(1, 1, 2), high=(1, 2, 3))
    scaled = replace(one, services=(replace(one.services[0], scaler="hpa", replicas=seen),))
    found = bill(scaled, traffic)
    assert found.replicas["s0"][0] == pytest.approx(count)
    assert usd(found, "compute", "idle") == pytest.approx(count * usd(bill(scaled, 1.0), "compute", "idle"), rel=0.05)


def test_with_twice_the_cpu_a_scaler_keeps_what_twice_the_traffic_took() -> None:
    seen = Curve(x=(2.0, 10.0, 20.0), y=(1.0, 1.5, 2.5))
    one = rented("container", 0.25, 512, cpu_ms=10)
    scaled = replace(one, services=(replace(one.services[0], scaler="hpa", replicas=seen),))
    found = price(scaled, BOOK, np.array([5.0]), Variation(cpu_scale=2.0), throttled=False)
    assert found.replicas["s0"][0] == pytest.approx(1.5)
