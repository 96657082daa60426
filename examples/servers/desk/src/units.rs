//! Units of everyday quantities.

use crate::number;

/// A unit: its dimension, its size in the dimension's base unit, where its zero lies, and its names. The first name
/// is the symbol, the second the name for people.
struct Unit {
    dimension: &'static str,
    size: f64,
    zero: f64,
    names: &'static [&'static str],
}

const fn unit(dimension: &'static str, size: f64, names: &'static [&'static str]) -> Unit {
    Unit { dimension, size, zero: 0.0, names }
}

/// The international definitions (the yard and pound of 1959, the nautical mile of 1929, ISO 80000); US volumes are
/// the customary ones, UK volumes the imperial ones.
#[rustfmt::skip]
static UNITS: &[Unit] = &[
    unit("length", 1e-9, &["nm", "nanometres", "nanometre", "nanometer"]),
    unit("length", 1e-6, &["µm", "micrometres", "micrometre", "micrometer", "um", "micron"]),
    unit("length", 1e-3, &["mm", "millimetres", "millimetre", "millimeter"]),
    unit("length", 1e-2, &["cm", "centimetres", "centimetre", "centimeter"]),
    unit("length", 1.0, &["m", "metres", "metre", "meter"]),
    unit("length", 1e3, &["km", "kilometres", "kilometre", "kilometer"]),
    unit("length", 0.0254, &["in", "inches", "inch", "\""]),
    unit("length", 0.3048, &["ft", "feet", "foot", "'"]),
    unit("length", 0.9144, &["yd", "yards", "yard"]),
    unit("length", 1.8288, &["ftm", "fathoms", "fathom"]),
    unit("length", 1609.344, &["mi", "miles", "mile"]),
    unit("length", 1852.0, &["nmi", "nautical miles", "nautical mile", "NM", "sea mile"]),
    unit("length", 149_597_870_700.0, &["au", "astronomical units", "astronomical unit"]),
    unit("length", 9_460_730_472_580_800.0, &["ly", "light years", "light year"]),

    unit("mass", 1e-6, &["mg", "milligrams", "milligram"]),
    unit("mass", 1e-3, &["g", "grams", "gram"]),
    unit("mass", 1.0, &["kg", "kilograms", "kilogram", "kilo"]),
    unit("mass", 1e3, &["t", "tonnes", "tonne", "metric ton"]),
    unit("mass", 0.028_349_523_125, &["oz", "ounces", "ounce"]),
    unit("mass", 0.453_592_37, &["lb", "pounds", "pound", "lbs"]),
    unit("mass", 6.350_293_18, &["st", "stones", "stone"]),
    unit("mass", 907.184_74, &["short ton", "US tons", "US ton"]),

    Unit { dimension: "temperature", size: 1.0, zero: 0.0, names: &["K", "kelvins", "kelvin"] },
    Unit { dimension: "temperature", size: 1.0, zero: 273.15, names: &["°C", "degrees Celsius", "C", "celsius", "degree celsius", "centigrade"] },
    Unit { dimension: "temperature", size: 5.0 / 9.0, zero: 459.67 * 5.0 / 9.0, names: &["°F", "degrees Fahrenheit", "F", "fahrenheit", "degree fahrenheit"] },

    unit("area", 1e-4, &["cm²", "square centimetres", "cm2", "square centimetre", "square centimeter"]),
    unit("area", 1.0, &["m²", "square metres", "m2", "square metre", "square meter", "sqm"]),
    unit("area", 1e4, &["ha", "hectares", "hectare"]),
    unit("area", 1e6, &["km²", "square kilometres", "km2", "square kilometre", "square kilometer"]),
    unit("area", 0.092_903_04, &["ft²", "square feet", "ft2", "square foot", "sqft"]),
    unit("area", 4_046.856_422_4, &["ac", "acres", "acre"]),
    unit("area", 2_589_988.110_336, &["mi²", "square miles", "mi2", "square mile"]),

    unit("volume", 1e-6, &["ml", "millilitres", "millilitre", "milliliter", "cm³", "cm3", "cc"]),
    unit("volume", 1e-5, &["cl", "centilitres", "centilitre", "centiliter"]),
    unit("volume", 1e-4, &["dl", "decilitres", "decilitre", "deciliter"]),
    unit("volume", 1e-3, &["l", "litres", "litre", "liter"]),
    unit("volume", 1.0, &["m³", "cubic metres", "m3", "cubic metre", "cubic meter"]),
    unit("volume", 4.928_921_593_75e-6, &["tsp", "US teaspoons", "teaspoon"]),
    unit("volume", 14.786_764_781_25e-6, &["tbsp", "US tablespoons", "tablespoon"]),
    unit("volume", 29.573_529_562_5e-6, &["fl oz", "US fluid ounces", "US fluid ounce", "fluid ounce"]),
    unit("volume", 236.588_236_5e-6, &["cup", "US cups", "US cup"]),
    unit("volume", 473.176_473e-6, &["pt", "US pints", "US pint", "pint"]),
    unit("volume", 3.785_411_784e-3, &["gal", "US gallons", "US gallon", "gallon"]),
    unit("volume", 568.261_25e-6, &["UK pt", "UK pints", "UK pint", "imperial pint"]),
    unit("volume", 4.546_09e-3, &["UK gal", "UK gallons", "UK gallon", "imperial gallon"]),

    unit("speed", 1.0, &["m/s", "metres per second", "metre per second", "meter per second", "mps"]),
    unit("speed", 1000.0 / 3600.0, &["km/h", "kilometres per hour", "kilometre per hour", "kilometer per hour", "kph", "kmh"]),
    unit("speed", 0.447_04, &["mph", "miles per hour", "mile per hour"]),
    unit("speed", 0.3048, &["ft/s", "feet per second", "foot per second"]),
    unit("speed", 1852.0 / 3600.0, &["kn", "knots", "knot", "kt"]),

    unit("data", 0.125, &["bit", "bits", "b"]),
    unit("data", 1.0, &["B", "bytes", "byte"]),
    unit("data", 1e3, &["kB", "kilobytes", "kilobyte", "KB"]),
    unit("data", 1e6, &["MB", "megabytes", "megabyte"]),
    unit("data", 1e9, &["GB", "gigabytes", "gigabyte"]),
    unit("data", 1e12, &["TB", "terabytes", "terabyte"]),
    unit("data", 1024.0, &["KiB", "kibibytes", "kibibyte"]),
    unit("data", 1_048_576.0, &["MiB", "mebibytes", "mebibyte"]),
    unit("data", 1_073_741_824.0, &["GiB", "gibibytes", "gibibyte"]),
    unit("data", 1_099_511_627_776.0, &["TiB", "tebibytes", "tebibyte"]),
    unit("data", 125.0, &["kbit", "kilobits", "kilobit"]),
    unit("data", 125_000.0, &["Mbit", "megabits", "megabit", "Mb"]),
    unit("data", 125_000_000.0, &["Gbit", "gigabits", "gigabit", "Gb"]),

    unit("time", 1e-3, &["ms", "milliseconds", "millisecond"]),
    unit("time", 1.0, &["s", "seconds", "second", "sec"]),
    unit("time", 60.0, &["min", "minutes", "minute"]),
    unit("time", 3600.0, &["h", "hours", "hour", "hr"]),
    unit("time", 86_400.0, &["d", "days", "day"]),
    unit("time", 604_800.0, &["wk", "weeks", "week"]),
    unit("time", 31_557_600.0, &["yr", "years of 365.25 days", "year", "years", "a"]),

    unit("energy", 1.0, &["J", "joules", "joule"]),
    unit("energy", 1e3, &["kJ", "kilojoules", "kilojoule"]),
    unit("energy", 4184.0, &["kcal", "kilocalories", "kilocalorie"]),
    unit("energy", 3.6e6, &["kWh", "kilowatt hours", "kilowatt hour"]),

    unit("pressure", 1.0, &["Pa", "pascals", "pascal"]),
    unit("pressure", 100.0, &["hPa", "hectopascals", "hectopascal", "mbar", "millibar"]),
    unit("pressure", 1e5, &["bar", "bars"]),
    unit("pressure", 101_325.0, &["atm", "atmospheres", "atmosphere"]),
    unit("pressure", 6_894.757_293_168, &["psi", "pounds per square inch"]),

    unit("angle", 1.0, &["rad", "radians", "radian"]),
    unit("angle", std::f64::consts::PI / 180.0, &["deg", "degrees", "degree", "°"]),
];

/// A converted quantity.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Converted {
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) text: String,
}

/// Converts a value between two units of one dimension. `digits`: decimal places of the result; 12 significant
/// digits unless given.
pub(crate) fn convert(value: f64, from: &str, to: &str, digits: Option<i32>) -> Result<Converted, String> {
    let (from, to) = (find(from)?, find(to)?);
    if from.dimension != to.dimension {
        return Err(format!(
            "{} is a unit of {} and {} one of {}: they cannot be converted",
            people(from),
            from.dimension,
            people(to),
            to.dimension
        ));
    }
    if from.dimension == "temperature" && value * from.size + from.zero < -1e-9 {
        return Err(format!("{} {} is below absolute zero", number::text(value), from.names[0]));
    }
    let exact = number::tidy((value * from.size + from.zero - to.zero) / to.size);
    let value_in_to = digits.map_or(exact, |digits| number::round(exact, digits));
    if !value_in_to.is_finite() {
        return Err("the result is too large".to_owned());
    }
    let text = format!(
        "{} {} = {} {}",
        number::text(number::tidy(value)),
        people(from),
        number::text(value_in_to),
        people(to)
    );
    Ok(Converted { value: value_in_to, unit: to.names[0], text })
}

fn people(unit: &Unit) -> &'static str {
    unit.names.get(1).copied().unwrap_or(unit.names[0])
}

fn find(name: &str) -> Result<&'static Unit, String> {
    let name = name.trim().replace('_', " ");
    // As written first: MB and Mb, nm and NM are different things.
    let exact = UNITS.iter().find(|unit| unit.names.contains(&name.as_str()));
    let folded =
        || UNITS.iter().find(|unit| unit.names.iter().any(|known| known.eq_ignore_ascii_case(&name)));
    exact.or_else(folded).ok_or_else(|| unknown(&name))
}

fn unknown(name: &str) -> String {
    let lower = name.to_lowercase();
    let nearest = UNITS
        .iter()
        .flat_map(|unit| unit.names)
        .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), *known))
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .min();
    match nearest {
        Some((_, nearest)) => format!("{name:?} is not a unit this desk knows; did you mean {nearest:?}?"),
        None => {
            let mut dimensions: Vec<&str> = UNITS.iter().map(|unit| unit.dimension).collect();
            dimensions.dedup();
            format!("{name:?} is not a unit this desk knows; it has units of {}", dimensions.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_quantities_come_out_right() {
        for (value, from, to, text) in [
            (14.0, "nautical miles", "km", "14 nautical miles = 25.928 kilometres"),
            (1.0, "mile", "km", "1 miles = 1.609344 kilometres"),
            (100.0, "C", "°F", "100 degrees Celsius = 212 degrees Fahrenheit"),
            (-40.0, "fahrenheit", "celsius", "-40 degrees Fahrenheit = -40 degrees Celsius"),
            (0.0, "K", "C", "0 kelvins = -273.15 degrees Celsius"),
            (1.0, "GiB", "MB", "1 gibibytes = 1073.741824 megabytes"),
            (8.0, "Mb", "MB", "8 megabits = 1 megabytes"),
            (10.0, "knots", "km/h", "10 knots = 18.52 kilometres per hour"),
            (1.0, "US_gallon", "l", "1 US gallons = 3.785411784 litres"),
            (1.0, "hectare", "m2", "1 hectares = 10000 square metres"),
            (90.0, "min", "h", "90 minutes = 1.5 hours"),
        ] {
            assert_eq!(convert(value, from, to, None).unwrap().text, text);
        }
        let rounded = convert(173.833_333, "nmi", "km", Some(1)).unwrap();
        assert_eq!((rounded.value, rounded.unit), (321.9, "km"));
    }

    #[test]
    fn errors_name_the_unit_and_the_nearest() {
        for (value, from, to, wanted) in [
            (1.0, "killometre", "m", "did you mean \"kilometre\"?"),
            (1.0, "florps", "m", "it has units of length, mass, temperature"),
            (1.0, "kg", "km", "kilograms is a unit of mass and kilometres one of length"),
            (-300.0, "C", "K", "below absolute zero"),
            (f64::MAX, "ly", "nm", "too large"),
        ] {
            let problem = convert(value, from, to, None).unwrap_err();
            assert!(problem.contains(wanted), "{problem}");
        }
    }

    #[test]
    fn every_name_finds_its_unit_and_no_name_is_taken_twice() {
        for (at, unit) in UNITS.iter().enumerate() {
            for name in unit.names {
                let found = find(name).unwrap();
                assert!(std::ptr::eq(found, unit), "{name} of unit {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn there_and_back_is_where_one_was(value in -1e6f64..1e6, a in 0..UNITS.len(), b in 0..UNITS.len()) {
            let (a, b) = (&UNITS[a], &UNITS[b]);
            if let Ok(there) = convert(value, a.names[0], b.names[0], None)
                // Subtracting zeros of temperature scales costs digits; 12 of them are kept of the result.
                && let Ok(back) = convert(there.value, b.names[0], a.names[0], None)
            {
                prop_assert!((back.value - value).abs() <= 1e-8 * value.abs().max(1.0), "{} -> {} -> {}", value, there.value, back.value);
            }
        }

        #[test]
        fn no_unit_name_makes_it_panic(name in ".{0,30}") {
            let _ = convert(1.0, &name, "m", None);
        }
    }
}
