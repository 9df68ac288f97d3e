"""What the options that choose a network say of themselves, wherever they stand."""

from __future__ import annotations

INTERFACE = "The network interface, or the local address, to send and receive media through."
UDP_PORTS = "The local UDP ports to take, as 40000-40100."
ADVERTISE_IP = "The address to offer instead of our own: of the host around a container, or of a 1:1 NAT."
