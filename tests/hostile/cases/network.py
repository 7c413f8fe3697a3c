"""Network: none. Not the service, not its neighbours, not the machine that hosts them, not the world."""

from hostile.model import COMPLETED, Case

#: Who a job would talk to: the services beside it, the bridge's gateway, clouds' metadata, the world, by address and by name.
TARGETS = (
    ("127.0.0.1", 8443), ("127.0.0.1", 8000), ("::1", 8443), ("0.0.0.0", 8443), ("localhost", 8443), ("172.17.0.1", 22),
    ("172.17.0.1", 8443), ("172.17.0.2", 8443), ("172.18.0.1", 8000), ("172.18.0.2", 8000), ("169.254.169.254", 80),
    ("100.100.100.200", 80), ("fd00:ec2::254", 80), ("10.0.0.1", 443), ("192.168.0.1", 80), ("1.1.1.1", 53), ("8.8.8.8", 443),
    ("2606:4700:4700::1111", 443), ("broker", 8000), ("node", 8443), ("host.docker.internal", 2375), ("example.com", 80),
)  # fmt: skip

CASES = [
    Case(
        name="connections",
        why="reach anything at all over TCP",
        programs={
            "python3": f"""
                import socket
                for host, port in {TARGETS!r}:
                    try:
                        socket.create_connection((host, port), timeout=0.3); print("REACH" + "ED", host, port)
                    except OSError as error:
                        print("refused", host, error)
                print("probed")
            """,
            "node": f"""
                const net = require("node:net");
                const targets = {[list(target) for target in TARGETS]!r};
                Promise.all(targets.map(([host, port]) => new Promise(done => {{
                    const s = net.connect(port, host, () => {{ console.log("REACH" + "ED", host); done(); }});
                    s.setTimeout(500, () => {{ s.destroy(); done(); }}); s.on("error", done);
                }}))).then(() => {{ console.log("probed"); process.exit(0); }});
            """,
            "bash": "\n".join(
                [
                    *(
                        f'(exec 3<>/dev/tcp/{host}/{port}) 2>/dev/null && echo REACH"ED" {host}'
                        for host, port in TARGETS
                        if ":" not in host
                    ),
                    "echo probed",
                ]
            ),
            "ruby": f"""
                require "socket"
                {[list(target) for target in TARGETS]!r}.each do |host, port|
                  begin
                    Socket.tcp(host, port, connect_timeout: 0.3).close; puts "REACH" + "ED #{{host}}"
                  rescue SystemCallError, SocketError
                  end
                end
                puts "probed"
            """,
        },
        verdict=COMPLETED,
        prints=("probed",),
        timeout=20,
    ),
    Case(
        name="datagrams",
        why="UDP, name queries and broadcasts need no connection",
        programs={
            "python3": """
                import socket
                for host, port in (("8.8.8.8", 53), ("172.17.0.1", 53), ("127.0.0.11", 53), ("169.254.169.254", 53), ("255.255.255.255", 9)):
                    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    s.settimeout(0.2)
                    try:
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                        s.sendto(b"\\x12\\x34\\x01\\x00\\x00\\x01" + bytes(6) + b"\\x07example\\x03com\\x00\\x00\\x01\\x00\\x01", (host, port))
                        s.recv(512); print("REACH" + "ED", host)
                    except OSError as error:
                        print("refused", host, error)
                print("probed")
            """,
            "ruby": """
                require "socket"
                begin
                  Addrinfo.getaddrinfo("example.com", 80); puts "REACH" + "ED"
                rescue SocketError
                end
                puts "probed"
            """,
            "node": """
                require("node:dns").lookup("example.com", error => console.log(error ? "probed" : "REACH" + "ED"));
            """,
            "bash": """
                getent hosts example.com broker node && echo REACH"ED"
                echo probed
            """,
        },
        verdict=COMPLETED,
        prints=("probed",),
        timeout=15,
    ),
    Case(
        name="interfaces",
        why="anything beyond an empty loopback",
        programs={
            "python3": """
                import socket
                for _, name in socket.if_nameindex():
                    print("interface", name if name == "lo" else "REACH" + "ED " + name)
                print("routes", len(open("/proc/net/route").readlines()))
                for path in ("/proc/net/tcp", "/proc/net/tcp6", "/proc/net/unix", "/proc/net/udp"):
                    lines = open(path).readlines()[1:]
                    if lines: print("REACH" + "ED", path, lines[:2])
                print("probed")
            """,
            "bash": """
                grep -v -e lo: -e '|' /proc/net/dev | grep . && echo REACH"ED"
                tail -n +2 /proc/net/tcp | grep . && echo REACH"ED" sockets
                tail -n +2 /proc/net/unix | grep . && echo REACH"ED" unix sockets
                echo probed
            """,
        },
        verdict=COMPLETED,
        prints=("probed",),
        timeout=5,
    ),
    Case(
        name="unix-sockets",
        why="sockets of the container by abstract name or path",
        programs={
            "python3": """
                import socket
                for name in ("\\0sandrun", "\\0agent", "\\0containerd", "/run/docker.sock", "/var/run/docker.sock", "/tmp/.X11-unix/X0",
                             "/run/systemd/private", "/run/dbus/system_bus_socket", "\\0/tmp/dbus", "/var/lib/node/agent.sock"):
                    s = socket.socket(socket.AF_UNIX)
                    try:
                        s.connect(name); print("REACH" + "ED", name)
                    except OSError as error:
                        print("refused", error)
                print("probed")
            """,
        },
        verdict=COMPLETED,
        prints=("probed",),
        timeout=5,
    ),
    Case(
        name="own-server",
        why="listening is allowed inside, and reaches nobody: a port taken by a job is free for the node and its neighbours",
        programs={
            "python3": """
                import socket
                for port in (8443, 8000):
                    s = socket.socket()
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    try:
                        s.bind(("0.0.0.0", port)); s.listen()
                    except OSError as error:
                        print(error)
                import time; time.sleep(0.5)
                print("probed")
            """,
        },
        verdict=COMPLETED,
        prints=("probed",),
        timeout=5,
    ),
]
