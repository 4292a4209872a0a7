//! Several routers on one host: apart they do not meet, on one interface the second is refused.

use std::time::Duration;

use anyhow::Context;
use millrace_lab::topology::Line;
use millrace_lab::{Ping, Router, config, test, wait_until};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_second_instance_on_an_interface_is_refused_and_the_first_goes_on() {
    test(|lab| {
        let line = Line::new(lab)?;
        let first = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        let second = config(&["lan"], "[http]\nlisten = \"127.0.0.1:9180\"\n");
        let mut second = Router::launch_as(&line.router, "second", &second)?;
        // Either it ends with a reason, or it shows the interface as not in service.
        let mut reason = String::new();
        wait_until("the second to say why not", SOON, || {
            reason = match second.is_running()? {
                false => second.log(),
                true => second
                    .show("interfaces")
                    .ok()
                    .and_then(|i| i[0]["problem"].as_str().map(str::to_owned))
                    .unwrap_or_default(),
            };
            Ok(!reason.is_empty())
        })?;
        assert!(reason.contains("lan") || reason.contains("another"), "{reason}");
        let before = first.count("xdp", "redirected")?;
        assert_eq!(Ping::new(&line.client, Line::SERVER).run()?.received, 3);
        assert!(before + 6 <= first.count("xdp", "redirected")?, "the first still forwards");
        Ok(())
    });
}

#[test]
fn a_second_instance_on_a_run_directory_is_refused() {
    test(|lab| {
        let line = Line::new(lab)?;
        let text = config(&["lan", "wan"], "");
        let first = Router::start(&line.router, &text)?;
        let run_dir = first.run_dir().display().to_string();
        let file = first.config_file().display().to_string();
        let millrace = millrace_lab::millrace()?.display().to_string();
        let mut second = line.router.spawn(&millrace, ["run", "-c", &file, "--run-dir", &run_dir])?;
        let status = second.wait(SOON)?;
        assert!(!status.success(), "{}{}", second.out(), second.err());
        let said = second.out() + &second.err();
        assert!(said.contains(&run_dir), "{said}");
        first.show("version").context("the first still answers")?;
        assert_eq!(Ping::new(&line.client, Line::SERVER).run()?.received, 3);
        Ok(())
    });
}

#[test]
fn the_cli_says_when_nothing_runs() {
    test(|lab| {
        let run_dir = lab.dir().display().to_string();
        let node = lab.node("router")?;
        let program = millrace_lab::millrace()?;
        let output = node.command(program, ["show", "version"]).env("MILLRACE_RUN_DIR", run_dir).output()?;
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        Ok(())
    });
}
