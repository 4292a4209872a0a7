//! `[bfd]`: how sessions behave, for all of them, for those of an interface, for one neighbour.

use std::net::Ipv4Addr;
use std::num::NonZeroU8;

use millrace_bfd::wire::Micros;
use millrace_bfd::{Config, Params};

use super::check;
use super::problem::Problem;
use super::read::{Reader, Table};
use super::reference;

pub(super) fn bfd(reader: &mut Reader<'_>, table: &Table<'_>) -> Config {
    let default = params(reader, table, Params::default());
    let mut config = Config { default, ..Config::default() };
    if let Some(value) = table.under("interface") {
        for table in reader.tables(reference::BFD_INTERFACE, value) {
            let Some(field) = required(reader, &table, "name") else { continue };
            let Some(name) = reader.string(&field).map(str::to_owned) else { continue };
            let table = table.titled(&name);
            let params = params(reader, &table, default);
            if config.interfaces.insert(name.clone(), params).is_some() {
                reader.reject(&field, format_args!("names {name:?} a second time"));
            }
        }
    }
    if let Some(value) = table.under("neighbor") {
        for table in reader.tables(reference::BFD_NEIGHBOR, value) {
            let Some(field) = required(reader, &table, "address") else { continue };
            let address = reader.parsed(&field, |text| match text.parse::<Ipv4Addr>() {
                Ok(address) => check::not_a_host(address).map_or(Ok(address), |what| Err(what.to_owned())),
                Err(_) => Err("not an IPv4 address".to_owned()),
            });
            let Some(address) = address else { continue };
            let table = table.titled(&address.to_string());
            let params = params(reader, &table, default);
            if config.neighbors.insert(address, params).is_some() {
                reader.reject(&field, format_args!("names {address} a second time"));
            }
        }
    }
    config
}

/// What a table says, and `base` where it says nothing.
fn params(reader: &mut Reader<'_>, table: &Table<'_>, base: Params) -> Params {
    let mut interval = |key, base: Micros| {
        let given = table.get(key).and_then(|field| reader.integer::<u32>(&field, 10..=60_000));
        given.map_or(base, Micros::from_millis)
    };
    let (min_tx, min_rx) = (interval("min-tx", base.min_tx()), interval("min-rx", base.min_rx()));
    let multiplier = table.get("multiplier").and_then(|field| reader.integer::<u8>(&field, 1..=255));
    let multiplier = multiplier.and_then(NonZeroU8::new).unwrap_or(base.detect_mult());
    let mut switch = |key, base| table.get(key).and_then(|field| reader.boolean(&field)).unwrap_or(base);
    let (passive, shutdown) = (switch("passive", base.passive()), switch("shutdown", base.shutdown()));
    // Within bounds, which are the same here and there.
    let params = Params::new(min_tx, min_rx, multiplier).unwrap_or(base);
    params.with_passive(passive).with_shutdown(shutdown)
}

fn required<'d>(
    reader: &mut Reader<'_>,
    table: &Table<'d>,
    key: &'static str,
) -> Option<super::read::Field<'d>> {
    let field = table.get(key);
    if field.is_none() {
        let problem: Problem =
            reader.source.problem(table.span.clone(), format!("{}: {key} is missing", table.title()));
        reader.push(problem.key(key).expected(format!("{key} = \"…\" in this table")));
    }
    field
}
