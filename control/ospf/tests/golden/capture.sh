#!/bin/bash
# capture.sh > frr-bird.txt    OSPF packets of FRR ospfd and BIRD 2, for tests/wire_golden.rs. Needs root, frr, bird2, tshark, python3.
#
# Two namespaces with one veth: FRR (10.77.0.2) and BIRD (10.77.0.1) speak OSPF with each authentication in turn; where
# FRR has none of it, BIRD speaks alone. Of each scenario the first packet of each sender, type and length is printed:
#   SCENARIO SOURCE DESTINATION TTL PAYLOAD
set -u
id=mr-og-$$; b=$id-b f=$id-f; T=$(mktemp -d)
cleanup() {
  local p; for p in /run/frr/"$f"/*.pid "$T"/*.pid; do [ -e "$p" ] && kill "$(cat "$p")" 2>/dev/null; done
  sleep 0.5; ip netns del "$b" 2>/dev/null; ip netns del "$f" 2>/dev/null
  rm -rf "$T" /etc/frr/"$f" /run/frr/"$f"
}
trap cleanup EXIT
for n in "$b" "$f"; do
  ip netns add "$n"; ip -n "$n" link set lo up
  ip netns exec "$n" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
done
ip link add eth0 netns "$b" type veth peer name eth0 netns "$f"
ip -n "$b" addr add 10.77.0.1/24 dev eth0; ip -n "$b" link set eth0 up
ip -n "$f" addr add 10.77.0.2/24 dev eth0; ip -n "$f" link set eth0 up
ip -n "$f" addr add 10.2.2.1/24 dev lo

frr() { # frr AREA-LINES INTERFACE-LINES: start zebra and ospfd
  mkdir -p /etc/frr/"$f" /run/frr/"$f"; chown frr:frr /etc/frr/"$f" /run/frr/"$f"
  cat > "$T/frr.conf" <<C
interface eth0
 ip ospf area 1
 ip ospf hello-interval 1
 ip ospf dead-interval 4
$2
exit
interface lo
 ip ospf area 0
exit
route-map tagged permit 10
 set tag 4660
exit
ip route 198.51.100.0/25 10.77.0.9
router ospf
 ospf router-id 2.2.2.2
 capability opaque
 redistribute static metric 77 metric-type 1 route-map tagged
$1
exit
C
  local d; for d in zebra staticd ospfd; do
    ip netns exec "$f" /usr/lib/frr/$d -d -N "$f" -A 127.0.0.1 -P 0 --log "file:/run/frr/$f/$d.log" >/dev/null 2>&1
  done
  ip netns exec "$f" vtysh -N "$f" -f "$T/frr.conf" >/dev/null 2>&1
}
bird_() { # bird_ AREA-OPTIONS INTERFACE-OPTIONS
  cat > "$T/bird.conf" <<C
router id 1.1.1.1;
protocol device { scan time 5; }
protocol static { ipv4; route 192.0.2.0/27 blackhole; route 203.0.113.64/26 via 10.77.0.8; route 0.0.0.0/0 blackhole; }
protocol ospf v2 o1 { ipv4 { import all; export filter { ospf_metric2 = 5000; ospf_tag = 305419896; accept; }; };
  area 1 { $1
    stubnet 10.1.1.0/24 { cost 33; };
    interface "eth0" { hello 1; dead 4; wait 4; $2 }; }; }
C
  ip netns exec "$b" /usr/sbin/bird -c "$T/bird.conf" -s "$T/bird.ctl" -P "$T/bird.pid"
}
run() { # run SCENARIO FRR-AREA FRR-INTERFACE|- BIRD-AREA BIRD-INTERFACE
  ip netns exec "$b" tshark -l -n -i eth0 -a duration:17 -f 'ip proto 89' -F pcap -w "$T/out.pcap" 2>"$T/err" &
  local cap=$! n=0
  until grep -q Capturing "$T/err" || [ $n = 100 ]; do sleep 0.1; n=$((n+1)); done
  bird_ "$4" "$5"; [ "$3" = - ] || frr "$2" "$3"
  wait $cap
  local p; for p in /run/frr/"$f"/*.pid "$T"/*.pid; do [ -e "$p" ] && kill "$(cat "$p")" 2>/dev/null; done
  n=0; while [ -e "$T/bird.pid" ] && [ $n != 50 ]; do sleep 0.1; n=$((n+1)); done; sleep 0.5; rm -rf /run/frr/"$f"
  python3 - "$1" "$T/out.pcap" <<'P'
import socket, struct, sys
data, at, seen = open(sys.argv[2], "rb").read(), 24, set()
while at + 16 <= len(data):
    size = struct.unpack_from("<I", data, at + 8)[0]
    ip = data[at + 30 : at + 16 + size]
    at += 16 + size
    total, head = struct.unpack_from(">H", ip, 2)[0], (ip[0] & 15) * 4
    payload = ip[head:total]
    key = (ip[12:16], payload[1], len(payload))
    if key not in seen:
        seen.add(key)
        print(sys.argv[1], socket.inet_ntoa(ip[12:16]), socket.inet_ntoa(ip[16:20]), ip[8], payload.hex())
P
}
echo "# $(/usr/lib/frr/ospfd --version | head -1); $(/usr/sbin/bird --version 2>&1)"
echo "# made by: control/ospf/tests/golden/capture.sh"
run none "" "" "" ""
run p2p "" " ip ospf network point-to-point" "" "type ptp;"
run nssa " area 1 nssa" "" "nssa;" ""
run simple "" " ip ospf authentication
 ip ospf authentication-key ospfkey" "" 'authentication simple; password "ospfkey";'
run md5 "" " ip ospf authentication message-digest
 ip ospf message-digest-key 7 md5 ospfkey" "" 'authentication cryptographic; password "ospfkey" { id 7; algorithm keyed md5; };'
for a in sha1 sha256 sha384 sha512; do
  run hmac-$a "" - "" "authentication cryptographic; password \"ospfkey\" { id 9; algorithm hmac $a; };"
done
