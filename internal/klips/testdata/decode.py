"""Takes protected packets apart with scapy, which shares no line with our code.

Reads one JSON object per line: "packet", an IP packet in hexadecimal, and "sas",
the SAs to take off, outermost first, each with "proto", "spi", "crypt",
"crypt_key", "auth", "auth_key", "tunnel" (hexadecimal keys, scapy's names).
Writes a line for each: the packet inside in hexadecimal, or what went wrong.
"""
import json
import sys
import zlib

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import AH, ESP, SecurityAssociation


def parse(octets):
    return IPv6(octets) if octets[0] >> 4 == 6 else IP(octets)


def expand(packet):
    """Takes IPComp off, which scapy does not know (RFC 3173, RFC 2394)."""
    head, content = bytes(packet)[:20], bytes(packet)[20:]
    packet = IP(head + zlib.decompress(content[4:], wbits=-15))
    packet.proto = content[0]
    del packet.len, packet.chksum
    return IP(bytes(packet))


def take_off(packet, sa):
    if sa["proto"] == "tun":
        return parse(bytes(packet.payload))
    if sa["proto"] == "comp":
        return expand(packet) if packet.proto == 108 else packet
    tunnel = None
    if sa["tunnel"]:
        tunnel = type(packet)(src=packet.src, dst=packet.dst)
    association = SecurityAssociation(
        ESP if sa["proto"] == "esp" else AH,
        spi=sa["spi"],
        crypt_algo=sa["crypt"] or None,
        crypt_key=bytes.fromhex(sa["crypt_key"]) or None,
        auth_algo=sa["auth"] or None,
        auth_key=bytes.fromhex(sa["auth_key"]) or None,
        tunnel_header=tunnel,
    )
    return parse(bytes(association.decrypt(packet)))


for line in sys.stdin:
    job = json.loads(line)
    try:
        packet = parse(bytes.fromhex(job["packet"]))
        for sa in job["sas"]:
            packet = take_off(packet, sa)
        print(bytes(packet).hex(), flush=True)
    except Exception as e:  # whatever scapy finds wrong is our answer
        print("%s: %s" % (type(e).__name__, e), flush=True)
