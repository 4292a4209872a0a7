//! The configuration is read again: a good one takes effect under traffic, a bad one changes nothing.

use std::time::Duration;

use anyhow::Result;
use millrace_lab::topology::Line;
use millrace_lab::{Ping, Router, config, test, wait_until};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(15);
const PORTS: [&str; 2] = ["lan", "wan"];

/// The configuration with a static route to this prefix.
fn with(base: &str, prefix: &str) -> String {
    format!("{base}[[static]]\nprefix = \"{prefix}\"\nvia = [\"10.0.2.2\"]\n")
}

fn has_route(router: &Router, prefix: &str) -> Result<bool> {
    let routes = router.show("routes")?;
    let installed = |route: &serde_json::Value| route["prefix"] == prefix && route["installed"] == true;
    Ok(routes.as_array().is_some_and(|all| all.iter().any(installed)))
}

#[test]
fn a_good_file_changes_live_under_traffic() {
    test(|lab| {
        let line = Line::new(lab)?;
        let base = config(&PORTS, "");
        let router = Router::start(&line.router, &with(&base, "10.9.1.0/24"))?;
        let stream =
            Ping::new(&line.client, Line::SERVER).count(1500).interval(Duration::from_millis(2)).arg("-q");
        let mut traffic = stream.spawn()?;
        // By SIGHUP …
        router.write_config(&with(&base, "10.9.2.0/24"))?;
        router.signal(Signal::HUP)?;
        wait_until("the new route", SOON, || has_route(&router, "10.9.2.0/24"))?;
        wait_until("the old route to go", SOON, || Ok(!has_route(&router, "10.9.1.0/24")?))?;
        // … and by apply.
        let next = line.router.dir().join("next.toml");
        std::fs::write(&next, with(&base, "10.9.3.0/24"))?;
        let applied = router.millrace(["apply", &next.display().to_string()])?;
        assert!(applied.status.success(), "{applied:?}");
        wait_until("the applied route", SOON, || has_route(&router, "10.9.3.0/24"))?;
        wait_until("the route of before to go", SOON, || Ok(!has_route(&router, "10.9.2.0/24")?))?;
        let result = stream.finish(&mut traffic)?;
        assert_eq!(result.lost(), 0, "{result:?}");
        Ok(())
    });
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    test(|lab| {
        let line = Line::new(lab)?;
        let base = config(&PORTS, "");
        let good = with(&base, "10.9.1.0/24");
        let router = Router::start(&line.router, &good)?;
        let before = router.show("routes")?;
        let bad = format!("{base}[[static]]\nprefix = \"10.9.2.0/33\"\nvia = [\"10.0.2.2\"]\n");
        router.write_config(&bad)?;
        router.signal(Signal::HUP)?;
        let place =
            format!("millrace.toml:{}", bad.lines().position(|l| l.contains("/33")).map_or(0, |n| n + 1));
        wait_until("the log to name the place", SOON, || Ok(router.log().contains(&place)))?;
        let applied = router.millrace(["apply", &router.config_file().display().to_string()])?;
        let said = String::from_utf8_lossy(&applied.stderr).into_owned();
        assert_eq!(applied.status.code(), Some(2), "{said}");
        for word in [place.as_str(), "prefix", "10.9.2.0/33"] {
            assert!(said.contains(word), "no {word:?} in {said:?}");
        }
        assert_eq!(router.show("routes")?, before);
        assert_eq!(Ping::new(&line.client, Line::SERVER).run()?.received, 3);
        // A good one is taken again after that.
        router.write_config(&with(&base, "10.9.4.0/24"))?;
        router.signal(Signal::HUP)?;
        wait_until("the new route", SOON, || has_route(&router, "10.9.4.0/24"))
    });
}

#[test]
fn an_interface_can_be_added_and_taken_out_live() {
    test(|lab| {
        let line = Line::new(lab)?;
        let both = config(&PORTS, "");
        let one = config(&PORTS[..1], "").replace(both.lines().nth(1).unwrap_or_default(), "");
        let workers = both.lines().nth(1).unwrap_or_default();
        let one = format!(
            "[dataplane]\n{workers}\n{}",
            one.lines().skip(2).map(|l| format!("{l}\n")).collect::<String>()
        );
        let mut router = Router::start(&line.router, &one)?;
        router.write_config(&both)?;
        router.signal(Signal::HUP)?;
        wait_until("both interfaces", SOON, || {
            Ok(router.show("interfaces")?.as_array().is_some_and(|i| i.len() == 2))
        })?;
        router.wait_ready()?;
        let before = router.count("xdp", "redirected")?;
        assert_eq!(Ping::new(&line.client, Line::SERVER).run()?.received, 3);
        wait_until(
            "both ways by the workers",
            SOON,
            || Ok(before + 6 <= router.count("xdp", "redirected")?),
        )?;
        router.write_config(&one)?;
        router.signal(Signal::HUP)?;
        wait_until("one interface", SOON, || {
            Ok(router.show("interfaces")?.as_array().is_some_and(|i| i.len() == 1))
        })?;
        wait_until("XDP to be off the other", SOON, || {
            Ok(!line.router.ip("link show dev wan")?.contains("xdp"))
        })?;
        assert_eq!(router.count("frames", "lost")?, 0);
        Ok(())
    });
}
