"""Which IP addresses are public: a table of those that are not, independent of Python's own.

``ipaddress.is_global`` differs between versions of Python, and knows no addresses of clouds.
"""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NOT_PUBLIC_4 = {
    "0.0.0.0/8": "RFC 791: this network",
    "10.0.0.0/8": "RFC 1918: private use",
    "100.64.0.0/10": "RFC 6598: behind a carrier's NAT",
    "127.0.0.0/8": "RFC 1122: loopback",
    "169.254.0.0/16": "RFC 3927: link local",
    "172.16.0.0/12": "RFC 1918: private use",
    "192.0.0.0/24": "RFC 6890: protocol assignments",
    "192.0.2.0/24": "RFC 5737: documentation",
    "192.31.196.0/24": "RFC 7535: AS112",
    "192.52.193.0/24": "RFC 7450: AMT",
    "192.88.99.0/24": "RFC 7526: 6to4 relays, deprecated",
    "192.168.0.0/16": "RFC 1918: private use",
    "192.175.48.0/24": "RFC 7534: AS112",
    "198.18.0.0/15": "RFC 2544: benchmarks",
    "198.51.100.0/24": "RFC 5737: documentation",
    "203.0.113.0/24": "RFC 5737: documentation",
    "224.0.0.0/4": "RFC 1112: multicast",
    "240.0.0.0/4": "RFC 1112: reserved, and RFC 919: broadcast",
}
_NOT_PUBLIC_6 = {
    "2001::/23": "RFC 2928: protocol assignments, among them Teredo (RFC 4380), ORCHID and AMT",
    "2001:db8::/32": "RFC 3849: documentation",
    "2002::/16": "RFC 3056: 6to4, deprecated by RFC 7526; embeds any IPv4 address",
    "2620:4f:8000::/48": "RFC 7534: AS112",
    "3fff::/20": "RFC 9637: documentation",
}
"""Within 2000::/3, outside of which no IPv6 address is public (RFC 4291, RFC 4193, RFC 3879)."""

_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are the IPv4 address that is asked. 64:ff9b:1::/48 is a site's own."""

_ISATAP = (0x00005EFE, 0x02005EFE)
"""RFC 5214: the third quarter of an address of a tunnel within a site."""

METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        *("169.254.169.254", "169.254.169.253", "169.254.170.2", "169.254.170.23"),
        *("169.254.0.23", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
        *("fd00:ec2::254", "fd00:ec2::253", "fd00:ec2::23", "fd20:ce::254"),
        *("fe80::a9fe:a9fe", "fd00:42::42", "fd00:c1::a9fe:a9fe"),
    )
)
"""Where clouds serve credentials of machines: AWS, Google, Azure, Alibaba, Oracle, Tencent, …"""

METADATA_NAMES = ("metadata", "instance-data", "metadata.goog", "metadata.google.internal")
"""Names of such services, which are not even looked up; names below them count, too."""

_NETWORKS: tuple[Network, ...] = tuple(map(ipaddress.ip_network, (*_NOT_PUBLIC_4, *_NOT_PUBLIC_6)))


def is_public(address: Address) -> bool:
    """Return whether the address is public, and not one of a cloud's metadata service."""
    address = embedded(address)
    if address in METADATA or any(address in network for network in _NETWORKS):
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return True
    return address in _UNICAST and (int(address) >> 32) & 0xFFFFFFFF not in _ISATAP


def embedded(address: Address) -> Address:
    """Return the IPv4 address that packets to an IPv6 one go to, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address


def is_metadata(host: str) -> bool:
    """Return whether a host is an address of such a service, or named like one."""
    try:
        return embedded(ipaddress.ip_address(host.rstrip("."))) in METADATA
    except ValueError:
        return is_metadata_name(host)


def is_metadata_name(host: str) -> bool:
    """Return whether a host is named like a cloud's metadata service."""
    name = host.lower().rstrip(".")
    return any(name == known or name.endswith(f".{known}") for known in METADATA_NAMES)
