//! The ways to write a secret: as it is, in JSON, as hexadecimal, percent-encoded, and inside any base64.

use std::collections::BTreeSet;

use serde_json::Value;

/// Every encoding of a secret, and the secret itself.
pub(super) fn encodings(secret: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::from([secret.to_owned()]);
    let json = Value::from(secret).to_string();
    if let Some(inside) = json.get(1..json.len().saturating_sub(1)) {
        // Some writers of JSON escape what is not ASCII, and some escape slashes.
        let mut ascii = String::new();
        for c in inside.chars() {
            if c.is_ascii() {
                ascii.push(c);
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    ascii.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
        all.extend([inside.replace('/', "\\/"), inside.to_owned(), ascii]);
    }
    let each_byte = |spell: &dyn Fn(u8, &mut String)| {
        let mut text = String::new();
        secret.bytes().for_each(|byte| spell(byte, &mut text));
        text
    };
    let hex = each_byte(&|byte, text| text.push_str(&format!("{byte:02x}")));
    all.insert(hex.to_ascii_uppercase());
    all.insert(hex);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    // Encoders differ in which bytes they leave, in the case of the digits, and in what they make of a blank.
    let kept: [&dyn Fn(u8) -> bool; 4] = [
        &plain,
        &|byte| plain(byte) || matches!(byte, b'!' | b'*' | b'\'' | b'(' | b')'),
        &|byte| plain(byte) || b"!*'();:@&=+$,/?#".contains(&byte),
        &|_| false,
    ];
    for keeps in kept {
        for upper in [true, false] {
            let percent = |byte: u8, text: &mut String| match upper {
                _ if keeps(byte) => text.push(char::from(byte)),
                true => text.push_str(&format!("%{byte:02X}")),
                false => text.push_str(&format!("%{byte:02x}")),
            };
            let encoded = each_byte(&percent);
            if secret.contains(' ') {
                all.insert(encoded.replace("%20", "+"));
            }
            all.insert(encoded);
        }
    }
    for alphabet in [STANDARD, URL_SAFE] {
        for offset in 0..3 {
            let inside = base64_inside(secret.as_bytes(), offset, alphabet);
            // Where nothing follows, bits that make no letter of their own stand in one with zeros.
            if !(offset + secret.len()).is_multiple_of(3) {
                let with_zeros = base64_inside(&[secret.as_bytes(), &[0]].concat(), offset, alphabet);
                all.extend(with_zeros.get(..=inside.len()).map(str::to_owned));
            }
            all.insert(inside);
        }
    }
    all
}

pub(super) const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What is the same in the base64 of every text that holds these bytes `offset` bytes after a multiple of three.
pub(super) fn base64_inside(bytes: &[u8], offset: usize, alphabet: &[u8; 64]) -> String {
    let bits = |at: usize| bytes.get(at / 8).map_or(0, |byte| usize::from(byte >> (7 - at % 8) & 1));
    // The first letter that holds bits of ours alone.
    let first = (offset * 8).div_ceil(6) * 6 - offset * 8;
    let mut text = String::new();
    let mut at = first;
    while at + 6 <= bytes.len() * 8 {
        let index = (at..at + 6).fold(0, |index, at| index << 1 | bits(at));
        text.push(char::from(alphabet[index]));
        at += 6;
    }
    text
}
