#!/usr/bin/env bash
# Writes the binary seeds: what FRR and BIRD sent (../../*/tests/golden), the first packet of each kind there is, and for BGP
# messages written by hand after the RFCs. The text seeds in config/ and policy/ are kept as they are.
set -euo pipefail
cd "$(dirname "$0")"

# Hexadecimal digits to the file $1/$2.
seed() {
	mkdir -p "$1"
	printf '%b' "$(sed 's/../\\x&/g' <<<"$3")" >"$1/$2"
}

# The first packet of each kind: first word of its line, and $2 hexadecimal digits of its content.
golden() {
	local protocol=$1 line hex kind
	local -A seen=()
	while read -r line
	do
		hex=${line##* }
		kind=${line%% *}-${hex:0:$2}
		[[ $line == \#* || -n ${seen[$kind]:-} ]] && continue
		seen[$kind]=1
		seed "$protocol" "${kind//./-}" "$hex"
	done <"../../$protocol/tests/golden/frr-bird.txt"
}

golden rip 4
golden bfd 4
golden ospf 4

marker=ffffffffffffffffffffffffffffffff
# RFC 4271 §4.4
seed bgp keepalive "${marker}001304"
# AS 65001, hold time 180, with the capabilities that are common.
seed bgp open "${marker}00420104fde900b40aff0001250223010400010001020041040000fde9400640780001018045040001010309010306004600"
# A prefix withdrawn; two and a default route announced, with every attribute of four-octet AS numbers.
seed bgp update "${marker}0085020004180a000000634001010040020a02020000fde90000fdea400304c000020180040400000064400504000000c8400600c007080000fde90aff0001c00808fde90001ffffff018009040aff0002800a040aff0003c0200c0000fde90000000100000002c023040000fde918cb0071080a00"
# IPv4 in MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760), AS numbers of two octets and AS4_PATH.
seed bgp update-mp "${marker}0045020000002e400101004002040201fde9c0110602010000fde9800e0d00010104c00002010018cb0071800f07000101180a0000"
# RFC 7911: a path identifier before the prefix.
seed bgp update-add-path "${marker}003302000000144001010040020602010000fde9400304c00002010000000118cb0071"
# An IPv6 prefix withdrawn.
seed bgp update-ipv6 "${marker}0022020000000b800f080002012020010db8"
# RFC 4724 §2
seed bgp end-of-rib "${marker}00170200000000"
# Administrative shutdown with a message (RFC 9003).
seed bgp notification "${marker}001903060203627965"
seed bgp refresh "${marker}00170500010001"
