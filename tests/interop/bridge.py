"""A bridge that is a bad network: Ethernet frames between two interfaces, through ``rtcpeer.netem``.

    python bridge.py NEAR FAR CONDITIONS SEED

It says a line when it is ready, and answers each line on stdin with what became of the RTP packets, as JSON; the end
of stdin ends it. A line may change the network: ``all CONDITIONS``, or ``udp CONDITIONS`` for UDP alone, and the rest
passes; without CONDITIONS it is a good one.

All IPv4 is impaired alike, but RTP has an emulator of its own in each direction, the same for both: what becomes of
the nth RTP packet is in the seed, whatever goes on beside it. An emulator holds 1000 packets at most.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import select
import socket
import sys
import time

from rtcpeer.netem import Emulator, NetworkConditions

# linux/if_ether.h and linux/if_packet.h; the socket module does not name them.
ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC = 1, 1
PACKET_VNET_HDR = 15
PACKET_IGNORE_OUTGOING = 23
VNET_HEADER, ETHERNET_HEADER, IP_HEADER, UDP_HEADER = 10, 14, 20, 8


def open_interface(name: str) -> socket.socket:
    interface = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    # Between veths checksums and the cutting up of TCP are left to hardware that is not there. The virtio header
    # carries on what is still to be done, and the kernel on the other side knows it.
    interface.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    interface.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    interface.bind((name, 0))
    membership = socket.if_nametoindex(name).to_bytes(4, sys.byteorder) + PACKET_MR_PROMISC.to_bytes(2, sys.byteorder)
    interface.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership + bytes(10))
    interface.setblocking(False)
    return interface


def is_ip(frame: bytes) -> bool:
    return frame[VNET_HEADER + 12 : VNET_HEADER + 14] == b"\x08\x00"


def is_udp(frame: bytes) -> bool:
    return frame[VNET_HEADER + ETHERNET_HEADER + 9] == socket.IPPROTO_UDP


def is_rtp(frame: bytes) -> bool:
    packet = frame[VNET_HEADER + ETHERNET_HEADER :]
    if not is_udp(frame):
        return False
    payload = packet[4 * (packet[0] & 15) + UDP_HEADER :]
    # RFC 7983, 7 tells RTP and RTCP from STUN and DTLS; RFC 5761, 4 one from the other.
    return len(payload) >= 12 and payload[0] >> 6 == 2 and not 192 <= payload[1] <= 223


def main(near: str, far: str, conditions: str, seed: str) -> None:
    network = NetworkConditions.parse(conditions)
    interfaces = {near: open_interface(near), far: open_interface(far)}
    opposite = {near: interfaces[far], far: interfaces[near]}
    rtp = {name: Emulator(network, seed) for name in interfaces}
    others = {name: Emulator(network, f"{seed}/{name}") for name in interfaces}
    on_their_way: list[tuple[float, int, socket.socket, bytes]] = []
    udp_only = False
    numbers = itertools.count()  # frames that are due at the same time keep their order
    print("ready", flush=True)
    while True:
        timeout = max(0.0, on_their_way[0][0] - time.monotonic()) if on_their_way else None
        readable, _, _ = select.select([sys.stdin, *interfaces.values()], [], [], timeout)
        if sys.stdin in readable:
            order = sys.stdin.readline()
            if not order:
                return
            if words := order.split(maxsplit=1):
                udp_only = words[0] == "udp"
                for emulator in (*rtp.values(), *others.values()):
                    emulator.conditions = NetworkConditions.parse("".join(words[1:]))
            print(json.dumps({name: emulator.stats.to_dict() for name, emulator in rtp.items()}), flush=True)
        for name, interface in interfaces.items():
            if interface not in readable:
                continue
            frame = interface.recv(1 << 17)
            now = time.monotonic()
            arrivals = [now]  # ARP and IPv6's neighbours
            if is_ip(frame) and (is_udp(frame) or not udp_only):
                emulator = (rtp if is_rtp(frame) else others)[name]
                headers = VNET_HEADER + ETHERNET_HEADER + IP_HEADER + UDP_HEADER
                arrivals = emulator.send(max(0, len(frame) - headers), now)
            for arrival in arrivals:
                heapq.heappush(on_their_way, (arrival, next(numbers), opposite[name], frame))
        now = time.monotonic()
        while on_their_way and on_their_way[0][0] <= now:
            _, _, interface, frame = heapq.heappop(on_their_way)
            # A full queue of the interface drops the frame, as a network may.
            with contextlib.suppress(BlockingIOError):
                interface.send(frame)


if __name__ == "__main__":
    main(*sys.argv[1:])
