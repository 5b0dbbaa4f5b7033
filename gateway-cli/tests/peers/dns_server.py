"""A small DNS server over UDP: A records of any name, TXT records as long as their name says."""
import json
import socket

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset


def answer(query):
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.AA
    name, kind = query.question[0].name, query.question[0].rdtype
    if kind == dns.rdatatype.TXT:
        text = '"' + "x" * int(name.labels[0]) + '"'
        reply.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", text))
    else:
        reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.53"))
    return reply.to_wire()


def main():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    print(json.dumps({"port": server.getsockname()[1]}), flush=True)
    while True:
        datagram, client = server.recvfrom(65535)
        server.sendto(answer(dns.message.from_wire(datagram)), client)


main()
