"""A server that misbehaves on request: the arguments are the quirks. Standard library only."""

import json
import os
import signal
import socket
import subprocess
import sys

QUIRKS = set(a for a in sys.argv[1:] if "=" not in a)
VALUES = dict(a.split("=", 1) for a in sys.argv[1:] if "=" in a)
SCHEMA = {"type": "object"}
cancelled = []
held_back = []


def write(text):
    sys.stdout.write(text)
    sys.stdout.flush()


def send(message):
    write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")


def reply(request, result):
    send({"id": request["id"], "result": result})


def refuse(request, code, message):
    send({"id": request["id"], "error": {"code": code, "message": message}})


def tether():
    """A connection that the test sees break when this process ends."""
    return socket.create_connection(("127.0.0.1", int(VALUES["tether"])))


def grandchild():
    code = "import socket,sys,signal\n"
    if "stubborn" in QUIRKS:
        code += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    code += "s=socket.create_connection(('127.0.0.1',int(sys.argv[1])))\ns.recv(1)\n"
    # It inherits standard output, as the processes below npx do.
    subprocess.Popen([sys.executable, "-c", code, VALUES["tether"]])


def tools(cursor):
    names = ["echo", "env", "die", "hang", "cancelled", "progress", "huge", "change", "fail"]
    good = [{"name": name, "inputSchema": SCHEMA, "description": name} for name in names]
    if "bad-tools" in QUIRKS:
        return {"tools": [{"name": "no schema"}, *good, {"name": 7, "inputSchema": SCHEMA}], "ttlMs": 1.5}
    if "pages" in QUIRKS:
        at = int(cursor or 0)
        page = {"tools": good[at : at + 1]}
        if at + 1 < len(good):
            page["nextCursor"] = str(at + 1)
        return page
    if "loop" in QUIRKS:
        return {"tools": good[:1], "nextCursor": "again"}
    if "endless" in QUIRKS:
        at = int(cursor or 0)
        return {"tools": [{"name": f"t{at}", "inputSchema": SCHEMA}], "nextCursor": str(at + 1)}
    return {"tools": good}


def text(request, value):
    reply(request, {"content": [{"type": "text", "text": value}]})


def call(request):
    name = request["params"]["name"]
    if name == "echo":
        text(request, json.dumps(request["params"].get("arguments", {})))
    elif name == "env":
        text(request, json.dumps(dict(os.environ)))
    elif name == "die":
        print("about to die", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "hang":
        pass
    elif name == "cancelled":
        text(request, json.dumps(cancelled))
    elif name == "progress":
        token = request["params"]["_meta"]["progressToken"]
        for step in (1, 2):
            params = {"progressToken": token, "progress": step, "total": 2, "message": f"step {step}"}
            send({"method": "notifications/progress", "params": params})
        text(request, "done")
    elif name == "huge":
        size = request["params"]["arguments"]["size"]
        result = {"content": [{"type": "text", "text": "x" * size}]}
        if request["params"]["arguments"].get("id_last"):
            write(json.dumps({"result": result, "jsonrpc": "2.0", "id": request["id"]}) + "\n")
        else:
            reply(request, result)
    elif name == "deaf":
        text(request, "deaf from now on")
        while True:
            signal.pause()
    elif name == "flood":
        for number in range(5000):
            params = {"level": "info", "data": f"line {number}"}
            send({"method": "notifications/message" if number % 2 else "log", "params": params})
        text(request, "done")
    elif name == "change":
        send({"method": "notifications/tools/list_changed"})
        text(request, "changed")
    elif name == "fail":
        refuse(request, -32603, "it broke")
    else:
        refuse(request, -32602, f"Unknown tool: {name}")


def handle(message):
    method = message.get("method")
    if method == "server/discover":
        if "exit-on-discover" in QUIRKS:
            sys.exit(3)
        if "silent-on-discover" in QUIRKS:
            return
        if "slow" in QUIRKS and not held_back:
            # Comes up after the client has lost patience: it reads both questions, the first one first.
            held_back.append(message)
            return
        if "odd-on-discover" in QUIRKS:
            return reply(message, {"odd": True})
        if "modern" in QUIRKS:
            info = {"io.modelcontextprotocol/serverInfo": {"name": "scripted", "version": "2"}}
            result = {
                "resultType": "complete",
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}},
                "ttlMs": 0,
                "cacheScope": "private",
                "_meta": info,
            }
            if "sloppy" in QUIRKS:
                result = {"supportedVersions": ["2026-07-28"], "ttlMs": 1.5, "_meta": info}
            return reply(message, result)
        return refuse(message, -32601, "Method not found")
    if method == "initialize":
        if held_back:
            handle(held_back[0])
        if "modern" in QUIRKS:
            return refuse(message, -32022, "unsupported protocol version")
        if "late-discover" in QUIRKS:
            send({"id": 0, "error": {"code": -32601, "message": "late"}})
        if "log-first" in QUIRKS:
            send({"method": "log", "params": {"message": "logging in"}})
            send({"method": "notifications/message", "params": {"level": "info", "data": "hello"}})
        if "null-id" in QUIRKS:
            send({"id": None, "error": {"code": -32700, "message": "parse error"}})
        version = message["params"]["protocolVersion"]
        if "old" in QUIRKS:
            version = "2024-11-05"
        if "refuses" in QUIRKS:
            return refuse(message, -32000, "not today")
        if "sloppy" in QUIRKS:
            return reply(message, {"protocolVersion": version})
        return reply(
            message,
            {
                "protocolVersion": version,
                "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "scripted", "version": "1"},
                "instructions": "be gentle",
            },
        )
    version = "io.modelcontextprotocol/protocolVersion"
    if "modern" in QUIRKS:
        if method == "notifications/initialized":
            sys.exit("there is no such notice")
        if "id" in message and message["params"]["_meta"].get(version) != "2026-07-28":
            return refuse(message, -32602, "no version")
    if method == "notifications/cancelled":
        cancelled.append(message["params"]["requestId"])
    elif method == "tools/list":
        reply(message, tools((message.get("params") or {}).get("cursor")))
    elif method == "tools/call":
        call(message)
    elif "id" in message and method:
        refuse(message, -32601, "Method not found")


def main():
    if "crash" in QUIRKS:
        print("Traceback (most recent call last):", file=sys.stderr)
        print("ModuleNotFoundError: No module named 'fastmcp'", file=sys.stderr)
        print(f"token is {os.environ.get('SCRIPTED_TOKEN')}", file=sys.stderr)
        sys.exit(1)
    held = tether() if "tether" in VALUES else None
    if "grandchild" in QUIRKS:
        grandchild()
    if "stubborn" in QUIRKS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "chatty" in QUIRKS:
        # More than a pipe holds: whoever does not drain it stops the server here.
        for _ in range(20000):
            print("noise " * 10, file=sys.stderr)
    for line in sys.stdin:
        if "silent" in QUIRKS:
            continue
        if "junk" in QUIRKS:
            write("Server started on stdio!\n\n{\"not\": \"a message\"}\n[1, 2\n\ufeff\n")
        handle(json.loads(line))
    while "ignore-eof" in QUIRKS or "stubborn" in QUIRKS:
        signal.pause()
    del held


main()
