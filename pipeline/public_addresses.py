"""Which network addresses are public: those that an address from outside may lead to."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Of IPv6, only these are handed out for use on the internet. All that carries an IPv4 address in it
# for a translator (mapped, compatible, NAT64) lies outside.
GLOBAL_UNICAST = IPv6Network("2000::/3")

# What `is_global` does not know of, in every version of Python that this runs on.
NOT_PUBLIC: tuple[Network, ...] = (
    IPv4Network("168.63.129.16/32"),  # the host of a machine on Azure
    IPv4Network("192.0.0.0/24"),  # protocol assignments; metadata on Oracle Cloud
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
    IPv6Network("2001::/23"),  # protocol assignments; Teredo
    IPv6Network("2002::/16"),  # 6to4: an IPv4 address in it
    IPv6Network("3fff::/20"),  # documentation
)


def parse_networks(text: str) -> frozenset[Network]:
    """The networks of a list with commas between them, such as ``10.0.0.0/8, ::1/128``.

    Raises:
        ValueError: one of them is no network.
    """
    return frozenset(ip_network(part.strip()) for part in text.split(",") if part.strip())


def may_be_reached(address: Address, allowed: Iterable[Network] = ()) -> bool:
    """Whether it is public, or in a network that is allowed.

    Private, loopback, link-local (there are the metadata of clouds), shared, reserved, multicast
    and unspecified addresses are not public.
    """
    if any(address in network for network in allowed):
        return True
    if isinstance(address, IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in NOT_PUBLIC)
    )
