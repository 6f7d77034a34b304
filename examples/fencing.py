"""Only the leader writes, and a write that comes too late is refused by the database, by its fencing token.

`run_while_leader` stops a function when its node leads no more. It cannot stop a write that is already
on its way: in a thread, in a queue, in a process that stood still. So every write carries its term's token.
"""

import sqlite3
import tempfile
import threading
from pathlib import Path

import trio

import swim


def write(database: Path, token: str, text: str) -> None:
    """In one transaction: refuse a token that is lower than any before, or write."""
    with sqlite3.connect(database, isolation_level=None) as db:
        db.execute("BEGIN IMMEDIATE")
        (newest,) = db.execute("SELECT coalesce(max(token), '') FROM entries").fetchone()
        if token < newest:
            raise PermissionError(f"too late: {text} (token ..{token[-4:]} is older than ..{newest[-4:]})")
        db.execute("INSERT INTO entries VALUES (?, ?)", (token, text))


async def main() -> None:
    overtaken, told = threading.Event(), threading.Event()

    async def ann_leads(term: swim.Term) -> None:
        def write_late() -> None:  # in a thread, which goes on when ann has long ceased to lead
            overtaken.wait()
            try:
                write(database, term.token, "ann's second entry")
            except PermissionError as error:
                print(error)
            told.set()

        write(database, term.token, "ann's first entry")
        await trio.to_thread.run_sync(write_late, abandon_on_cancel=True)

    async def bob_leads(term: swim.Term) -> None:
        write(database, term.token, "bob's entry")  # the work is done: bob's run_while_leader returns

    with tempfile.TemporaryDirectory() as directory, trio.fail_after(30):
        database = Path(directory) / "entries.db"
        with sqlite3.connect(database) as db:
            db.execute("CREATE TABLE entries (token TEXT, text TEXT)")
        async with swim.open_cluster("ann", bind="127.0.0.1:0") as ann, trio.open_nursery() as nursery:
            nursery.start_soon(ann.run_while_leader, ann_leads)
            async with swim.open_cluster("bob", bind="127.0.0.1:0", seeds=[str(ann.address)]) as bob:
                ann.yield_leadership()  # or it is killed, frozen, cut off: then bob leads, too
                await bob.run_while_leader(bob_leads)
                overtaken.set()
                await trio.to_thread.run_sync(told.wait)
                print(*(text for (text,) in db.execute("SELECT text FROM entries")), sep="\n")
                nursery.cancel_scope.cancel()


trio.run(main)
