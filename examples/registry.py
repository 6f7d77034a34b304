"""Service registry and discovery: follow the live databases as they come, drain, go and die.

    python examples/registry.py

A database needs nothing but its tags to be found; whoever uses databases has their list in memory, always up
to date. The nodes are all in one program here; really each is a process.
"""

import trio

import swim


def databases(cluster: swim.Cluster) -> list[str]:
    """The databases that may be given work, at this moment."""
    return sorted(member.name for member in cluster.members(role="db", state="up"))


async def follow(cluster: swim.Cluster) -> None:
    """What a client of the databases does: act on every change of the list."""
    known: list[str] = []
    async with cluster.events() as events:
        async for event in events:  # whatever it tells, `members` knows already
            if isinstance(event, swim.MemberFailed):
                print(f"{event.member.name} has died: what it was doing has to be done again")
            if (found := databases(cluster)) != known:
                known = found
                print("databases in service:", ", ".join(known) or "none")


async def database(name: str, seeds: list[str], *, task_status: trio.TaskStatus[swim.Cluster]) -> None:
    """What a database does: join when it is ready for work, and end the block to leave."""
    tags = {"role": "db", "state": "up"}
    async with swim.open_cluster(name, bind="127.0.0.1:0", seeds=seeds, tags=tags) as cluster:
        task_status.started(cluster)
        async with cluster.events() as events:
            async for _ in events:
                if cluster.me.tags["state"] == "drained":
                    break


async def main() -> None:
    with trio.fail_after(30):
        async with swim.open_cluster("web", bind="127.0.0.1:0") as web, trio.open_nursery() as nursery:
            nursery.start_soon(follow, web)
            seeds = [str(web.address)]
            one = await nursery.start(database, "db-1", seeds)
            two = await nursery.start(database, "db-2", seeds)
            await web.wait_for(lambda cluster: databases(cluster) == ["db-1", "db-2"])
            one.set_tags({"role": "db", "state": "draining"})  # takes no new work from now on
            await web.wait_for(lambda cluster: databases(cluster) == ["db-2"])
            one.set_tags({"role": "db", "state": "drained"})
            await web.wait_for(lambda cluster: cluster.member("db-1") is None)
            two.abort()  # as if it had been killed
            await web.wait_for(lambda cluster: cluster.member("db-2") is None)
            await trio.sleep(0.1)  # for `follow` to say so
            nursery.cancel_scope.cancel()


trio.run(main)
