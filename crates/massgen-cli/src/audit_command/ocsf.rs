//! Records of the audit log in the Open Cybersecurity Schema Framework.
//!
//! A call is an API Activity (6003), a server's coming and going an Application Lifecycle event (6002), everything that
//! a rule found a Detection Finding (2004).

use serde_json::{Value, json};

/// The version of the schema.
const VERSION: &str = "1.6.0";

/// The event of a record; `None` for the ends of the log itself, which are not events.
pub(super) fn event(record: &Value) -> Option<Value> {
    let kind = text(record, "event")?;
    let (class, activity, name, own) = match kind {
        "tool_call" => (6003, 99, Some("Call"), call(record)),
        "server" => {
            let (activity, name) = match text(record, "state") {
                Some("starting" | "ready") => (3, None),
                Some("unreachable" | "auth_required" | "stopped" | "resting") => (4, None),
                _ => (99, Some("Other")),
            };
            (6002, activity, name, server(record))
        }
        "begin" | "end" => return None,
        _ => (2004, 1, None, finding(record, kind)),
    };
    let mut event = json!({
        "class_uid": class,
        "category_uid": class / 1000,
        "activity_id": activity,
        "activity_name": name,
        "type_uid": class * 100 + activity,
        "time": milliseconds(record)?,
        "metadata": {
            "version": VERSION,
            "profiles": ["security_control"],
            "product": {"name": "massgen", "vendor_name": "massgen", "version": env!("CARGO_PKG_VERSION")},
            "log_name": crate::audit_log::FILE,
            "sequence": record["seq"],
            "uid": record["hash"],
            "event_code": kind,
        },
    });
    if let (Some(event), Value::Object(own)) = (event.as_object_mut(), own) {
        event.extend(own);
        event.retain(|_, value| !value.is_null());
    }
    Some(event)
}

fn text<'a>(record: &'a Value, key: &str) -> Option<&'a str> {
    record.get(key).and_then(Value::as_str)
}

fn milliseconds(record: &Value) -> Option<i64> {
    let at: jiff::Timestamp = text(record, "at")?.parse().ok()?;
    Some(at.as_millisecond())
}

fn is_denied(record: &Value) -> bool {
    text(record, "decision") == Some("deny")
}

/// Allowed or denied, blocked or let through, by which rule.
fn control(record: &Value) -> Value {
    let (action, disposition) = if is_denied(record) { (2, 2) } else { (1, 1) };
    json!({
        "action_id": action,
        "disposition_id": disposition,
        "policy": text(record, "rule").map(|rule| json!({"name": rule})),
    })
}

fn call(record: &Value) -> Value {
    let succeeded = text(record, "outcome") == Some("answered");
    let mut own = json!({
        "severity_id": if is_denied(record) { 3 } else { 1 },
        "status_id": if succeeded { 1 } else { 2 },
        "status_detail": text(record, "class").or(text(record, "outcome")),
        "duration": record.get("duration_ms"),
        "actor": {"app_name": text(record, "caller").unwrap_or("massgen")},
        "api": {
            "operation": "tools/call",
            "request": {"uid": record["call"]},
            "service": {"name": text(record, "server").unwrap_or("none")},
        },
        "src_endpoint": {"svc_name": "massgen"},
        "dst_endpoint": text(record, "server").map(|server| json!({"svc_name": server})),
        "resources": [{"name": text(record, "tool").or(text(record, "asked")), "type": "MCP tool"}],
    });
    merge(&mut own, control(record));
    own
}

fn server(record: &Value) -> Value {
    let failed = matches!(text(record, "state"), Some("unreachable" | "auth_required" | "quarantined"));
    json!({
        "severity_id": if failed { 3 } else { 1 },
        "status_id": if failed { 2 } else { 1 },
        "status_detail": text(record, "state"),
        "message": text(record, "detail"),
        "app": {"name": record["server"], "vendor_name": "unknown"},
    })
}

fn finding(record: &Value, kind: &str) -> Value {
    let rule = text(record, "rule").or(text(record, "state")).unwrap_or(kind);
    let subject: Vec<&str> = [text(record, "server"), text(record, "tool")].into_iter().flatten().collect();
    let mut own = json!({
        "severity_id": if is_denied(record) { 4 } else { 2 },
        "status_id": 1,
        "is_alert": is_denied(record),
        "message": text(record, "detail"),
        "finding_info": {
            "title": format!("{rule}: {}", subject.join(" ")),
            "uid": record["hash"],
            "desc": text(record, "detail"),
            "analytic": {"name": rule, "uid": rule, "type_id": 1, "type": "Rule"},
        },
        "resources": [{"name": subject.join(" "), "type": if subject.len() == 2 { "MCP tool" } else { "MCP server" }}],
    });
    merge(&mut own, control(record));
    own
}

fn merge(own: &mut Value, further: Value) {
    if let (Some(own), Value::Object(further)) = (own.as_object_mut(), further) {
        own.extend(further);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_record_has_its_class_and_what_that_demands() {
        let record = |more: Value| {
            let mut record =
                json!({"v": 1, "seq": 4, "at": "2026-01-02T03:04:05.678Z", "server": "s", "hash": "ab"});
            merge(&mut record, more);
            record
        };
        let cases = [
            (
                json!({"event": "tool_call", "call": "c1", "caller": "a", "tool": "t", "decision": "deny", "outcome": "failed", "class": "refused", "rule": "permission-denied", "duration_ms": 3}),
                600_399,
                ["actor", "api", "src_endpoint"].as_slice(),
            ),
            (json!({"event": "server", "state": "ready"}), 600_203, &["app"]),
            (json!({"event": "server", "state": "unreachable", "detail": "why"}), 600_204, &["app"]),
            (
                json!({"event": "pin", "tool": "t", "decision": "deny", "rule": "tool-changed"}),
                200_401,
                &["finding_info"],
            ),
            (
                json!({"event": "integrity", "state": "quarantined", "decision": "deny"}),
                200_401,
                &["finding_info"],
            ),
        ];
        for (more, kind, demanded) in cases {
            let event = event(&record(more)).unwrap();
            assert_eq!(event["type_uid"], kind);
            let class = event["class_uid"].as_i64().unwrap();
            assert_eq!(kind, class * 100 + event["activity_id"].as_i64().unwrap());
            assert_eq!(event["category_uid"], class / 1000);
            assert_eq!(event["time"], 1_767_323_045_678_i64);
            for key in ["severity_id", "metadata"].iter().chain(demanded) {
                assert!(event.get(key).is_some(), "{key}: {event}");
            }
            assert!(event.as_object().unwrap().values().all(|value| !value.is_null()), "{event}");
        }
        assert_eq!(event(&json!({"event": "begin", "nonce": "n"})), None);
    }
}
