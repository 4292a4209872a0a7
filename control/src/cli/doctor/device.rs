//! What of an interface keeps packets from flowing well: from sysfs, and from what `ethtool -k` says.

use std::fs;
use std::path::Path;

use super::fix::Fix;
use super::{Finding, Grade, finding, read};
use crate::cli::out::plural;

/// Drivers that are known to have AF_XDP zero-copy. What is in force is shown by `millrace show interfaces`.
const ZERO_COPY: &[&str] =
    &["fsl_dpaa2_eth", "i40e", "ice", "igb", "igc", "ixgbe", "mlx5_core", "nfp", "tsnep", "virtio_net"];

/// The largest MTU whose frames fit a packet buffer of a page with what the kernel puts around them: 4096 bytes less
/// headroom (256), `skb_shared_info` (320) and the Ethernet header.
const MAX_MTU: u32 = 3506;

/// IFF_PROMISC of linux/if.h.
const PROMISCUOUS: u32 = 0x100;

pub(super) fn look(name: &str, class: &Path, features: Option<&str>, workers: usize) -> Vec<Finding> {
    let dir = class.join(name);
    if !dir.exists() {
        let advice = "see `ip link`; Millrace takes it into service as soon as it is there";
        return vec![finding(
            Grade::Warning,
            format!("{name}: there is no such interface at present"),
            advice,
        )];
    }
    let driver = fs::read_link(dir.join("device/driver")).ok();
    let driver = driver.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let queues = fs::read_dir(dir.join("queues")).map_or(0, |entries| {
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("rx-")).count()
    });
    let mtu = read(dir.join("mtu"));
    let driver_name = driver.as_deref().unwrap_or("virtual");
    let what = format!("{name}: {driver_name}, {}, MTU {mtu}", plural(queues, "receive queue"));
    let mut findings = Vec::new();
    if read(dir.join("operstate")) == "down" {
        let fix = Fix::new(format!("ip link set {name} up"), format!("ip link set {name} down"));
        findings.push(finding(Grade::Warning, format!("{what}, down"), "").mended_by(fix));
    } else {
        findings.push(match driver.as_deref() {
            Some(driver) if !ZERO_COPY.contains(&driver) => finding(
                Grade::Warning,
                what,
                "not known for zero-copy: packets may be copied, which costs speed; see `millrace show interfaces`",
            ),
            Some(_) | None => finding(Grade::Good, what, ""),
        });
    }
    if mtu.parse().is_ok_and(|mtu: u32| MAX_MTU < mtu) {
        findings.push(finding(
            Grade::Bad,
            format!("{name}: MTU {mtu} is larger than a packet buffer takes; jumbo frames are not supported"),
            format!("ip link set {name} mtu {MAX_MTU}, on the whole link"),
        ));
    }
    if 1 < workers && queues < workers && driver.is_some() {
        let fix = Fix::new(
            format!("ethtool -L {name} combined {workers}"),
            format!("ethtool -L {name} combined {queues}"),
        );
        let what = format!(
            "{name}: {} for {workers} workers: some receive nothing",
            plural(queues, "receive queue")
        );
        findings.push(finding(Grade::Warning, what, "").mended_by(fix));
    }
    let flags = read(dir.join("flags"));
    let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0);
    if flags & PROMISCUOUS != 0 {
        let fix =
            Fix::new(format!("ip link set {name} promisc off"), format!("ip link set {name} promisc on"));
        let what =
            format!("{name}: promiscuous: frames for other stations reach the router, which drops them");
        findings.push(finding(Grade::Warning, what, "").mended_by(fix));
    }
    if let Some(features) = features {
        findings.extend(offloads(name, features));
    }
    findings
}

/// Features of `ethtool -k` that are in the way, the name `ethtool -K` knows them by, and why.
const IN_THE_WAY: [(&str, &str, &str); 3] = [
    ("large-receive-offload", "lro", "packets are merged into ones that cannot be forwarded"),
    ("rx-gro-hw", "rx-gro-hw", "the device merges packets into ones that cannot be forwarded"),
    ("rx-vlan-offload", "rxvlan", "the device takes VLAN tags off before the XDP program sees them"),
];

/// Those that are on and can be switched off.
fn offloads(name: &str, features: &str) -> Vec<Finding> {
    let on = |feature: &str| {
        features.lines().any(|line| {
            line.trim()
                .strip_prefix(feature)
                .and_then(|rest| rest.strip_prefix(':'))
                .is_some_and(|state| state.trim() == "on")
        })
    };
    let told = |(feature, key, why): &(&str, &str, &str)| {
        let fix = Fix::new(format!("ethtool -K {name} {key} off"), format!("ethtool -K {name} {key} on"));
        finding(Grade::Warning, format!("{name}: {feature} is on: {why}"), "").mended_by(fix)
    };
    IN_THE_WAY.iter().filter(|(feature, ..)| on(feature)).map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Findings of a device with these files.
    fn told(files: &[(&str, &str)], features: &str, workers: usize) -> Vec<String> {
        let class = tempfile::tempdir().unwrap();
        let dir = class.path().join("eth0");
        fs::create_dir_all(dir.join("queues/rx-0")).unwrap();
        fs::create_dir_all(dir.join("queues/tx-0")).unwrap();
        for (name, text) in files {
            fs::write(dir.join(name), text).unwrap();
        }
        look("eth0", class.path(), Some(features), workers)
            .iter()
            .map(|finding| format!("{:?} {} → {}", finding.grade, finding.what, finding.advice))
            .collect()
    }

    #[test]
    fn a_device_is_described_and_what_is_in_the_way_is_named() {
        assert_eq!(told(&[("mtu", "1500\n")], "", 1), ["Good eth0: virtual, 1 receive queue, MTU 1500 → "]);
        assert_eq!(
            told(&[("mtu", "1500"), ("operstate", "down")], "", 1),
            ["Warning eth0: virtual, 1 receive queue, MTU 1500, down → ip link set eth0 up"]
        );
        let jumbo = told(&[("mtu", "9000"), ("flags", "0x1103\n")], "", 1);
        assert!(jumbo[1].starts_with("Bad eth0: MTU 9000 is larger"), "{jumbo:?}");
        assert!(jumbo[2].ends_with("→ ip link set eth0 promisc off"), "{jumbo:?}");
        let features = "Features for eth0:\nlarge-receive-offload: on\nrx-gro-hw: off [fixed]\nrx-vlan-offload: on [fixed]\n";
        let offloads = told(&[("mtu", "1500")], features, 1);
        assert_eq!(offloads.len(), 2, "{offloads:?}");
        assert!(offloads[1].ends_with("→ ethtool -K eth0 lro off"), "{offloads:?}");
        let class = tempfile::tempdir().unwrap();
        assert_eq!(look("eth9", class.path(), None, 1)[0].grade, Grade::Warning);
    }
}
