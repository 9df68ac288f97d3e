"""What a protocol over WebRTC does over HTTP before media, both sides, as values."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from .base import VoiceProtocol
from .http import Answer, HttpRequest, HttpResponse, IceServer, Offer, Token, TokenRequest


class RtcProtocol(VoiceProtocol):
    """Token, ICE servers, offer and answer. Client: x_request, parse_x. Server: parse_x_request, x_response."""

    @classmethod
    @abstractmethod
    def token_request(cls, base_url: str, api_key: str, options: Mapping[str, str]) -> HttpRequest: ...
    @classmethod
    @abstractmethod
    def parse_token(cls, response: HttpResponse) -> Token: ...
    @classmethod
    @abstractmethod
    def parse_token_request(cls, request: HttpRequest) -> TokenRequest: ...
    @classmethod
    @abstractmethod
    def token_response(cls, token: Token) -> HttpResponse: ...

    @classmethod
    @abstractmethod
    def ice_request(cls, base_url: str, token: str) -> HttpRequest: ...
    @classmethod
    @abstractmethod
    def parse_ice(cls, response: HttpResponse) -> tuple[IceServer, ...]: ...
    @classmethod
    @abstractmethod
    def parse_ice_request(cls, request: HttpRequest) -> str | None:
        """Return the token, or ``None`` when there is none."""

    @classmethod
    @abstractmethod
    def ice_response(cls, servers: tuple[IceServer, ...]) -> HttpResponse: ...

    @classmethod
    @abstractmethod
    def offer_request(cls, base_url: str, offer: Offer) -> HttpRequest: ...
    @classmethod
    @abstractmethod
    def parse_answer(cls, response: HttpResponse) -> Answer: ...
    @classmethod
    @abstractmethod
    def parse_offer(cls, request: HttpRequest) -> Offer:
        """Raises RequestRefused: a field is missing or invalid."""

    @classmethod
    @abstractmethod
    def answer_response(cls, answer: Answer) -> HttpResponse: ...
