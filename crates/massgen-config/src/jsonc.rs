//! JSON as editors keep it, with comments and trailing commas, into JSON.

/// The same text in which comments and trailing commas are blanks: every other character keeps its place.
pub(crate) fn plain(text: &str) -> String {
    let mut out: Vec<char> = Vec::with_capacity(text.len());
    // A comma after which nothing but blanks came.
    let mut comma: Option<usize> = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' => {
                comma = None;
                out.push(c);
                while let Some(inner) = characters.next() {
                    out.push(inner);
                    match inner {
                        '\\' => out.extend(characters.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '/' if characters.peek() == Some(&'/') => {
                out.push(' ');
                while let Some(inner) = characters.next_if(|c| *c != '\n') {
                    out.push(blank(inner));
                }
            }
            '/' if characters.peek() == Some(&'*') => {
                out.push(' ');
                out.extend(characters.next().map(blank));
                let mut before = ' ';
                for inner in characters.by_ref() {
                    out.push(blank(inner));
                    if before == '*' && inner == '/' {
                        break;
                    }
                    before = inner;
                }
            }
            ',' => {
                comma = Some(out.len());
                out.push(c);
            }
            '}' | ']' => {
                if let Some(place) = comma.take().and_then(|at| out.get_mut(at)) {
                    *place = ' ';
                }
                out.push(c);
            }
            _ => {
                if !c.is_whitespace() {
                    comma = None;
                }
                out.push(c);
            }
        }
    }
    out.into_iter().collect()
}

fn blank(c: char) -> char {
    if c == '\n' || c == '\r' { c } else { ' ' }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn comments_and_trailing_commas_go_and_places_stay() {
        for (text, expected) in [
            ("{\"a\": 1} // é", "{\"a\": 1}     "),
            ("[1, /* , */ 2, // x\n]", "[1,         2      \n]"),
            ("{\"a\": [1,\n],}", "{\"a\": [1 \n] }"),
            (r#"{"url": "https://x/*y*/", "q": "\"//,]"}"#, r#"{"url": "https://x/*y*/", "q": "\"//,]"}"#),
            ("/* never closed", "               "),
            ("/", "/"),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_keeps_its_length_and_json_is_left_alone(text in ".*", number in any::<f64>()) {
            prop_assert_eq!(plain(&text).chars().count(), text.chars().count());
            let json = serde_json::json!({"k": [text, number, {}]}).to_string();
            prop_assert_eq!(plain(&json), json);
        }
    }
}
