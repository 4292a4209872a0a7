//! What carries addresses in its payload, or asks about its NAT: FTP, TFTP, STUN behaviour discovery, with the programs that
//! people use.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use millrace_lab::topology::Home;
use millrace_lab::{Lab, Node, Router, test, wait_until};

const SHARED: &str = "interface = \"wan\"";
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether the program is there; a line says what to install where it is not.
fn has(program: &str, package: &str) -> bool {
    let found = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/bin", "/sbin"]
        .iter()
        .any(|directory| std::path::Path::new(directory).join(program).is_file());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{program} is not there: install {package}");
        eprintln!("SKIPPED: {program} is not there: install {package}");
    }
    found
}

fn home(lab: &Lab, pool: &str, rest: &str) -> Result<(Home, Router)> {
    let home = Home::new(lab)?;
    let router = Router::start(&home.router, &Home::config(pool, rest))?;
    Ok((home, router))
}

/// Waits for a TCP listener in the node.
fn listening(node: &Node, what: &str, filter: &str) -> Result<()> {
    wait_until(what, PATIENCE, || Ok(!node.run("ss", ["-Hlntu", filter])?.trim().is_empty()))
}

/// An FTP server in the node, with a file of `len` bytes; ends with what is given back.
fn ftp_server(node: &Node, len: usize) -> Result<millrace_lab::Process> {
    let root = node.dir().join("ftp");
    std::fs::create_dir_all(&root)?;
    std::fs::write(root.join("file"), vec![b'x'; len])?;
    let empty = node.dir().join("empty");
    std::fs::create_dir_all(&empty)?;
    let config = node.dir().join("vsftpd.conf");
    let text = format!(
        "listen=YES\nbackground=NO\nanonymous_enable=YES\nno_anon_password=YES\nanon_root={}\n\
         secure_chroot_dir={}\nrun_as_launching_user=YES\nftp_username=root\nxferlog_enable=NO\n\
         connect_from_port_20=NO\nseccomp_sandbox=NO\nport_enable=YES\npasv_enable=YES\n",
        root.display(),
        empty.display()
    );
    std::fs::write(&config, text)?;
    let server = node.spawn("vsftpd", [&config])?;
    listening(node, "vsftpd to listen", "sport = :21")?;
    Ok(server)
}

#[test]
fn nat_ftp_active_and_passive() {
    if !has("vsftpd", "vsftpd") || !has("curl", "curl") {
        return;
    }
    test(|lab| {
        const LEN: usize = 300_000;
        let (home, router) = home(lab, SHARED, "")?;
        let _server = ftp_server(&home.server, LEN)?;
        let url = format!("ftp://{}/file", Home::SERVER);
        let len = LEN.to_string();
        // PORT, EPRT, PASV and EPSV, in the client's words.
        for (way, args) in [
            ("PORT", ["--ftp-port", "-", "--disable-eprt"].as_slice()),
            ("EPRT", &["--ftp-port", "-"]),
            ("PASV", &["--disable-epsv"]),
            ("EPSV", &[]),
        ] {
            let fixed = ["-sS", "--max-time", "15", "-o", "/dev/null", "-w", "%{size_download}", &url];
            let out = home.alice.run("curl", fixed.iter().chain(args)).with_context(|| way.to_owned())?;
            assert_eq!(out.trim(), len, "{way}");
        }
        assert_eq!(router.count("frames", "lost")?, 0);
        Ok(())
    });
}

#[test]
fn nat_ftp_active_needs_its_gateway() {
    if !has("vsftpd", "vsftpd") || !has("curl", "curl") {
        return;
    }
    test(|lab| {
        let home = Home::new(lab)?;
        let config = Home::config(SHARED, "").replace("[nat]\n", "[nat]\nalg = []\n");
        let _router = Router::start(&home.router, &config)?;
        let _server = ftp_server(&home.server, 1000)?;
        let url = format!("ftp://{}/file", Home::SERVER);
        let passive = ["-sS", "--max-time", "10", "-o", "/dev/null", &url];
        home.alice.run("curl", passive).context("passive needs none")?;
        let active = ["-sS", "--max-time", "4", "--ftp-port", "-", "-o", "/dev/null", &url];
        assert!(home.alice.run("curl", active).is_err(), "the server cannot reach 10.0.1.2");
        Ok(())
    });
}

#[test]
fn nat_tftp() {
    if !has("in.tftpd", "tftpd-hpa") || !has("curl", "curl") {
        return;
    }
    test(|lab| {
        // Neither the port nor the address of the answers is filtered away: only the gateway lets them in.
        let pool = format!("{SHARED}\nfiltering = \"address-and-port-dependent\"");
        let (home, _router) = home(lab, &pool, "")?;
        let root = home.server.dir().join("tftp");
        std::fs::create_dir_all(&root)?;
        std::fs::write(root.join("file"), vec![b'y'; 5000])?;
        Command::new("chmod").args(["-R", "a+rX"]).arg(&root).status()?;
        let root_text = root.display().to_string();
        let _server = home
            .server
            .spawn("in.tftpd", ["-L", "-v", "-u", "root", "-a", "0.0.0.0:69", "-s", &root_text])?;
        listening(&home.server, "tftpd to listen", "sport = :69")?;
        let url = format!("tftp://{}/file", Home::SERVER);
        let args = ["-sS", "--max-time", "15", "-o", "/dev/null", "-w", "%{size_download}", &url];
        assert_eq!(home.alice.run("curl", args)?.trim(), "5000");
        Ok(())
    });
}

#[test]
fn nat_stun_discovery_finds_the_filtering_that_is_configured() {
    if !has("turnserver", "coturn") || !has("turnutils_natdiscovery", "coturn") {
        return;
    }
    test(|lab| {
        let home = Home::new(lab)?;
        // RFC 5780 §4 wants a server with two addresses.
        home.server.ip("address add 192.0.2.3/24 dev eth0")?;
        let log = home.server.dir().join("turn.log").display().to_string();
        let pid = home.server.dir().join("turn.pid").display().to_string();
        let database = home.server.dir().join("turn.db").display().to_string();
        let _server = home.server.spawn(
            "turnserver",
            [
                "-n",
                "--listening-ip",
                "192.0.2.2",
                "--listening-ip",
                "192.0.2.3",
                "--no-tls",
                "--no-dtls",
                "--no-auth",
                "--no-cli",
                "--log-file",
                &log,
                "--pidfile",
                &pid,
                "--userdb",
                &database,
            ],
        )?;
        listening(&home.server, "the STUN server to listen", "sport = :3479")?;
        let mut router: Option<Router> = None;
        for (filtering, found) in [
            ("endpoint-independent", "NAT with Endpoint Independent Filtering!"),
            ("address-dependent", "NAT with Address Dependent Filtering!"),
            ("address-and-port-dependent", "NAT with Address and Port Dependent Filtering!"),
        ] {
            let config = Home::config(&format!("{SHARED}\nfiltering = \"{filtering}\""), "");
            match &mut router {
                None => router = Some(Router::start(&home.router, &config)?),
                Some(router) => {
                    router.write_config(&config)?;
                    let applied = router.millrace(["apply"])?;
                    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
                }
            }
            let mapping =
                home.alice.run("turnutils_natdiscovery", ["-m", "-L", Home::ALICE, Home::SERVER])?;
            assert!(mapping.contains("NAT with Endpoint Independent Mapping!"), "{filtering}: {mapping}");
            let said = home.alice.run("turnutils_natdiscovery", ["-f", "-L", Home::ALICE, Home::SERVER])?;
            assert!(said.contains(found), "{filtering}: {said}");
        }
        Ok(())
    });
}
