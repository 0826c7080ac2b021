"""Asks for the server, a name and a password."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Button, Input, Label

from client.auth import Login, Refused, register
from client.chat.app import Identity
from client.chat.text import visible
from client.credentials import Unreachable, server_of, socket_of
from client.errors import Unauthenticated


class LoginScreen(Screen[Identity | None]):
    """Logs in, or registers first. With a name and a password it begins at once."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "cancel", "Quit")]

    def __init__(self, server: str, username: str = "", password: str = "") -> None:
        super().__init__()
        self._server = server
        self._username = username
        self._password = password

    def compose(self) -> ComposeResult:
        with Vertical(classes="form"):
            yield Label("Server")
            yield Input(self._server, id="server")
            yield Label("User name")
            yield Input(self._username, id="username", max_length=64)
            yield Label("Password")
            yield Input(self._password, id="password", password=True)
            with Horizontal():
                yield Button("Log in", id="login", variant="primary")
                yield Button("Register", id="register")
            yield Label("", id="problem", markup=False)

    def on_mount(self) -> None:
        self.query_one("#password" if self._username else "#username").focus()
        if self._username and self._password:
            self._begin(is_new=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "password":
            self._begin(is_new=False)
        else:
            self.focus_next()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self._begin(is_new=event.button.id == "register")

    def action_cancel(self) -> None:
        self.dismiss(None)

    def _begin(self, *, is_new: bool) -> None:
        self.run_worker(self._log_in(is_new=is_new), exclusive=True)

    async def _log_in(self, *, is_new: bool) -> None:
        server, username, password = (
            self.query_one(f"#{name}", Input).value for name in ("server", "username", "password")
        )
        problem = self.query_one("#problem", Label)
        if not (username and password):
            problem.update("Fill in a user name and a password.")
            return
        problem.update("One moment…")
        try:
            url = socket_of(server.strip())
            login = Login(username, password)
            if is_new:
                await register(server_of(url), username, password)
            await login.log_in(server_of(url))
        except (Refused, Unauthenticated, ValueError) as error:
            problem.update(visible(str(error)))
        except Unreachable as error:
            problem.update(f"The server can't be reached ({visible(str(error))}).")
        else:
            self.dismiss(Identity(url, login))
