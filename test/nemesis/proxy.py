#!/usr/bin/python3
#
# proxy.py
#		A TCP relay that misbehaves on request.
#
#	proxy.py LISTEN-PORT TARGET-PORT
#
# Both ports are of 127.0.0.1.  Reads commands from its standard input, a line
# each, and ends with it:
#
#	pass			forward everything, at once
#	delay SECONDS	hold each piece back so long
#	slow BYTES		forward so many bytes a second
#	reset			break all connections; new ones are welcome
#	refuse			break all connections and listen no more, until pass
#	stall			forward nothing, until pass; then go on as if nothing was
#	hole			swallow everything both ways; pass breaks the connections
#	deaf			requests get through, answers do not; the same

import asyncio
import socket
import struct
import sys


class Proxy:
    def __init__(self, port, target):
        self.port = port
        self.target = target
        self.mode, self.value = "pass", 0.0
        self.server = None
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.connections = set()
        self.torn = set()       # whose bytes were swallowed

    async def listen(self):
        if self.server is None:
            self.server = await asyncio.start_server(self.accept, "127.0.0.1", self.port)

    async def accept(self, reader, writer):
        streams = [writer]
        self.connections.add(writer)
        try:
            theirs, ours = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            self.connections.discard(writer)
            writer.transport.abort()
            return
        streams.append(ours)
        self.connections.add(ours)
        pumps = [asyncio.ensure_future(self.pump(reader, ours, streams, "request")),
                 asyncio.ensure_future(self.pump(theirs, writer, streams, "answer"))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        for stream in streams:
            self.connections.discard(stream)
            self.torn.discard(stream)
            stream.transport.abort()

    async def pump(self, source, target, streams, direction):
        try:
            while True:
                data = await source.read(65536)
                if not data:
                    return
                if self.mode == "delay":
                    await asyncio.sleep(self.value)
                elif self.mode == "slow":
                    await asyncio.sleep(len(data) / self.value)
                if self.mode == "hole" or (self.mode == "deaf" and direction == "answer"):
                    self.torn.update(streams)
                    continue
                await self.flowing.wait()
                target.write(data)
                await target.drain()
        except (OSError, asyncio.CancelledError):
            pass

    def break_connections(self, which):
        for stream in list(which):
            raw = stream.get_extra_info("socket")
            if raw is not None:
                try:    # a reset, not an orderly end
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                except OSError:
                    pass
            stream.transport.abort()

    async def command(self, line):
        words = line.split()
        self.mode = words[0]
        self.value = float(words[1]) if len(words) > 1 else 0.0
        if self.mode == "stall":
            self.flowing.clear()
        else:
            self.flowing.set()
        if self.mode in ("reset", "refuse"):
            if self.mode == "refuse" and self.server is not None:
                self.server.close()
                self.server = None
            self.break_connections(self.connections)
        elif self.mode == "pass":
            self.break_connections(self.torn)
            self.torn.clear()
        if self.mode != "refuse":
            await self.listen()

    async def run(self):
        loop = asyncio.get_event_loop()
        await self.listen()
        commands = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        print("ready", flush=True)
        while True:
            line = (await commands.readline()).decode()
            if not line:
                return
            if line.strip():
                await self.command(line)
                print("done", flush=True)


if __name__ == "__main__":
    main_loop = asyncio.new_event_loop()
    asyncio.set_event_loop(main_loop)
    main_loop.run_until_complete(Proxy(int(sys.argv[1]), int(sys.argv[2])).run())
