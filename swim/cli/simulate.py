"""`swim simulate`: faults in a simulated cluster, from the command line."""

from __future__ import annotations

import json
import random
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from swim.cli.options import FiniteRange
from swim.cli.programs import Observer, draw_programs, find_scenario, happened, run_scenario
from swim.cli.timeline import RecordedWorld, Timeline, draw, picture_formats
from swim.simulation import Chaos, Network, World
from swim.text import printable

__all__ = ["SCENARIOS", "command"]

_SETTLE_S = 12.0
"""What a cluster runs before anything happens: every member has been pinged by all its observers."""
_CONVERGE_S = 60.0
_STEPS, _SAMPLES = 100, 300
_ROWS_MAX = 60
_WIDTH = 100
"""Columns at least, where it is no terminal that would break the lines."""


def _crash(world: World, names: list[str], seconds: float) -> None:
    world.after(0.1 * seconds, world.crash, names[0])
    world.after(0.6 * seconds, lambda: world.restart(names[0], seeds=names[1:3]))


def _host_loss(world: World, names: list[str], seconds: float) -> None:
    world.after(0.1 * seconds, world.lose_host, names[0])
    world.after(0.6 * seconds, lambda: world.restart(names[0], seeds=names[1:3]))


def _partition(world: World, names: list[str], seconds: float) -> None:
    half = len(names) // 2
    world.after(0.1 * seconds, world.partition, names[:half], names[half:])
    world.after(0.6 * seconds, world.heal)


def _lossy(world: World, names: list[str], seconds: float) -> None:
    leader = {names[0]: 0.8}
    world.after(0.1 * seconds, lambda: world.set_loss(incoming=leader, outgoing=leader))
    world.after(0.7 * seconds, lambda: world.set_loss(incoming={names[0]: 0.0}, outgoing={names[0]: 0.0}))


def _pause(world: World, names: list[str], seconds: float) -> None:
    world.after(0.1 * seconds, world.pause, names[0], 0.1 * seconds)
    world.after(0.4 * seconds, world.pause, names[0], 0.4 * seconds)


def _storm(world: World, names: list[str], seconds: float) -> None:
    """As many again join at once."""
    world.after(0.1 * seconds, lambda: world.grow(len(names), stagger=0.0))


def _chaos(world: World, names: list[str], seconds: float) -> None:
    """Runs for itself: see `_run`."""


SCENARIOS: dict[str, tuple[Callable[[World, list[str], float], None], str]] = {
    "crash": (_crash, "the leader's process is killed, and started again later"),
    "host-loss": (_host_loss, "the leader's machine vanishes without a word, and comes back"),
    "partition": (_partition, "two halves cannot reach each other for half of the time"),
    "lossy": (_lossy, "80 % of the packets to and from the leader are lost"),
    "pause": (_pause, "the leader's process stands still, a short time and a long one"),
    "storm": (_storm, "as many nodes again join at the same moment"),
    "chaos": (_chaos, "random faults of all kinds"),
}


def _scenarios() -> str:
    """For the help."""
    width = max(map(len, SCENARIOS))
    return "\b\n" + "\n".join(f"{name:{width}}  {text}" for name, (_, text) in SCENARIOS.items())


class _Scenario(click.Choice[str]):
    """One of ours, or MODULE:FUNCTION."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if ":" in value else super().convert(value, param, ctx)


@click.command("simulate", short_help="Try faults in a simulated cluster.", epilog=_scenarios())
@click.argument("scenario", type=_Scenario(list(SCENARIOS)), metavar="SCENARIO")
@click.option("--nodes", type=click.IntRange(2), default=8, show_default=True)
@click.option("--seconds", type=FiniteRange(1.0), default=60.0, show_default=True, help="Virtual time.")
@click.option("--seed", type=int, help="The same seed is the same run, to the bit; else a random one.")
@click.option("--loss", type=FiniteRange(0.0, 0.95), default=0.0, help="Share of packets lost.")
@click.option("--wan", is_flag=True, help="Five regions in place of one data centre, with the WAN profile.")
@click.option("--fast", is_flag=True, help="Message objects in place of bytes: sizes are estimates.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object in place of the table.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.png", help="Draw the timeline."
)
@click.pass_context
def command(
    ctx: click.Context,
    scenario: str,
    nodes: int,
    seconds: float,
    seed: int | None,
    loss: float,
    wan: bool,
    fast: bool,
    as_json: bool,
    plot: Path | None,
) -> None:
    """Run SCENARIO on a simulated cluster: the real protocol, in virtual time.

    \b
        swim simulate host-loss --nodes 128 --fast
        swim simulate partition --nodes 16 --loss 0.05 --plot partition.png
        swim simulate examples.testing:scenario --plot programs.png

    MODULE:FUNCTION is called with a swim.testing.World, for programs of yours.
    """
    if plot is not None:
        _check_picture(plot)
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    network = Network.wan(loss=loss) if wan else Network.lan(loss=loss)
    if ":" in scenario:
        for option in ("nodes", "seconds", "fast"):
            if ctx.get_parameter_source(option) is not ParameterSource.DEFAULT:
                raise click.UsageError(f"--{option} is for the scenarios of swim, not for {scenario}")
        _run_programs(scenario, Observer(seed, network), plot, as_json=as_json)
        return
    world = RecordedWorld(seed, network=network, fast=fast)
    timeline, taken = _run(world, scenario, nodes, seconds, quiet=as_json, sampled=plot is not None)
    figures = _figures(world, timeline, taken)
    options = {"scenario": scenario, "nodes": nodes, "seconds": seconds, "seed": seed, "loss": loss}
    options |= {"wan": wan, "fast": fast}
    if as_json:
        rows = [row.as_fields() for row in timeline.rows]
        click.echo(json.dumps({"options": options, "happened": rows, **figures}))
    else:
        _print(world, options, timeline, figures)
    if plot is not None:
        _save(lambda path: draw(timeline, path, f"{scenario}, {nodes} nodes, seed {seed}"), plot)


def _run_programs(scenario: str, world: Observer, plot: Path | None, *, as_json: bool) -> None:
    """What the scenario raises is told after all that happened until then; the exit status is 1."""
    error = run_scenario(world, find_scenario(scenario))
    rows = happened(world)
    if as_json:
        options = {"scenario": scenario, "seed": world.seed}
        told = [{"at": round(when, 6), "what": what} for when, what in rows]
        click.echo(json.dumps({"options": options, "happened": told, "trace_hash": world.trace.digest()}))
    else:
        click.echo(f"swim simulate {scenario} --seed {world.seed}")
        for when, what in rows:
            click.echo(f"{when:10.3f}  {printable(what)}")
        click.echo(f"trace hash {world.trace.digest()}")
    if plot is not None:
        _save(lambda path: draw_programs(world, path, f"{scenario}, seed {world.seed}"), plot)
    if error is not None:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
        raise click.exceptions.Exit(1)


def _check_picture(path: Path) -> None:
    """Before the run, not after it."""
    try:
        formats = picture_formats()
    except ImportError:
        raise click.ClickException(
            '--plot needs matplotlib: pip install "trio-swim[bench]", or leave it out'
        ) from None
    if path.suffix[1:].lower() not in formats:
        raise click.BadParameter(f"{path} must end in one of .{' .'.join(formats)}", param_hint="--plot")
    if not path.parent.is_dir():
        raise click.BadParameter(f"there is no directory {path.parent}", param_hint="--plot")


def _save(draw: Callable[[Path], None], path: Path) -> None:
    try:
        draw(path)
    except OSError as error:
        raise click.ClickException(f"--plot: {error}") from None
    click.echo(f"drawn in {path}", err=True)


def _run(
    world: RecordedWorld, scenario: str, nodes: int, seconds: float, *, quiet: bool, sampled: bool
) -> tuple[Timeline, float | None]:
    """The whole run; how long the cluster took to be one again after it, or None."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    progress = nullcontext() if quiet else Progress(*columns, console=Console(stderr=True), transient=True)
    with progress as shown:
        task = None if shown is None else shown.add_task(scenario, total=_SETTLE_S + seconds)
        step = (_SETTLE_S + seconds) / _STEPS
        if shown is not None and task is not None:
            world.every(step, lambda: shown.advance(task, step))
        names = world.assemble(nodes)
        world.run(_SETTLE_S)
        timeline = Timeline(world)
        if sampled:
            timeline.sample(seconds / _SAMPLES)
        SCENARIOS[scenario][0](world, names, seconds)
        if scenario == "chaos":
            Chaos(world).run(seconds)
        else:
            world.run(seconds)
        taken = world.run_until(world.converged, _CONVERGE_S)
    return timeline, taken


def _figures(world: World, timeline: Timeline, taken: float | None) -> dict[str, Any]:
    traffic = [node.traffic for node in world.nodes.values()]
    node_seconds = len(world.nodes) * world.now
    return {
        "one_view_after_s": taken,
        "false_deaths": len(world.invariants.false_deaths),
        "packets_per_node_second": round(sum(one.packets_sent for one in traffic) / node_seconds, 3),
        "bytes_per_node_second": round(sum(one.bytes_sent for one in traffic) / node_seconds, 1),
        "trace_hash": world.trace.digest(),
    }


def _print(world: World, options: dict[str, Any], timeline: Timeline, figures: dict[str, Any]) -> None:
    told = " ".join(
        f"--{name}" if value is True else f"--{name} {value}"
        for name, value in options.items()
        if name == "seed" or (name != "scenario" and value not in (False, 0.0))
    )
    click.echo(f"swim simulate {options['scenario']} {told}")
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("at, s", "what", "first", "last", "nodes", "why"):
        table.add_column(column, justify="right" if column in ("at, s", "first", "last", "nodes") else "left")
    for row in timeline.rows[:_ROWS_MAX]:
        table.add_row(*row.cells())
    console = Console()
    width = console.width if console.is_terminal else max(_WIDTH, console.width)
    Console(width=width).print(table)
    if len(timeline.rows) > _ROWS_MAX:
        click.echo(f"{len(timeline.rows) - _ROWS_MAX} more rows: --json has them all")
    taken = figures["one_view_after_s"]
    one = (
        f"not one view within {_CONVERGE_S:.0f} s" if taken is None else f"one view {taken:.2f} s after that"
    )
    click.echo(
        f"{one}; {figures['packets_per_node_second']} packets and {figures['bytes_per_node_second']} bytes "
        f"per node-second\n{figures['false_deaths']} times a node gave up a member whose process ran "
        "(paused and cut off ones included)"
    )
    click.echo(f"trace hash {figures['trace_hash']}")
