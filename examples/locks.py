"""Locks and semaphores of the whole cluster, without a server: the leader grants them.

    python examples/locks.py

Two nodes charge the same invoices, and each is charged once, by whichever node holds its name. A lease
has a fencing token: a ledger that refuses lower ones is safe even from a process that was frozen in the
middle. In a partition each side has a leader and holders of its own, unless you name `voters`.
"""

import trio

import swim

INVOICES = [f"invoice/{number}" for number in range(5)]


class Ledger:
    """Storage that remembers the highest token that it has seen for each invoice, and refuses lower ones."""

    def __init__(self) -> None:
        self.charged: dict[str, str] = {}
        self.tokens: dict[str, str] = {}

    def charge(self, invoice: str, node: str, token: str) -> None:
        if token < self.tokens.get(invoice, ""):
            raise PermissionError(f"{invoice}: {token} is out of date")
        self.tokens[invoice] = token
        self.charged[invoice] = node
        print(f"{node} charges {invoice}")


async def charge_all(cluster: swim.Cluster, ledger: Ledger) -> None:
    for invoice in INVOICES:
        async with cluster.hold(invoice) as lease:  # waits for its turn; cancelled if the lease is lost
            if invoice not in ledger.charged:
                ledger.charge(invoice, cluster.name, lease.token)
                await trio.sleep(0.01)


async def use_gpu(cluster: swim.Cluster, job: int) -> None:
    async with cluster.hold("gpu", limit=2):  # a semaphore: at most two at a time, on all nodes together
        print(f"job {job} runs")
        await trio.sleep(0.1)


async def main() -> None:
    async with (
        swim.open_cluster("ann", bind="127.0.0.1:0") as ann,
        swim.open_cluster("bob", bind="127.0.0.1:0", seeds=[str(ann.address)]) as bob,
    ):
        ledger = Ledger()
        async with trio.open_nursery() as nursery:
            for cluster in (ann, bob):
                nursery.start_soon(charge_all, cluster, ledger)
            for job in range(6):
                nursery.start_soon(use_gpu, (ann, bob)[job % 2], job)
        print(f"{len(ledger.charged)} invoices, each charged once")


trio.run(main)
