"""Run flows while everything around them fails, then check that every promise was kept.

Random flows run in several processes. Meanwhile, chosen by a seed, the service, its database and
the client processes are killed, stopped and paused; connections are cut, swallowed and slowed down;
clocks are set; the disk is full. At the end, the journals of the clients are compared with the
service's data. The exit code is 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.soak.check import false_alarms, stored_states, violations
from tests.soak.faults import Faults
from tests.soak.world import GRACE_S, LEASE_S, make_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.soak.world import World

SHOWN = 20
END_S = 120.0
AWAY_SHARE = 0.5
"""The chance that the clients end while the service is down, with all their events in spools."""


def main() -> int:
    """Run the soak; return the exit code."""
    arguments = _parse()
    seed = secrets.randbelow(1 << 30) if arguments.seed is None else arguments.seed
    print(f"soak: {arguments.minutes:g} min on {arguments.db}, --seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="fs-soak-", dir="/tmp"))
    with make_world(folder, arguments.db) as world:
        faults = Faults(world, random.Random(seed))
        _go_on(world, faults, arguments.minutes * 60.0, random.Random(seed + 1))
        found = _find_violations(world, is_away=random.Random(seed + 2).random() < AWAY_SHARE)
        total = len(stored_states(world.service.channel))
        if not found:
            world.service.check_histories()
    done = ", ".join(f"{count} × {name}" for name, count in sorted(faults.counts.items()))
    print(f"soak: {total:,} runs of {len(world.clients)} processes; {done}")
    for line in found[:SHOWN]:
        print(f"soak: VIOLATION {line}")
    print(f"soak: {len(found)} violations with --db {arguments.db} --seed {seed}")
    if found:
        print(f"soak: journals and logs are in {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="duration (default: 2)")
    parser.add_argument("--seed", type=int, help="seed of the faults (default: random)")
    parser.add_argument("--db", choices=["sqlite", "postgresql"], default="sqlite")
    return parser.parse_args()


def _go_on(world: World, faults: Faults, seconds: float, chance: random.Random) -> None:
    """Inject one fault after another until the time is over."""
    while world.now_s < seconds:
        faults.keep_clients()
        time.sleep(chance.choice([0.2, 1.0, 3.0]))
        at_s = world.now_s
        print(f"soak: {at_s:6.1f} s {faults.do_one()}", flush=True)
    faults.lift_all()


def _find_violations(world: World, *, is_away: bool) -> list[str]:
    """Wait until everything has settled; return the violations."""
    if is_away:
        world.service.kill()
        print(f"soak: {world.now_s:6.1f} s the clients end while the service is down", flush=True)
    elif not world.service.is_running:
        world.service.restart()
    for client in world.alive:
        world.end_client(client)
    found: list[str] = []
    deadline_s = world.now_s + END_S
    for client in world.clients:
        try:
            client.process.wait(max(1.0, deadline_s - world.now_s))
        except subprocess.TimeoutExpired:
            found.append(f"the process of {client.journal.name} did not end")
            client.was_hurt = True
            client.process.kill()
    if is_away:
        world.service.restart()
    found += _push_spools(world)
    time.sleep(LEASE_S + GRACE_S + 3.0)
    channel = world.service.channel
    return [*found, *violations(channel, world.clients), *false_alarms(channel, world.clients)]


def _push_spools(world: World) -> Iterator[str]:
    """Send the spools of ended processes, as a later process would; yield problems."""
    environment = {"PATH": "/usr/bin:/bin", "FLOWSPAN_HOME": str(world.folder / "clients")}
    # A spool belongs to the address that its process had.
    command = [sys.executable, "-m", "flowspan", "--address", world.proxy.address, "spool"]
    pushed = subprocess.run(
        [*command, "push"], env=environment, check=False, capture_output=True, text=True
    )
    print(f"soak: {pushed.stdout.count('Sent ')} spools were sent at the end")
    if pushed.returncode:
        yield f"the spools were not sent: {pushed.stdout} {pushed.stderr}"
    for path in (world.folder / "clients" / "spool").glob("*"):
        yield f"{path} was left behind"


if __name__ == "__main__":
    sys.exit(main())
