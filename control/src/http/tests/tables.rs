//! Tables: whole, by pages, and without a dataplane.

use super::*;

#[tokio::test]
async fn a_long_table_comes_whole_and_by_pages() {
    let rig = Rig::new(Play { routes: 10_000, ..PLAY }).await;
    let prefixes = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|route| route["prefix"].as_str().unwrap().to_owned()).collect()
    };
    let all: Vec<String> = (0..10_000).map(|n| route(n).prefix.to_string()).collect();
    let (status, body) = rig.get("/api/v1/routes").await;
    assert_eq!((status, prefixes(&body)), (200, all.clone()));
    let (_, page) = rig.get("/api/v1/routes?limit=5000").await;
    assert_eq!(prefixes(&page), all[..5000]);
    let (_, page) = rig.get("/api/v1/routes?limit=3&after=10.0.0.1/32").await;
    assert_eq!(prefixes(&page), all[2..5]);
    let (_, page) = rig.get(&format!("/api/v1/routes?after={}", all[9_999])).await;
    assert_eq!(page, json!([]));
    let (_, page) = rig.get("/api/v1/routes?limit=0").await;
    assert_eq!(page, json!([]));
    // The filter leaves nothing of the first pages: what follows is looked at all the same.
    let (_, page) = rig.get(&format!("/api/v1/routes?prefix={}", all[9_000])).await;
    assert_eq!(prefixes(&page), all[9_000..9_001]);
}

#[tokio::test]
async fn interfaces_are_those_of_the_configuration() {
    let rig = Rig::new(PLAY).await;
    let (_, body) = rig.get("/api/v1/interfaces").await;
    assert_eq!(body[0]["addresses"], json!(["192.0.2.2/30"]));
    assert_eq!(body[0]["problem"], Value::Null);
    assert_eq!(body[1]["name"], "eth1");
    assert_eq!(body[1]["addresses"], json!(["10.0.0.1/24"]));
    assert_eq!(body[1]["problem"], "the dataplane has not taken the interface into service yet");
}

#[tokio::test]
async fn without_a_dataplane_the_rest_still_answers() {
    let rig = Rig::new(Play { dataplane: false, ..PLAY }).await;
    for path in ["version", "status", "config", "routes", "nexthops", "interfaces"] {
        assert_eq!(rig.get(&format!("/api/v1/{path}")).await.0, 200, "{path}");
    }
    for path in ["fib", "fib/routes", "neighbors", "counters", "drops", "workers"] {
        let (status, body) = rig.get(&format!("/api/v1/{path}")).await;
        assert_eq!(status, 503, "{path}");
        assert_eq!(body["error"], "the dataplane is not connected: No such file or directory");
    }
    let (_, body) = rig.get("/api/v1/interfaces").await;
    assert_eq!(body[1]["problem"], "the dataplane is not connected: No such file or directory");
    let (_, metrics) = rig.raw("GET", "/metrics", None).await;
    assert!(String::from_utf8_lossy(&metrics).contains("millrace_dataplane_up 0\n"));
}
