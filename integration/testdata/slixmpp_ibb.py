#!/usr/bin/env python3
# Copyright 2026 The XTLS Authors. All rights reserved.
# Use of this source code is governed by a BSD 2-clause
# licence that can be found in the LICENSE file.
"""One end of an in-band bytestream (XEP-0047) of slixmpp.

    slixmpp_ibb.py HOST:PORT CA JID         receives: the stream goes to standard output
    slixmpp_ibb.py HOST:PORT CA JID PEER    sends standard input to PEER, a full JID

The connection is direct TLS; the password comes from XTLS_PASSWORD. When it is
online, or its stream is open, it prints "ready JID" on standard error.
"""
import asyncio
import os
import sys

import slixmpp

BLOCK = 4096


def ready(xmpp):
    print("ready", xmpp.boundjid.full, file=sys.stderr, flush=True)


class End(slixmpp.ClientXMPP):
    def __init__(self, jid, ca, peer):
        super().__init__(jid, os.environ["XTLS_PASSWORD"])
        self.ca_certs = ca
        self.peer = peer
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0047", {"auto_accept": True})
        self.add_event_handler("session_start", self.start)
        self.add_event_handler("ibb_stream_data", self.arrived)
        self.add_event_handler("failed_all_auth", lambda _: sys.exit("login refused"))

    async def start(self, _):
        if self.peer is None:
            return ready(self)
        stream = await self["xep_0047"].open_stream(slixmpp.JID(self.peer), block_size=BLOCK)
        pipe = asyncio.StreamReader()
        await self.loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(pipe), sys.stdin)
        ready(self)
        while True:
            data = await pipe.read(BLOCK)
            if not data:
                return self.disconnect()
            await stream.send(data)

    def arrived(self, stream):
        if self.peer is None:
            sys.stdout.buffer.write(stream.read())
            sys.stdout.buffer.flush()


def main():
    address, ca, jid = sys.argv[1:4]
    host, port = address.rsplit(":", 1)
    end = End(jid, ca, sys.argv[4] if len(sys.argv) > 4 else None)
    end.connect((host, int(port)), use_ssl=True, force_starttls=False, disable_starttls=True)
    end.loop.run_until_complete(end.disconnected)


main()
