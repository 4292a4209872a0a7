#!/bin/bash
# capture.sh > frr-bird.txt    RIP datagrams of FRR ripd and BIRD 2, for tests/wire_golden.rs. Needs root, frr, bird2, tshark.
#
# Two namespaces with one veth: FRR (10.77.0.2) and BIRD (10.77.0.1) speak RIP with each authentication in turn; where
# FRR has none of it, BIRD speaks alone. Of each scenario the first datagram of each sender and length is printed:
#   SCENARIO SOURCE SPORT DESTINATION DPORT TTL PAYLOAD
set -u
id=mr-rip-golden-$$; b=$id-b f=$id-f; T=$(mktemp -d)
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

frr() { # frr INTERFACE-LINES: start zebra and ripd
  mkdir -p /etc/frr/"$f" /run/frr/"$f"; chown frr:frr /etc/frr/"$f" /run/frr/"$f"
  cat > "$T/frr.conf" <<C
key chain k
 key 7
  key-string ripkey
  cryptographic-algorithm md5
 exit
exit
interface eth0
$1
exit
route-map tagged permit 10
 set tag 4660
exit
ip route 198.51.100.0/25 10.77.0.9
router rip
 version 2
 timers basic 5 15 10
 network eth0
 redistribute connected
 redistribute static metric 3 route-map tagged
exit
C
  local d; for d in zebra staticd ripd; do
    ip netns exec "$f" /usr/lib/frr/$d -d -N "$f" -A 127.0.0.1 -P 0 --log "file:/run/frr/$f/$d.log" >/dev/null 2>&1
  done
  ip netns exec "$f" vtysh -N "$f" -f "$T/frr.conf" >/dev/null 2>&1
}
bird_() { # bird_ INTERFACE-OPTIONS
  cat > "$T/bird.conf" <<C
router id 10.77.0.1;
protocol device { scan time 5; }
protocol static { ipv4; route 192.0.2.0/27 blackhole; route 203.0.113.64/26 via 10.77.0.8; route 0.0.0.0/0 blackhole; }
protocol rip r1 { ipv4 { import all; export filter { rip_metric = 5; rip_tag = 65535; accept; }; };
  interface "eth0" { version 2; mode multicast; update time 5; $1 }; }
C
  ip netns exec "$b" /usr/sbin/bird -c "$T/bird.conf" -s "$T/bird.ctl" -P "$T/bird.pid"
}
run() { # run SCENARIO FRR-LINES|- BIRD-OPTIONS
  ip netns exec "$b" tshark -l -n -i eth0 -a duration:13 -f 'udp port 520' -T fields -E separator=' ' \
    -e ip.src -e udp.srcport -e ip.dst -e udp.dstport -e ip.ttl -e udp.payload > "$T/out" 2>"$T/err" &
  local cap=$! n=0
  until grep -q Capturing "$T/err" || [ $n = 100 ]; do sleep 0.1; n=$((n+1)); done
  bird_ "$3"; [ "$2" = - ] || frr "$2"
  wait $cap
  local p; for p in /run/frr/"$f"/*.pid "$T"/*.pid; do [ -e "$p" ] && kill "$(cat "$p")" 2>/dev/null; done
  n=0; while [ -e "$T/bird.pid" ] && [ $n != 50 ]; do sleep 0.1; n=$((n+1)); done; sleep 0.5; rm -rf /run/frr/"$f"
  awk -v s="$1" '!seen[$1, length($6)]++ { print s, $0 }' "$T/out"
}
echo "# $(/usr/lib/frr/ripd --version | head -1); $(/usr/sbin/bird --version 2>&1)"
echo "# made by: control/rip/tests/golden/capture.sh"
run none "" ""
run plain " ip rip authentication mode text
 ip rip authentication string ripkey" 'authentication plaintext; password "ripkey";'
run md5-rfc " ip rip authentication mode md5 auth-length rfc
 ip rip authentication key-chain k" 'authentication cryptographic; password "ripkey" { id 7; algorithm keyed md5; };'
run md5-old-ripd " ip rip authentication mode md5 auth-length old-ripd
 ip rip authentication key-chain k" 'authentication cryptographic; password "ripkey" { id 7; algorithm keyed md5; };'
for a in sha1 sha256 sha384 sha512; do
  run hmac-$a - "authentication cryptographic; password \"ripkey\" { id 9; algorithm hmac $a; };"
done
run hmac-sha1-long - 'authentication cryptographic; password "a key of more than twenty octets, but fewer than 64" { id 9; algorithm hmac sha1; };'
