#!/usr/bin/env bash
# Installs what a bare Debian or Ubuntu server with Rust lacks to build, test and try Millrace.
#
#   deploy/setup.sh [build | lab | all]
#
#   build   what compiles it: a C linker, and for the XDP program a Rust with a core for BPF, and bpf-linker
#   lab     what the demo and the end-to-end tests drive: ip, ping, traceroute, iperf3, tshark, …
#   all     both (default)
#
# As an ordinary user it asks sudo for apt and for nothing else. What is there is left alone; with nothing to do it takes
# a fraction of a second. It touches no network setting of the machine.
set -euo pipefail

# A program that is looked for, and the package it is in.
readonly BUILD_TOOLS='cc:gcc ld:binutils c++:g++ make:make'
readonly LAB_TOOLS='ip:iproute2 ping:iputils-ping traceroute:traceroute iperf3:iperf3 tshark:tshark ethtool:ethtool
	nft:nftables sysctl:procps ps:procps curl:curl jq:jq lftp:lftp tftp:tftp-hpa ss:iproute2'
# Routing daemons and servers that the tests let us talk to. Their packages would start services: they must not.
readonly PEERS='vtysh:frr birdc:bird2 gobgpd:gobgpd exabgp:exabgp vsftpd:vsftpd in.tftpd:tftpd-hpa turnserver:coturn'
readonly PEER_SERVICES='frr.service bird.service gobgpd.service exabgp.service vsftpd.service tftpd-hpa.service coturn.service'
readonly BPF_TARGET=bpfel-unknown-none
# The version of bpf-linker that this tree is built and tested with.
readonly LINKER_VERSION=0.13.0

PATH=$PATH:/usr/sbin:/sbin:${CARGO_HOME:-$HOME/.cargo}/bin
APT_IS_FRESH=

main() {
	local what=${1:-all}
	case $what in
	build | lab | all) ;;
	*)
		sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
		exit 2
		;;
	esac
	if [[ $what != lab ]]; then
		say_rust
		# shellcheck disable=SC2086
		packages 'build tools' $(missing_packages $BUILD_TOOLS)
		bpf_toolchain
	fi
	if [[ $what != build ]]; then
		# shellcheck disable=SC2086
		packages 'tools of the lab' $(missing_packages $LAB_TOOLS)
		# shellcheck disable=SC2086
		packages_without_services 'peers of the lab' $(missing_packages $PEERS)
	fi
	say 'everything is there'
}

say() { printf 'setup: %s\n' "$*"; }

fail() {
	printf 'setup: %s\n' "$@" >&2
	exit 1
}

# The packages of those programs that are not in PATH.
missing_packages() {
	local pair
	for pair; do
		command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
	done | sort -u
}

say_rust() {
	command -v cargo >/dev/null && return
	fail 'Rust is missing; install it from https://rustup.rs as the user who builds:' \
		"  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . ~/.cargo/env"
}

as_root() {
	if ((EUID == 0)); then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		fail 'this needs root, and there is no sudo; as root run:' "  $*"
	fi
}

apt_get() {
	command -v apt-get >/dev/null ||
		fail "this is not a Debian or Ubuntu; install by your own package manager what is named above"
	# Waits for another apt; asks no questions (tshark has one).
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@"
}

refresh() {
	[[ -n $APT_IS_FRESH ]] && return
	apt_get update >/dev/null
	APT_IS_FRESH=yes
}

# packages WHAT [PACKAGE…]
packages() {
	local what=$1
	shift
	(($# == 0)) && return
	say "$what: installing $*"
	refresh
	apt_get install --no-install-recommends "$@" >/dev/null
}

# The same for packages that bring services: these are neither started nor enabled. Tests start what they need in
# namespaces, from files of their own.
packages_without_services() {
	(($# == 1)) && return
	local policy=/usr/sbin/policy-rc.d
	if [[ ! -e $policy ]]; then
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
		as_root chmod 755 "$policy"
		# shellcheck disable=SC2064
		trap "as_root rm -f $policy" EXIT
	fi
	packages "$@"
	if [[ -d /run/systemd/system ]]; then
		# shellcheck disable=SC2086
		as_root systemctl --quiet disable $PEER_SERVICES || say "$1: could not disable $PEER_SERVICES"
	fi
}

# Whether apt can install all of these packages.
has_package() {
	local package
	for package; do
		apt-cache policy "$package" 2>/dev/null | grep -q '^  Candidate: [0-9]' || return
	done
}

# The same two roads that dataplane/build.rs tries, in the same order.
bpf_toolchain() {
	local rustc
	if ! rustc=$(bpf_rustc); then
		say 'XDP program: looking for a Rust that compiles to BPF'
		refresh
		if has_package rustc-web libstd-rust-web-dev-bpf; then
			packages 'XDP program' rustc-web libstd-rust-web-dev-bpf
		elif command -v rustup >/dev/null; then
			say 'XDP program: installing nightly Rust with rust-src by rustup'
			rustup toolchain install nightly --no-self-update --profile minimal --component rust-src
		else
			fail 'Debian'"'"'s rustc-web is not to be had here, and there is no rustup to install nightly Rust by;' \
				'  install rustup from https://rustup.rs, then run this again'
		fi
		rustc=$(bpf_rustc) || fail 'XDP program: no Rust that compiles to BPF, although it was just installed'
	fi
	bpf_linker "$rustc"
}

# Prints the command of a rustc that can compile for BPF.
bpf_rustc() {
	local rustc=${MILLRACE_BPF_RUSTC:-/usr/bin/rustc} directory
	if directory=$("$rustc" --print target-libdir --target "$BPF_TARGET" 2>/dev/null) &&
		compgen -G "$directory/libcore-*" >/dev/null; then
		echo "$rustc"
		return
	fi
	if directory=$(RUSTUP_AUTO_INSTALL=0 rustup run nightly rustc --print sysroot 2>/dev/null) &&
		[[ -d $directory/lib/rustlib/src/rust/library/core ]]; then
		echo "$directory/bin/rustc"
		return
	fi
	return 1
}

# Builds bpf-linker with the LLVM of the rustc that it links for.
bpf_linker() {
	command -v bpf-linker >/dev/null && return
	local llvm
	llvm=$("$1" -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
	refresh
	has_package "llvm-$llvm-dev" "libpolly-$llvm-dev" ||
		fail "XDP program: bpf-linker needs LLVM $llvm, which is not to be had by apt here; add it from https://apt.llvm.org:" \
			"  curl -sSfO https://apt.llvm.org/llvm.sh && sudo bash llvm.sh $llvm all" \
			'  then run this again'
	packages 'XDP program' "llvm-$llvm-dev" "libpolly-$llvm-dev" zlib1g-dev libzstd-dev libxml2-dev
	say "XDP program: building bpf-linker $LINKER_VERSION with LLVM $llvm (about a minute)"
	LLVM_PREFIX=/usr/lib/llvm-$llvm cargo install bpf-linker --quiet --locked --version "$LINKER_VERSION" \
		--no-default-features --features "llvm-$llvm"
}

main "$@"
