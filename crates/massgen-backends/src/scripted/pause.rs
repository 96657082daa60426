//! Spans of time as people write them.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A span of time: `300ms`, `2s`, `1.5s`, `1m`, or a number of seconds. At most a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pause(pub Duration);

/// Longer is a slip of the pen, and would overflow somebody's clock.
const LONGEST: f64 = 86_400.0;

impl Pause {
    fn from_seconds(seconds: f64) -> Result<Self, String> {
        if seconds.is_finite() && (0.0..=LONGEST).contains(&seconds) {
            Ok(Self(Duration::from_secs_f64(seconds)))
        } else {
            Err("a span of time must be between 0 and 24 hours".to_owned())
        }
    }
}

impl std::str::FromStr for Pause {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let number_ends = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(number_ends);
        let wrong = || format!("{text:?} is not a span of time; write it like 300ms, 1.5s or 2m");
        let number: f64 = number.parse().map_err(|_| wrong())?;
        match unit.trim_start() {
            "ms" => Self::from_seconds(number / 1000.0),
            "s" | "" => Self::from_seconds(number),
            "m" | "min" => Self::from_seconds(number * 60.0),
            "h" => Self::from_seconds(number * 3600.0),
            _ => Err(wrong()),
        }
    }
}

impl<'de> Deserialize<'de> for Pause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Pause;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a span of time such as 300ms, 1.5s or 2m")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Pause, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Pause, E> {
                self.visit_f64(seconds as f64)
            }
            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Pause, E> {
                self.visit_f64(seconds as f64)
            }
            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Pause, E> {
                Pause::from_seconds(seconds).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl Serialize for Pause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}ms", self.0.as_millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        for (text, milliseconds) in [("300ms", 300), ("1.5s", 1500), ("2 m", 120_000), ("3", 3000), ("0s", 0)]
        {
            assert_eq!(text.parse::<Pause>().unwrap().0.as_millis(), milliseconds, "{text}");
        }
        for text in ["", "ms", "-1s", "1.2.3s", "5 parsecs", "25h", "99999999999999999999999s", "∞"] {
            assert!(text.parse::<Pause>().is_err(), "{text}");
        }
        assert_eq!(serde_json::from_str::<Pause>("0.25").unwrap().0.as_millis(), 250);
        assert!(serde_json::from_str::<Pause>("-1").is_err());
    }
}
