"""The pure parts of the benchmarks: what they conclude from samples, and when a row fails."""

import json
from collections.abc import Iterable, Mapping

import attrs
import pytest

from benchmarks import _feeder, _protocol, _report, _rows, _runner, _summary
from benchmarks._process import PROJECT
from benchmarks._rows import NATS_CORE, NATS_PY, NATSIO, NATSRPY, OURS, ROWS, Row, choose_rows
from benchmarks.against import interval, rows_of

REASON = "No module named 'natsio'"


def row_named(name: str) -> Row:
    (row,) = choose_rows([name])
    return row


def measurements(row: Row, figures: Mapping[str, Iterable[float]]) -> list[_summary.Measurement]:
    """A measurement per sample of each contender, the same for all its styles and metrics."""
    return [
        _summary.Measurement(entrant, number, {metric.key: [sample] for metric in row.metrics}, cpu_us=sample)
        for entrant in row.entrants
        for number, sample in enumerate(figures.get(entrant.contender, ()))
    ]


def verdicts(row: Row, figures: Mapping[str, Iterable[float]], missing: Mapping[str, str] | None = None) -> list[str]:
    summary = _summary.summarise(row, 1, measurements(row, figures), missing or {})
    return [verdict.verdict for verdict in summary.verdicts]


ALL_AT_100 = {NATS_PY: [100.0], NATS_CORE: [100.0], NATSIO: [100.0], NATSRPY: [100.0]}


def test_the_median_and_the_processor_time_are_medians_over_rounds() -> None:
    """One slow round moves neither figure."""
    row = row_named("publish_16")
    summary = _summary.summarise(row, 3, measurements(row, {**ALL_AT_100, OURS: [300.0, 10.0, 310.0]}), {})
    ours = summary.of(_rows.RATE)[0]
    assert (ours.entrant.contender, ours.median, ours.cpu_us) == (OURS, 300.0, 300.0)
    assert (min(ours.samples), max(ours.samples)) == (10.0, 310.0)


def test_ratios_are_ours_over_each_peer_and_over_the_best_peer() -> None:
    """The best peer is the fastest for a rate and the quickest for a latency."""
    figures = {OURS: [400.0], NATS_PY: [100.0], NATS_CORE: [200.0], NATSIO: [50.0], NATSRPY: [10.0]}
    for name, best, expected in (("publish_16", NATS_CORE, 2.0), ("request", NATSRPY, 40.0)):
        row = row_named(name)
        summary = _summary.summarise(row, 1, measurements(row, figures), {})
        found = {figure.entrant.contender: figure.ratio for figure in summary.of(row.metrics[0])}
        assert summary.best_peers[row.metrics[0].key] == best
        assert found == {OURS: expected, NATS_PY: 4.0, NATS_CORE: 2.0, NATSIO: 8.0, NATSRPY: 40.0}


def test_memory_that_did_not_grow_has_no_ratio() -> None:
    """A ratio to zero or to less would say nothing."""
    assert _summary.ratio(1.0, 0.0) is None
    assert _summary.ratio(-0.1, 1.0) is None
    assert _summary.ratio(1.0, 2.0) == 0.5


@pytest.mark.parametrize("ours, verdict", [(140.0, _summary.REACHED), (139.0, _summary.NOT_REACHED)])
def test_a_rate_goal_is_a_least_ratio_to_its_named_peer(ours: float, verdict: str) -> None:
    """The row asks for 1.4 times nats-core, whatever another peer reaches."""
    assert verdicts(row_named("publish_16"), {**ALL_AT_100, NATS_PY: [9999.0], OURS: [ours]}) == [verdict]


@pytest.mark.parametrize("ours, verdict", [(90.0, _summary.REACHED), (91.0, _summary.NOT_REACHED)])
def test_a_latency_goal_is_a_greatest_ratio(ours: float, verdict: str) -> None:
    """The request row asks for at most 0.9 times natsrpy, at p50 and at p99."""
    assert verdicts(row_named("request"), {**ALL_AT_100, OURS: [ours]}) == [verdict, verdict]


@pytest.mark.parametrize("ours, verdict", [(20.0, _summary.REACHED), (20.1, _summary.NOT_REACHED)])
def test_an_absolute_goal_needs_no_peer(ours: float, verdict: str) -> None:
    """10,000 subscriptions take at most 20 MB, whatever the peers take."""
    assert verdicts(row_named("memory_subscriptions"), {**ALL_AT_100, OURS: [ours]}) == [verdict]


def test_the_best_python_peer_is_not_natsrpy() -> None:
    """The subscribe goals compare with protocol code in Python."""
    row = row_named("subscribe_16")
    assert verdicts(row, {**ALL_AT_100, NATSRPY: [9999.0], OURS: [300.0]}) == [_summary.REACHED]
    assert verdicts(row, {**ALL_AT_100, NATSIO: [101.0], OURS: [300.0]}) == [_summary.NOT_REACHED]


def test_each_style_is_judged_by_its_own_goal() -> None:
    """The mixed row asks more of receive_batch than of async for."""
    row = row_named("subscribe_mixed")
    rates = {"async for": 240.0, "receive_batch": 240.0, "callback": 900.0}
    ours = [
        _summary.Measurement(entrant, 0, {"rate_k": [rates[entrant.style]]})
        for entrant in row.entrants
        if entrant.contender == OURS
    ]
    for batch_rate, verdict in ((240.0, _summary.NOT_REACHED), (260.0, _summary.REACHED)):
        ours[1] = attrs.evolve(ours[1], metrics={"rate_k": [batch_rate]})
        summary = _summary.summarise(row, 1, [*ours, *measurements(row, ALL_AT_100)], {})
        assert [found.verdict for found in summary.verdicts] == [_summary.REACHED, verdict]


def test_a_missing_peer_fails_its_row_and_its_goal() -> None:
    """The row does not shrink to the peers that are there, although its goal names another peer."""
    row = row_named("publish_16")
    figures = {OURS: [900.0], NATS_PY: [100.0], NATS_CORE: [100.0], NATSRPY: [100.0]}
    summary = _summary.summarise(row, 1, measurements(row, figures), {NATSIO: REASON})
    assert summary.failed
    assert summary.failures == (f"natsio is missing: {REASON}",)
    assert [verdict.verdict for verdict in summary.verdicts] == [_summary.NOT_JUDGED]
    assert f"FAILED: natsio is missing: {REASON}" in _report.table_of(summary)


def test_a_missing_contender_does_not_fail_a_row_it_has_no_place_in() -> None:
    """The table leaves natsrpy out of subscribe_mixed, with a reason that is printed."""
    row = row_named("subscribe_mixed")
    figures = {OURS: [900.0], NATS_PY: [100.0], NATS_CORE: [100.0], NATSIO: [100.0]}
    summary = _summary.summarise(row, 1, measurements(row, figures), {NATSRPY: "not installed"})
    assert not summary.failed
    assert "without natsrpy" in _report.table_of(summary)


def test_a_failed_measurement_and_an_unmeasured_contender_fail_the_row() -> None:
    """Neither is covered up by the rounds that went well."""
    row = row_named("publish_16")
    taken = measurements(row, {**ALL_AT_100, OURS: [900.0]})
    broken = _summary.Measurement(row.entrants[0], 1, error="published 10, the server counted 9")
    assert _summary.summarise(row, 2, [*taken, broken], {}).failed
    assert _summary.summarise(row, 1, taken[:-1], {}).failed
    assert not _summary.summarise(row, 1, taken, {}).failed


def test_a_goal_against_a_peer_that_was_not_asked_for_is_not_judged() -> None:
    """`--peers nats-py` gives no verdict on nats-core, and none on the best of three."""
    for name in ("publish_16", "subscribe_16"):
        row = _runner.restrict(row_named(name), [NATS_PY], ceiling=False)
        summary = _summary.summarise(row, 1, measurements(row, {OURS: [900.0], NATS_PY: [100.0]}), {})
        assert not summary.failed
        assert [verdict.verdict for verdict in summary.verdicts] == [_summary.NOT_JUDGED]


@pytest.mark.parametrize(
    "rates, expected",
    [
        ([(1, 100.0), (2, 195.0), (4, 380.0), (8, 700.0)], None),
        ([(1, 100.0), (2, 195.0), (4, 360.0), (8, 450.0)], 4),
        ([(1, 100.0), (2, 149.0), (4, 298.0)], 1),
        ([(1, 100.0), (2, 150.0), (4, 100.0)], 2),
        ([(1, 100.0), (3, 199.0)], 1),
        ([(1, 100.0)], None),
    ],
)
def test_the_knee_is_where_more_instances_bring_less_than_half(
    rates: list[tuple[int, float]], expected: int | None
) -> None:
    """Less than half of the rate that they should add; where there is none, none is claimed."""
    assert _summary.knee(rates) == expected


def test_a_row_of_instances_tells_its_knee() -> None:
    """By the medians, in words, with what each step brought."""
    row = row_named("router_cores")
    rates = {"1 instance": 100.0, "2 instances": 200.0, "4 instances": 360.0, "8 instances": 450.0}
    taken = [
        _summary.Measurement(entrant, 0, {"rate": [rates[entrant.style]], "cpu_us": [1400.0]}, cpu_us=1400.0)
        for entrant in row.entrants
    ]
    summary = _summary.summarise(row, 1, taken, {})
    assert summary.remarks == ("the knee is at 4: 2.00x from 1 to 2, 1.80x from 2 to 4, 1.25x from 4 to 8",)
    assert summary.remarks[0] in _report.table_of(summary)
    assert _summary.summarise(row, 1, taken[:1], {}).remarks == ()


def test_the_bare_socket_is_never_the_best_peer() -> None:
    """`--ceiling` shows what the machine allows; nobody is compared with it."""
    row = _runner.restrict(row_named("publish_16"), _rows.PEERS, ceiling=True)
    figures = {**ALL_AT_100, OURS: [300.0], _rows.CEILING: [9999.0]}
    summary = _summary.summarise(row, 1, measurements(row, figures), {})
    assert summary.best_peers[_rows.RATE.key] != _rows.CEILING
    assert _summary.as_json(summary)["figures"][0]["ratio_to_peers"] == dict.fromkeys(_rows.PEERS, 3.0)


def test_fewer_or_other_messages_than_were_sent_are_an_error() -> None:
    """Counts are compared in messages and in bytes."""
    sent = {"sent": 10, "sent_bytes": 160}
    assert _runner.check_received({"received": 10, "received_bytes": 160}, sent) is None
    assert _runner.check_received({"received": 9, "received_bytes": 144}, sent) == "received 9 of 10"
    assert _runner.check_received({"received": 10, "received_bytes": 159}, sent) == "received_bytes 159 of 160"


def test_a_report_without_the_rows_figures_is_an_error() -> None:
    """A contender that waits in vain for messages reports no rate, and that is not passed over."""
    row = row_named("subscribe_16")
    assert _runner.check_complete({"metrics": {"rate_k": [1.0]}}, row, 60.0) is None
    found = _runner.check_complete({"metrics": {}, "received": 7}, row, 60.0)
    assert found == "no rate_k after 60 s; received 7 messages"


def test_a_lost_publish_is_an_error_and_a_doubled_one_of_a_peer_a_remark() -> None:
    """The server's count decides; nothing of ours may arrive twice."""
    assert _runner.check_published(NATS_PY, 10, 10) == (None, None)
    for contender, taken in ((NATS_PY, 9), (OURS, 9), (OURS, 11)):
        error, remark = _runner.check_published(contender, 10, taken)
        assert error is not None
        assert remark is None
    error, remark = _runner.check_published(NATS_CORE, 10, 11)
    assert error is None
    assert remark is not None


def test_the_streams_count_decides() -> None:
    """A publish that the stream does not hold, or holds twice, and a message without its ack are errors."""
    assert _runner.check_stored(10, 10) is None
    assert _runner.check_stored(10, 9) == "published 10, the stream holds 9"
    assert _runner.check_stored(10, 11) == "published 10, the stream holds 11"
    assert _runner.check_acknowledged(10, 10) is None
    assert _runner.check_acknowledged(10, 9) == "acknowledged 9 of 10"


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_complete(row: Row, quick: bool) -> None:
    """Each peer is in a row or left out with a reason, goals name a style that is measured, counts come out
    even.
    """
    entered = {entrant.contender for entrant in row.entrants}
    of_router = _rows.ROUTER_PEERS if row.name.startswith("router_") else ()
    assert entered | set(row.left_out) == {OURS, *_rows.PEERS, *of_router}
    assert not entered & set(row.left_out)
    styles = {entrant.style for entrant in row.entrants if entrant.contender == OURS}
    assert {goal.style for goal in row.goals} <= styles
    for contender in entered:
        params = _protocol.Params(url="", style="", **row.params_for(contender, quick))
        step = _protocol.CREDIT_EVERY if row.support == "feeder" else params.concurrency
        assert params.messages % step == params.warmup_messages % step == 0


@pytest.mark.parametrize(
    "router, verdicts_of_router", [(15.0, [True, True]), (17.0, [False, True]), (31.0, [False, False])]
)
def test_a_goal_against_ourselves_is_a_sum_or_a_ratio(router: float, verdicts_of_router: list[bool]) -> None:
    """The router is judged by what it adds to the bare subscription, and by how much of `serve` it is."""
    row = row_named("router_core")
    figures = {"router": router, "serve": 10.0, "async for": 10.0}
    taken = [
        _summary.Measurement(entrant, 0, {"cpu_us": [figures.get(entrant.style, 90.0)], "rate_k": [1.0]})
        for entrant in row.entrants
    ]
    summary = _summary.summarise(row, 1, taken, {})
    found = [verdict.verdict == _summary.REACHED for verdict in summary.verdicts]
    assert found[:2] == verdicts_of_router
    assert [verdict.goal.text() for verdict in summary.verdicts][:2] == ["<= async for + 6", "<= 3x serve"]


def test_the_first_word_of_names_chooses_all_that_have_it() -> None:
    """And a whole name only itself."""
    router = ["router_core", "router_stream", "router_instances", "router_cores", "router_outstanding"]
    assert [row.name for row in choose_rows(["router"])] == router
    assert [row.name for row in choose_rows(["request"])] == ["request"]


def test_names_on_the_command_line_are_checked() -> None:
    """A mistyped row or peer is an error that lists the right ones, not an empty table."""
    with pytest.raises(ValueError, match=r"unknown row publish_61; the rows are publish_16, "):
        choose_rows(["publish_61"])
    with pytest.raises(ValueError, match="unknown peer nats; the peers are nats-py, "):
        _runner.select_peers("nats,natsio")
    assert _runner.select_peers("natsio,nats-py") == (NATS_PY, NATSIO)


def test_the_window_is_bounded_in_messages_and_bytes_and_never_stalls() -> None:
    """20,000 messages or 16 MiB, whichever is less, and always room for a block beyond the next credit."""
    for payload_bytes, expected in ((16, 20_000), (4096, 4096), (1 << 20, 1001)):
        plan = _protocol.FeedPlan("", payload_bytes=payload_bytes)
        block = _feeder.block_of(_feeder.messages_of(plan))
        assert _feeder.window_of(plan, block) == expected


def test_mixed_traffic_is_the_same_in_every_run() -> None:
    """50 subjects and sizes of 60 to 199 bytes, equal for all contenders and rounds."""
    plan = _protocol.FeedPlan("", mixed=True)
    messages = _feeder.messages_of(plan)
    assert messages == _feeder.messages_of(plan)
    assert len({message.frame.split()[1] for message in messages}) == _feeder.MIXED_SUBJECTS
    sizes = [message.payload_bytes for message in messages]
    assert (min(sizes), max(sizes)) == _feeder.MIXED_PAYLOAD_BYTES


def test_the_interval_holds_the_mean_and_is_the_same_each_time() -> None:
    """Equal ratios give a point; spread ones an interval around their mean, narrower for more of them."""
    assert interval([1.1] * 9) == pytest.approx((1.1, 1.1))
    few, many = [0.9, 1.0, 1.1] * 3, [0.9, 1.0, 1.1] * 30
    low, high = interval(few)
    assert low < 1.0 < high
    assert interval(few) == (low, high)
    assert interval(many)[1] - interval(many)[0] < high - low


def test_a_contender_of_an_earlier_state_can_read_what_it_is_asked() -> None:
    """What is as it is by default is not said, and what is said comes back."""
    plain = _protocol.Params(url="nats://here", style="publish")
    assert json.loads(plain.to_json()) == {"url": "nats://here", "style": "publish"}
    assert _protocol.Params.from_json(plain.to_json()) == plain
    busy = _protocol.Params(url="nats://here", style="router", busy_seconds=0.001, messages=5)
    assert _protocol.Params.from_json(busy.to_json()) == busy


def test_the_rows_of_a_tree() -> None:
    """Their names, as that tree lists them."""
    assert rows_of(PROJECT) == {row.name for row in choose_rows(None)}
