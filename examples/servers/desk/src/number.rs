//! Numbers as people and JSON want them.

use serde_json::Value;

/// The number with at most so many decimal places; negative: rounded to tens, hundreds and so on.
pub(crate) fn round(x: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits.abs());
    let rounded = if digits >= 0 { (x * scale).round() / scale } else { (x / scale).round() * scale };
    // Scaling a huge number leaves the range; it had no decimal places anyway.
    if rounded.is_finite() { rounded } else { x }
}

/// The number without the noise of binary fractions: 12 significant digits, more than any unit is known to.
pub(crate) fn tidy(x: f64) -> f64 {
    format!("{x:.11e}").parse().unwrap_or(x)
}

/// The number as JSON; whole ones without a decimal point.
pub(crate) fn json(x: f64) -> Value {
    // Above 2^53 not every whole number exists, so a whole form would claim a precision that is not there.
    if x.fract() == 0.0 && x.abs() < 9e15 { Value::from(x as i64) } else { Value::from(x) }
}

/// The number for people.
pub(crate) fn text(x: f64) -> String {
    json(x).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_gone_and_whole_numbers_look_whole() {
        assert_eq!(text(tidy(0.1 + 0.2)), "0.3");
        assert_eq!(text(tidy(173.833_333_333_333_31)), "173.833333333");
        assert_eq!(text(15.0), "15");
        assert_eq!(text(-0.0), "0");
        assert_eq!(text(1e20), "1e+20");
        assert_eq!(round(321.939_333, 1), 321.9);
        assert_eq!(round(f64::MAX, 15), f64::MAX);
    }
}
