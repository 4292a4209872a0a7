//! A configuration put in force, on probation, taken back.

use super::*;

#[tokio::test]
async fn a_good_configuration_is_put_in_force_and_a_bad_one_is_not() {
    let rig = Rig::new(PLAY).await;
    let before = rig.handle.config();
    for (kind, body, status, error) in [
        ("application/toml", "[[interface]]\nname = 7\n".to_owned(), 422, "the configuration is not right"),
        ("application/json", rig.file("bad.toml", "[router\n"), 422, "the configuration is not right"),
        ("application/json", "{\"file\": \"relative.toml\"}".to_owned(), 400, "not an absolute path"),
        ("application/json", "{\"name\": \"x\"}".to_owned(), 400, "not {\"file\": \"/path\"}"),
        ("application/json; charset=utf-8", "[1".to_owned(), 400, "not {\"file\": \"/path\"}"),
    ] {
        let (code, answer) = rig.post("/api/v1/apply", kind, &body).await;
        assert_eq!(code, status, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(error), "{answer}");
        assert_eq!(answer["problems"].is_array(), code == 422, "{answer}");
        assert_eq!(rig.handle.config(), before);
    }
    let good = rig.file("good.toml", "[[interface]]\nname = \"eth0\"\n");
    let (code, answer) = rig.post("/api/v1/diff", "application/json", &good).await;
    assert_eq!((code, &answer["changes"][0]["setting"]), (200, &json!("interface \"eth1\"")));
    assert_eq!(rig.handle.config(), before);
    let (code, answer) = rig.post("/api/v1/apply", "application/json", &good).await;
    assert_eq!((code, &answer["result"]["changed"]), (200, &json!(true)));
    assert_eq!(rig.handle.config().interfaces.len(), 1);
    let (_, answer) = rig.post("/api/v1/apply", "application/json", &good).await;
    assert_eq!((&answer["result"]["changed"], &answer["changes"]), (&json!(false), &json!([])));
    // Back, and back again.
    assert_eq!(rig.post("/api/v1/rollback", "", "").await.0, 200);
    assert_eq!(rig.handle.config(), before);
    assert_eq!(rig.post("/api/v1/rollback", "", "").await.0, 200);
    assert_eq!(rig.handle.config().interfaces.len(), 1);
}

#[tokio::test]
async fn what_the_dataplane_refuses_is_not_in_force() {
    let rig = Rig::new(Play { refuses: true, ..PLAY }).await;
    for path in ["/api/v1/apply", "/api/v1/apply?confirm=60"] {
        let (code, answer) = rig.post(path, "application/toml", "").await;
        assert_eq!(code, 422);
        assert_eq!(answer["error"], "the dataplane refuses the configuration: eth1 has no queue 7");
    }
    assert_eq!(rig.get("/api/v1/config").await.1["confirm"], Value::Null);
    assert!(unconfirmed(rig.dir.path()).is_none());
}

#[tokio::test]
async fn relative_names_in_a_posted_text_are_beside_the_configuration() {
    let rig = Rig::new(PLAY).await;
    rig.file("table.csv", "10.1.0.0/16\n10.2.0.0/16\n");
    let text = "[[static]]\nprefixes-from = \"table.csv\"\nkind = \"blackhole\"\n";
    assert_eq!(rig.post("/api/v1/apply", "application/toml", text).await.0, 200);
    assert_eq!(rig.handle.config().statics[0].prefixes.len(), 2);
}

async fn commits() -> (tempfile::TempDir, Handle, Commits) {
    let dir = tempfile::tempdir().unwrap();
    let config = config::parse(CONFIG, Path::new("m.toml")).unwrap().config;
    let (handle, commands, publish) = Handle::scripted(config);
    tokio::spawn(perform(PLAY, commands, publish));
    let commits = Commits::new(handle.clone(), dir.path());
    (dir, handle, commits)
}

fn other(name: &str) -> Config {
    config::parse(&format!("[router]\nname = \"{name}\"\n"), Path::new("m.toml")).unwrap().config
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_configuration_is_taken_back() {
    let (dir, handle, commits) = commits().await;
    let before = handle.config();
    commits.apply_on_probation(other("a"), 60).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(commits.pending().await.unwrap().seconds_left, 30);
    // A second change on probation still leads back to the last good one.
    commits.apply_on_probation(other("b"), 60).await.unwrap();
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(*handle.config(), other("b"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(handle.config(), before);
    assert_eq!(commits.pending().await, None);
    assert!(unconfirmed(dir.path()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_configuration_stays() {
    let (dir, handle, commits) = commits().await;
    commits.apply_on_probation(other("a"), 60).await.unwrap();
    commits.confirm().await.unwrap();
    assert!(commits.confirm().await.is_err());
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(*handle.config(), other("a"));
    assert!(unconfirmed(dir.path()).is_none());
    // So does one that is applied for good while another is on probation.
    commits.apply_on_probation(other("b"), 60).await.unwrap();
    commits.apply(other("c")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(*handle.config(), other("c"));
    // And what somebody else put in force meanwhile.
    commits.apply_on_probation(other("d"), 60).await.unwrap();
    handle.apply(other("e")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(*handle.config(), other("e"));
}

#[tokio::test]
async fn a_restart_during_probation_starts_with_the_configuration_before() {
    let (dir, handle, commits) = commits().await;
    let before = handle.config();
    commits.apply_on_probation(other("a"), 60).await.unwrap();
    drop((handle, commits));
    let found = unconfirmed(dir.path()).unwrap().unwrap();
    assert_eq!(found.config, *before);
    assert!(unconfirmed(dir.path()).is_none(), "once is enough");
}

#[tokio::test]
async fn probation_has_bounds() {
    let (_dir, _handle, commits) = commits().await;
    for seconds in [0, 86_401] {
        assert!(commits.apply_on_probation(other("a"), seconds).await.is_err());
    }
}
