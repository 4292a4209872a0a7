//! The control socket, and the same for reading only over TCP.

use super::*;

#[tokio::test]
async fn the_socket_is_for_owner_and_group_and_goes_with_the_server() {
    use std::os::unix::fs::PermissionsExt;
    let mut rig = Rig::new(PLAY).await;
    let mode = std::fs::metadata(rig.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let error = Server::bind(rig.dir.path()).unwrap_err();
    assert!(error.to_string().contains(&rig.dir.path().display().to_string()), "{error}");
    rig.stop.take().unwrap().send(()).unwrap();
    (&mut rig.server).await.unwrap();
    assert!(!rig.socket().exists());
    // What a process that was killed leaves behind is in nobody's way.
    std::fs::write(rig.socket(), "").unwrap();
    Server::bind(rig.dir.path()).unwrap();
}

/// A port nobody listens on at present.
async fn free_port() -> u16 {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

fn listening(port: u16) -> Config {
    let text = format!("{CONFIG}[http]\nlisten = \"127.0.0.1:{port}\"\n");
    config::parse(&text, Path::new("m.toml")).unwrap().config
}

/// Without what changes from one moment to the next.
fn steady(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.lines().filter(|line| !line.starts_with("millrace_process_")).collect::<Vec<_>>().join("\n")
}

async fn until<T, F: Future<Output = Option<T>>>(mut condition: impl FnMut() -> F) -> T {
    let wait = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap()
}

#[tokio::test]
async fn over_tcp_there_is_the_same_for_reading_only() {
    let rig = Rig::new(PLAY).await;
    let port = free_port().await;
    rig.handle.apply(listening(port)).await.unwrap();
    let connect = || async { TcpStream::connect(("127.0.0.1", port)).await.ok() };
    for path in ["/metrics", "/api/v1/interfaces", "/api/v1/openapi.json"] {
        let (status, body) = request(until(connect).await, "GET", path, None).await;
        let (local_status, local) = rig.raw("GET", path, None).await;
        assert_eq!((status, steady(&body)), (local_status, steady(&local)), "{path}");
    }
    let before = rig.handle.config();
    for path in ["/api/v1/apply", "/api/v1/rollback", "/api/v1/confirm", "/api/v1/diff", "/nothing"] {
        let (status, body) =
            request(until(connect).await, "POST", path, Some(("application/toml", ""))).await;
        assert_eq!(status, 403, "{path}");
        assert!(parsed(&body)["error"].as_str().unwrap().contains("for reading only"));
    }
    assert_eq!(rig.handle.config(), before);
    assert_eq!(rig.get("/api/v1/status").await.1["http"]["address"], format!("127.0.0.1:{port}"));
    // It moves with the configuration, and goes with it.
    let next = free_port().await;
    rig.handle.apply(listening(next)).await.unwrap();
    until(|| async { TcpStream::connect(("127.0.0.1", next)).await.ok() }).await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    rig.handle.apply(config::parse(CONFIG, Path::new("m.toml")).unwrap().config).await.unwrap();
    until(|| async { TcpStream::connect(("127.0.0.1", next)).await.err() }).await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_said() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::new(PLAY).await;
    rig.handle.apply(listening(taken.local_addr().unwrap().port())).await.unwrap();
    let problem =
        until(|| async { rig.get("/api/v1/status").await.1["http"]["problem"].as_str().map(str::to_owned) })
            .await;
    assert!(problem.contains("Address already in use"), "{problem}");
}
