//! `[[key-chain]]`: keys with lifetimes, for protocols that authenticate their messages.

use std::collections::BTreeMap;
use std::fmt;

use millrace_proto::{Algorithm, Key, KeyChain, KeyId, Lifetime, Secret, UnixTime};
use toml::Spanned;
use toml::de::DeValue;
use toml::value::{Date, Datetime, Offset};

use super::print::quoted;
use super::read::{Field, Reader, Table, nearest};
use super::reference;

/// By name.
pub type KeyChains = BTreeMap<String, KeyChain>;

pub(super) fn key_chains(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> KeyChains {
    let mut chains = KeyChains::new();
    for table in reader.tables(reference::KEY_CHAIN, value) {
        let Some(name) = reader.required(&table, "name") else { continue };
        let Some(text) = reader.parsed(&name, plain_name) else { continue };
        let table = table.titled(&text);
        let Some(chain) = key_chain(reader, &table, &text) else { continue };
        if chains.insert(text, chain).is_some() {
            reader.reject(&name, "is taken by an earlier [[key-chain]]");
        }
    }
    chains
}

/// A name of 1 to 63 letters, digits, `-`, `_` and `.`.
pub(super) fn plain_name(text: &str) -> Result<String, &'static str> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if (1..=63).contains(&text.len()) && plain { Ok(text.to_owned()) } else { Err("not a name") }
}

fn key_chain(reader: &mut Reader<'_>, table: &Table<'_>, name: &str) -> Option<KeyChain> {
    let fail_secure = table.get("fail-secure").and_then(|field| reader.boolean(&field)).unwrap_or(false);
    let field = reader.required(table, "key")?;
    let tables = reader.tables(reference::KEY, field.value);
    let count = tables.len();
    let keys: Vec<Key> = tables.into_iter().filter_map(|table| key(reader, table)).collect();
    if keys.len() != count {
        return None;
    }
    match KeyChain::new(name, keys, fail_secure) {
        Ok(chain) => Some(chain),
        Err(error) => {
            reader.reject(&field, format_args!("cannot be so: {error}"));
            None
        }
    }
}

fn key(reader: &mut Reader<'_>, table: Table<'_>) -> Option<Key> {
    let id_field = reader.required(&table, "id")?;
    let id = reader.integer::<u8>(&id_field, 0..=255)?;
    let table = table.titled(&id.to_string());
    let algorithm = match table.get("algorithm") {
        Some(field) => {
            let names = Algorithm::ALL.map(|algorithm| (algorithm.name(), algorithm));
            reader.choice(&field, &names)?
        }
        None => Algorithm::default(),
    };
    let secret = match table.get("secret-hex") {
        Some(field) => {
            if table.get("secret").is_some() {
                reader.reject(&field, "stands beside `secret`: a key has one of the two");
            }
            Secret::new(reader.parsed(&field, hexadecimal)?)
        }
        None => {
            let field = reader.required(&table, "secret")?;
            Secret::new(reader.string(&field)?.as_bytes())
        }
    };
    let send = lifetime(reader, &table, "send-from", "send-until")?;
    let accept = lifetime(reader, &table, "accept-from", "accept-until")?;
    Some(Key { id: KeyId(id), algorithm, secret, send, accept })
}

/// RFC 4822 §5.6
fn hexadecimal(text: &str) -> Result<Vec<u8>, &'static str> {
    const WRONG: &str = "not an even number of hexadecimal digits";
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return Err(WRONG);
    }
    let octet = |at| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or(WRONG);
    (0..text.len()).step_by(2).map(octet).collect()
}

/// None: a bound is wrong, which has been said.
fn lifetime(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    from: &'static str,
    until: &'static str,
) -> Option<Lifetime> {
    let mut bound = |name| match table.get(name) {
        None => Some(None),
        Some(field) => time(reader, &field).map(Some),
    };
    Some(Lifetime { start: bound(from)?, end: bound(until)? })
}

fn time(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<UnixTime> {
    let time = match field.value.get_ref() {
        DeValue::Datetime(time) => unix(time),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => None,
    };
    if time.is_none() {
        reader.reject(field, format_args!("cannot be {}", reader.text(field.span())));
    }
    time
}

/// Seconds since 1970; None of what is no moment: a time of day, one without an offset, or one before 1970.
fn unix(time: &Datetime) -> Option<UnixTime> {
    let (date, clock, offset) = (time.date?, time.time?, time.offset?);
    let minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let of_day =
        i64::from(clock.hour) * 3600 + i64::from(clock.minute) * 60 + i64::from(clock.second.unwrap_or(0))
            - minutes * 60;
    u64::try_from(days(date) * 86_400 + of_day).ok().map(UnixTime)
}

/// Days from 1970-01-01 in the Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms").
fn days(date: Date) -> i64 {
    let month = i64::from(date.month);
    let year = i64::from(date.year) - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(date.day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse: `2026-11-22T17:45:00Z`.
fn rfc3339(time: UnixTime) -> String {
    let (days, second) = (time.0 / 86_400 + 719_468, time.0 % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * shifted + 2) / 5 + 1, (shifted + 2) % 12 + 1);
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The chain a key names.
pub(super) fn named(reader: &mut Reader<'_>, field: &Field<'_>, chains: &KeyChains) -> Option<KeyChain> {
    let name = reader.string(field)?;
    let found = chains.get(name);
    if found.is_none() {
        let what = format_args!("cannot be {name:?}: there is no [[key-chain]] of this name");
        let problem = reader.field_problem(field, what);
        reader.push(match nearest(name, chains.keys().map(String::as_str)) {
            Some(near) => problem.help(format!("did you mean \"{near}\"?")),
            None => problem,
        });
    }
    found.cloned()
}

/// As a file has them, secrets and all.
pub(super) fn print(f: &mut fmt::Formatter<'_>, chains: &KeyChains) -> fmt::Result {
    for chain in chains.values() {
        writeln!(f, "\n[[key-chain]]\nname = {}", quoted(chain.name()))?;
        writeln!(f, "fail-secure = {}", chain.fail_secure())?;
        for key in chain.keys() {
            writeln!(f, "\n[[key-chain.key]]\nid = {}\nalgorithm = \"{}\"", key.id.0, key.algorithm.name())?;
            match std::str::from_utf8(key.secret.bytes()) {
                Ok(text) => writeln!(f, "secret = {}", quoted(text))?,
                Err(_) => {
                    let octets = key.secret.bytes().iter();
                    let digits: String = octets.map(|octet| format!("{octet:02x}")).collect();
                    writeln!(f, "secret-hex = \"{digits}\"")?;
                }
            }
            for (name, at) in [
                ("send-from", key.send.start),
                ("send-until", key.send.end),
                ("accept-from", key.accept.start),
                ("accept-until", key.accept.end),
            ] {
                if let Some(at) = at {
                    writeln!(f, "{name} = {}", rfc3339(at))?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_seconds() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:34:56Z", Some(951_827_696)),
            ("2026-11-22T17:45:00Z", Some(1_795_369_500)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400)),
            ("2026-11-22T18:45:00+01:00", Some(1_795_369_500)),
            ("2026-11-22T17:45:00", None),
            ("2026-11-22", None),
            ("1969-12-31T23:59:59Z", None),
        ] {
            let time = unix(&text.parse().unwrap());
            assert_eq!(time, seconds.map(UnixTime), "{text}");
            if let Some(time) = time.filter(|_| text.ends_with('Z')) {
                assert_eq!(rfc3339(time), text);
            }
        }
    }
}
