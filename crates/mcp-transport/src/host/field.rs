//! The fields of a form, one by one, for whoever fills them in.

use serde_json::{Number, Value};

use super::form;

/// One field of a form. Its texts are the server's: escape them before they are shown.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Field {
    /// The key in the answer.
    pub name: String,
    /// A title for people.
    pub title: Option<String>,
    /// What belongs there.
    pub description: Option<String>,
    /// What kind of value it takes.
    pub kind: FieldKind,
    /// Whether the form is not whole without it.
    pub required: bool,
    /// The value that is there to begin with, where it fits.
    pub default: Option<Value>,
    property: Value,
}

/// What kind of value a [`Field`] takes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FieldKind {
    /// Text; `format`: what the server says that it looks like, such as `email`.
    Text {
        /// `email`, `uri`, `date`, `date-time`, or anything else that the server wrote.
        format: Option<String>,
    },
    /// A number.
    Number,
    /// A whole number.
    Integer,
    /// Yes or no.
    Boolean,
    /// One of these: values, and what they are called.
    Choice(Vec<(String, String)>),
    /// Any of these: values, and what they are called.
    Choices(Vec<(String, String)>),
}

impl Field {
    /// What a person typed as the value that it stands for.
    ///
    /// Choices may be given by value, by name or by number (from 1); several are separated by commas.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words that follow the field's name.
    pub fn parse(&self, typed: &str) -> Result<Value, String> {
        let typed = typed.trim();
        let value = match &self.kind {
            FieldKind::Text { .. } => Value::from(typed),
            FieldKind::Number | FieldKind::Integer => {
                let whole = typed.parse::<i64>().map(Number::from).ok();
                let number = whole.or_else(|| typed.parse::<f64>().ok().and_then(Number::from_f64));
                Value::Number(number.ok_or("is a number")?)
            }
            FieldKind::Boolean => match typed.to_ascii_lowercase().as_str() {
                "y" | "yes" | "true" | "1" => Value::Bool(true),
                "n" | "no" | "false" | "0" => Value::Bool(false),
                _ => return Err("is yes or no".to_owned()),
            },
            FieldKind::Choice(choices) => Value::from(choose(choices, typed)?),
            FieldKind::Choices(choices) => {
                let words = typed.split(',').map(str::trim).filter(|word| !word.is_empty());
                words.map(|word| choose(choices, word).map(Value::from)).collect::<Result<_, _>>()?
            }
        };
        match form::problem(&self.property, &value) {
            Some(problem) => Err(problem),
            None => Ok(value),
        }
    }

    /// Whether the server says itself that the value is to be hidden: such a field asks for a credential.
    pub fn is_secret(&self) -> bool {
        let says = |key: &str, value: &Value| self.property.get(key) == Some(value);
        says("format", &"password".into()) || says("writeOnly", &true.into())
    }

    /// The limits that the value must keep, in words; empty: none.
    pub fn limits(&self) -> String {
        let said = |key: &str, words: &str| {
            let bound = self.property.get(key).filter(|bound| bound.is_number())?;
            Some(format!("{words} {bound}"))
        };
        let limits = [
            said("minLength", "at least").map(|text| text + " characters"),
            said("maxLength", "at most").map(|text| text + " characters"),
            said("minimum", "at least"),
            said("maximum", "at most"),
            said("minItems", "at least").map(|text| text + " of them"),
            said("maxItems", "at most").map(|text| text + " of them"),
        ];
        limits.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

fn choose(choices: &[(String, String)], typed: &str) -> Result<String, String> {
    let exactly = choices.iter().find(|(value, _)| value == typed);
    let named = || choices.iter().find(|(_, name)| name.eq_ignore_ascii_case(typed));
    let numbered = || choices.get(typed.parse::<usize>().ok()?.checked_sub(1)?);
    match exactly.or_else(named).or_else(numbered) {
        Some((value, _)) => Ok(value.clone()),
        None => Err("is one of the choices".to_owned()),
    }
}

pub(super) fn fields(schema: &Value) -> Vec<Field> {
    let defaults = form::defaults(schema);
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let text = |property: &Value, key: &str| property.get(key).and_then(Value::as_str).map(str::to_owned);
    form::properties(schema)
        .map(|(name, property)| Field {
            name: name.clone(),
            title: text(property, "title"),
            description: text(property, "description"),
            kind: kind(property),
            required: required.contains(&name.as_str()),
            default: defaults.get(name).cloned(),
            property: property.clone(),
        })
        .collect()
}

fn kind(property: &Value) -> FieldKind {
    match property.get("type").and_then(Value::as_str) {
        Some("number") => FieldKind::Number,
        Some("integer") => FieldKind::Integer,
        Some("boolean") => FieldKind::Boolean,
        Some("array") => FieldKind::Choices(choices(&property["items"])),
        _ => match choices(property) {
            choices if choices.is_empty() => {
                let format = property.get("format").and_then(Value::as_str);
                FieldKind::Text { format: format.map(str::to_owned) }
            }
            choices => FieldKind::Choice(choices),
        },
    }
}

/// The choices of `enum` (with `enumNames`, where there are any) or of titled constants.
fn choices(schema: &Value) -> Vec<(String, String)> {
    let list = |key: &str| schema.get(key).and_then(Value::as_array);
    if let Some(values) = list("enum") {
        let names = list("enumNames").map(Vec::as_slice).unwrap_or_default();
        let named = values.iter().enumerate().filter_map(|(at, value)| {
            let value = value.as_str()?;
            let name = names.get(at).and_then(Value::as_str).unwrap_or(value);
            Some((value.to_owned(), name.to_owned()))
        });
        return named.collect();
    }
    let titled = list("oneOf").or_else(|| list("anyOf")).into_iter().flatten();
    titled
        .filter_map(|choice| {
            let value = choice.get("const")?.as_str()?;
            let name = choice.get("title").and_then(Value::as_str).unwrap_or(value);
            Some((value.to_owned(), name.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_person_types_becomes_a_value_of_the_right_kind() {
        let schema = json!({
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 2},
                "age": {"type": "integer", "minimum": 0, "maximum": 150},
                "ratio": {"type": "number"},
                "agree": {"type": "boolean"},
                "size": {"type": "string", "enum": ["s", "m"], "enumNames": ["Small", "Middle"]},
                "days": {"type": "array", "items": {"anyOf": [{"const": "mon", "title": "Monday"}, {"const": "tue"}]}},
            },
            "required": ["age"],
        });
        let fields = fields(&schema);
        let names: Vec<_> = fields.iter().map(|field| (field.name.as_str(), field.required)).collect();
        let expected = [
            ("name", false),
            ("age", true),
            ("ratio", false),
            ("agree", false),
            ("size", false),
            ("days", false),
        ];
        assert_eq!(names, expected);
        for (field, typed, expected) in [
            (0, " Ada ", Ok(json!("Ada"))),
            (0, "A", Err("is shorter")),
            (1, "42", Ok(json!(42))),
            (1, "4.5", Err("is not a whole number")),
            (1, "many", Err("is a number")),
            (1, "151", Err("is more than 150")),
            (2, "0.5", Ok(json!(0.5))),
            (2, "nan", Err("is a number")),
            (3, "YES", Ok(json!(true))),
            (3, "perhaps", Err("is yes or no")),
            (4, "m", Ok(json!("m"))),
            (4, "small", Ok(json!("s"))),
            (4, "2", Ok(json!("m"))),
            (4, "0", Err("is one of the choices")),
            (5, "monday, 2", Ok(json!(["mon", "tue"]))),
            (5, "sunday", Err("is one of the choices")),
        ] {
            match (fields[field].parse(typed), expected) {
                (Ok(value), Ok(expected)) => assert_eq!(value, expected, "{typed}"),
                (Err(problem), Err(part)) => assert!(problem.contains(part), "{typed}: {problem}"),
                (parsed, expected) => panic!("{typed}: {parsed:?}, not {expected:?}"),
            }
        }
        assert_eq!(fields[1].limits(), "at least 0, at most 150");
    }
}
