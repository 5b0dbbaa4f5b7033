"""docs/security.md, from what the differential judge found."""
from .proxies import NAMES, versions

HEAD = """# What is refused, and what other proxies make of it

This page is made by `scripts/judges.sh --update differential`, and checked by the CI. Each row is a request that was sent, byte for
byte, to Portcullis and to {peers}, all in front of the same upstream, which writes down what reaches it. The peers
run with their default settings, but for kept connections to upstreams and, with nginx, request bodies that are passed on as they
arrive. [Security notes](src/security.md) say what the gateway refuses by rule.

A cell has the statuses of the replies, or the error of HTTP/2 (`RST` for the stream, `GOAWAY` for the connection), or a dash when the
proxy waited for more; then `closed` if the proxy closed an HTTP/1.1 connection; then what the upstream got, if anything: request line,
framing (`length N`, `chunked`, or none), body, trailers, odd fields in brackets, three dots where it broke off, a plus sign between
requests. `=` means: the same as Portcullis. The word after an arrow is explained [at the end](#why).
"""


def code(text):
    """Text as code in a cell of a table."""
    text = text.replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def cell(outcome):
    text = outcome.reply + (" closed" if outcome.closed else "")
    if outcome.seen:
        text += ": " + " + ".join(code(seen) for seen in outcome.seen)
    return text


def row(case, what, found, explained):
    ours = found["portcullis"][case]
    cells = [what, cell(ours)]
    for peer in NAMES:
        if peer == "portcullis":
            continue
        theirs = found[peer][case]
        reason = explained.get(case, {}).get(peer)
        arrow = f" → [{reason}](#{reason})" if reason else ""
        cells.append("=" if theirs == ours else cell(theirs) + arrow)
    return "| " + " | ".join(cells) + " |"


def render(found, groups, reasons, explained):
    """The whole page."""
    version = versions()
    peers = [f"{NAMES[name]} {version[name]}" for name in NAMES if name != "portcullis"]
    lines = [HEAD.format(peers=", ".join(peers[:-1]) + " and " + peers[-1])]
    for title, group in groups.items():
        lines += [f"## {title}", "", "| request | " + " | ".join(NAMES.values()) + " |", "|---|---|---|---|---|"]
        lines += [row(case, what, found, explained) for case, (what, _) in group.items()]
        lines.append("")
    lines += ["## Why", ""]
    for reason, text in sorted(reasons.items()):
        lines.append(f"- <a id=\"{reason}\"></a>**{reason}**: {' '.join(text.split())}")
    return "\n".join(lines) + "\n"
