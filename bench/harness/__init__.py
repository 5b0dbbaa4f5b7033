"""The benchmark of this repository: our gateway beside other proxies, by CPU time per request."""
