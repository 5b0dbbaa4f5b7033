"""Odd requests: one row each, as `name: (what is odd, bytes)`, in groups."""

CHUNKED = b"Transfer-Encoding: chunked"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"


def request(line, *fields, host=b"Host: judge", body=b""):
    """A request with a host, unless told otherwise."""
    lines = [line] + ([host] if host else []) + list(fields)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def get(*fields, target=b"/x", **more):
    return request(b"GET " + target + b" HTTP/1.1", *fields, **more)


def post(*fields, body=b"", **more):
    return request(b"POST /x HTTP/1.1", *fields, body=body, **more)


def length(value, body=b"hello"):
    return post(b"Content-Length: " + value, body=body)


def coding(value, body=HELLO):
    return post(b"Transfer-Encoding: " + value, body=body)


def chunks(body):
    return post(CHUNKED, body=body)


def trailer(line):
    return chunks(b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n")


SECOND = get(target=b"/second")

HTTP1 = {
    "Length and transfer coding together": {
        "cl-te": ("`content-length` and `transfer-encoding`, body by chunks is shorter", post(b"Content-Length: 6", CHUNKED, body=b"0\r\n\r\nG")),
        "te-cl": ("the same, the length last and shorter", post(CHUNKED, b"Content-Length: 4", body=b"5c\r\nGPOST /x HTTP/1.1\r\n\r\n0\r\n\r\n")),
        "cl-te-agree": ("the same, both agree", post(b"Content-Length: 15", CHUNKED, body=HELLO)),
        "cl-te-smuggled": ("the same, with a whole request behind the last chunk", post(b"Content-Length: %d" % (5 + len(SECOND)), CHUNKED, body=b"0\r\n\r\n" + SECOND)),
        "te-http10": ("`transfer-encoding` in HTTP/1.0", request(b"POST /x HTTP/1.0", CHUNKED, body=HELLO)),
        "te-cl-http10": ("both in HTTP/1.0", request(b"POST /x HTTP/1.0", b"Content-Length: 15", CHUNKED, body=HELLO)),
        "te-underscore": ("`transfer_encoding` beside a length", post(b"Transfer_Encoding: chunked", b"Content-Length: 5", body=b"hello")),
        "cl-underscore-name": ("`content_length: 5` alone, then the bytes of a request", post(b"Content_Length: 5", body=SECOND)),
    },
    "Lengths": {
        "cl-twice": ("two equal lengths", post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello")),
        "cl-twice-different": ("two different lengths", post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!")),
        "cl-list": ("`5, 5`", length(b"5, 5")),
        "cl-list-different": ("`5, 6`", length(b"5, 6", b"hello!")),
        "cl-plus": ("`+5`", length(b"+5")),
        "cl-minus": ("`-5`", length(b"-5")),
        "cl-hex": ("`0x5`", length(b"0x5")),
        "cl-underscore": ("`1_0`", length(b"1_0", b"hellohello")),
        "cl-two-numbers": ("`5 5`", length(b"5 5")),
        "cl-empty": ("no value", length(b"", b"")),
        "cl-fraction": ("`5.0`", length(b"5.0")),
        "cl-exponent": ("`1e1`", length(b"1e1", b"hellohello")),
        "cl-zeros": ("`005`", length(b"005")),
        "cl-overflow": ("5 more than 64 bits hold", length(b"18446744073709551621")),
        "cl-huge": ("9223372036854775808, 2 to the 63rd", length(b"9223372036854775808")),
        "cl-vertical-tab": ("a vertical tab before the number", length(b"\x0b5")),
        "cl-no-break-space": ("byte A0 behind the number", length(b"5\xa0")),
        "cl-nul": ("NUL behind the number", length(b"5\0")),
        "cl-comma": ("`5,`", length(b"5,")),
        "cl-get": ("a GET with a body", get(b"Content-Length: 5", body=b"hello")),
        "cl-more": ("more bytes than the length", length(b"5", b"hello" + SECOND)),
        "cl-less": ("fewer bytes than the length", length(b"50")),
    },
    "Transfer codings": {
        "te-chunked": ("`chunked`", coding(b"chunked")),
        "te-capitals": ("`CHUNKED`", coding(b"CHUNKED")),
        "te-twice": ("`chunked, chunked`", coding(b"chunked, chunked")),
        "te-two-fields": ("two fields with `chunked`", post(CHUNKED, CHUNKED, body=HELLO)),
        "te-identity": ("`identity`", coding(b"identity", b"hello")),
        "te-identity-length": ("`identity` and a length", post(b"Transfer-Encoding: identity", b"Content-Length: 5", body=b"hello")),
        "te-identity-chunked": ("`identity, chunked`", coding(b"identity, chunked")),
        "te-gzip-chunked": ("`gzip, chunked`", coding(b"gzip, chunked")),
        "te-chunked-gzip": ("`chunked, gzip`", coding(b"chunked, gzip")),
        "te-xchunked": ("`xchunked`", coding(b"xchunked")),
        "te-unknown": ("`x`", coding(b"x")),
        "te-quoted": ('`"chunked"`', coding(b'"chunked"')),
        "te-parameter": ("`chunked;a=b`", coding(b"chunked;a=b")),
        "te-comma": ("`,chunked`", coding(b",chunked")),
        "te-comma-behind": ("`chunked,`", coding(b"chunked,")),
        "te-empty": ("no value", coding(b"", b"")),
        "te-empty-length": ("no value, and a length", post(b"Transfer-Encoding:", b"Content-Length: 5", body=b"hello")),
        "te-tab": ("a tab before `chunked`", post(b"Transfer-Encoding:\tchunked", body=HELLO)),
        "te-vertical-tab": ("a vertical tab before `chunked`", coding(b"\x0bchunked")),
        "te-nul": ("NUL behind `chunked`", coding(b"chunked\0")),
        "te-space-colon": ("white space before the colon", post(b"Transfer-Encoding : chunked", body=HELLO)),
        "te-fold": ("`chunked` on a folded line", post(b"Transfer-Encoding:\r\n chunked", body=HELLO)),
        "te-bare-cr": ("CR before `chunked`", coding(b"\rchunked")),
        "te-bare-lf": ("another field's value ends with a bare LF before it", post(b"X-Odd: 1\nTransfer-Encoding: chunked", b"Content-Length: 15", body=HELLO)),
        "te-get": ("a GET in chunks", get(CHUNKED, body=HELLO)),
    },
    "Chunks": {
        "chunk-overflow": ("size of 17 digits, 5 more than 64 bits hold", chunks(b"10000000000000005\r\nhello\r\n0\r\n\r\n")),
        "chunk-huge": ("size `ffffffffffffffff`", chunks(b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n")),
        "chunk-zeros": ("size `0000000000000000005`", chunks(b"0000000000000000005\r\nhello\r\n0\r\n\r\n")),
        "chunk-plus": ("size `+5`", chunks(b"+5\r\nhello\r\n0\r\n\r\n")),
        "chunk-minus": ("size `-5`", chunks(b"-5\r\nhello\r\n0\r\n\r\n")),
        "chunk-hex": ("size `0x5`", chunks(b"0x5\r\nhello\r\n0\r\n\r\n")),
        "chunk-underscore": ("size `0_5`", chunks(b"0_5\r\nhello\r\n0\r\n\r\n")),
        "chunk-letter": ("size `5g`", chunks(b"5g\r\nhello\r\n0\r\n\r\n")),
        "chunk-empty": ("no size", chunks(b"\r\nhello\r\n0\r\n\r\n")),
        "chunk-space-before": ("white space before the size", chunks(b" 5\r\nhello\r\n0\r\n\r\n")),
        "chunk-space-behind": ("white space behind the size", chunks(b"5 \r\nhello\r\n0\r\n\r\n")),
        "chunk-extension": ("extension `;a=b`", chunks(b"5;a=b\r\nhello\r\n0\r\n\r\n")),
        "chunk-extension-quoted": ('extension `;a="b;c"`', chunks(b'5;a="b;c"\r\nhello\r\n0\r\n\r\n')),
        "chunk-extension-empty": ("`5;`", chunks(b"5;\r\nhello\r\n0\r\n\r\n")),
        "chunk-extension-nul": ("NUL in an extension", chunks(b"5;a\0b\r\nhello\r\n0\r\n\r\n")),
        "chunk-extension-cr": ("CR in an extension", chunks(b"5;a\rb\r\nhello\r\n0\r\n\r\n")),
        "chunk-extension-lf": ("LF ends an extension", chunks(b"5;a\nhello\r\n0\r\n\r\n")),
        "chunk-extension-lf-hidden": ("LF in an extension, with a request in the next chunk", chunks(b"3;\nxxx\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(SECOND), SECOND))),
        "chunk-extension-large": ("an extension of 20,000 bytes", chunks(b"5;a=" + b"b" * 20000 + b"\r\nhello\r\n0\r\n\r\n")),
        "chunk-extension-many": ("2,000 chunks of one byte with 100 bytes of extension each", chunks((b"1;" + b"a" * 100 + b"\r\nx\r\n") * 2000 + b"0\r\n\r\n")),
        "chunk-lf": ("LF behind the size", chunks(b"5\nhello\r\n0\r\n\r\n")),
        "chunk-cr": ("CR behind the size", chunks(b"5\rhello\r\n0\r\n\r\n")),
        "chunk-no-end": ("nothing between data and next size", chunks(b"5\r\nhello0\r\n\r\n")),
        "chunk-end-lf": ("LF behind the data", chunks(b"5\r\nhello\n0\r\n\r\n")),
        "chunk-end-cr": ("CR behind the data", chunks(b"5\r\nhello\r0\r\n\r\n")),
        "chunk-end-wrong": ("two other bytes behind the data", chunks(b"5\r\nhelloXX0\r\n\r\n")),
        "chunk-last-lf": ("the end of the body is `0`, LF, LF", chunks(b"5\r\nhello\r\n0\n\n")),
        "chunk-last-cut": ("a request directly behind the line of the last chunk", chunks(b"5\r\nhello\r\n0\r\n" + SECOND)),
    },
    "Trailers": {
        "trailer": ("`x-odd: 1`", trailer(b"x-odd: 1")),
        "trailer-length": ("`content-length: 5`", trailer(b"Content-Length: 5")),
        "trailer-coding": ("`transfer-encoding: chunked`", trailer(b"Transfer-Encoding: chunked")),
        "trailer-host": ("`host: other`", trailer(b"Host: other")),
        "trailer-authorization": ("`authorization: x`", trailer(b"Authorization: x")),
        "trailer-fold": ("a folded line", trailer(b"x-odd: 1\r\n 2")),
        "trailer-no-colon": ("a line without colon", trailer(b"x-odd")),
        "trailer-lf": ("LF behind a line", trailer(b"x-odd: 1\nx-odder: 2")),
        "trailer-large": ("a line of 100,000 bytes", trailer(b"x-odd: " + b"a" * 100000)),
    },
    "Line ends and bytes of fields": {
        "lf-only": ("LF instead of CR LF everywhere", b"GET /x HTTP/1.1\nHost: judge\n\n"),
        "lf-line": ("LF behind the request line", b"GET /x HTTP/1.1\nHost: judge\r\n\r\n"),
        "lf-field": ("LF behind a field", get(b"X-Odd: 1\nX-Odder: 2")),
        "lf-end": ("the empty line is one LF", b"GET /x HTTP/1.1\r\nHost: judge\r\n\n"),
        "cr-line": ("CR behind the request line", b"GET /x HTTP/1.1\rHost: judge\r\n\r\n"),
        "cr-field": ("CR in a value", get(b"X-Odd: 1\rX-Odder: 2")),
        "cr-cr-lf": ("CR CR LF behind a field", get(b"X-Odd: 1\r")),
        "fold": ("a folded line", get(b"X-Odd: 1\r\n 2")),
        "fold-tab": ("a line folded with a tab", get(b"X-Odd: 1\r\n\t2")),
        "fold-first": ("white space before the first field", request(b"GET /x HTTP/1.1", b" X-Odd: 1", b"Host: judge", host=None)),
        "fold-host": ("`host` folded", get(host=b"Host:\r\n judge")),
        "nul-value": ("NUL in a value", get(b"X-Odd: a\0b")),
        "control-value": ("byte 01 in a value", get(b"X-Odd: a\x01b")),
        "delete-value": ("byte 7F in a value", get(b"X-Odd: a\x7fb")),
        "high-value": ("byte FF in a value", get(b"X-Odd: a\xffb")),
        "empty-value": ("an empty value", get(b"X-Odd:")),
        "nul-name": ("NUL in a name", get(b"X\0Odd: 1")),
        "high-name": ("byte FF in a name", get(b"X\xffOdd: 1")),
        "space-name": ("a space in a name", get(b"X Odd: 1")),
        "paren-name": ("parentheses in a name", get(b"X(Odd): 1")),
        "space-colon": ("a space before the colon", get(b"X-Odd : 1")),
        "tab-colon": ("a tab before the colon", get(b"X-Odd\t: 1")),
        "empty-name": ("an empty name", get(b": 1")),
        "no-colon": ("a field without colon", get(b"X-Odd")),
        "underscore-name": ("an underscore in a name", get(b"X_Odd: 1")),
        "many-fields": ("300 fields", get(*[b"X-Odd: 1"] * 300)),
        "large-field": ("a field of 100,000 bytes", get(b"X-Odd: " + b"a" * 100000)),
    },
    "Request line": {
        "crlf-before": ("an empty line in front", b"\r\n" + get()),
        "crlf-many": ("ten empty lines in front", b"\r\n" * 10 + get()),
        "lf-before": ("LF in front", b"\n" + get()),
        "space-before": ("a space in front", b" " + get()),
        "two-spaces": ("two spaces behind the method", request(b"GET  /x HTTP/1.1")),
        "two-spaces-version": ("two spaces before the version", request(b"GET /x  HTTP/1.1")),
        "tabs": ("tabs instead of spaces", request(b"GET\t/x\tHTTP/1.1")),
        "space-behind": ("a space behind the version", request(b"GET /x HTTP/1.1 ")),
        "http-09": ("no version (HTTP/0.9)", b"GET /x\r\n"),
        "http-09-named": ("`HTTP/0.9`", request(b"GET /x HTTP/0.9")),
        "http-10": ("`HTTP/1.0` without host", b"GET /x HTTP/1.0\r\n\r\n"),
        "http-12": ("`HTTP/1.2`", request(b"GET /x HTTP/1.2")),
        "http-20": ("`HTTP/2.0`", request(b"GET /x HTTP/2.0")),
        "http-30": ("`HTTP/3.0`", request(b"GET /x HTTP/3.0")),
        "http-zeros": ("`HTTP/01.1`", request(b"GET /x HTTP/01.1")),
        "http-long": ("`HTTP/1.10`", request(b"GET /x HTTP/1.10")),
        "http-small": ("`http/1.1`", request(b"GET /x http/1.1")),
        "http-other": ("`HTTX/1.1`", request(b"GET /x HTTX/1.1")),
        "method-small": ("method `get`", request(b"get /x HTTP/1.1")),
        "method-unknown": ("method `FOO`", request(b"FOO /x HTTP/1.1")),
        "method-odd": ("method `G@T`", request(b"G@T /x HTTP/1.1")),
        "method-colon": ("method `GET:`", request(b"GET: /x HTTP/1.1")),
        "method-long": ("a method of 1,000 letters", request(b"A" * 1000 + b" /x HTTP/1.1")),
        "method-trace": ("method `TRACE`", request(b"TRACE /x HTTP/1.1")),
        "tls": ("the beginning of a TLS handshake", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"),
        "proxy-protocol": ("PROXY protocol in front", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + get()),
        "two-requests": ("two requests at once", get() + SECOND),
        "garbage-behind": ("a request, then what is none", get() + b"GARBAGE\r\n\r\n"),
    },
    "Host": {
        "host-none": ("none in HTTP/1.1", get(host=None)),
        "host-two": ("two equal ones", get(b"Host: judge")),
        "host-two-different": ("two different ones", get(b"Host: other")),
        "host-empty": ("an empty one", get(host=b"Host:")),
        "host-list": ("`judge, other`", get(host=b"Host: judge, other")),
        "host-space": ("`judge other`", get(host=b"Host: judge other")),
        "host-user": ("`user@judge`", get(host=b"Host: user@judge")),
        "host-path": ("`judge/x`", get(host=b"Host: judge/x")),
        "host-query": ("`judge?x`", get(host=b"Host: judge?x")),
        "host-scheme": ("`http://judge`", get(host=b"Host: http://judge")),
        "host-port-letters": ("`judge:a`", get(host=b"Host: judge:a")),
        "host-port-large": ("`judge:65536`", get(host=b"Host: judge:65536")),
        "host-port-empty": ("`judge:`", get(host=b"Host: judge:")),
        "host-high": ("byte FF", get(host=b"Host: jud\xffge")),
        "host-percent": ("`jud%67e`", get(host=b"Host: jud%67e")),
        "host-bracket": ("`[::1`", get(host=b"Host: [::1")),
        "host-dot": ("`judge.`", get(host=b"Host: judge.")),
        "host-space-colon": ("white space before the colon", get(host=b"Host : judge")),
        "absolute-same": ("an absolute target with the same host", get(target=b"http://judge/x")),
        "absolute-other": ("an absolute target with another host", get(target=b"http://other/x")),
        "absolute-none": ("an absolute target and no `host`", get(target=b"http://judge/x", host=None)),
    },
    "Target": {
        "absolute-https": ("`https://judge/x` without TLS", get(target=b"https://judge/x")),
        "absolute-ftp": ("`ftp://judge/x`", get(target=b"ftp://judge/x")),
        "absolute-user": ("`http://user@judge/x`", get(target=b"http://user@judge/x")),
        "absolute-bare": ("`http://judge`", get(target=b"http://judge")),
        "absolute-query": ("`http://judge?a`", get(target=b"http://judge?a")),
        "absolute-empty": ("`http:///x`", get(target=b"http:///x")),
        "absolute-capitals": ("`HTTP://judge/x`", get(target=b"HTTP://judge/x")),
        "star-get": ("`*` with GET", get(target=b"*")),
        "star-options": ("`*` with OPTIONS", request(b"OPTIONS * HTTP/1.1")),
        "connect": ("CONNECT", request(b"CONNECT judge:443 HTTP/1.1", host=b"Host: judge:443")),
        "connect-path": ("CONNECT with a path", request(b"CONNECT /x HTTP/1.1")),
        "authority": ("`judge:80` with GET", get(target=b"judge:80")),
        "relative": ("`x`", get(target=b"x")),
        "query-only": ("`?x`", get(target=b"?x")),
        "fragment": ("`/x#y`", get(target=b"/x#y")),
        "percent-broken": ("`/%zz`", get(target=b"/%zz")),
        "percent-cut": ("`/%4`", get(target=b"/%4")),
        "percent-nul": ("`/x%00`", get(target=b"/x%00")),
        "percent-crlf": ("`/x%0d%0ay`", get(target=b"/x%0d%0ay")),
        "percent-slash": ("`/a%2fb`", get(target=b"/a%2fb")),
        "percent-letter": ("`/%78`", get(target=b"/%78")),
        "percent-dots": ("`/a/%2e%2e/x`", get(target=b"/a/%2e%2e/x")),
        "percent-twice": ("`/a/%252e%252e/x`", get(target=b"/a/%252e%252e/x")),
        "percent-query": ("`/x?%zz`", get(target=b"/x?%zz")),
        "dots": ("`/a/../x`", get(target=b"/a/../x")),
        "dots-above": ("`/../../x`", get(target=b"/../../x")),
        "dots-parameter": ("`/a/..;/x`", get(target=b"/a/..;/x")),
        "dots-query": ("`/x?/../y`", get(target=b"/x?/../y")),
        "slashes": ("`/a//x`", get(target=b"/a//x")),
        "slashes-first": ("`//other/x`", get(target=b"//other/x")),
        "backslash": ("`/a\\..\\x`", get(target=b"/a\\..\\x")),
        "percent-backslash": ("`/a%5cx`", get(target=b"/a%5cx")),
        "high-path": ("byte E9", get(target=b"/\xe9")),
        "control-path": ("byte 01", get(target=b"/\x01")),
        "delete-path": ("byte 7F", get(target=b"/\x7f")),
        "nul-path": ("NUL", get(target=b"/a\0b")),
        "quote-path": ('`/"<>x`', get(target=b'/"<>x')),
        "long-target": ("20,000 bytes", get(target=b"/" + b"x" * 20000)),
        "longer-target": ("100,000 bytes", get(target=b"/" + b"x" * 100000)),
    },
    "Connection": {
        "upgrade-h2c": ("`upgrade: h2c`", get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")),
        "upgrade-websocket-body": ("a WebSocket upgrade with a body", request(b"GET /x HTTP/1.1", b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 5", body=b"hello")),
        "upgrade-tls": ("`upgrade: TLS/1.0`", get(b"Connection: Upgrade", b"Upgrade: TLS/1.0")),
        "connection-close": ("`connection: close`, then another request", get(b"Connection: close") + SECOND),
        "connection-host": ("`connection: host`", get(b"Connection: host")),
        "connection-length": ("`connection: content-length`", post(b"Connection: content-length", b"Content-Length: 5", body=b"hello")),
        "connection-field": ("`connection: x-odd`", get(b"Connection: x-odd", b"X-Odd: 1")),
        "keep-alive-field": ("`keep-alive: timeout=5`", get(b"Keep-Alive: timeout=5", b"X-Odd: 1")),
        "proxy-connection": ("`proxy-connection: keep-alive`", get(b"Proxy-Connection: keep-alive", b"X-Odd: 1")),
        "expect-unknown": ("`expect: 200-ok`", get(b"Expect: 200-ok")),
        "expect-bodiless": ("`expect: 100-continue` without body", get(b"Expect: 100-continue")),
        "expect-body": ("`expect: 100-continue` with a body sent at once", post(b"Expect: 100-continue", b"Content-Length: 5", body=b"hello")),
        "te-trailers": ("`te: trailers, deflate`", get(b"TE: trailers, deflate", b"Connection: TE")),
        "max-forwards": ("OPTIONS with `max-forwards: 0`", request(b"OPTIONS /x HTTP/1.1", b"Max-Forwards: 0")),
    },
}

# Fields whose arrival at the upstream is part of the outcome.
SHOWN = (b"x-odd", b"x-odder", b"x_odd", b"transfer_encoding", b"content_length", b"expect", b"te", b"upgrade", b"keep-alive", b"proxy-connection")


def pseudo(**changed):
    """Pseudo-header fields of a GET; None leaves one out."""
    fields = {"method": b"GET", "scheme": b"http", "authority": b"judge", "path": b"/x", **changed}
    return [(b":" + name.encode(), value) for name, value in fields.items() if value is not None]


def posted(*fields, body=b"hello", trailers=None):
    """A POST over HTTP/2: fields, body, trailers."""
    return pseudo(method=b"POST") + list(fields), body, trailers


def plain(*fields, **changed):
    """A GET over HTTP/2."""
    return pseudo(**changed) + list(fields), None, None


HTTP2 = {
    "HTTP/2 to HTTP/1.1: bodies": {
        "h2-post": ("a POST without length", posted()),
        "h2-length": ("a POST with its length", posted((b"content-length", b"5"))),
        "h2-length-short": ("less body than `content-length`", posted((b"content-length", b"10"))),
        "h2-length-long": ("more body than `content-length`", posted((b"content-length", b"3"))),
        "h2-length-none": ("`content-length: 5` and no body", plain((b"content-length", b"5"))),
        "h2-length-twice": ("two equal lengths", posted((b"content-length", b"5"), (b"content-length", b"5"))),
        "h2-length-different": ("two different lengths", posted((b"content-length", b"5"), (b"content-length", b"6"))),
        "h2-length-list": ("`5, 5`", posted((b"content-length", b"5, 5"))),
        "h2-length-plus": ("`+5`", posted((b"content-length", b"+5"))),
        "h2-length-zeros": ("`005`", posted((b"content-length", b"005"))),
        "h2-coding": ("`transfer-encoding: chunked`", posted((b"transfer-encoding", b"chunked"), body=b"0\r\n\r\n" + SECOND)),
        "h2-trailers": ("trailers", posted(trailers=[(b"x-odd", b"1")])),
        "h2-trailers-length": ("`content-length` in trailers", posted(trailers=[(b"content-length", b"5")])),
        "h2-trailers-pseudo": ("`:path` in trailers", posted(trailers=[(b":path", b"/y")])),
        "h2-trailers-crlf": ("CR LF in a trailer", posted(trailers=[(b"x-odd", b"1\r\nx: y")])),
    },
    "HTTP/2 to HTTP/1.1: fields": {
        "h2-connection": ("`connection: keep-alive`", plain((b"connection", b"keep-alive"))),
        "h2-keep-alive": ("`keep-alive: timeout=5`", plain((b"keep-alive", b"timeout=5"))),
        "h2-proxy-connection": ("`proxy-connection: close`", plain((b"proxy-connection", b"close"))),
        "h2-upgrade": ("`upgrade: websocket`", plain((b"upgrade", b"websocket"))),
        "h2-te": ("`te: trailers`", plain((b"te", b"trailers"))),
        "h2-te-gzip": ("`te: gzip`", plain((b"te", b"gzip"))),
        "h2-upper": ("a name in capitals", plain((b"X-Odd", b"1"))),
        "h2-name-colon": ("a colon in a name", plain((b"x-odd: 1\r\nx", b"1"))),
        "h2-name-space": ("a space in a name", plain((b"x odd", b"1"))),
        "h2-name-empty": ("an empty name", plain((b"", b"1"))),
        "h2-name-high": ("byte FF in a name", plain((b"x\xffodd", b"1"))),
        "h2-value-crlf": ("CR LF in a value", plain((b"x-odd", b"1\r\nx-odder: 2"))),
        "h2-value-lf": ("LF in a value", plain((b"x-odd", b"1\nx-odder: 2"))),
        "h2-value-cr": ("CR in a value", plain((b"x-odd", b"1\rx-odder: 2"))),
        "h2-value-nul": ("NUL in a value", plain((b"x-odd", b"1\0"))),
        "h2-value-space": ("white space around a value", plain((b"x-odd", b" 1 "))),
        "h2-value-high": ("byte FF in a value", plain((b"x-odd", b"\xff"))),
        "h2-cookies": ("two `cookie` fields", plain((b"cookie", b"a=1"), (b"cookie", b"b=2"))),
        "h2-fields-large": ("a field of 100,000 bytes", plain((b"x-odd", b"a" * 100000))),
        "h2-fields-many": ("300 fields", plain(*[(b"x-odd", b"1")] * 300)),
    },
    "HTTP/2 to HTTP/1.1: pseudo-header fields": {
        "h2-method-none": ("no `:method`", plain(method=None)),
        "h2-scheme-none": ("no `:scheme`", plain(scheme=None)),
        "h2-path-none": ("no `:path`", plain(path=None)),
        "h2-authority-none": ("no `:authority`, no `host`", plain(authority=None)),
        "h2-authority-host": ("`host` instead of `:authority`", plain((b"host", b"judge"), authority=None)),
        "h2-authority-other": ("`host` is another than `:authority`", plain((b"host", b"other"))),
        "h2-authority-same": ("`host` is the same as `:authority`", plain((b"host", b"judge"))),
        "h2-authority-user": ("`user@judge` as `:authority`", plain(authority=b"user@judge")),
        "h2-authority-path": ("`judge/y` as `:authority`", plain(authority=b"judge/y")),
        "h2-authority-crlf": ("CR LF in `:authority`", plain(authority=b"judge\r\nx-odd: 1")),
        "h2-authority-empty": ("an empty `:authority`", plain(authority=b"")),
        "h2-twice": ("`:path` twice", ([*pseudo(), (b":path", b"/y")], None, None)),
        "h2-unknown": ("`:odd`", ([*pseudo(), (b":odd", b"1")], None, None)),
        "h2-status": ("`:status` in a request", ([*pseudo(), (b":status", b"200")], None, None)),
        "h2-late": ("`:path` behind a field", ([*pseudo(path=None), (b"x-odd", b"1"), (b":path", b"/x")], None, None)),
        "h2-method-space": ("a request line in `:method`", plain(method=b"GET /y HTTP/1.1\r\nx:")),
        "h2-method-empty": ("an empty `:method`", plain(method=b"")),
        "h2-path-empty": ("an empty `:path`", plain(path=b"")),
        "h2-path-relative": ("`x`", plain(path=b"x")),
        "h2-path-star": ("`*` with GET", plain(path=b"*")),
        "h2-path-options": ("`*` with OPTIONS", plain(method=b"OPTIONS", path=b"*")),
        "h2-path-space": ("a request line in `:path`", plain(path=b"/x HTTP/1.1\r\nx-odd: 1\r\n\r\n")),
        "h2-path-blank": ("a space in `:path`", plain(path=b"/x y")),
        "h2-path-absolute": ("`http://other/x`", plain(path=b"http://other/x")),
        "h2-path-fragment": ("`/x#y`", plain(path=b"/x#y")),
        "h2-path-dots": ("`/a/../x`", plain(path=b"/a/../x")),
        "h2-path-high": ("byte E9", plain(path=b"/\xe9")),
        "h2-path-nul": ("NUL", plain(path=b"/\0")),
        "h2-scheme-odd": ("`http://other/y?` as `:scheme`", plain(scheme=b"http://other/y?")),
        "h2-scheme-https": ("`https` without TLS", plain(scheme=b"https")),
        "h2-connect": ("CONNECT", plain(method=b"CONNECT", scheme=None, path=None, authority=b"judge:443")),
        "h2-connect-odd": ("CONNECT with `:protocol: odd`", ([*pseudo(method=b"CONNECT"), (b":protocol", b"odd")], None, None)),
        "h2-protocol-get": ("GET with `:protocol: websocket`", ([*pseudo(), (b":protocol", b"websocket")], None, None)),
    },
}
