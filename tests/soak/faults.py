"""Faults of a soak: one after another, at random."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from tests.soak.stepped import write_step
from tests.soak.world import GRACE_S, LEASE_S

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from tests.soak.world import Client, World

CLIENTS = 3
_STEP_S = 7200.0
_ZEROS = bytes(1 << 16)


class Faults:
    """Chooses and injects faults.

    Args:
        world: The target of the faults.
        chance: The random generator that decides their kind, target and duration.
    """

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world = world
        self._chance = chance
        self.counts: dict[str, int] = {}
        self._kinds: list[tuple[int, Callable[[], None]]] = [
            (4, self.kill_service),
            (1, self.stop_service),
            (2, self.stall_service),
            (4, self.kill_client),
            (2, self.pause_client),
            (3, self.end_client),
            (4, self.cut_connections),
            (2, self.cut_in_the_middle),
            (2, self.swallow),
            (1, self.slow_down),
            (2, self.step_service_clock),
            (1, self.step_client_clock),
        ]
        if world.disk is not None:
            self._kinds.append((2, self.fill_disk))
        if world.postgres is not None:
            self._kinds += [(2, self.kill_database), (2, self.stall_database)]

    def keep_clients(self) -> None:
        """Start clients until there are enough."""
        while len(self._world.alive) < CLIENTS:
            self._world.start_client(self._chance.randrange(1 << 30))

    def do_one(self) -> str:
        """Inject one fault; return its name."""
        (fault,) = self._chance.choices(
            [kind for _, kind in self._kinds], [weight for weight, _ in self._kinds]
        )
        name = fault.__name__.replace("_", " ")
        self.counts[name] = self.counts.get(name, 0) + 1
        fault()
        return name

    def lift_all(self) -> None:
        """Undo all lasting faults."""
        proxy = self._world.proxy
        proxy.cut_after = lambda: None
        proxy.is_swallowing = False
        proxy.delay_s = 0.0
        for path in (self._world.clock_file, self._world.client_clock_file):
            write_step(path, 0.0)

    # The service

    def kill_service(self) -> None:
        """Send SIGKILL; restart after a moment."""
        self._world.service.kill()
        time.sleep(self._chance.choice([0.0, 0.2, 1.0, 6.0]))
        self._world.service.restart()

    def stop_service(self) -> None:
        """Send SIGTERM; restart after a moment."""
        self._world.service.stop()
        time.sleep(self._chance.choice([0.0, 1.0]))
        self._world.service.restart()

    def stall_service(self) -> None:
        """Send SIGSTOP, for less or more than a lease."""
        self._world.service.pause()
        time.sleep(self._chance.choice([0.5, 2.0, LEASE_S + 1.6]))
        self._world.service.go_on()

    def step_service_clock(self) -> None:
        """Set the service's wall clock back or forward, by seconds or hours."""
        write_step(
            self._world.clock_file, self._chance.choice([-_STEP_S, -3.0, 0.0, 25.0, _STEP_S])
        )

    # The clients

    def kill_client(self) -> None:
        """Send SIGKILL to a client."""
        for client in self._one_client():
            client.was_hurt = True
            client.process.kill()

    def pause_client(self) -> None:
        """Send SIGSTOP to a client, for less or more than a lease."""
        for client in self._one_client():
            seconds = self._chance.choice([0.5, 1.5, LEASE_S + 2.0])
            client.may_look_dead |= seconds > LEASE_S / 2
            os.kill(client.process.pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(client.process.pid, signal.SIGCONT)

    def end_client(self) -> None:
        """Ask a client to end normally."""
        for client in self._one_client():
            client.ended_well = True
            self._world.end_client(client)

    def step_client_clock(self) -> None:
        """Set the clients' wall clock."""
        write_step(self._world.client_clock_file, self._chance.choice([-_STEP_S, -3.0, 0.0, 3.0]))

    # The network

    def cut_connections(self) -> None:
        """Cut all connections."""
        self._world.proxy.cut()

    def cut_in_the_middle(self) -> None:
        """For a while, cut each connection after some bytes."""
        self._silence()
        self._world.proxy.cut_after = lambda: self._chance.randrange(200, 60_000)
        self._world.proxy.cut()
        time.sleep(2.0)
        self._world.proxy.cut_after = lambda: None

    def swallow(self) -> None:
        """Forward no data and close no connection for a while."""
        seconds = self._chance.choice([0.5, 2.0, GRACE_S + LEASE_S])
        if seconds > 1.0:
            self._silence()
        self._world.proxy.is_swallowing = True
        time.sleep(seconds)
        self._world.proxy.is_swallowing = False

    def slow_down(self) -> None:
        """Start or end a delay of all data."""
        self._world.proxy.delay_s = self._chance.choice([0.0, 0.0, 0.02, 0.1])

    # The database

    def fill_disk(self) -> None:
        """Fill the disk of the database for a while."""
        assert self._world.disk is not None
        filler = self._world.disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(_ZEROS)
        time.sleep(self._chance.choice([0.5, 2.0, LEASE_S + 1.0]))
        filler.unlink()

    def kill_database(self) -> None:
        """Send SIGKILL to the database server; restart it at once."""
        self._world.restart_postgres()

    def stall_database(self) -> None:
        """Send SIGSTOP to the database server, for less or more than a lease."""
        pids = self._world.postgres_pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(self._chance.choice([0.5, 2.0, LEASE_S + 1.6]))
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def _one_client(self) -> Iterator[Client]:
        alive = [client for client in self._world.alive if not client.ended_well]
        if alive:
            yield self._chance.choice(alive)

    def _silence(self) -> None:
        """Record that the service may now declare all clients dead."""
        for client in self._world.alive:
            client.may_look_dead = True
