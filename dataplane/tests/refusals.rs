//! Destinations that get no packet: what the sender hears, to the type and code.

use std::time::Duration;

use millrace_lab::topology::Line;
use millrace_lab::{Capture, Ping, Router, config, test};

const ROUTES: &str = r#"
[[static]]
prefix = "10.66.0.0/16"
kind = "blackhole"
[[static]]
prefix = "10.67.0.0/16"
kind = "unreachable"
[[static]]
prefix = "10.68.0.0/16"
kind = "prohibit"
[[static]]
prefix = "10.69.0.0/16"
via = ["10.0.2.77"]
"#;

struct Case {
    name: &'static str,
    to: &'static str,
    /// ICMP type and code of the answer; none for silence.
    answer: Option<(&'static str, &'static str)>,
    drop: &'static str,
    /// Time until the answer: resolving a neighbour takes the kernel three seconds to give up.
    patience: &'static str,
}

const CASES: &[Case] = &[
    Case { name: "a blackhole is silent", to: "10.66.1.1", answer: None, drop: "blackhole", patience: "-W1" },
    Case {
        name: "unreachable",
        to: "10.67.1.1",
        answer: Some(("3", "1")),
        drop: "unreachable",
        patience: "-W1",
    },
    Case { name: "prohibit", to: "10.68.1.1", answer: Some(("3", "13")), drop: "prohibit", patience: "-W1" },
    Case {
        name: "no route",
        to: "198.51.100.1",
        answer: Some(("3", "0")),
        drop: "no-route",
        patience: "-W1",
    },
    Case {
        name: "a neighbour that is not there",
        to: "10.0.2.99",
        answer: Some(("3", "1")),
        drop: "neighbor-failed",
        patience: "-W8",
    },
    Case {
        name: "a gateway that is not there",
        to: "10.69.1.1",
        answer: Some(("3", "1")),
        drop: "neighbor-failed",
        patience: "-W8",
    },
];

#[test]
fn each_refusal_has_its_answer_and_its_counter() {
    test(|lab| {
        let line = Line::new(lab)?;
        let router = Router::start(&line.router, &config(&["lan", "wan"], ROUTES))?;
        for case in CASES {
            let before = router.count("drops", case.drop)?;
            let heard = Capture::start(&line.client, "eth0", "icmp and dst host 10.0.1.2")?;
            let ping = Ping::new(&line.client, case.to).count(1).arg(case.patience).run()?;
            assert_eq!(ping.received, 0, "{}", case.name);
            assert_eq!(
                router.count("drops", case.drop)?,
                before + 1,
                "{}: {}",
                case.name,
                router.show("drops")?
            );
            let heard = heard.stop(usize::from(case.answer.is_some()))?;
            let names = ["icmp.type", "icmp.code", "ip.src", "ip.dst"];
            let heard = heard.fields("", &names)?;
            let values: Vec<Vec<&str>> =
                heard.iter().map(|h| names.iter().map(|n| h[*n].as_str()).collect()).collect();
            match case.answer {
                // The quoted packet is an echo request: type 8, code 0.
                Some((kind, code)) => {
                    let (kind, code) = (format!("{kind},8"), format!("{code},0"));
                    let to = format!("10.0.1.2,{}", case.to);
                    assert_eq!(values, [[kind.as_str(), &code, "10.0.1.1,10.0.1.2", &to]], "{}", case.name);
                }
                None => assert_eq!(values, [[""; 4]; 0], "{}", case.name),
            }
        }
        // None of it has hurt the others.
        assert_eq!(Ping::new(&line.client, Line::SERVER).run()?.received, 3);
        Ok(())
    });
}

#[test]
fn a_station_that_appears_is_reached_although_it_was_refused_before() {
    test(|lab| {
        let line = Line::new(lab)?;
        let _router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        assert_eq!(Ping::new(&line.client, "10.0.2.50").count(1).arg("-W8").run()?.received, 0);
        line.server.ip("address add 10.0.2.50/24 dev eth0")?;
        millrace_lab::wait_until("a reply of the new station", Duration::from_secs(15), || {
            Ok(Ping::new(&line.client, "10.0.2.50").count(1).run()?.received == 1)
        })
    });
}
