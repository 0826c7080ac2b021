"""Access tokens: those that the server issued, and bad ones for the tests to try."""

import json
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, replace
from typing import Any, Self

import httpx
import jwt

from app import PROJECT_NAME
from app.auth.tokens import CLAIMS
from tests.support.auth.accounts import OTHER_KEY, SECRET_KEY, log_in
from tests.support.client import Credentials


@dataclass(frozen=True)
class Tokens(Credentials):
    """The tokens of a login, and how a client presents them."""

    access_token: str = ""
    refresh_token: str = ""

    def with_access_token(self, token: str) -> Self:
        """The same with another access token."""
        frame = self.first_frame and self.first_frame.replace(self.access_token, token)
        headers = {"Authorization": f"Bearer {token}"}
        return replace(self, headers=headers, first_frame=frame, access_token=token)

    def expiring_in(self, seconds: float) -> Self:
        """The same with an access token of this login that expires in so many seconds."""
        return self.with_access_token(sign(self.claims | {"exp": int(time.time() + seconds)}))

    @property
    def claims(self) -> dict[str, Any]:
        claims: dict[str, Any] = jwt.decode(self.access_token, options={"verify_signature": False})
        return claims


async def log_in_anew(base_url: str) -> dict[str, str]:
    """Log Ada in once more. Returns the tokens."""
    tokens: dict[str, str] = (await log_in(base_url, "Ada")).json()
    return tokens


async def refresh(http: httpx.AsyncClient, refresh_token: str) -> httpx.Response:
    return await http.post("/auth/refresh", data={"refresh_token": refresh_token})


def sign(claims: dict[str, Any], key: str = SECRET_KEY, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm)


def bad_tokens(mine: Tokens, of_another: Tokens) -> dict[str, str]:
    """Tokens that the server must refuse, made from the tokens of two users."""
    claims = mine.claims
    header, payload, signature = mine.access_token.split(".")
    other_payload = encode({**claims, "sub": of_another.claims["sub"]})
    unsigned = encode({"alg": "none", "typ": "JWT"})
    return {
        "one letter": "x",
        "not a token": "x.y.z",
        "nothing between dots": "..",
        "long": "a" * 3000,
        "deep JSON": urlsafe_b64encode(b"[" * 2700).decode() + ".x.y",
        "expired": sign({**claims, "exp": 1}),
        "another key": sign(claims, OTHER_KEY),
        "another audience": sign({**claims, "aud": "another application"}),
        "several audiences": sign({**claims, "aud": [PROJECT_NAME, "another application"]}),
        "another issuer": sign({**claims, "iss": "somebody else"}),
        "subject that is no string": sign({**claims, "sub": 7}),
        "no algorithm": sign(claims, "", "none"),
        "no algorithm, signature left": f"{unsigned}.{payload}.{signature}",
        "another algorithm": sign(claims, SECRET_KEY * 2, "HS512"),
        "another user under the signature": f"{header}.{other_payload}.{signature}",
        "another user, no algorithm": f"{unsigned}.{other_payload}.",
        "login of another user": sign({**claims, "sid": of_another.claims["sid"]}),
        "id of another user": sign({**claims, "sub": of_another.claims["sub"]}),
        "login that nobody has": sign({**claims, "sid": "made-up"}),
        "refresh token": mine.refresh_token,
        **{f"without {name}": sign(without(claims, name)) for name in CLAIMS},
    }


def without(claims: dict[str, Any], name: str) -> dict[str, Any]:
    return {known: value for known, value in claims.items() if known != name}


def encode(part: object) -> str:
    return urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
