"""A TCP relay that holds back what it returns: `relay.py PORT TARGET_PORT SECONDS`.

Runs on a lab host, with the standard library only.
"""

import asyncio
import contextlib
import sys

PIECE = 65536


async def main(port: int, target: int, seconds: float) -> None:
    """Relay `port` of every address to `target` on this host until the process is ended."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            back, forth = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(pipe(reader, forth, 0.0), pipe(back, writer, seconds))
        writer.close()

    server = await asyncio.start_server(accept, "0.0.0.0", port)  # noqa: S104 - a lab host
    await server.serve_forever()


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Copy until the end, waiting `seconds` before each piece."""
    with contextlib.suppress(OSError):
        while data := await reader.read(PIECE):
            await asyncio.sleep(seconds)
            writer.write(data)
            await writer.drain()
        writer.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
