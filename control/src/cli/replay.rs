//! `millrace replay FILE`: a recording played again, and what the machine made of it.
//!
//! The same recording prints the same text, every time and on every machine: each output with the time of the step that
//! caused it, then the routes that stood at the end.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

use millrace_net::Prefix;
use millrace_proto::{Machine, Route, RouteChange, record};
use serde::de::DeserializeOwned;

use super::exit::{Error, Exit};
use super::out::Out;
use crate::record::Recording;

/// Plays one protocol's recording.
type Player = fn(Recording, &mut Out) -> Result<(), Error>;

/// What can be played.
const PLAYERS: &[(&str, Player)] = &[("rip", rip), ("ospf", ospf), ("bfd", bfd)];

pub(super) fn replay(file: &Path, out: &mut Out) -> Result<Exit, Error> {
    let said = |what: String| Error::Failed(format!("{}: {what}", file.display()));
    let recording = Recording::open(file).map_err(|error| Error::File { path: file.to_owned(), error })?;
    let recording = recording.map_err(|error| said(error.to_string()))?;
    let protocol = recording.header.protocol.clone();
    let Some((_, player)) = PLAYERS.iter().find(|(name, _)| *name == protocol) else {
        return Err(said(format!("a recording of {protocol:?}, which this version cannot play")));
    };
    player(recording, out)?;
    Ok(Exit::Done)
}

fn rip(recording: Recording, out: &mut Out) -> Result<(), Error> {
    let machine = millrace_rip::Rip::new(recording.header.seed);
    play(machine, recording, out, |output| match output {
        millrace_rip::Output::Route(change) => Some(change),
        millrace_rip::Output::Send(_)
        | millrace_rip::Output::Listen(_)
        | millrace_rip::Output::Unlisten(_)
        | millrace_rip::Output::Bfd { .. }
        | millrace_rip::Output::Notice(_) => None,
    })
}

fn ospf(recording: Recording, out: &mut Out) -> Result<(), Error> {
    let machine = millrace_ospf::Ospf::new(recording.header.seed);
    play(machine, recording, out, |output| match output {
        millrace_ospf::Output::Route(change) => Some(change),
        millrace_ospf::Output::Send(_)
        | millrace_ospf::Output::Listen(_)
        | millrace_ospf::Output::Unlisten(_)
        | millrace_ospf::Output::Bfd { .. }
        | millrace_ospf::Output::Notice(_) => None,
    })
}

fn bfd(recording: Recording, out: &mut Out) -> Result<(), Error> {
    play(millrace_bfd::Bfd::new(recording.header.seed), recording, out, |_| None)
}

fn play<M>(
    mut machine: M,
    recording: Recording,
    out: &mut Out,
    change: impl Fn(&M::Output) -> Option<&RouteChange>,
) -> Result<(), Error>
where
    M: Machine<Input: DeserializeOwned, Output: Debug>,
{
    let mut table: BTreeMap<Prefix, Route> = BTreeMap::new();
    let mut problem = None;
    let steps = recording.steps().map_while(|step| match step {
        Ok(step) => Some(step),
        Err(error) => {
            problem = Some(error);
            None
        }
    });
    for (at, output) in record::replay(&mut machine, steps) {
        match change(&output) {
            Some(RouteChange::Upsert(route)) => _ = table.insert(route.prefix, route.clone()),
            Some(RouteChange::Remove(prefix)) => _ = table.remove(prefix),
            None => {}
        }
        out.line(format_args!("{}.{:09} {output:?}", at.as_secs(), at.as_nanos() % 1_000_000_000))?;
    }
    for (prefix, route) in &table {
        let hops: Vec<_> = route.next_hops.iter().filter_map(|hop| hop.gateway).collect();
        out.line(format_args!("route {prefix} metric {} via {hops:?}", route.metric))?;
    }
    match problem {
        Some(error) => Err(Error::Failed(error.to_string())),
        None => Ok(()),
    }
}
