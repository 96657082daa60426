//! One spelling for each JSON value, after RFC 8785.

use std::fmt::Write;
use std::io::{self, Read};

use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

/// The value as JSON without blanks, its keys sorted by their UTF-16 code units and its numbers spelt in one way, so that
/// values that mean the same are the same text (RFC 8785; numbers beyond 2^53 keep all their digits instead).
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write_value(value, &mut text);
    text
}

/// The SHA-256 of bytes, in hexadecimal digits.
pub fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes.as_ref()))
}

/// The SHA-256 of everything that a reader gives, in hexadecimal digits.
///
/// # Errors
///
/// The reader's.
pub fn sha256_hex_of(mut reader: impl Read) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(hex(&digest.finalize())),
            Ok(length) => digest.update(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn write_value(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            text.push('{');
            for (at, (key, value)) in fields.into_iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write_value(&Value::from(key.as_str()), text);
                text.push(':');
                write_value(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write_value(item, text);
            }
            text.push(']');
        }
        Value::Number(number) => write_number(number, text),
        scalar => {
            let _ = write!(text, "{scalar}");
        }
    }
}

fn write_number(number: &Number, text: &mut String) {
    // Beyond 2^53 not every whole number is a double: such a one is left as it stands.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let written = match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => {
            write!(text, "{}", float as i64)
        }
        _ => write!(text, "{number}"),
    };
    let _ = written;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(text: &str) -> String {
        canonical_json(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn what_means_the_same_is_spelt_the_same() {
        assert_eq!(
            parsed(r#"{"b": [1.0, 2], "a": {"y": null, "x": "\u00e9"}}"#),
            r#"{"a":{"x":"é","y":null},"b":[1,2]}"#
        );
        assert_eq!(parsed(r#"{"a":1e2}"#), parsed(r#"{ "a": 100 }"#));
        assert_eq!(parsed("-0.0"), "0");
        assert_ne!(parsed("1.5"), parsed("1"));
        assert_ne!(parsed("9007199254740993"), parsed("9007199254740992"));
    }

    #[test]
    fn keys_are_sorted_by_utf_16() {
        // U+1F600 is written D83D DE00, and so comes before U+FB33.
        let value = json!({"\u{fb33}": 1, "\u{1f600}": 2, "a": 3});
        assert_eq!(canonical_json(&value), "{\"a\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}");
    }

    #[test]
    fn the_hash_is_the_known_one() {
        assert_eq!(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
