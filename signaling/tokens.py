"""Ephemeral tokens as Orga issues them: HS256 JWTs that live 900 s and open one session each.

The payload is that of the example in the Orga docs, reference/api-reference/client-secrets, and a ``jti``, which
makes one session a token enforceable. No clock is read here: ``now`` is an argument, Unix time in seconds.
"""

from __future__ import annotations

import hmac
import secrets
import uuid
from dataclasses import dataclass

import jwt

from rtcpeer.protocols.http import Refusal, RequestRefused, Token

TTL = 900.0
"""Seconds from issue to expiry."""

_ALGORITHM = "HS256"
_SCOPE = "api"
_CLAIMS = ["sub", "api_key_id", "scope", "iat", "exp", "jti"]


@dataclass(frozen=True, slots=True)
class Claim:
    """A token that was checked: its name and when it dies."""

    id: str
    expires_at: float


class TokenDesk:
    """Issues tokens, checks them, and remembers which were spent.

    Args:
        api_key: The one key that may ask for a token.
        capacity: Spent tokens remembered until they expire. When it is full no session is opened: forgetting one
            early would let it be used twice.
    """

    def __init__(self, api_key: str, *, ttl: float = TTL, capacity: int = 100_000) -> None:
        self._api_key = api_key.encode()
        self._secret = secrets.token_bytes(32)
        self.password = secrets.token_hex(10)
        """What opens as many sockets as one likes, for protocols whose token is a password; 20 digits, as Orgo's."""
        self._ttl = ttl
        self._capacity = capacity
        self._spent: dict[str, float] = {}

    def knows_key(self, api_key: str | None) -> bool:
        """Whether this is our key; takes as long for a near miss as for a far one."""
        return hmac.compare_digest((api_key or "").encode(errors="surrogateescape"), self._api_key)

    def check_password(self, password: str | None) -> None:
        """Raises RequestRefused: there is none, or it is not ours."""
        if not password:
            raise RequestRefused(Refusal.NO_CREDENTIAL, "Not authenticated")
        if not hmac.compare_digest(password.encode(errors="surrogateescape"), self.password.encode()):
            raise RequestRefused(Refusal.BAD_TOKEN, "Invalid token")

    def issue(self, now: float, *, ttl: float | None = None) -> Token:
        """Make a token; a ``ttl`` below zero makes one that was dead before it left."""
        expires_at = int(now + (self._ttl if ttl is None else ttl))
        payload = {
            "sub": "user_mock",
            "api_key_id": "key_mock",
            "scope": _SCOPE,
            "iat": int(now),
            "exp": expires_at,
            "jti": uuid.uuid4().hex,
        }
        return Token(jwt.encode(payload, self._secret, algorithm=_ALGORITHM), float(expires_at))

    def check(self, token: str | None, now: float) -> Claim:
        """Return what the token claims; it stays good.

        Raises:
            RequestRefused: there is none, it is not ours, it expired, or it opened a session before.
        """
        if not token:
            raise RequestRefused(Refusal.NO_CREDENTIAL, "Not authenticated")
        try:
            # The clock is our argument, so PyJWT must not compare `exp` and `iat` with its own.
            payload = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                options={"require": _CLAIMS, "verify_exp": False, "verify_iat": False},
            )
            if payload["scope"] != _SCOPE:
                raise ValueError("another scope")
            claim = Claim(str(payload["jti"]), float(payload["exp"]))
        except (jwt.InvalidTokenError, ValueError, TypeError) as exc:
            raise RequestRefused(Refusal.BAD_TOKEN, "Invalid ephemeral token") from exc
        if now >= claim.expires_at:
            raise RequestRefused(Refusal.EXPIRED_TOKEN, "The ephemeral token has expired")
        if claim.id in self._spent:
            raise RequestRefused(Refusal.SPENT_TOKEN, "The ephemeral token was already used for a session")
        return claim

    def spend(self, token: str | None, now: float) -> Claim:
        """Check the token and use it up; ``restore`` the claim when the session does not come about.

        Raises:
            RequestRefused: as ``check``, and when no more spent tokens can be remembered.
        """
        claim = self.check(token, now)
        if len(self._spent) >= self._capacity:
            self._spent = {id: expires_at for id, expires_at in self._spent.items() if expires_at > now}
        if len(self._spent) >= self._capacity:
            raise RequestRefused(Refusal.RATE_LIMITED, "Too many sessions; try again later")
        self._spent[claim.id] = claim.expires_at
        return claim

    def restore(self, claim: Claim) -> None:
        """Make a spent token good again: the call that took it failed."""
        self._spent.pop(claim.id, None)
