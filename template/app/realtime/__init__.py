"""The realtime engine: rooms, events and calls over WebSockets.

This module is its public face. Import from here; everything else in this package may
move in any release.
"""

from app.realtime.actions import Action
from app.realtime.application import Application
from app.realtime.authentication import Authentication, Security, Session
from app.realtime.broker import BrokerUnavailable, IdTaken
from app.realtime.connection import Connection
from app.realtime.dependencies import Presence, Publisher
from app.realtime.events import Event, Signal
from app.realtime.handlers import Call, Pending, Refused, before, handles
from app.realtime.identity import Unauthenticated, User, room_of_user
from app.realtime.origin import check_origin
from app.realtime.protocol import CloseCode, Position
from app.realtime.publisher import (
    LocalBroker,
    SyncPublisher,
    open_publisher,
    open_sync_publisher,
)
from app.realtime.settings import RealtimeSettings, read_settings
from app.realtime.socket import Socket, open_socket

__all__ = [
    "Action",
    "Application",
    "Authentication",
    "BrokerUnavailable",
    "Call",
    "CloseCode",
    "Connection",
    "Event",
    "IdTaken",
    "LocalBroker",
    "Pending",
    "Position",
    "Presence",
    "Publisher",
    "RealtimeSettings",
    "Refused",
    "Security",
    "Session",
    "Signal",
    "Socket",
    "SyncPublisher",
    "Unauthenticated",
    "User",
    "before",
    "check_origin",
    "handles",
    "open_publisher",
    "open_socket",
    "open_sync_publisher",
    "read_settings",
    "room_of_user",
]
