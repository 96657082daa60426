//! Times and time zones.

use jiff::civil::{DateTime, Time};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Span, Timestamp, ZonedDateTime};
use serde_json::{Value, json};

/// Reads the present.
pub(crate) type Now = fn() -> Timestamp;

/// A clock that knows the world's time zones.
#[derive(Debug)]
pub(crate) struct Clock {
    now: Now,
    zones: TimeZoneDatabase,
}

impl Clock {
    pub(crate) fn new(now: Now) -> Self {
        // The database inside the program: no file is read, and every machine gives the same answer.
        Self { now, zones: TimeZoneDatabase::bundled() }
    }

    /// The present in a zone; UTC unless given.
    pub(crate) fn now(&self, zone: Option<&str>) -> Result<Value, String> {
        let zone = self.zone(zone.unwrap_or("UTC"))?;
        Ok(moment(&ZonedDateTime::new((self.now)(), zone)))
    }

    /// A wall-clock time of one zone in another, perhaps after a while.
    pub(crate) fn convert(
        &self,
        time: &str,
        from: &str,
        to: &str,
        add: Option<&str>,
    ) -> Result<Value, String> {
        let (from, to) = (self.zone(from)?, self.zone(to)?);
        let (mut start, note) = self.read(time, from)?;
        if let Some(add) = add {
            let span: Span = add
                .trim()
                .parse()
                .map_err(|_| format!("{add:?} is not a span of time; write it like 12h 25m or 3 days"))?;
            start = start.checked_add(span).map_err(|_| format!("adding {add:?} leaves the calendar"))?;
        }
        let end = start.with_time_zone(to);
        let difference = f64::from(end.offset().seconds() - start.offset().seconds()) / 3600.0;
        let text = format!(
            "{} in {} is {} in {} ({})",
            start.strftime("%A %-d %B %Y, %H:%M"),
            name(&start),
            end.strftime("%A %-d %B %Y, %H:%M"),
            name(&end),
            ahead(difference),
        );
        let mut converted = json!({
            "from": moment(&start),
            "to": moment(&end),
            "hours_ahead": crate::number::json(difference),
            "text": text,
        });
        if let (Some(note), Some(fields)) = (note, converted.as_object_mut()) {
            fields.insert("note".to_owned(), note.into());
        }
        Ok(converted)
    }

    /// A time as people write it, in a zone; with a remark where the clocks change just then.
    fn read(&self, time: &str, zone: TimeZone) -> Result<(ZonedDateTime, Option<String>), String> {
        let text = time.trim();
        let now = ZonedDateTime::new((self.now)(), zone.clone());
        if text.eq_ignore_ascii_case("now") {
            return Ok((now, None));
        }
        let wrong = || format!("{time:?} is not a time; write it like 07:40, 2026-03-29 07:40, or now");
        let wall: DateTime = if text.len() <= 8 && !text.contains('-') {
            let padded = if text.find(':') == Some(1) { format!("0{text}") } else { text.to_owned() };
            now.date().to_datetime(padded.parse::<Time>().map_err(|_| wrong())?)
        } else {
            text.parse().map_err(|_| wrong())?
        };
        let ambiguous = zone.to_ambiguous_zoned_datetime(wall);
        let changes = ambiguous.is_ambiguous();
        let zoned = ambiguous.compatible().map_err(|_| wrong())?;
        let note = changes.then(|| {
            if zoned.datetime() == wall {
                format!(
                    "the clocks in {} go back then: this time comes twice, the first is meant",
                    name(&zoned)
                )
            } else {
                format!(
                    "the clocks in {} go forward then: this time is skipped, the one after is meant",
                    name(&zoned)
                )
            }
        });
        Ok((zoned, note))
    }

    /// A zone by its name in the IANA database, by its city alone, or an offset such as `+02:00`.
    fn zone(&self, name: &str) -> Result<TimeZone, String> {
        let wanted = name.trim().replace(' ', "_");
        if let Ok(zone) = self.zones.get(&wanted) {
            return Ok(zone);
        }
        if wanted.eq_ignore_ascii_case("z") {
            return Ok(TimeZone::UTC);
        }
        if let Some(offset) = offset(&wanted) {
            return Ok(offset);
        }
        let all: Vec<String> = self.zones.available().map(|zone| zone.to_string()).collect();
        let city = |zone: &str| zone.rsplit('/').next().unwrap_or_default().to_lowercase();
        let lower = wanted.to_lowercase();
        if let Some(zone) = all.iter().find(|zone| city(zone) == lower) {
            return self.zones.get(zone).map_err(|error| error.to_string());
        }
        let mut nearest: Vec<(usize, &String)> = all
            .iter()
            .map(|zone| {
                let whole = strsim::damerau_levenshtein(&lower, &zone.to_lowercase());
                (whole.min(strsim::damerau_levenshtein(&lower, &city(zone))), zone)
            })
            .filter(|(distance, _)| *distance <= (lower.len() / 4).min(3))
            .collect();
        nearest.sort();
        let nearest: Vec<&str> = nearest.iter().take(3).map(|(_, zone)| zone.as_str()).collect();
        Err(if nearest.is_empty() {
            format!("{name:?} is not a time zone; write it like Europe/Lisbon, Lisbon, UTC or +02:00")
        } else {
            format!("{name:?} is not a time zone; did you mean {}?", nearest.join(" or "))
        })
    }
}

/// An offset from UTC such as `+02:00`, `-3` or `UTC+5:30`.
fn offset(text: &str) -> Option<TimeZone> {
    let text = text.strip_prefix("UTC").or_else(|| text.strip_prefix("GMT")).unwrap_or(text);
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_once(':').unwrap_or((digits, "0"));
    let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
    if hours > 14 || minutes > 59 {
        return None;
    }
    let seconds = sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60);
    jiff::tz::Offset::from_seconds(seconds).ok().map(TimeZone::fixed)
}

fn name(zoned: &ZonedDateTime) -> String {
    match zoned.time_zone().iana_name() {
        Some(name) => name.to_owned(),
        None => format!("UTC{}", zoned.strftime("%:z")),
    }
}

fn ahead(hours: f64) -> String {
    match hours {
        0.0 => "the same hour".to_owned(),
        hours if hours > 0.0 => format!("{} h ahead", crate::number::text(hours)),
        hours => format!("{} h behind", crate::number::text(-hours)),
    }
}

fn moment(zoned: &ZonedDateTime) -> Value {
    json!({
        "zone": name(zoned),
        "date": zoned.strftime("%Y-%m-%d").to_string(),
        "time": zoned.strftime("%H:%M").to_string(),
        "weekday": zoned.strftime("%A").to_string(),
        "offset": zoned.strftime("%:z").to_string(),
        "iso": zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tuesday 24 November 2026, 06:02:11 UTC.
    fn clock() -> Clock {
        Clock::new(|| Timestamp::from_second(1_795_500_131).unwrap())
    }

    #[test]
    fn the_present_is_told_in_any_zone() {
        let utc = clock().now(None).unwrap();
        assert_eq!(utc["iso"], "2026-11-24T06:02:11+00:00");
        for (zone, name, time, offset) in [
            ("Asia/Tokyo", "Asia/Tokyo", "15:02", "+09:00"),
            ("asia/tokyo", "Asia/Tokyo", "15:02", "+09:00"),
            ("Lisbon", "Europe/Lisbon", "06:02", "+00:00"),
            ("new york", "America/New_York", "01:02", "-05:00"),
            ("+05:30", "UTC+05:30", "11:32", "+05:30"),
            ("UTC-3", "UTC-03:00", "03:02", "-03:00"),
            ("Asia/Kathmandu", "Asia/Kathmandu", "11:47", "+05:45"),
        ] {
            let now = clock().now(Some(zone)).unwrap();
            assert_eq!(
                (&now["zone"], &now["time"], &now["offset"]),
                (&json!(name), &json!(time), &json!(offset)),
                "{zone}"
            );
        }
    }

    #[test]
    fn times_are_converted_with_the_date_that_belongs_to_them() {
        let convert = |time, from, to, add| clock().convert(time, from, to, add).unwrap();
        let tide = convert("07:40", "Europe/Lisbon", "Asia/Tokyo", Some("12h 25m"));
        assert_eq!((&tide["from"]["time"], &tide["to"]["time"]), (&json!("20:05"), &json!("05:05")));
        assert_eq!(
            tide["text"],
            "Tuesday 24 November 2026, 20:05 in Europe/Lisbon is Wednesday 25 November 2026, 05:05 in Asia/Tokyo (9 h ahead)"
        );
        let summer = convert("2026-07-01 07:40", "Europe/Lisbon", "Asia/Tokyo", None);
        assert_eq!((&summer["to"]["time"], &summer["hours_ahead"]), (&json!("15:40"), &json!(8)));
        assert_eq!(convert("now", "UTC", "Asia/Tokyo", None)["to"]["time"], "15:02");
        assert_eq!(convert("7:40", "UTC", "UTC", Some("-1 day"))["to"]["date"], "2026-11-23");
    }

    #[test]
    fn changing_clocks_are_told() {
        let skipped = clock().convert("2026-03-29 01:30", "Europe/Lisbon", "UTC", None).unwrap();
        assert!(skipped["note"].as_str().unwrap().contains("this time is skipped"), "{skipped}");
        assert_eq!(skipped["from"]["time"], "02:30");
        let twice = clock().convert("2026-10-25 01:30", "Europe/Lisbon", "UTC", None).unwrap();
        assert!(twice["note"].as_str().unwrap().contains("comes twice"), "{twice}");
        assert_eq!(twice["to"]["time"], "00:30");
    }

    #[test]
    fn errors_name_what_was_meant() {
        for (time, from, add, wanted) in [
            ("07:40", "Europe/Lisbn", None, "did you mean Europe/Lisbon?"),
            ("07:40", "Tokio", None, "did you mean Asia/Tokyo"),
            ("07:40", "Narnia", None, "write it like Europe/Lisbon"),
            ("07:40", "+99:00", None, "is not a time zone"),
            ("25:00", "UTC", None, "is not a time; write it like 07:40"),
            ("soon", "UTC", None, "is not a time"),
            ("", "UTC", None, "is not a time"),
            ("2026-02-30 10:00", "UTC", None, "is not a time"),
            ("07:40", "UTC", Some("a while"), "is not a span of time"),
            ("07:40", "UTC", Some("19000 years"), "leaves the calendar"),
        ] {
            let problem = clock().convert(time, from, "UTC", add).unwrap_err();
            assert!(problem.contains(wanted), "{time} {from} {add:?}: {problem}");
        }
    }
}
