"""Limits how many accounts are registered on one worker.

Each registration costs a password hash and a row for ever. So one address may register a
few at a time, and all addresses together so many that the worker has time for other work.
"""

import math
from collections import OrderedDict
from typing import Annotated

from fastapi import Depends, HTTPException, status
from fastapi.requests import HTTPConnection

from app.realtime.limits import Budget, network_of


class TooManyRegistrations(HTTPException):
    """HTTP 429."""

    def __init__(self, seconds: float) -> None:
        wait = math.ceil(seconds)
        super().__init__(
            status.HTTP_429_TOO_MANY_REQUESTS,
            f"Too many accounts are being registered: try again in {wait} s.",
            {"Retry-After": str(wait)},
        )


class Registrations:
    """Counts the registrations of one worker, by address and in sum.

    Of each limit, twice as many may come at once.
    """

    def __init__(self, per_minute: int, per_minute_per_address: int) -> None:
        """0 a minute means no limit."""
        self._sum = budget(per_minute)
        self._per_minute_per_address = per_minute_per_address
        self._of_address: OrderedDict[str, Budget] = OrderedDict()  # those that are not full

    def count(self, address: str | None) -> None:
        """Count a registration. Raises TooManyRegistrations; one that is refused counts nothing.

        `address` is the client's, or None for a Unix socket, which has no limit per address
        because all clients would share one.
        """
        budgets = [self._sum]
        network = network_of(address) if address else None
        if network and self._per_minute_per_address:
            self._forget_full()
            known = self._of_address.get(network)
            budgets.append(known or budget(self._per_minute_per_address))
        seconds = max(each.wait(1) for each in budgets)
        if seconds:
            raise TooManyRegistrations(seconds)
        for each in budgets:
            each.spend(1)
        if network and len(budgets) > 1:
            self._of_address[network] = budgets[-1]
            self._of_address.move_to_end(network)

    def _forget_full(self) -> None:
        """Forget the addresses that have not registered anybody for a while."""
        while self._of_address:
            network, oldest = next(iter(self._of_address.items()))
            if not oldest.is_full:
                return
            del self._of_address[network]


def budget(per_minute: int) -> Budget:
    return Budget(per_minute / 60, 2 * per_minute)


async def get_registrations(connection: HTTPConnection) -> Registrations:
    registrations: Registrations = connection.app.state.registrations
    return registrations


RegistrationLimits = Annotated[Registrations, Depends(get_registrations)]
