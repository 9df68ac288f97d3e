"""What the doctor makes of a machine: its timers, CPU, limits, environment, addresses, ports and codecs."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from rtcpeer.audio import opus
from rtcpeer.doctor import network, software
from rtcpeer.doctor.finding import Finding
from rtcpeer.doctor.machine import (
    check_limits,
    judge_cpu,
    judge_environment,
    judge_limits,
    judge_timers,
    measure_cpu,
    measure_timers,
    usable_cores,
)
from rtcpeer.doctor.offer import check_offer, judge_codecs
from rtcpeer.protocols.orga import Orga
from rtcpeer.transports.ice_options import IceOptions


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


# Timers


@pytest.mark.parametrize(("late", "status"), [(0.001, "ok"), (0.012, "warn"), (0.3, "fail")])
def test_timers_are_judged_by_their_99th_percentile(late, status):
    found = judge_timers([0.0] * 197 + [late] * 3, 1e-9)

    assert found.status == status
    assert found.figures["p99"] == late


def test_one_late_timer_of_many_is_no_problem():
    found = judge_timers([0.0] * 199 + [0.5], 1e-9)

    assert found.status == "ok"
    assert found.figures["worst"] == 0.5


async def test_every_slot_of_the_media_clock_is_measured():
    assert 10 == len(await measure_timers(0.05))


# CPU


def test_calls_that_one_process_does_not_hold_need_several():
    found = judge_cpu(0.0001, 4.0, 200)  # 1 % of a core: 70 a process

    assert found.status == "warn"
    assert "3 processes" in found.advice
    assert (found.figures["calls_a_process"], found.figures["calls"]) == (70, 280)


def test_more_calls_than_all_cores_hold_fail():
    assert judge_cpu(0.0001, 2.0, 141).status == "fail"
    assert judge_cpu(0.0001, 2.0, 140).status == "warn"


def test_half_a_core_holds_half_as_many():
    found = judge_cpu(0.0001, 0.5, 1)

    assert (found.figures["calls_a_process"], found.figures["calls"]) == (35, 35)


def test_a_machine_too_slow_for_one_call_fails():
    found = judge_cpu(0.02, 2.0, 1)

    assert found.status == "fail"


async def test_the_audio_path_takes_time_but_less_than_it_lasts():
    assert 0 < await measure_cpu(0.2) < 0.02


@pytest.mark.parametrize(("limit", "cores"), [("50000 100000", 0.5), ("max 100000", None), ("nonsense", None)])
def test_a_containers_quota_counts(tmp_path: Path, limit, cores):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/cpu.max").write_text(limit)
    (tmp_path / "a/b/cpu.max").write_text("max 100000")
    membership = tmp_path / "membership"
    membership.write_text("0::/a/b\n")
    all_of_them = usable_cores(tmp_path / "none", tmp_path / "none")

    assert usable_cores(tmp_path, membership) == (cores or all_of_them)


# Limits and environment


def test_too_few_open_files_for_so_many_calls_fail_with_the_number_to_give():
    found = judge_limits(1024, 212992, calls=200, addresses=2)

    assert found.status == "fail"
    assert "ulimit -n 2048" in found.advice
    assert judge_limits(1024, 212992, calls=100, addresses=2).status == "ok"
    assert judge_limits(None, 212992, calls=100_000, addresses=2).status == "ok"


def test_a_small_receive_buffer_is_a_warning():
    assert judge_limits(1024, 4096, calls=1, addresses=1).status == "warn"


async def test_this_machine_has_room_for_a_call():
    assert (await check_limits(1, 1)).status == "ok"


def test_a_proxy_is_a_warning_without_its_password():
    found = judge_environment({}, {"https": "http://me:s3cr3t@proxy.example:3128", "no": "localhost"})

    assert found.status == "warn"
    assert found.figures["proxies"] == {"https": "http://proxy.example:3128"}
    assert "s3cr3t" not in repr(found)


def test_a_ca_file_that_is_not_there_fails():
    found = judge_environment({"SSL_CERT_FILE": "/nonexistent/ca.pem"}, {})

    assert found.status == "fail"
    assert "SSL_CERT_FILE" in found.advice


def test_a_key_in_the_environment_is_told_by_its_name_alone():
    found = judge_environment({"RTCPEER_API_KEY": "sk_s3cr3t"}, {})

    assert "RTCPEER_API_KEY is set" in found.detail
    assert "s3cr3t" not in repr(found)


# Network


def test_a_machine_with_loopback_alone_can_call_itself():
    found = network.judge_addresses({"lo": ["127.0.0.1"]})

    assert ("warn", 1) == (found.status, found.figures["ipv4"])
    assert "only this machine itself" in found.advice


def test_a_machine_without_any_address_fails():
    assert "fail" == network.judge_addresses({}).status


def test_addresses_are_told_by_interface():
    found = network.judge_addresses({"eth0": ["192.0.2.1", "2001:db8::1"]})

    assert (found.status, found.figures["ipv4"], found.figures["ipv6"]) == ("ok", 1, 1)
    assert "eth0 192.0.2.1, 2001:db8::1" in found.detail


def test_ports_that_others_hold_are_not_free():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

        assert network.count_free(range(port, port + 1), "127.0.0.1") == 0
    assert network.count_free(range(port, port + 1), "127.0.0.1") == 1


async def test_the_ports_that_were_given_are_tried_on_every_address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        ice = IceOptions(interface="127.0.0.1", udp_ports=(port, port))
        held = await network.check_ports(ice, 1)
    free = await network.check_ports(ice, 1)

    assert (held.status, held.figures["free"]) == ("fail", 0)
    assert (free.status, free.figures["free"]) == ("ok", 1)


async def test_an_offer_keeps_to_the_interface():
    found = by_name(await check_offer(Orga, IceOptions(interface="127.0.0.1")))

    assert found["candidates"].figures["host"] == 1
    assert [["127.0.0.1"]] == list(network.local_addresses(IceOptions(interface="127.0.0.1")).values())


def test_a_range_too_narrow_for_the_calls_fails():
    found = network.judge_ports(range(50000, 50010), 8, 20, chosen=True)

    assert found.status == "fail"
    assert "--udp-ports 50000-50021" in found.advice
    assert network.judge_ports(range(50000, 50010), 8, 8, chosen=True).status == "ok"


def test_the_kernels_range_is_read(tmp_path: Path):
    (tmp_path / "range").write_text("40000\t40009\n")

    assert network.kernel_ports(tmp_path / "range") == range(40000, 40010)
    assert len(network.kernel_ports(tmp_path / "none")) > 1000


# Offer


async def test_a_real_offer_has_candidates_and_codecs():
    found = by_name(await check_offer(Orga, IceOptions()))

    assert found["candidates"].status == "ok"
    assert found["codecs"].status == "ok"
    assert found["codecs"].figures == {"audio": ["opus", "PCMU", "PCMA"], "video": ["VP8"], "telephone_event": True}


async def test_an_offer_without_a_port_to_be_had_fails_and_says_so():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        found = by_name(await check_offer(Orga, IceOptions(interface="127.0.0.1", udp_ports=(port, port))))

    assert (found["candidates"].status, found["codecs"].status) == ("fail", "skipped")
    assert str(port) in found["candidates"].detail


def test_an_offer_without_opus_fails():
    assert judge_codecs("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=rtpmap:0 PCMU/8000\r\n").status == "fail"


# Software


async def test_libopus_is_told_with_what_it_really_does():
    found = await software.check_libopus()

    assert found.status == "ok"
    assert found.figures["version"].startswith("libopus ")
    assert (found.figures["fec"], found.figures["plc"], found.figures["dtx"]) == (True, True, True)


async def test_a_libopus_without_fec_is_a_warning(monkeypatch):
    monkeypatch.setattr(opus, "has_fec", lambda payload: False)

    found = await software.check_libopus()

    assert found.status == "warn"
    assert "FEC missing" in found.advice


async def test_versions_are_told():
    found = await software.check_versions()

    assert found.status == "ok"
    assert found.figures["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found.figures["aiortc"].startswith("1.16")


async def test_an_aiortc_of_another_make_fails(monkeypatch):
    monkeypatch.setitem(sys.modules, "rtcpeer.transports.webrtc", None)

    found = await software.check_versions()

    assert found.status == "fail"
    assert "pip install" in found.advice


class Library:
    """What is used of sounddevice."""

    class PortAudioError(Exception):
        pass

    def query_devices(self, device, kind):
        if kind == "output":
            raise self.PortAudioError("none")
        return {"name": "webcam"}


async def test_devices_are_told_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", Library())  # type: ignore[arg-type]

    found = await software.check_devices()

    assert (found.figures["microphone"], found.figures["speaker"]) == ("webcam", None)
    assert "no speaker" in found.detail


async def test_without_the_extra_there_is_nothing_to_fail(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)

    found = await software.check_devices()

    assert found.status == "skipped"
    assert "rtcpeer[devices]" in found.detail


async def test_pulseaudio_is_knocked_at_where_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/native")
    absent = await software.check_devices()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(f"{tmp_path}/native")
        server.listen()

        found = await software.check_devices()

    assert (absent.figures["pulseaudio"], found.figures["pulseaudio"]) == (False, True)
