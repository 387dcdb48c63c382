"""A bucket of Cloud Storage on this machine, for what is read from and written to `gs://`.

It speaks the part of the JSON API that TensorFlow, tensorstore and etils use, over HTTP and, behind
a proxy's CONNECT, as www.googleapis.com with a certificate of its own. Objects live in memory.
"""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import ssl
import threading
import urllib.parse

import trustme

PAGE = 1000
_PART = re.compile(r"bytes=(\d+)-(\d*)")


class Store:
    """Objects of all buckets by `bucket/name`, each with its generation."""

    def __init__(self):
        self.objects = {}
        self.requests = []
        self.lock = threading.Lock()
        self._generation = 0

    def put(self, key, content, conditions):
        """Write an object; return its generation, or None where a condition fails."""
        with self.lock:
            wanted = conditions.get("ifGenerationMatch")
            found = self.objects.get(key, (b"", 0))[1]
            if wanted is not None and int(wanted) != found:
                return None
            self._generation += 1
            self.objects[key] = (content, self._generation)
            return self._generation

    def names(self, bucket):
        """Return the names in a bucket, in order."""
        with self.lock:
            return sorted(
                key.partition("/")[2] for key in self.objects if key.startswith(f"{bucket}/")
            )


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection: requests of the JSON API and of plain downloads."""

    protocol_version = "HTTP/1.1"
    store = Store()
    certificate: ssl.SSLContext

    def log_message(self, *args):
        pass

    def do_CONNECT(self):
        self.send_response_only(200)
        self.end_headers()
        self.connection = self.certificate.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_GET(self):
        self._do()

    do_POST = do_PUT = do_DELETE = do_GET

    def _do(self):
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        self.content = self._body()
        self.store.requests.append((self.command, self.path, len(self.content)))
        path = url.path
        if found := re.fullmatch(r"/upload/storage/v1/b/([^/]+)/o", path):
            return self._upload(*found.groups())
        if found := re.fullmatch(r"/storage/v1/b/([^/]+)/o/(.+)/rewriteTo/b/([^/]+)/o/(.+)", path):
            return self._rewrite(*map(urllib.parse.unquote, found.groups()))
        if found := re.fullmatch(r"(?:/download)?/storage/v1/b/([^/]+)/o/(.+)", path):
            return self._object(*map(urllib.parse.unquote, found.groups()))
        if found := re.fullmatch(r"/storage/v1/b/([^/]+)/o", path):
            return self._list(*found.groups())
        if found := re.fullmatch(r"/storage/v1/b/([^/]+)", path):
            return self._json({"kind": "storage#bucket", "name": found[1], "location": "US"})
        found = re.fullmatch(r"/([^/]+)/(.+)", path)
        if found and self.command == "GET":
            return self._content("/".join(map(urllib.parse.unquote, found.groups())))
        return self._json({"error": {"code": 400, "message": path}}, 400)

    def _body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _upload(self, bucket):
        if self.command == "POST" and self.query["uploadType"] == "resumable":
            name = self.query.get("name") or json.loads(self.content)["name"]
            quoted = urllib.parse.urlencode({**self.query, "name": name, "uploadType": "session"})
            place = f"https://www.googleapis.com/upload/storage/v1/b/{bucket}/o?{quoted}"
            return self._reply(200, b"", {"Location": place})
        content = self.content
        key = f"{bucket}/{self.query.get('name')}"
        if self.headers.get("Content-Range", "").startswith("bytes */"):  # how far is it?
            return (
                self._json(self._about(key)) if key in self.store.objects else self._reply(308, b"")
            )
        if self.query["uploadType"] == "multipart":
            kind = self.headers["Content-Type"]
            mark = b"--" + re.search(r"boundary=['\"]?([^'\";]+)", kind)[1].encode()
            _, about, data, _ = content.split(mark)
            self.query["name"] = json.loads(about.split(b"\r\n\r\n", 1)[1])["name"]
            content = data.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
        key = f"{bucket}/{self.query['name']}"
        if self.store.put(key, content, self.query) is None:
            return self._json({"error": {"code": 412, "message": "generation"}}, 412)
        return self._json(self._about(key))

    def _object(self, bucket, name):
        key = f"{bucket}/{name}"
        if key not in self.store.objects:
            return self._missing(key)
        if self.command == "DELETE":
            with self.store.lock:
                del self.store.objects[key]
            return self._reply(204, b"")
        if self.query.get("alt") == "media":
            return self._content(key)
        return self._json(self._about(key))

    def _rewrite(self, bucket, name, to_bucket, to_name):
        key = f"{bucket}/{name}"
        if key not in self.store.objects:
            return self._missing(key)
        target = f"{to_bucket}/{to_name}"
        self.store.put(target, self.store.objects[key][0], self.query)
        return self._json({"done": True, "resource": self._about(target)})

    def _list(self, bucket):
        prefix, mark = self.query.get("prefix", ""), self.query.get("delimiter")
        begin = self.query.get("pageToken") or self.query.get("startOffset", "")
        end = self.query.get("endOffset")
        names = [n for n in self.store.names(bucket) if n.startswith(prefix) and n >= begin]
        if end:
            names = [n for n in names if n < end]
        items, prefixes = [], []
        for name in names:
            head, found, _ = name[len(prefix) :].partition(mark) if mark else ("", "", "")
            if found:
                if prefix + head + mark not in prefixes:
                    prefixes.append(prefix + head + mark)
            else:
                items.append(self._about(f"{bucket}/{name}"))
        size = min(int(self.query.get("maxResults", PAGE)), PAGE)
        more = {"nextPageToken": items[size]["name"]} if len(items) > size else {}
        self._json({"kind": "storage#objects", "items": items[:size], "prefixes": prefixes, **more})

    def _content(self, key):
        if key not in self.store.objects:
            return self._missing(key)
        content, generation = self.store.objects[key]
        headers = {"x-goog-generation": str(generation), "ETag": f'"{generation}"'}
        part = _PART.fullmatch(self.headers.get("Range", ""))
        if not part or (int(part[1]) == 0 and not content):
            return self._reply(200, content, headers)
        begin, end = int(part[1]), int(part[2] or len(content) - 1)
        if begin >= len(content):
            return self._reply(416, b"")
        piece = content[begin : end + 1]
        headers["Content-Range"] = f"bytes {begin}-{begin + len(piece) - 1}/{len(content)}"
        return self._reply(206, piece, headers)

    def _about(self, key):
        content, generation = self.store.objects[key]
        bucket, _, name = key.partition("/")
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "size": str(len(content)),
            "generation": str(generation),
            "metageneration": "1",
            "etag": str(generation),
            "md5Hash": base64.b64encode(hashlib.md5(content).digest()).decode(),
            "updated": "2026-01-01T00:00:00.000Z",
            "timeCreated": "2026-01-01T00:00:00.000Z",
        }

    def _missing(self, key):
        self._json({"error": {"code": 404, "message": f"No such object: {key}"}}, 404)

    def _json(self, value, status=200):
        self._reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _reply(self, status, content, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def serving(folder):
    """Serve one store; yield it and the environment in which a process finds it as `gs://`."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names = ("www.googleapis.com", "storage.googleapis.com")
    authority.issue_cert(*names).configure_cert(context)
    bundle = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    handler = type("Bound", (Handler,), {"store": Store(), "certificate": context})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield (
            handler.store,
            {
                "https_proxy": url,
                "CURL_CA_BUNDLE": str(bundle),
                "TENSORSTORE_CA_BUNDLE": str(bundle),
                "NO_GCE_CHECK": "true",
                "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",
                "GCS_STAT_CACHE_MAX_AGE": "0",
            },
        )
    finally:
        server.shutdown()
        server.server_close()
