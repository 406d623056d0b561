"""Queue groups at a server: of the subscriptions of one group each message reaches exactly one."""

from __future__ import annotations

from ._server import Connect, settle, take

MESSAGES = 600


async def test_a_group_shares_messages_and_loses_none(connect: Connect) -> None:
    """Each message reaches one member of the group; of many messages every member, on any link, has its share."""
    async with (
        connect() as first,
        connect() as second,
        connect() as sender,
        first.subscribe("jobs", queue_group="g") as one,
        first.subscribe("jobs", queue_group="g") as two,
        second.subscribe("jobs.>", queue_group="g") as unrelated,
        second.subscribe("jobs", queue_group="g") as three,
    ):
        await settle(first, second)
        for number in range(MESSAGES):
            await sender.publish("jobs", b"%d" % number)
        await settle(sender, first, second)
        members = (one, two, three)
        counts = [member.pending_messages for member in members]
        got = [
            [int(m.payload) for m in await take(member, count)] for member, count in zip(members, counts, strict=True)
        ]
        assert sorted(number for numbers in got for number in numbers) == list(range(MESSAGES))
        assert all(numbers == sorted(numbers) for numbers in got)
        # A fair coin of three sides gives less than a tenth to one of them once in 10 to the 40 runs.
        assert min(counts) > MESSAGES // 10, counts
        assert unrelated.delivered == 0


async def test_a_group_is_fair(connect: Connect) -> None:
    """2,000 messages to four members on two links: the shares differ by no more than fair draws do.

    With three degrees of freedom, fair draws exceed the bound once in a million runs. One member that gets a fifth
    more than its share exceeds it nearly always.
    """
    count, bound = 2_000, 30.7
    async with (
        connect() as first,
        connect() as second,
        connect() as sender,
        first.subscribe("jobs", queue_group="g") as one,
        first.subscribe("jobs", queue_group="g") as two,
        second.subscribe("jobs", queue_group="g") as three,
        second.subscribe("*", queue_group="g") as four,
    ):
        await settle(first, second)
        for number in range(count):
            await sender.publish("jobs", b"%d" % number)
        await settle(sender, first, second)
        shares = [member.pending_messages for member in (one, two, three, four)]
        assert sum(shares) == count
        expected = count / len(shares)
        assert sum((share - expected) ** 2 / expected for share in shares) < bound, shares


async def test_groups_and_plain_subscriptions_each_get_a_copy(connect: Connect) -> None:
    """Two groups get a copy each, and so does every subscription without one."""
    async with (
        connect() as nc,
        nc.subscribe("jobs", queue_group="a") as a_one,
        nc.subscribe("jobs", queue_group="a") as a_two,
        nc.subscribe("jobs", queue_group="b") as b_one,
        nc.subscribe("*") as plain_one,
        nc.subscribe("jobs") as plain_two,
    ):
        for _ in range(50):
            await nc.publish("jobs")
        await settle(nc)
        assert a_one.delivered + a_two.delivered == 50
        assert [sub.delivered for sub in (b_one, plain_one, plain_two)] == [50, 50, 50]


async def test_who_leaves_a_group_leaves_its_share_to_the_others(connect: Connect) -> None:
    """After a member has left, the ones that stay get everything."""
    async with connect() as nc, nc.subscribe("jobs", queue_group="g") as stays:
        async with nc.subscribe("jobs", queue_group="g"):
            await settle(nc)
        for _ in range(100):
            await nc.publish("jobs")
        await settle(nc)
        assert stays.delivered == 100


async def test_a_maximum_in_a_group_counts_its_own_messages(connect: Connect) -> None:
    """A member with a maximum takes exactly so many; the rest goes to the other members."""
    async with (
        connect() as nc,
        nc.subscribe("jobs", queue_group="g", max_messages=5) as few,
        nc.subscribe("jobs", queue_group="g") as rest,
    ):
        await settle(nc)
        for _ in range(MESSAGES):
            await nc.publish("jobs")
        await settle(nc)
        assert (few.delivered, rest.delivered) == (5, MESSAGES - 5)
        assert nc.stats().unroutable == 0
