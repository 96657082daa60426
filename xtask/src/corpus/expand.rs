//! The short forms of a corpus: `{"$gen": …}` for what is large, `{{FAKE:…}}` and `{{SECRET:…}}` for what would look like
//! a credential.

use serde_json::{Map, Value, json};

/// Letters and digits that are the same in every language, for a seed (xorshift64*).
fn letters(count: usize, seed: u64) -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    let mut text = String::with_capacity(count);
    for _ in 0..count {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        text.push(char::from(LETTERS[(x.wrapping_mul(0x2545_F491_4F6C_DD1D) % 62) as usize]));
    }
    text
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .enumerate()
            .fold(0u32, |group, (at, byte)| group | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            text.push(if at <= chunk.len() {
                char::from(LETTERS[(group >> (18 - 6 * at)) as usize & 63])
            } else {
                '='
            });
        }
    }
    text
}

fn fake(name: &str) -> Option<String> {
    let part = |bytes: &[u8]| base64(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_");
    Some(match name {
        "github_pat" => format!("ghp_{}", letters(36, 1)),
        "slack_bot" => format!("xoxb-{}-{}-{}", "1".repeat(12), "2".repeat(12), letters(24, 2)),
        "discord_bot" => format!("{}.{}.{}", letters(24, 3), letters(6, 4), letters(38, 5)),
        "aws_key_pair" => format!("AKIA{} {}", letters(16, 6).to_uppercase(), letters(40, 7)),
        "jwt" => {
            [&b"{\"alg\":\"HS256\",\"typ\":\"JWT\"}"[..], b"{\"sub\":\"dev\"}", b"not-a-real-signature-0000"]
                .map(part)
                .join(".")
        }
        _ => return None,
    })
}

/// The value that is registered for a server of a case.
pub(super) fn secret(server: &str) -> Option<String> {
    (server == "brave").then(|| format!("BSA{}", letters(28, 8)))
}

fn placeholder(kind: &str, name: &str) -> Option<String> {
    if kind == "FAKE" {
        return fake(name);
    }
    let secret = secret(name)?;
    let half = secret.len() / 2;
    Some(match kind {
        "SECRET" => secret,
        "SECRET_B64" => base64(secret.as_bytes()),
        "SECRET_HEX" => secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
        "SECRET_URLENC" => secret.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        "SECRET_HALF1" => secret[..half].to_owned(),
        "SECRET_HALF2" => secret[half..].to_owned(),
        _ => return None,
    })
}

fn substitute(text: &str) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        done.push_str(before);
        let value = after
            .split_once("}}")
            .and_then(|(inside, behind)| Some((inside.split_once(':')?, behind)))
            .and_then(|((kind, name), behind)| Some((placeholder(kind, name)?, behind)));
        match value {
            Some((value, behind)) => {
                done.push_str(&value);
                rest = behind;
            }
            None => {
                done.push_str("{{");
                rest = after;
            }
        }
    }
    done.push_str(rest);
    done
}

fn generate(gen_: &Map<String, Value>) -> Value {
    let number = |key: &str| gen_.get(key).and_then(Value::as_u64).unwrap_or(0) as usize;
    let text = |key: &str| gen_.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("$gen") {
        "repeat" => text("s").repeat(number("n")).into(),
        "concat" => {
            let parts = gen_.get("parts").and_then(Value::as_array).into_iter().flatten();
            parts.map(|part| expand(part).as_str().unwrap_or_default().to_owned()).collect::<String>().into()
        }
        "base64" => base64(letters(number("bytes"), 9).as_bytes()).into(),
        "enum" => (0..number("n")).map(|i| format!("v{i:06}")).collect(),
        "list" => (0..number("n")).map(|i| json!({"i": i})).collect(),
        "props" => {
            let properties: Map<String, Value> =
                (0..number("n")).map(|i| (format!("p{i:05}"), json!({"type": "string"}))).collect();
            json!({"type": "object", "properties": properties})
        }
        "obj_keys" => Value::Object((0..number("n")).map(|i| (format!("k{i:06}"), json!(i))).collect()),
        "depth_bomb" => format!("{}{}", "[".repeat(number("depth")), "]".repeat(number("depth"))).into(),
        "nest_obj" => {
            let depth = number("depth");
            json!({"$raw": format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth))})
        }
        "nest_schema" => {
            let depth = number("depth");
            let open = "{\"type\":\"object\",\"properties\":{\"a\":".repeat(depth);
            json!({"$raw": format!("{open}{{\"type\":\"string\"}}{}", "}}".repeat(depth))})
        }
        "allof_bomb" => {
            let mut definitions = Map::new();
            definitions.insert("d0".into(), json!({"type": "string"}));
            for i in 1..=number("n") {
                let reference = json!({"$ref": format!("#/$defs/d{}", i - 1)});
                definitions.insert(format!("d{i}"), json!({"allOf": [reference, reference]}));
            }
            let last = format!("#/$defs/d{}", number("n"));
            json!({"type": "object", "properties": {"a": {"$ref": last}}, "$defs": definitions})
        }
        "tools_list" => {
            let (count, total) = (number("n"), number("bytes"));
            let list = |description: &str| {
                let tools: Vec<Value> = (0..count)
                    .map(|i| json!({"name": format!("tool_{i:05}"), "description": description, "inputSchema": {"type": "object"}}))
                    .collect();
                json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}).to_string()
            };
            let pad = total.saturating_sub(list("").len()) / count.max(1);
            list(&"d".repeat(pad)).into()
        }
        "lineless" => "x".repeat(number("bytes")).into(),
        "big_result" => json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "y".repeat(number("bytes"))}]}})
            .to_string()
            .into(),
        "sse_unterminated" => format!("data: {}", "z".repeat(number("bytes"))).into(),
        "notif_flood" => {
            vec![r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}"#; number("n")].join("\n").into()
        }
        "list_changed" => vec![r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#; number("n")].join("\n").into(),
        _ => Value::Object(gen_.clone()),
    }
}

/// A value with everything written out.
pub(super) fn expand(value: &Value) -> Value {
    match value {
        Value::String(text) => substitute(text).into(),
        Value::Array(items) => {
            let mut all = Vec::new();
            for item in items {
                let kind = item.get("$gen").and_then(Value::as_str).unwrap_or_default();
                let count = item.get("n").and_then(Value::as_u64).unwrap_or(0) as usize;
                match kind {
                    "spread_repeat" => all.extend(std::iter::repeat_n(item["s"].clone(), count)),
                    "oneof" => all.extend((0..count).map(|i| {
                        json!({"type": "object", "properties": {"kind": {"const": format!("k{i}")}}, "required": ["kind"]})
                    })),
                    _ => all.push(expand(item)),
                }
            }
            Value::Array(all)
        }
        Value::Object(fields) if fields.contains_key("$gen") => generate(fields),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (substitute(key), expand(value))).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_written_out() {
        let case = json!({"a": {"$gen": "repeat", "s": "ab", "n": 2}, "b": [{"$gen": "spread_repeat", "s": "x", "n": 3}], "c": "k={{SECRET_HEX:brave}}"});
        let whole = expand(&case);
        assert_eq!(whole["a"], "abab");
        assert_eq!(whole["b"], json!(["x", "x", "x"]));
        assert!(whole["c"].as_str().unwrap().starts_with("k=425341"), "{whole}");
        assert_eq!(substitute("{{contents of x}}"), "{{contents of x}}");
    }
}
