//! Tables of a size that fits in one answer.

use millrace_api::report;

use super::routes::path;
use crate::cli::exit::Error;
use crate::cli::out::{Out, bytes, duration, number, plural, table};
use crate::http::view;
use crate::runtime::handle::SyncState;

pub(super) fn interfaces(mut views: Vec<view::Interface>, out: &mut Out) -> Result<(), Error> {
    if views.is_empty() {
        return out.line("No interface is configured.");
    }
    views.sort_by(|a, b| a.name.cmp(&b.name));
    let rows = views.iter().map(|view| {
        vec![
            view.name.clone(),
            if view.up { "up" } else { "down" }.to_owned(),
            mode(view),
            view.mtu.map_or_else(|| "-".to_owned(), |mtu| mtu.to_string()),
            if view.addresses.is_empty() { "-".to_owned() } else { view.addresses.join("\n") },
            number(view.rx_packets),
            bytes(view.rx_bytes),
            number(view.tx_packets),
            bytes(view.tx_bytes),
        ]
    });
    let header =
        ["INTERFACE", "STATE", "MODE", "#MTU", "ADDRESSES", "#RX PACKETS", "#RX", "#TX PACKETS", "#TX"];
    out.line(table(&header, rows))?;
    for view in &views {
        if let Some(problem) = &view.problem {
            out.line(format_args!("! {}: {problem}", view.name))?;
        }
        for queue in view.queues.iter().filter(|queue| queue.socket.tx_stuck) {
            out.line(format_args!(
                "! {}: queue {} sends nothing, {} frames wait: its driver is stuck; `ip link set {} down` and `up` resets it",
                view.name,
                queue.queue,
                number(queue.socket.tx_in_flight.into()),
                view.name
            ))?;
        }
        if let Some(drops) = &view.device_drops {
            device_drops(&view.name, drops, out)?;
        }
    }
    Ok(())
}

/// What is out of a worker's hands: lost before the XDP program, or after it was sent.
fn device_drops(name: &str, drops: &report::DeviceDrops, out: &mut Out) -> Result<(), Error> {
    let counters = [
        ("rx_dropped", drops.rx_dropped),
        ("rx_missed", drops.rx_missed),
        ("rx_errors", drops.rx_errors),
        ("tx_dropped", drops.tx_dropped),
        ("tx_errors", drops.tx_errors),
    ];
    let lost: Vec<_> = counters.iter().filter(|(_, count)| *count != 0).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let lost: Vec<_> = lost.iter().map(|(name, count)| format!("{name} {}", number(*count))).collect();
    out.line(format_args!(
        "  {name}: the kernel's device lost {} (see `ip -s link show {name}`)",
        lost.join(", ")
    ))
}

/// As `copy, 2 queues`; the lowest of the queues' modes if they differ.
fn mode(view: &view::Interface) -> String {
    let mut modes: Vec<_> = view.queues.iter().map(|queue| queue.mode.as_str()).collect();
    modes.sort_unstable();
    modes.dedup();
    if modes.is_empty() {
        return view.xdp.clone();
    }
    format!("{}, {}", modes.join("/"), plural(view.queues.len(), "queue"))
}

pub(super) fn fib(view: view::Fib, out: &mut Out) -> Result<(), Error> {
    let fib = &view.dataplane;
    if let Some(answer) = &fib.answer {
        let Some(prefix) = answer.prefix else {
            return out.line(format_args!("{}: no route", answer.address));
        };
        out.line(format_args!("{} follows {prefix}", answer.address))?;
        let Some(nexthop) = &answer.nexthop else { return Ok(()) };
        out.line(format_args!("group {}: {}", nexthop.id, nexthop.kind))?;
        return members(&nexthop.members, out);
    }
    let used = |name: &str, used: u32, all: u32| {
        let share = f64::from(used) / f64::from(all.max(1)) * 100.0;
        let share = if used == 0 { "0 %".to_owned() } else { format!("{share:.1} %") };
        vec![name.to_owned(), number(used.into()), number(all.into()), share]
    };
    out.line(format_args!(
        "{} routes, generation {} ({})",
        number(fib.routes),
        fib.generation,
        in_step(&view)
    ))?;
    let rows = [
        used("tbl8 groups (prefixes longer than /24)", fib.tbl8_used, fib.tbl8_total),
        used("next-hop groups", fib.groups_used, fib.groups_total),
        used("adjacencies", fib.adjacencies_used, fib.adjacencies_total),
    ];
    out.line(table(&["", "#USED", "#CAPACITY", "#"], rows))?;
    if view.control.refused != 0 {
        out.line(format_args!("! {} refused at present:", number(view.control.refused)))?;
        for refusal in &view.control.refusals {
            out.line(format_args!("    {}: {}", refusal.subject, refusal.reason))?;
        }
    }
    Ok(())
}

fn in_step(view: &view::Fib) -> String {
    sync(view.control.state, view.control.generation_sent)
}

fn sync(state: SyncState, generation: u64) -> String {
    match state {
        SyncState::Away => "the dataplane is away".to_owned(),
        SyncState::Resync => format!("everything is being sent, generation {generation}"),
        SyncState::Sending => format!("changes are on their way, generation {generation}"),
        SyncState::Synced => "in step with the routing table".to_owned(),
    }
}

fn members(members: &[report::NexthopMember], out: &mut Out) -> Result<(), Error> {
    if members.is_empty() {
        return Ok(());
    }
    let rows = members.iter().map(|member| {
        vec![
            member.interface.clone(),
            member.gateway.map_or_else(|| "on the link".to_owned(), |gateway| gateway.to_string()),
            member.weight.to_string(),
            member.buckets.to_string(),
            member.mac.map_or_else(|| "-".to_owned(), |mac| mac.to_string()),
            member.state.clone(),
        ]
    });
    out.line(table(&["INTERFACE", "NEXT HOP", "#WEIGHT", "#BUCKETS", "MAC", "STATE"], rows))
}

pub(super) fn nexthops(views: Vec<view::Nexthop>, out: &mut Out) -> Result<(), Error> {
    if views.is_empty() {
        return out.line("No next-hop group.");
    }
    let rows = views.iter().map(|view| {
        let group = &view.group;
        let paths: Vec<_> = group.paths.iter().map(path).collect();
        let neighbours: Vec<_> =
            view.dataplane.iter().flat_map(|d| &d.members).map(|m| m.state.clone()).collect();
        let state = match (group.active, group.installed) {
            (false, _) => "unresolved",
            (true, true) => "installed",
            (true, false) => "not installed",
        };
        vec![
            group.id.to_string(),
            kind(&serde_json::to_value(group.kind).unwrap_or_default()),
            if paths.is_empty() { "-".to_owned() } else { paths.join("\n") },
            if neighbours.is_empty() { "-".to_owned() } else { neighbours.join("\n") },
            number(group.routes),
            state.to_owned(),
        ]
    });
    out.line(table(&["#ID", "KIND", "PATHS", "NEIGHBOUR", "#ROUTES", "STATE"], rows))?;
    for view in &views {
        if let Some(problem) = &view.group.problem {
            out.line(format_args!("! {}: {problem}", view.group.id))?;
        }
    }
    Ok(())
}

fn kind(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(super) fn neighbors(views: Vec<report::Neighbor>, out: &mut Out) -> Result<(), Error> {
    if views.is_empty() {
        return out.line("No neighbour is known.");
    }
    let rows = views.iter().map(|view| {
        vec![
            view.interface.clone(),
            view.address.to_string(),
            view.mac.map_or_else(|| "-".to_owned(), |mac| mac.to_string()),
            view.state.clone(),
            view.used_seconds_ago
                .map_or_else(|| "never".to_owned(), |seconds| format!("{} s ago", number(seconds))),
        ]
    });
    out.line(table(&["INTERFACE", "ADDRESS", "MAC", "STATE", "#USED"], rows))
}

pub(super) fn counters(view: view::Counters, all: bool, out: &mut Out) -> Result<(), Error> {
    let groups = [
        ("XDP program", &view.xdp),
        ("Verdicts of the workers", &view.verdicts),
        ("Dropped (see `millrace show drops`)", &view.drops),
        ("ICMP errors sent", &view.icmp_sent),
    ];
    for (title, counts) in groups {
        let shown: Vec<_> = counts.0.iter().filter(|(_, count)| all || *count != 0).collect();
        if shown.is_empty() {
            continue;
        }
        out.line(title)?;
        for (name, count) in shown {
            out.line(format_args!("  {:>20}  {name}", number(*count)))?;
        }
    }
    let frames = &view.frames;
    out.line("Packet buffers")?;
    let states = [
        ("free", frames.free),
        ("posted for reception", frames.fill),
        ("being sent", frames.tx),
        ("held for neighbours", frames.held),
        ("in all", frames.total),
    ];
    for (name, count) in states {
        out.line(format_args!("  {:>20}  {name}", number(count)))?;
    }
    match frames.lost {
        0 => Ok(()),
        lost => out.line(format_args!("  {lost:>20}  unaccounted for (sampled while workers run)")),
    }
}

pub(super) fn drops(mut views: Vec<view::Drop>, all: bool, out: &mut Out) -> Result<(), Error> {
    views.retain(|view| all || view.packets != 0);
    views.sort_by(|a, b| b.packets.cmp(&a.packets).then_with(|| a.reason.cmp(&b.reason)));
    if views.is_empty() {
        return out.line("No packet was dropped.");
    }
    let width = views.iter().map(|view| number(view.packets).len()).max().unwrap_or(0).max(7);
    let name = views.iter().map(|view| view.reason.len()).max().unwrap_or(0);
    out.line(format_args!("{:>width$}  {:name$}  MEANING", "PACKETS", "REASON"))?;
    for view in &views {
        out.line(format_args!("{:>width$}  {:name$}  {}", number(view.packets), view.reason, view.help))?;
        if !view.advice.is_empty() {
            out.line(format_args!("{:width$}  {:name$}  → {}", "", "", view.advice))?;
        }
    }
    Ok(())
}

pub(super) fn workers(views: Vec<report::Worker>, out: &mut Out) -> Result<(), Error> {
    let rows = views.iter().map(|view| {
        let all = view.busy_seconds + view.idle_seconds;
        let busy = if all <= 0.0 { 0.0 } else { view.busy_seconds / all * 100.0 };
        let burst = if view.bursts == 0 { 0.0 } else { view.packets as f64 / view.bursts as f64 };
        vec![
            view.worker.to_string(),
            view.cpu.to_string(),
            format!("{busy:.1} %"),
            number(view.packets),
            format!("{burst:.1}"),
            number(view.wakeups),
            number(view.frames_free),
            number(view.frames_held),
            view.scheduling.clone(),
        ]
    });
    let header = [
        "#WORKER",
        "#CPU",
        "#BUSY",
        "#PACKETS",
        "#A BURST",
        "#WAKE-UPS",
        "#FREE FRAMES",
        "#HELD",
        "SCHEDULING",
    ];
    out.line(table(&header, rows))?;
    stages(&views, out)
}

/// Nanoseconds a packet in each stage, where that has been measured.
fn stages(views: &[report::Worker], out: &mut Out) -> Result<(), Error> {
    let measured = |view: &&report::Worker| view.stages.iter().any(|stage| stage.packets != 0);
    let Some(first) = views.iter().find(measured) else { return Ok(()) };
    let rows = views.iter().filter(measured).map(|view| {
        let nanos = |stage: &report::StageTime| stage.seconds * 1e9 / (stage.packets.max(1) as f64);
        let sum: f64 = view.stages.iter().map(nanos).sum();
        let each = view.stages.iter().map(nanos).chain([sum]).map(|nanos| format!("{nanos:.0}"));
        [view.worker.to_string()].into_iter().chain(each).collect()
    });
    let names: Vec<_> = first.stages.iter().map(|stage| format!("#{}", stage.stage.to_uppercase())).collect();
    let header: Vec<_> =
        ["#WORKER"].into_iter().chain(names.iter().map(String::as_str)).chain(["#IN ALL"]).collect();
    out.line("Nanoseconds a packet, by stage")?;
    out.line(table(&header, rows))
}

pub(super) fn status(view: view::Status, out: &mut Out) -> Result<(), Error> {
    let runtime = &view.runtime;
    let dataplane = match (&runtime.dataplane.problem, runtime.dataplane.connected) {
        (_, true) => format!("connected, pid {}", runtime.dataplane.pid.unwrap_or(0)),
        (Some(problem), false) => format!("away: {problem}"),
        (None, false) => "away".to_owned(),
    };
    let listen = match (&view.http.address, &view.http.problem) {
        (_, Some(problem)) => format!("! {problem}"),
        (Some(address), None) => address.clone(),
        (None, None) => "off".to_owned(),
    };
    let rib = format!(
        "{} prefixes, {} of {} next hops resolve{}",
        number(runtime.rib.prefixes),
        number(runtime.rib.nexthops_resolved),
        number(runtime.rib.nexthops),
        if runtime.rib.loading { ", being read in" } else { "" }
    );
    let mirror = format!(
        "{}: {} routes, {} pending, {} in others' hands",
        runtime.mirror.mode,
        number(runtime.mirror.routes),
        number(runtime.mirror.pending),
        number(runtime.mirror.foreign)
    );
    let audit = format!(
        "{} rounds, {} repaired",
        number(runtime.audit.rounds_total),
        number(runtime.audit.mismatches_total)
    );
    let lines = [
        ("Up for", duration(view.uptime_seconds)),
        ("Configuration", view.config_file.clone()),
        ("Dataplane", dataplane),
        ("Routing table", rib),
        ("Forwarding table", sync(runtime.fib.state, runtime.fib.generation_sent)),
        ("Audit", audit),
        ("Kernel mirror", mirror),
        ("TCP listener", listen),
    ];
    for (name, value) in lines {
        out.line(format_args!("{name:<17} {value}"))?;
    }
    if !runtime.dataplane.restart.is_empty() {
        let settings = runtime.dataplane.restart.join(", ");
        out.line(format_args!("! in force after a restart of the dataplane: {settings}"))?;
    }
    if let Some(confirm) = view.confirm {
        out.line(format_args!(
            "! the configuration is taken back in {} s unless you give `millrace confirm`",
            number(confirm.seconds_left)
        ))?;
    }
    if runtime.fib.refused != 0 {
        let refused = number(runtime.fib.refused);
        out.line(format_args!("! {refused} routes or groups are refused: see `millrace show fib`"))?;
    }
    if let Some(error) = &runtime.mirror.last_error {
        out.line(format_args!("! kernel mirror: {error}"))?;
    }
    Ok(())
}

pub(super) fn config(view: view::Config, out: &mut Out) -> Result<(), Error> {
    out.line(format_args!("# In force, defaults written out. Read at start and on SIGHUP: {}", view.file))?;
    out.bytes(view.toml.as_bytes())
}

pub(super) fn version(view: view::Version, out: &mut Out) -> Result<(), Error> {
    let dataplane = match (view.dataplane.build, view.dataplane.problem) {
        (Some(build), _) if view.dataplane.connected => {
            format!("{build} (pid {})", view.dataplane.pid.unwrap_or(0))
        }
        (_, Some(problem)) => format!("away: {problem}"),
        (_, None) => "away".to_owned(),
    };
    let lines = [
        ("Command", env!("CARGO_PKG_VERSION").to_owned()),
        (
            "Control",
            format!("{} (pid {}, up {})", view.version, view.control_pid, duration(view.uptime_seconds)),
        ),
        ("Dataplane", dataplane),
        ("Router", view.name.unwrap_or_else(|| "-".to_owned())),
        ("Kernel", view.kernel),
    ];
    for (name, value) in lines {
        out.line(format_args!("{name:<10} {value}"))?;
    }
    Ok(())
}
