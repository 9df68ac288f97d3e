"""The private names of aiortc and aioice that are used here, checked at import."""

from __future__ import annotations

from aioice.ice import Connection, StunProtocol
from aioice.stun import Transaction
from aioice.turn import TurnClientMixin, TurnTransport
from aiortc import RTCDataChannel, RTCPeerConnection
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsTransport
from aiortc.rtcicetransport import RTCIceTransport
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtcsctptransport import RTCSctpTransport

PRIVATE: dict[type, tuple[str, ...]] = {
    RTCPeerConnection: (
        "_RTCPeerConnection__certificates",
        "_RTCPeerConnection__connect",
        "_RTCPeerConnection__iceTransports",
        "_RTCPeerConnection__sctp",
    ),
    RTCRtpSender: (
        "_run_rtp",
        "_handle_rtcp_packet",
        "_next_encoded_frame",
        "_send_keyframe",
        "_ssrc",
        "_RTCRtpSender__mid",
        "_RTCRtpSender__rtp_task",
        "_RTCRtpSender__rtcp_task",
        "_RTCRtpSender__rtp_started",
        "_RTCRtpSender__rtp_exited",
        "_RTCRtpSender__rtp_header_extensions_map",
        "_run_rtcp",
        "_RTCRtpSender__cname",
        "_RTCRtpSender__rtcp_started",
        "_RTCRtpSender__rtcp_exited",
    ),
    RTCRtpReceiver: (
        "receive",
        "_handle_rtp_packet",
        "_handle_rtcp_packet",
        "_run_rtcp",
        "_send_rtcp_pli",
        "_RTCRtpReceiver__codecs",
        "_RTCRtpReceiver__decoder_error",
        "_RTCRtpReceiver__decoder_queue",
        "_RTCRtpReceiver__decoder_thread",
        "_RTCRtpReceiver__jitter_buffer",
        "_RTCRtpReceiver__remote_streams",
        "_RTCRtpReceiver__rtcp_exited",
        "_RTCRtpReceiver__rtcp_started",
        "_RTCRtpReceiver__rtcp_task",
        "_RTCRtpReceiver__started",
        "_RTCRtpReceiver__transport",
    ),
    RTCCertificate: ("_create_ssl_context",),
    RTCDtlsTransport: (
        "_handle_rtcp_data",
        "_handle_rtp_data",
        "_register_rtp_receiver",
        "_rtp_router",
        "_role",
        "_rx_srtp",
        "_send_rtp",
        "_set_state",
        "_ssl",
        "_state",
        "_task",
        "_tx_srtp",
        "_validate_peer_identity",
        "_write_ssl",
    ),
    RTCDataChannel: ("_setReadyState",),
    RTCSctpTransport: (
        "_advertised_rwnd",
        "_data_channel_receive",
        "_get_inbound_stream",
        "_handle_data",
        "_inbound_streams",
        "_inbound_streams_max",
        "_last_received_tsn",
        "_local_tsn",
        "_receive_data_chunk",
        "_send_chunk",
        "_set_state",
    ),
    RTCIceTransport: (
        "_RTCIceTransport__monitor_task",
        "_monitor",
    ),
    Connection: (
        "build_request",
        "connect",
        "get_component_candidates",
        "data_received",
        "sendto",
        "_closing",
        "_check_list",
        "_check_list_state",
        "_check_periodic",
        "_early_checks",
        "_early_checks_done",
        "_local_candidates_end",
        "_nominated",
        "_pair_remote_candidate",
        "_protocols",
        "_query_consent_task",
        "_remote_candidates",
        "_unfreeze_initial",
        "check_incoming",
        "check_start_task",
        "query_consent",
        "sort_check_list",
        "_queue",
    ),
    StunProtocol: ("send_stun", "send_data", "datagram_received", "error_received", "transactions"),
    Transaction: ("_Transaction__timeout_delay",),
    TurnClientMixin: (
        "_TurnClientMixin__add_authentication",
        "channel_bind",
        "channel_number",
        "channel_refresh_at",
        "channel_refresh_time",
        "channel_to_peer",
        "delete",
        "integrity_key",
        "mapped_address",
        "peer_connect_waiters",
        "peer_to_channel",
        "peer_to_failed_channel",
        "refresh_task",
        "transactions",
    ),
    TurnTransport: ("_connect",),
}


def check() -> None:
    missing = [
        f"{cls.__name__}.{name}"
        for cls, names in PRIVATE.items()
        for name in names
        if not hasattr(cls, name) and name not in vars(cls)["__init__"].__code__.co_names
    ]
    if missing:
        raise ImportError(
            f"this aiortc/aioice has no {', '.join(missing)}; rtcpeer needs aiortc 1.16 and aioice 0.13"
        )
