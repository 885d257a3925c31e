"""eventsourcing (PyPI, with [postgres]): URL CLIENTS SECONDS prints how many events a second so many processes append,
each under a condition on its two tags; URL fill EVENTS stores some first."""

import multiprocessing
import sys
import time
from urllib.parse import unquote, urlsplit

from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem
from eventsourcing.dcb.postgres_tt import PostgresDCBRecorderTT
from eventsourcing.postgres import PostgresDatastore

DATA = b'{"at": "noon", "by": "somebody with a name"}'


def recorder(url):
    parts = urlsplit(url)
    datastore = PostgresDatastore(
        parts.path.lstrip("/"), parts.hostname, parts.port, unquote(parts.username), unquote(parts.password or "")
    )
    return PostgresDCBRecorderTT(datastore)


def append(url, first, end, done):
    store = recorder(url)
    appended, number = 0, first
    while time.time() < end:
        number += 7919
        tags = [f"course:{number % 20000}", f"student:{number}"]
        condition = DCBAppendCondition(DCBQuery([DCBQueryItem(tags=tags)]), after=None)
        store.append([DCBEvent("Enrolled", DATA, tags)], condition)
        appended += 1
    done.put(appended)


def main(url, clients, number):
    if clients == "fill":
        store = recorder(url)
        store.create_table()
        for batch in range(int(number) // 1000):
            numbers = range(batch * 1000, batch * 1000 + 1000)
            tags = [[f"course:{n % 20000}", f"student:stored-{n % 50021}"] for n in numbers]
            store.append([DCBEvent("Enrolled", DATA, two) for two in tags])
        return
    start = time.time() + 1  # when every process has begun
    end = start + int(number)
    done = multiprocessing.Queue()
    base = int(start) * 1_000_000_000
    workers = [
        multiprocessing.Process(target=append, args=(url, base + n, end, done)) for n in range(int(clients))
    ]
    for worker in workers:
        worker.start()
    total = sum(done.get() for _ in workers)
    for worker in workers:
        worker.join()
    print(f"{total / (time.time() - start + 1):.0f} 0")


main(*sys.argv[1:])
