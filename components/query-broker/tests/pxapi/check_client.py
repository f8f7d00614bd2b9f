"""Drives the published Python client against a running Vizier, and says what it saw as JSON lines.

usage: check_client.py ADDRESS plain|tls EXPECTATIONS

In `tls` mode the client makes its own channels, and GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names the authority to trust.
"""

import asyncio
import json
import sys
import uuid

import grpc
import grpc.aio
import pxapi

ROWS = """import px
df = px.DataFrame(table='samples')
px.display(df, 'rows')
"""

TWO_TABLES = """import px
df = px.DataFrame(table='samples')
px.display(df.groupby('flag').agg(n=('number', px.sum)), 'sums')
px.display(df[['text']].head(1), 'first')
"""

BIG = """import px
px.display(px.DataFrame(table='big'), 'big')
"""

WRONG = """import px
df = px.DataFrame(table='samples')
px.display(df[['no_such_column']])
"""

# Column, and what the client makes of its type.
TYPES = [("time_", int), ("upid", uuid.UUID), ("number", int), ("ratio", float), ("text", bytes), ("flag", bool)]


def make_client(address, tls, encrypted):
    if tls:
        return pxapi.Client(token="px-api-test", server_url=address, use_encryption=encrypted)
    return pxapi.Client(
        token="px-api-test",
        server_url=address,
        use_encryption=encrypted,
        channel_fn=lambda url: grpc.insecure_channel(url),
        conn_channel_fn=lambda url: grpc.aio.insecure_channel(url),
    )


def check_rows(conn, expected):
    seen = []
    for row in conn.prepare_script(ROWS).results("rows"):
        values = [row[column] for column, _ in TYPES]
        assert [type(value) for value in values] == [kind for _, kind in TYPES], values
        values[1], values[4] = str(values[1]), values[4].decode()
        seen.append(values)
    assert seen == expected["rows"], f"{seen} is not {expected['rows']}"


def check_two_tables(conn, expected):
    script = conn.prepare_script(TWO_TABLES)
    sums, first = {}, []
    script.add_callback("sums", lambda row: sums.__setitem__(str(row["flag"]), row["n"]))
    script.add_callback("first", lambda row: first.append(row["text"].decode()))
    script.run()
    assert sums == expected["sums"], f"{sums} is not {expected['sums']}"
    assert first == [expected["rows"][0][4]], first


def check_many_batches(conn, expected):
    numbers = [(row["number"], len(row["text"])) for row in conn.prepare_script(BIG).results("big")]
    assert numbers == [(n, expected["big_text"]) for n in range(expected["big_rows"])], f"{len(numbers)} rows"


def check_wrong_script(conn, expected):
    try:
        for _ in conn.prepare_script(WRONG).results("output"):
            pass
    except pxapi.PxLError as error:
        text = str(error)
        assert "PxL, line 3" in text and "no_such_column" in text and "px.display(df[['no_such_column']])" in text, text
    else:
        raise AssertionError("a wrong script raised nothing")


def check_missing_table(conn, expected):
    try:
        for _ in conn.prepare_script(ROWS).results("another"):
            pass
    except ValueError as error:
        assert "'another' not received" in str(error), error
    else:
        raise AssertionError("a table that does not exist raised nothing")


def check_async(conn, expected):
    async def run():
        script = conn.prepare_script(ROWS)
        count = 0

        async def consume(table):
            nonlocal count
            async for _ in table:
                count += 1

        table = script.subscribe("rows")
        await asyncio.gather(script.run_async(), consume(table))
        return count

    # The client's blocking calls use this loop, so it has to stay: asyncio.run would close it.
    count = asyncio.get_event_loop().run_until_complete(run())
    assert count == len(expected["rows"]), count


def main():
    address, mode, expectations = sys.argv[1:]
    with open(expectations, encoding="utf-8") as file:
        expected = json.load(file)
    for encrypted in (False, True):
        client = make_client(address, mode == "tls", encrypted)
        clusters = client.list_healthy_clusters()
        assert [(c.id, c.name()) for c in clusters] == [(expected["cluster"], expected["name"])], clusters
        conn = client.connect_to_cluster(clusters[0])
        assert conn.name() == expected["name"], conn.name()
        for check in (check_rows, check_two_tables, check_many_batches, check_wrong_script, check_missing_table, check_async):
            check(conn, expected)
            print(json.dumps({"mode": mode, "encrypted": encrypted, "passed": check.__name__}), flush=True)


if __name__ == "__main__":
    main()
