#!/bin/bash
# capture.sh > frr-bird.txt    BFD control packets of FRR bfdd and BIRD 2, for tests/wire_golden.rs. Needs root, frr, bird2, tshark.
#
# Two namespaces with one veth: FRR (10.78.0.2) and BIRD (10.78.0.1) bring a session up, FRR changes its timers (a Poll
# Sequence), shuts the session down and up again, and BIRD goes away. Every packet that differs from those before it in
# more than discriminators is printed as one line:
#   SOURCE SPORT DESTINATION DPORT TTL PAYLOAD
set -u
id=mr-bfd-golden-$$; b=$id-b f=$id-f; T=$(mktemp -d)
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
ip -n "$b" addr add 10.78.0.1/24 dev eth0; ip -n "$b" link set eth0 up
ip -n "$f" addr add 10.78.0.2/24 dev eth0; ip -n "$f" link set eth0 up
cat > "$T/bird.conf" <<C
router id 10.78.0.1;
protocol device { scan time 5; }
protocol bfd b1 { interface "eth0" { interval 200 ms; multiplier 4; }; neighbor 10.78.0.2 dev "eth0" local 10.78.0.1; }
C
cat > "$T/frr.conf" <<C
bfd
 peer 10.78.0.1 local-address 10.78.0.2 interface eth0
  detect-multiplier 3
  receive-interval 150
  transmit-interval 300
 exit
exit
C
vty() { ip netns exec "$f" vtysh -N "$f" -c 'configure terminal' -c bfd -c 'peer 10.78.0.1 local-address 10.78.0.2 interface eth0' -c "$1" >/dev/null 2>&1; }
ip netns exec "$b" tshark -l -n -i eth0 -a duration:22 -f 'udp port 3784' -T fields -E separator=' ' \
  -e ip.src -e udp.srcport -e ip.dst -e udp.dstport -e ip.ttl -e udp.payload > "$T/out" 2>"$T/err" &
cap=$! n=0
until grep -q Capturing "$T/err" || [ $n = 100 ]; do sleep 0.1; n=$((n+1)); done
ip netns exec "$b" /usr/sbin/bird -c "$T/bird.conf" -s "$T/bird.ctl" -P "$T/bird.pid"
mkdir -p /etc/frr/"$f" /run/frr/"$f"; chown frr:frr /etc/frr/"$f" /run/frr/"$f"
for d in zebra bfdd; do
  ip netns exec "$f" /usr/lib/frr/$d -d -N "$f" -A 127.0.0.1 -P 0 --log "file:/run/frr/$f/$d.log" >/dev/null 2>&1
done
ip netns exec "$f" vtysh -N "$f" -f "$T/frr.conf" >/dev/null 2>&1
sleep 8; vty 'transmit-interval 100'; sleep 3; vty shutdown; sleep 2; vty 'no shutdown'; sleep 4
kill "$(cat "$T/bird.pid")"
wait $cap
echo "# $(/usr/lib/frr/bfdd --version | head -1); $(/usr/sbin/bird --version 2>&1)"
echo "# made by: control/bfd/tests/golden/capture.sh"
awk '{ k = $1 substr($6, 1, 8) substr($6, 25) } !seen[k]++' "$T/out"
