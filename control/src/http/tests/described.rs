//! What the document of the API describes is what there is, and wrong requests are answered in a sentence.

use super::*;

fn document() -> Value {
    serde_json::from_str(crate::http::api::OPENAPI).unwrap()
}

/// What of `value` the schema does not allow. The part of JSON Schema that the document uses.
fn misfit(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let target = name.strip_prefix('#').and_then(|pointer| document.pointer(pointer)).expect(name);
        return misfit(document, target, value, at);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let misfits: Option<Vec<_>> =
            choices.iter().map(|choice| misfit(document, choice, value, at)).collect();
        return misfits.map(|all| all.join(" or "));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    if !kinds.iter().any(|allowed| allowed == kind || (allowed == "number" && kind == "integer")) {
        return Some(format!("{at}: {value} is no {kinds:?}"));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Some(format!("{at}: {value} is none of {allowed:?}"));
    }
    if let Value::Array(items) = value
        && schema["items"].is_object()
    {
        return items.iter().find_map(|item| misfit(document, &schema["items"], item, &format!("{at}[]")));
    }
    let Value::Object(fields) = value else { return None };
    for required in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(required.as_str().unwrap()) {
            return Some(format!("{at}.{required} is missing"));
        }
    }
    fields.iter().find_map(|(name, field)| {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => Some(format!("{at} is not described")),
            (Value::Null, Value::Null) => None,
            (Value::Null, other) => misfit(document, other, field, &at),
            (described, _) => misfit(document, described, field, &at),
        }
    })
}

#[tokio::test]
async fn every_described_path_answers_as_described() {
    let document = document();
    let rig = Rig::new(PLAY).await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let (method, toml) = (method.to_uppercase(), Some(("application/toml", CONFIG)));
            // An address as parameter, so that optional parts are there too.
            let path_and_query = match path.rsplit('/').next() {
                Some("explain") => format!("{path}?source=10.0.0.1&destination=10.0.0.0&protocol=icmp"),
                Some("fib") => format!("{path}?address=10.0.0.0"),
                // A capture ends with its count.
                Some("capture") => format!("{path}?count=1"),
                Some("deterministic") => format!("{path}?inside=10.0.0.1"),
                _ => path.clone(),
            };
            let (status, body) = rig.raw(&method, &path_and_query, toml.filter(|_| method == "POST")).await;
            let described = &operation["responses"][status.to_string()];
            assert!(described.is_object(), "{method} {path} answers {status}: {body:?}");
            assert!(
                status == 200 || path.ends_with("confirm") || path.ends_with("rollback"),
                "{method} {path}: {status}"
            );
            let schema = &described["content"]["application/json"]["schema"];
            if schema.is_object() && !path.ends_with("openapi.json") {
                assert_eq!(misfit(&document, schema, &parsed(&body), path), None);
            }
        }
    }
}

#[test]
fn the_schema_check_finds_what_is_wrong() {
    let schema = json!({"type": "object", "properties": {"a": {"type": ["integer", "null"]}}, "required": ["a"], "additionalProperties": false});
    let wrong = |value: Value| misfit(&Value::Null, &schema, &value, "").is_some();
    assert!(!wrong(json!({"a": 1})) && !wrong(json!({"a": null})));
    assert!(
        wrong(json!({})) && wrong(json!({"a": "1"})) && wrong(json!({"a": 1, "b": 2})) && wrong(json!([]))
    );
}

#[tokio::test]
async fn wrong_requests_are_answered_in_a_sentence() {
    let document = document();
    let rig = Rig::new(PLAY).await;
    for (method, path, status) in [
        ("GET", "/api/v1/nothing", 404),
        ("DELETE", "/api/v1/routes", 405),
        ("GET", "/api/v1/apply", 405),
        ("GET", "/api/v1/routes?prefix=10.1.2.3/8", 400),
        ("GET", "/api/v1/routes?protocol=eigrp", 400),
        ("GET", "/api/v1/routes?colour=blue", 400),
        ("GET", "/api/v1/routes?limit=-1", 400),
        ("GET", "/api/v1/routes?prefix=10.0.0.0/8&address=10.0.0.1", 400),
        ("GET", "/api/v1/fib?address=10.0.0", 400),
        ("GET", "/api/v1/nat/sessions?inside=10.1.2.3/8", 400),
        ("GET", "/api/v1/nat/sessions?protocol=sctp", 400),
        ("GET", "/api/v1/nat/mappings?remote=10.1.2.3", 400),
        ("GET", "/api/v1/nat/deterministic?outside=10.1.2.3", 400),
        ("GET", "/api/v1/nat/clear", 405),
        ("GET", "/api/v1/capture?filter=hots", 400),
        ("GET", "/api/v1/capture?points=rx,middle", 400),
        ("POST", "/api/v1/confirm", 409),
        ("POST", "/api/v1/rollback", 409),
    ] {
        let (code, body) = rig.raw(method, path, None).await;
        assert_eq!(code, status, "{method} {path}: {body:?}");
        let failure = &document["components"]["schemas"]["Failure"];
        assert_eq!(misfit(&document, failure, &parsed(&body), path), None);
    }
}

/// Each path that the page asks for is there, and it takes nothing from another host.
#[tokio::test]
async fn the_dashboard_asks_only_for_what_is_there() {
    let rig = Rig::new(PLAY).await;
    let (status, page) = rig.raw("GET", "/", None).await;
    let page = String::from_utf8(page.to_vec()).unwrap();
    assert_eq!(status, 200);
    assert!(!page.contains("://"), "{page}");
    let list = page.split_once("Promise.all([").unwrap().1.split_once("]").unwrap().0;
    let paths: Vec<String> =
        list.split(", ").map(|name| format!("/api/v1/{}", name.trim_matches('"'))).collect();
    assert_eq!(paths.len(), 5);
    for path in &paths {
        assert_eq!(rig.get(path).await.0, 200, "{path}");
    }
}
