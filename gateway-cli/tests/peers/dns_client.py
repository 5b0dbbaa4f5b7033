"""Resolves names at the address and port given, as a stub resolver does."""
import sys

import dns.resolver

resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers = [sys.argv[1]]
resolver.port = int(sys.argv[2])
resolver.lifetime = 20
for number in range(50):
    found = [record.address for record in resolver.resolve(f"host-{number}.test", "A")]
    assert found == ["192.0.2.53"], found
(long,) = resolver.resolve("200.test", "TXT")
assert long.strings == (b"x" * 200,), long
print("ok")
