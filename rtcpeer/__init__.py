"""rtcpeer: a headless voice peer for realtime AI sessions.

``connect()`` joins a session; what comes out of it are typed events and audio. See ``docs/`` and the README.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .commands import Command, EndUtterance, Interrupt, Ping, Stop, UpdateSession
from .errors import (
    AuthError,
    ConfigurationError,
    ConnectionLost,
    IceError,
    LocalProtocolError,
    MediaError,
    OpenTimeout,
    ProtocolError,
    RemoteProtocolError,
    RtcPeerError,
    SignalingError,
    TokenExpired,
    Unsupported,
    WaitTimeout,
)
from .events import (
    Closed,
    ConversationStarted,
    Degraded,
    DtmfReceived,
    ErrorReported,
    Event,
    EventsMissed,
    Interrupted,
    PhaseCompleted,
    Pong,
    Reconnected,
    Reconnecting,
    Recovered,
    ResponseCompleted,
    SessionStarted,
    SpeechStarted,
    SpeechStopped,
    TranscriptCompleted,
    TranscriptUpdated,
    TurnMeasured,
    Unknown,
)
from .formats import AudioFormat, OpusSettings
from .netem import NetworkConditions
from .protocols import PROTOCOLS
from .reconnect import Backoff
from .transports.watchdog import Watchdog

if TYPE_CHECKING:
    from .audio.devices import MicrophoneSource, Speaker
    from .audio.dtmf import DtmfSource
    from .audio.frame import AudioFrame
    from .audio.outgoing import Playback
    from .audio.packets import OpusFile, OpusPacket, PacketPlayback, PacketSource
    from .audio.sources import FileSource, IteratorSource, QueueSource, SilenceSource, Source, ToneSource
    from .auth import SessionConfigClient, VoiceTokenClient
    from .connecting import connect
    from .proxy import session_config_handler, voice_token_handler
    from .session import Session
    from .transports.video import VideoQueue, VideoSource
    from .turns import Turn
    from .undecoded import Pipe

# What needs aiortc, av or aiohttp is imported when it is asked for: half a second that a codec test need not pay.
_LAZY = {
    "AudioFrame": "audio.frame",
    "DtmfSource": "audio.dtmf",
    "FileSource": "audio.sources",
    "IteratorSource": "audio.sources",
    "MicrophoneSource": "audio.devices",
    "OpusFile": "audio.packets",
    "OpusPacket": "audio.packets",
    "PacketPlayback": "audio.packets",
    "PacketSource": "audio.packets",
    "Pipe": "undecoded",
    "Playback": "audio.outgoing",
    "QueueSource": "audio.sources",
    "Session": "session",
    "SessionConfigClient": "auth",
    "SilenceSource": "audio.sources",
    "Source": "audio.sources",
    "Speaker": "audio.devices",
    "ToneSource": "audio.sources",
    "Turn": "turns",
    "VoiceTokenClient": "auth",
    "VideoQueue": "transports.video",
    "VideoSource": "transports.video",
    "connect": "connecting",
    "session_config_handler": "proxy",
    "voice_token_handler": "proxy",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LAZY[name]}", __name__), name)


__all__ = [
    "PROTOCOLS",
    "AudioFormat",
    "AudioFrame",
    "AuthError",
    "Backoff",
    "Closed",
    "Command",
    "ConfigurationError",
    "ConnectionLost",
    "ConversationStarted",
    "Degraded",
    "DtmfReceived",
    "DtmfSource",
    "EndUtterance",
    "ErrorReported",
    "Event",
    "EventsMissed",
    "FileSource",
    "IceError",
    "Interrupt",
    "Interrupted",
    "IteratorSource",
    "LocalProtocolError",
    "MediaError",
    "MicrophoneSource",
    "NetworkConditions",
    "OpenTimeout",
    "OpusFile",
    "OpusPacket",
    "OpusSettings",
    "PacketPlayback",
    "PacketSource",
    "PhaseCompleted",
    "Ping",
    "Pipe",
    "Playback",
    "Pong",
    "ProtocolError",
    "QueueSource",
    "Reconnected",
    "Reconnecting",
    "Recovered",
    "RemoteProtocolError",
    "ResponseCompleted",
    "RtcPeerError",
    "Session",
    "SessionConfigClient",
    "SessionStarted",
    "SignalingError",
    "SilenceSource",
    "Source",
    "Speaker",
    "SpeechStarted",
    "SpeechStopped",
    "Stop",
    "TokenExpired",
    "ToneSource",
    "TranscriptCompleted",
    "TranscriptUpdated",
    "Turn",
    "TurnMeasured",
    "Unknown",
    "Unsupported",
    "UpdateSession",
    "VideoQueue",
    "VideoSource",
    "VoiceTokenClient",
    "WaitTimeout",
    "Watchdog",
    "connect",
    "session_config_handler",
    "voice_token_handler",
]
