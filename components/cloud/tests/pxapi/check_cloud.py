"""Drives the published Python client through the control plane, and says what it saw as JSON lines.

usage: check_cloud.py ADDRESS plain|tls API_KEY

In `tls` mode the client makes its own channels, and GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names the authority to trust.
"""

import json
import sys

import grpc
import grpc.aio
import pxapi

# What the other end answers to these, the test's Vizier decides.
ROWS = "import px\npx.display(px.DataFrame('samples'), 'rows')\n"
WRONG = "import px\nwrong\n"


def make_client(address, mode, key):
    if mode == "tls":
        return pxapi.Client(token=key, server_url=address)
    return pxapi.Client(
        token=key,
        server_url=address,
        channel_fn=lambda url: grpc.insecure_channel(url),
        conn_channel_fn=lambda url: grpc.aio.insecure_channel(url),
    )


def main():
    address, mode, key = sys.argv[1:]
    client = make_client(address, mode, key)
    clusters = client.list_healthy_clusters()
    print(json.dumps({"clusters": [cluster.name() for cluster in clusters]}))
    conn = client.connect_to_cluster(clusters[0])
    rows = [(row["n"], row["text"].decode()) for row in conn.prepare_script(ROWS).results("rows")]
    print(json.dumps({"rows": rows}))
    try:
        for _ in conn.prepare_script(WRONG).results("rows"):
            pass
    except pxapi.PxLError as error:
        print(json.dumps({"wrong": "PxL, line 2" in str(error) and "name 'wrong' is not defined" in str(error)}))
    try:
        make_client(address, mode, "px-api-00000000-0000-4000-8000-000000000000").list_healthy_clusters()
    except grpc.RpcError as error:
        print(json.dumps({"stranger": error.code().name}))


main()
