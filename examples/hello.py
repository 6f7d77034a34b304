"""Three nodes find each other, the leader dies, another one leads, and the old one comes back.

    python examples/hello.py

Really each node is a process on a machine of its own; here all are tasks of one program, and talk over
loopback. Every line that is printed is what one node has heard by itself.
"""

import trio

import swim


async def node(name: str, seeds: list[str], *, task_status: trio.TaskStatus[swim.Cluster]) -> None:
    """Be a member, and say what happens, until the cluster is closed."""
    async with swim.open_cluster(name, bind="127.0.0.1:0", seeds=seeds) as cluster:
        task_status.started(cluster)
        async with cluster.events() as events:
            async for event in events:
                match event:
                    case swim.Snapshot(members, leader):
                        names = ", ".join(member.name for member in members)
                        print(f"{name}: I am a member of ({names}), led by {leader and leader.name}")
                    case swim.MemberJoined(member):
                        print(f"{name}: {member.name} joined")
                    case swim.MemberFailed(member, reason):
                        print(f"{name}: {member.name} is dead ({reason})")
                    case swim.MemberLeft(member):
                        print(f"{name}: {member.name} left")
                    case swim.LeaderChanged(leader):
                        print(f"{name}: {leader.name if leader else 'nobody'} leads")


async def main() -> None:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            ann = await nursery.start(node, "ann", [])  # has nobody to ask, and so founds the cluster
            seeds = [str(ann.address)]
            bob = await nursery.start(node, "bob", seeds)
            cid = await nursery.start(node, "cid", [*seeds, str(bob.address)])
            for cluster in (ann, bob, cid):
                await cluster.wait_for(lambda cluster: len(cluster.members()) == 3)
            await trio.sleep(0.1)  # for all to tell what they heard

            print("-- ann leads, for it was there first. It dies without a word.")
            ann.abort()
            await bob.wait_for(lambda cluster: cluster.is_leader and len(cluster.members()) == 2)
            await cid.wait_for(lambda cluster: cluster.leader == bob.me)
            await trio.sleep(0.1)  # again

            print("-- ann is started again. It is a regular member now, at the back of the queue.")
            ann = await nursery.start(node, "ann", [str(cid.address)])
            await bob.wait_for(lambda cluster: len(cluster.members()) == 3)
            print("-- the queue:", ", ".join(member.name for member in bob.members()))

            for cluster in (cid, bob, ann):
                await cluster.leave()


trio.run(main)
