"""Judges of the gateway that the project did not write: see scripts/judges.sh."""

# In the order in which they run.
JUDGES = ("websocket", "llhttp", "smuggling", "tls", "metrics", "http2_abuse", "slow", "differential")
