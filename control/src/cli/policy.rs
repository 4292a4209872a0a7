//! `millrace policy test`: what a rule list does to routes, from the file, without a router.

use std::path::Path;

use millrace_policy::{Context, offline};

use super::exit::{Error, Exit};
use super::out::Out;
use crate::config;

pub(super) fn test(
    file: &Path,
    name: &str,
    routes: &[String],
    json: bool,
    out: &mut Out,
) -> Result<Exit, Error> {
    let loaded = config::load(file)?;
    let context = Context { own_as: loaded.config.router.asn };
    let test = |route: &String| offline::test(&loaded.config.policy.policies, name, route, context);
    let reports: Vec<offline::Report> =
        routes.iter().map(test).collect::<Result<_, _>>().map_err(|error| Error::Usage(error.to_string()))?;
    if json {
        let text = serde_json::to_string(&reports).map_err(|error| Error::Usage(error.to_string()))?;
        out.line(text)?;
        return Ok(Exit::Done);
    }
    for (route, report) in routes.iter().zip(&reports) {
        out.line(format_args!("{route}: {report}"))?;
    }
    Ok(Exit::Done)
}
