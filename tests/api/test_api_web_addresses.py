"""Which addresses and ports pages are fetched from, however they are written."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, error

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.web import guard as guarding
from jupyter_ollama.web.guard import Guard

METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::a9fe:a9fe",
]
NOT_PUBLIC = [
    *METADATA,
    *("0.0.0.0", "0.1.2.3", "10.2.2.3", "100.64.0.1", "100.127.255.254", "127.0.0.1", "127.9.9.9"),
    *("169.254.1.1", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1"),
    *("192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1"),
    *("239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::7f00:1", "::a9fe:a9fe", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
    *("::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a83f:8110"),
    *("64:ff9b:1::1", "64:ff9b:1::5db8:d70e", "100::1", "2001::1", "2001:0:a9fe:a9fe::1"),
    *("2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:5db8:d70e::1", "3fff::1"),
    *("2606:2800:220:1:0:5efe:a9fe:a9fe", "2606:2800:220:1:200:5efe:a00:1"),
    *("5f00::1", "fc00::1", "fd12::1", "fe80::1", "fe80::1%2", "fec0::1", "ff02::1", "ff0e::1"),
    "2606:2800:21f:cb07:6820:80da:af6b:8b2c%1",
]
PUBLIC = [
    *("93.184.215.14", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1"),
    *("198.20.0.1", "223.255.255.254", "168.63.129.17", "::ffff:93.184.215.14"),
    *("2606:2800:21f:cb07:6820:80da:af6b:8b2c", "2a00:1450:4001::1", "64:ff9b::5db8:d70e"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_private_addresses_are_refused(address: str) -> None:
    assert not Guard([]).allows(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert Guard([]).allows(address)


def test_pythons_own_rules_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (ipaddress.IPv4Address, ipaddress.IPv6Address):
        monkeypatch.setattr(kind, "is_global", property(lambda _: True))
        for name in ("is_private", "is_reserved", "is_multicast", "is_link_local", "is_loopback"):
            monkeypatch.setattr(kind, name, property(lambda _: False))
    assert [address for address in NOT_PUBLIC if Guard([]).allows(address)] == []


def test_an_admin_allows_networks_but_no_metadata_in_them() -> None:
    guard = Guard(["10.1.0.0/16", "100.64.0.0/10", "fd00::/8", "::1"])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "100.64.0.1", "::1"):
        assert guard.allows(address), address
    for address in ("10.2.2.3", "100.100.100.200", "fd00:ec2::254", "::ffff:100.100.100.200"):
        assert not guard.allows(address), address
    assert not Guard(["0.0.0.0/0", "::/0"]).allows("169.254.169.254")
    assert Guard(["169.254.169.254"]).allows("169.254.169.254")
    assert Guard(["fd00:ec2::254"]).allows("fd00:ec2::254")


def names(monkeypatch: pytest.MonkeyPatch, **known: list[str]) -> list[str]:
    """Resolve names to given addresses; return the list of looked-up names."""
    asked: list[str] = []

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        if host not in known:
            raise socket.gaierror(-2, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in known[host]]

    monkeypatch.setattr(guarding.socket, "getaddrinfo", look_up)
    return asked


async def test_every_address_of_a_name_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, good=["1.1.1.1", "2606::1"], mixed=["1.1.1.1", "10.0.0.1"], none=[])
    assert await Guard([]).resolve("good", 80) == "1.1.1.1"
    for host, status in (("mixed", 403), ("none", 403), ("missing", 502)):
        with pytest.raises(OllamaError) as caught:
            await Guard([]).resolve(host, 80)
        assert caught.value.status == status


@pytest.mark.parametrize(
    "host",
    ["metadata.google.internal", "METADATA.google.internal.", "a.metadata.goog", "instance-data"],
)
async def test_names_of_metadata_services_are_not_looked_up(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    asked = names(monkeypatch, **{host: ["1.1.1.1"]})
    with pytest.raises(OllamaError, match="not public") as caught:
        await Guard([]).resolve(host, 80)
    assert (caught.value.status, asked) == (403, [])


async def test_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, public=["1.1.1.1"], inside=["10.1.1.1"], both=["1.1.1.1", "10.1.1.1"])
    guard = Guard(["10.0.0.0/8"], [80, 443])
    assert await guard.resolve("public", 443) == "1.1.1.1"
    assert await guard.resolve("inside", 6379) == "10.1.1.1"
    for host in ("public", "both"):
        for port in (0, 22, 8080):
            with pytest.raises(OllamaError, match="only 80, 443") as caught:
                await guard.resolve(host, port)
            assert caught.value.status == 403


async def test_slow_name_servers_hold_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        asyncio.run_coroutine_threadsafe(answers.wait(), loop).result()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", port))]

    monkeypatch.setattr(guarding.socket, "getaddrinfo", look_up)
    tasks = [asyncio.create_task(Guard([]).resolve(f"host{n}", 80)) for n in range(40)]
    try:
        await asyncio.sleep(0)
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 10) == "free"
        assert not any(task.done() for task in tasks)
    finally:
        answers.set()
        assert set(await asyncio.gather(*tasks)) == {"1.1.1.1"}


SPELLINGS = [
    *("http://127.1:PORT/", "http://2130706433:PORT/", "http://0x7f.1:PORT/", "http://0x7f000001/"),
    *("http://017700000001:PORT/", "http://127.0.0.1.:PORT/", "http://[::ffff:7f00:1]:PORT/"),
    *("http://127\u30020\u30020\u30021:PORT/", "http://localhost:PORT/", "http://LOCALHOST.:PORT/"),
    *("http://[::]:PORT/", "http://0:PORT/", "http://[64:ff9b::127.0.0.1]:PORT/"),
    *("http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://2852039166/"),
    *("http://[::ffff:a9fe:a9fe]/", "http://0xa9fea9fe/", "http://100.100.100.200/"),
    *("http://metadata.google.internal/computeMetadata/v1/", "http://192.0.0.192/opc/v2/"),
    *("http://168.63.129.16/machine", "http://[2002:7f00:1::]/", "http://[2001:0:7f00:1::]/"),
    *("http://[fe80::a9fe:a9fe%251]/", "http://1.1.1.1:22/", "https://1.1.1.1:8443/"),
]


class TestOverHttp:
    @pytest.fixture
    def ollama_server(self, models_dir: Path) -> OllamaServer:
        return OllamaServer(
            models_dir=str(models_dir), web_fetch=True, web_requests_per_minute=0, web_timeout=20.0
        )

    async def test_spellings_of_hosts_inside_are_refused(self, standalone: Fetch) -> None:
        asked: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.read(100))
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = str(server.sockets[0].getsockname()[1])
        for url in SPELLINGS:
            url = url.replace("PORT", port)
            answer = await standalone("POST", "/api/web_fetch", {"url": url})
            assert answer.code == 403, (url, answer.body)
            assert "not public" in error(answer) or "may not be asked" in error(answer)
        for url in (
            "http://127.0.0.1:1:2/",
            "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
            "http://0177.0.0.1/",
        ):
            answer = await standalone("POST", "/api/web_fetch", {"url": url})
            assert answer.code in (400, 403), (url, answer.body)
        server.close()
        assert asked == []
