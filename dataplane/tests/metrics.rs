//! The metrics endpoint: complete, well-formed, and adding up.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_lab::topology::Line;
use millrace_lab::{Iperf, Ping, Router, config, test, wait_until};

const SOON: Duration = Duration::from_secs(10);
const LISTEN: &str = "[http]\nlisten = \"127.0.0.1:9179\"\n";

/// Sample with its labels → value; an error for a line that is none of the text format.
fn parse(text: &str) -> Result<BTreeMap<String, f64>> {
    let mut samples = BTreeMap::new();
    let mut kinds = BTreeMap::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (what, name, rest) = (words.next(), words.next().context("no name")?, words.next());
            ensure!(rest.is_some_and(|r| !r.is_empty()), "an empty comment: {line}");
            if what == Some("TYPE") {
                ensure!(
                    kinds.insert(name.to_owned(), rest.unwrap_or_default().to_owned()).is_none(),
                    "{name} twice"
                );
            }
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').with_context(|| format!("no sample: {line}"))?;
        let name = sample.split('{').next().unwrap_or_default();
        ensure!(
            name.starts_with("millrace_") || name.starts_with("process_"),
            "a name without prefix: {line}"
        );
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
        let kind =
            kinds.get(name).or_else(|| kinds.get(base)).with_context(|| format!("no TYPE for {line}"))?;
        ensure!((kind == "counter") == name.ends_with("_total"), "{name} is a {kind}");
        let value = value.parse().with_context(|| line.to_owned())?;
        ensure!(samples.insert(sample.to_owned(), value).is_none(), "{sample} twice");
    }
    Ok(samples)
}

#[test]
fn both_endpoints_give_the_same_well_formed_names() {
    test(|lab| {
        let line = Line::new(lab)?;
        let router = Router::start(&line.router, &config(&["lan", "wan"], LISTEN))?;
        let socket = parse(&router.get("/metrics")?)?;
        let fetch =
            "exec 3<>/dev/tcp/127.0.0.1/9179; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
        let answer = line.router.run("bash", ["-c", fetch])?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        assert!(head.contains("200 OK") && head.contains("text/plain"), "{head}");
        let listen = parse(body)?;
        assert_eq!(socket.keys().collect::<Vec<_>>(), listen.keys().collect::<Vec<_>>());
        for sample in [
            "millrace_interface_rx_packets_total{interface=\"lan\"}",
            "millrace_interface_tx_bytes_total{interface=\"wan\"}",
            "millrace_drops_total{reason=\"no-route\"}",
            "millrace_fib_routes",
            "millrace_frames_lost",
            "millrace_rib_routes{protocol=\"connected\"}",
        ] {
            assert!(socket.contains_key(sample), "no {sample} in {:?}", socket.keys());
        }
        Ok(())
    });
}

#[test]
fn what_comes_in_goes_out_or_is_counted() {
    test(|lab| {
        let line = Line::new(lab)?;
        let router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        Iperf::new(&line.client, &line.server, Line::SERVER).seconds(1).udp("5M", 300).run()?;
        Ping::new(&line.client, "198.51.100.1").count(5).run()?;
        Ping::new(&line.client, Line::SERVER).count(5).ttl(1).run()?;
        let total = |samples: &BTreeMap<String, f64>, name: &str| -> f64 {
            samples
                .iter()
                .filter(|(sample, _)| sample.split('{').next() == Some(name))
                .map(|(_, value)| value)
                .sum()
        };
        let mut last = BTreeMap::new();
        wait_until("in = out + dropped", SOON, || {
            last = parse(&router.get("/metrics")?)?;
            let rx = total(&last, "millrace_interface_rx_packets_total");
            let tx = total(&last, "millrace_interface_tx_packets_total");
            let drops = total(&last, "millrace_drops_total");
            let errors = total(&last, "millrace_icmp_sent_total");
            Ok(1000.0 < rx && rx + errors == tx + drops)
        })
        .with_context(|| format!("{last:#?}"))?;
        assert!(5.0 <= last["millrace_drops_total{reason=\"no-route\"}"]);
        assert_eq!(last["millrace_frames_lost"], 0.0);
        Ok(())
    });
}
