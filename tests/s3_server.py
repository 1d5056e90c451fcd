#!/usr/bin/env python3
"""A stand-in for object storage on the loopback, for tests.

    s3_server.py FOLDER

FOLDER has a folder a bucket.  Speaks what `aws s3` and rclone need to list,
get and put objects: ListObjectsV2 (in short pages, so that clients have to ask
for the next one) and ListObjects, GET with ranges, HEAD, PUT.  Signatures are
not looked at, but there must be one.  Prints its port, and serves until it is
ended.
"""

import datetime
import hashlib
import os
import re
import sys
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 50
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def http_date(path):
    return formatdate(os.path.getmtime(path), usegmt=True)


def stamp(path):
    when = datetime.datetime.fromtimestamp(
        os.path.getmtime(path), datetime.timezone.utc
    )
    return when.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def etag(path):
    with open(path, "rb") as file:
        return '"%s"' % hashlib.md5(file.read()).hexdigest()


def keys(bucket):
    """Of a bucket's objects, in byte order."""
    found = []
    for folder, _, names in os.walk(bucket):
        for name in names:
            found.append(os.path.relpath(os.path.join(folder, name), bucket))
    return sorted(found, key=os.fsencode)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name == "Content-Length" for name, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        self.answer(
            status,
            ("<Error><Code>%s</Code></Error>" % code).encode(),
            [("Content-Type", "application/xml")],
        )

    def place(self):
        """Bucket, key, query; None after an answer."""
        url = urlsplit(self.path)
        if "AWS4-HMAC-SHA256" not in self.headers.get("Authorization", ""):
            self.refuse(403, "AccessDenied")
            return None
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        if not os.path.isdir(os.path.join(self.server.root, bucket)):
            self.refuse(404, "NoSuchBucket")
            return None
        if ".." in key.split("/"):
            self.refuse(400, "InvalidArgument")
            return None
        query = parse_qs(url.query, keep_blank_values=True)
        return bucket, key, {name: value[0] for name, value in query.items()}

    def do_GET(self):
        place = self.place()
        if place is None:
            return
        bucket, key, query = place
        if key == "":
            self.listing(bucket, query)
            return
        path = os.path.join(self.server.root, bucket, key)
        if not os.path.isfile(path):
            self.refuse(404, "NoSuchKey")
            return
        with open(path, "rb") as file:
            body = file.read()
        headers = [
            ("ETag", etag(path)),
            ("Last-Modified", http_date(path)),
            ("Accept-Ranges", "bytes"),
            ("Content-Type", "binary/octet-stream"),
        ]
        part = re.fullmatch(
            r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")
        )
        status, size = 200, len(body)
        if part:
            first = int(part[1])
            last = min(int(part[2] or size - 1), size - 1)
            body = body[first : last + 1]
            headers.append(
                ("Content-Range", "bytes %d-%d/%d" % (first, last, size))
            )
            status = 206
        headers.append(("Content-Length", str(len(body))))
        self.answer(status, body, headers)

    do_HEAD = do_GET

    def do_PUT(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        place = self.place()
        if place is None:
            return
        bucket, key, _ = place
        path = os.path.join(self.server.root, bucket, key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(body)
        self.answer(200, b"", [("ETag", etag(path))])

    def listing(self, bucket, query):
        root = os.path.join(self.server.root, bucket)
        prefix = query.get("prefix", "")
        delimiter = query.get("delimiter", "")
        newer = query.get("list-type") == "2"
        if newer and "continuation-token" in query:
            after = bytes.fromhex(query["continuation-token"])
        else:
            after = os.fsencode(
                query.get("start-after" if newer else "marker", "")
            )
        contents, prefixes, last, more = [], [], "", False
        for key in keys(root):
            if not key.startswith(prefix):
                continue
            name, kind = key, contents
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                name, kind = key[: cut + 1], prefixes
            if os.fsencode(name) <= after or (
                kind and kind[-1] == name
            ):
                continue
            if len(contents) + len(prefixes) == PAGE:
                more = True
                break
            kind.append(name)
            last = name
        self.tell(bucket, query, contents, prefixes, last if more else "")

    def tell(self, bucket, query, contents, prefixes, last):
        def text(key):
            return quote(key) if query.get("encoding-type") else escape(key)

        newer = query.get("list-type") == "2"
        rows = ["<Name>%s</Name>" % escape(bucket)]
        rows.append("<Prefix>%s</Prefix>" % text(query.get("prefix", "")))
        rows.append("<MaxKeys>%d</MaxKeys>" % PAGE)
        rows.append("<KeyCount>%d</KeyCount>" % (len(contents) + len(prefixes)))
        rows.append("<IsTruncated>%s</IsTruncated>" % str(bool(last)).lower())
        if "encoding-type" in query:
            rows.append("<EncodingType>url</EncodingType>")
        if last:
            if newer:
                name, value = "NextContinuationToken", os.fsencode(last).hex()
            else:
                name, value = "NextMarker", text(last)
            rows.append("<%s>%s</%s>" % (name, value, name))
        for key in contents:
            path = os.path.join(self.server.root, bucket, key)
            rows.append(
                "<Contents><Key>%s</Key><LastModified>%s</LastModified>"
                "<ETag>%s</ETag><Size>%d</Size>"
                "<StorageClass>STANDARD</StorageClass></Contents>"
                % (
                    text(key),
                    stamp(path),
                    escape(etag(path)),
                    os.path.getsize(path),
                )
            )
        for name in prefixes:
            rows.append(
                "<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>"
                % text(name)
            )
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="%s">%s</ListBucketResult>'
            % (NAMESPACE, "".join(rows))
        )
        self.answer(200, body.encode(), [("Content-Type", "application/xml")])


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.root = os.path.abspath(sys.argv[1])
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
