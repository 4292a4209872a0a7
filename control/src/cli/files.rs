//! Commands about configuration files: `check`, `diff`, `apply`, `confirm`, `rollback`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::client::{Client, parse};
use super::exit::{Error, Exit};
use super::out::{Out, number, plural};
use crate::config::{self, Change, Effect};
use crate::http::view::{Applied, Config};

/// Reads the file here, with the eyes of the router.
pub(super) fn check(file: &Path, out: &mut Out) -> Result<Exit, Error> {
    let loaded = config::load(file)?;
    for warning in &loaded.warnings {
        out.line(warning)?;
    }
    let config = &loaded.config;
    let prefixes: usize = config.statics.iter().map(|route| route.prefixes.len()).sum();
    let parts = [plural(config.interfaces.len(), "interface"), plural(prefixes, "static route")];
    out.line(format_args!("{}: ok, {}", file.display(), parts.join(", ")))?;
    Ok(Exit::Done)
}

pub(super) fn diff(client: &Client, file: Option<PathBuf>, json: bool, out: &mut Out) -> Result<Exit, Error> {
    let file = absolute(client, file)?;
    let answer = client.post("/api/v1/diff", &json!({ "file": file }))?;
    if json {
        out.bytes(&answer)?;
        out.line("")?;
        return Ok(Exit::Done);
    }
    let applied: Applied = parse(&answer)?;
    warnings(&applied, out)?;
    if applied.changes.is_empty() {
        out.line("No difference to what is in force.")?;
    }
    changes(&applied.changes, out)?;
    Ok(Exit::Done)
}

pub(super) fn apply(
    client: &Client,
    file: Option<PathBuf>,
    confirm: Option<u64>,
    json: bool,
    out: &mut Out,
) -> Result<Exit, Error> {
    let file = absolute(client, file)?;
    let path = confirm
        .map_or_else(|| "/api/v1/apply".to_owned(), |seconds| format!("/api/v1/apply?confirm={seconds}"));
    let answer = client.post(&path, &json!({ "file": file }))?;
    if json {
        out.bytes(&answer)?;
        out.line("")?;
        return Ok(Exit::Done);
    }
    let applied: Applied = parse(&answer)?;
    report(&applied, out)?;
    if let Some(confirm) = applied.confirm {
        out.line(format_args!(
            "It is taken back in {} s unless you give `millrace confirm`.",
            number(confirm.seconds_left)
        ))?;
    } else if !applied.changes.is_empty() && applied.config_file != file {
        out.line(format_args!(
            "Note: a restart and SIGHUP read {}, which is another file.",
            applied.config_file
        ))?;
    }
    Ok(Exit::Done)
}

pub(super) fn confirm(client: &Client, out: &mut Out) -> Result<Exit, Error> {
    client.post("/api/v1/confirm", &json!(null))?;
    out.line("Confirmed: the configuration stays in force.")?;
    Ok(Exit::Done)
}

pub(super) fn rollback(client: &Client, json: bool, out: &mut Out) -> Result<Exit, Error> {
    let answer = client.post("/api/v1/rollback", &json!(null))?;
    if json {
        out.bytes(&answer)?;
        out.line("")?;
        return Ok(Exit::Done);
    }
    let applied: Applied = parse(&answer)?;
    report(&applied, out)?;
    out.line("The configuration before is in force again; the file is as it was.")?;
    Ok(Exit::Done)
}

/// The file as the routing process can open it: by default the one it was started with.
fn absolute(client: &Client, file: Option<PathBuf>) -> Result<String, Error> {
    let file = match file {
        Some(file) => file,
        None => client.get::<Config>("/api/v1/config")?.file.into(),
    };
    let absolute = std::path::absolute(&file).map_err(|error| Error::File { path: file, error })?;
    let named = absolute.into_os_string().into_string();
    named.map_err(|name| Error::Failed(format!("{}: the name is not UTF-8", name.to_string_lossy())))
}

fn warnings(applied: &Applied, out: &mut Out) -> Result<(), Error> {
    applied.warnings.iter().try_for_each(|warning| out.line(warning))
}

/// What was changed, and what it takes.
fn report(applied: &Applied, out: &mut Out) -> Result<(), Error> {
    warnings(applied, out)?;
    if applied.changes.is_empty() {
        out.line("Nothing to change: it is in force already.")?;
    }
    changes(&applied.changes, out)?;
    let Some(result) = &applied.result else { return Ok(()) };
    if result.routes_added != 0 || result.routes_removed != 0 {
        let (added, removed) = (number(result.routes_added), number(result.routes_removed));
        out.line(format_args!("Routes: {added} added, {removed} removed."))?;
    }
    if !result.restart.is_empty() {
        out.line(format_args!("In force after a restart of the dataplane: {}.", result.restart.join(", ")))?;
    }
    if !result.dataplane {
        out.line("The dataplane is away; it gets the configuration when it is back.")?;
    }
    Ok(())
}

fn changes(changes: &[Change], out: &mut Out) -> Result<(), Error> {
    for change in changes {
        let restart = match change.effect {
            Effect::Live => "",
            Effect::RestartDataplane => "   (takes a restart of the dataplane)",
        };
        out.line(match (&change.old, &change.new) {
            (Some(old), Some(new)) => format!("~ {}: {old} → {new}{restart}", change.setting),
            (None, Some(new)) => format!("+ {}: {new}{restart}", change.setting),
            (Some(old), None) => format!("- {}: {old}{restart}", change.setting),
            (None, None) => continue,
        })?;
    }
    Ok(())
}
