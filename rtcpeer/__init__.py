"""rtcpeer: a headless voice peer for realtime AI sessions.

``connect()`` joins a session; what comes out of it are typed events and audio. See ``docs/`` and the README.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .audio.devices import MicrophoneSource, Speaker
    from .audio.dtmf import DtmfSource
    from .audio.frame import AudioFrame
    from .audio.outgoing import Playback
    from .audio.packets import OpusFile, OpusPacket, PacketPlayback, PacketSource
    from .audio.sources import FileSource, IteratorSource, QueueSource, SilenceSource, Source, ToneSource
    from .auth import SessionConfigClient, VoiceTokenClient
    from .commands import Command, EndUtterance, Interrupt, Ping, Stop, UpdateSession
    from .connecting import connect
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
    from .proxy import session_config_handler, voice_token_handler
    from .reconnect import Backoff
    from .session import Session
    from .transports.video import VideoQueue, VideoSource
    from .transports.watchdog import Watchdog
    from .turns import Turn
    from .undecoded import Pipe

    __version__: str

# Imported when it is asked for: aiortc, av and aiohttp take half a second, which neither a codec's test nor somebody
# who presses Ctrl-C at once need wait for.
_HOME = {
    "AudioFormat": "formats",
    "AudioFrame": "audio.frame",
    "AuthError": "errors",
    "Backoff": "reconnect",
    "Closed": "events",
    "Command": "commands",
    "ConfigurationError": "errors",
    "ConnectionLost": "errors",
    "ConversationStarted": "events",
    "Degraded": "events",
    "DtmfReceived": "events",
    "DtmfSource": "audio.dtmf",
    "EndUtterance": "commands",
    "ErrorReported": "events",
    "Event": "events",
    "EventsMissed": "events",
    "FileSource": "audio.sources",
    "IceError": "errors",
    "Interrupt": "commands",
    "Interrupted": "events",
    "IteratorSource": "audio.sources",
    "LocalProtocolError": "errors",
    "MediaError": "errors",
    "MicrophoneSource": "audio.devices",
    "NetworkConditions": "netem",
    "OpenTimeout": "errors",
    "OpusFile": "audio.packets",
    "OpusPacket": "audio.packets",
    "OpusSettings": "formats",
    "PROTOCOLS": "protocols",
    "PacketPlayback": "audio.packets",
    "PacketSource": "audio.packets",
    "PhaseCompleted": "events",
    "Ping": "commands",
    "Pipe": "undecoded",
    "Playback": "audio.outgoing",
    "Pong": "events",
    "ProtocolError": "errors",
    "QueueSource": "audio.sources",
    "Reconnected": "events",
    "Reconnecting": "events",
    "Recovered": "events",
    "RemoteProtocolError": "errors",
    "ResponseCompleted": "events",
    "RtcPeerError": "errors",
    "Session": "session",
    "SessionConfigClient": "auth",
    "SessionStarted": "events",
    "SignalingError": "errors",
    "SilenceSource": "audio.sources",
    "Source": "audio.sources",
    "Speaker": "audio.devices",
    "SpeechStarted": "events",
    "SpeechStopped": "events",
    "Stop": "commands",
    "TokenExpired": "errors",
    "ToneSource": "audio.sources",
    "TranscriptCompleted": "events",
    "TranscriptUpdated": "events",
    "Turn": "turns",
    "TurnMeasured": "events",
    "Unknown": "events",
    "Unsupported": "errors",
    "UpdateSession": "commands",
    "VideoQueue": "transports.video",
    "VideoSource": "transports.video",
    "VoiceTokenClient": "auth",
    "WaitTimeout": "errors",
    "Watchdog": "transports.watchdog",
    "connect": "connecting",
    "session_config_handler": "proxy",
    "voice_token_handler": "proxy",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("rtcpeer")
    from importlib import import_module

    if name in _HOME.values():
        return import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


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
