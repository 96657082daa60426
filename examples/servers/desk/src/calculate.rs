//! A calculator: one expression in, one number out.
//!
//! A parser of its own rather than something that evaluates code, because the expression comes from a model.

/// Deeper nesting is refused: the parser recurses, and the stack is not for a caller to spend.
const DEPTH: usize = 64;
/// Longer expressions are refused.
const LENGTH: usize = 2000;

/// Evaluates an arithmetic expression: `+ - * / % ^`, parentheses, the constants `pi`, `e` and `tau`, and functions
/// such as `sqrt(x)`, `round(x, digits)`, `min(a, b, …)`. `^` binds tightest and to the right; `%` is the remainder.
///
/// # Errors
///
/// A sentence that says what is wrong and at which character, counted from 1.
///
/// ```
/// assert_eq!(desk::evaluate("2 + 3 * 4 ^ 2"), Ok(50.0));
/// assert_eq!(desk::evaluate("1 / 0"), Err("division by zero".to_owned()));
/// ```
pub fn evaluate(expression: &str) -> Result<f64, String> {
    if expression.chars().count() > LENGTH {
        return Err(format!("the expression is longer than {LENGTH} characters"));
    }
    let mut parser = Parser { text: expression.chars().collect(), at: 0, depth: 0 };
    if parser.peek().is_none() {
        return Err("the expression is empty; give something like 2 * (3 + 4)".to_owned());
    }
    let value = parser.sum()?;
    match parser.peek() {
        None => finite(value),
        Some(')') => Err(parser.wrong("this \")\" closes nothing")),
        Some(c) => Err(parser.wrong(&format!("an operator is missing before {c:?}"))),
    }
}

fn finite(value: f64) -> Result<f64, String> {
    if value.is_finite() { Ok(value) } else { Err("the result is too large or not a number".to_owned()) }
}

struct Parser {
    text: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser {
    /// The next character that is not white space.
    fn peek(&mut self) -> Option<char> {
        while self.text.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += 1;
        }
        found
    }

    fn wrong(&self, what: &str) -> String {
        format!("{what} (at character {})", self.at + 1)
    }

    /// Runs a rule one level deeper.
    fn deeper(&mut self, rule: fn(&mut Self) -> Result<f64, String>) -> Result<f64, String> {
        if self.depth == DEPTH {
            return Err(self.wrong(&format!("more than {DEPTH} levels deep")));
        }
        self.depth += 1;
        let value = rule(self);
        self.depth -= 1;
        value
    }

    fn sum(&mut self) -> Result<f64, String> {
        let mut value = self.product()?;
        loop {
            match self.peek() {
                Some('+') => {
                    self.at += 1;
                    value += self.product()?;
                }
                Some('-' | '−') => {
                    self.at += 1;
                    value -= self.product()?;
                }
                _ => return Ok(value),
            }
        }
    }

    fn product(&mut self) -> Result<f64, String> {
        let mut value = self.signed()?;
        loop {
            match self.peek() {
                Some('*' | '×' | '·') => {
                    self.at += 1;
                    value *= self.signed()?;
                }
                Some(operator @ ('/' | '÷' | '%')) => {
                    self.at += 1;
                    let divisor = self.signed()?;
                    if divisor == 0.0 {
                        return Err("division by zero".to_owned());
                    }
                    value = if operator == '%' { value % divisor } else { value / divisor };
                }
                _ => return Ok(value),
            }
        }
    }

    /// A sign binds less than `^`: -2^2 is -4, as on paper.
    fn signed(&mut self) -> Result<f64, String> {
        match self.peek() {
            Some('-' | '−') => {
                self.at += 1;
                Ok(-self.deeper(Self::signed)?)
            }
            Some('+') => {
                self.at += 1;
                self.deeper(Self::signed)
            }
            _ => self.power(),
        }
    }

    fn power(&mut self) -> Result<f64, String> {
        let base = self.atom()?;
        if !self.take('^') {
            return Ok(base);
        }
        let exponent = self.deeper(Self::signed)?;
        finite(base.powf(exponent))
    }

    fn atom(&mut self) -> Result<f64, String> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                let value = self.deeper(Self::sum)?;
                self.close()?;
                Ok(value)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some('π') => {
                self.at += 1;
                Ok(std::f64::consts::PI)
            }
            Some('√') => {
                self.at += 1;
                root(self.deeper(Self::atom)?)
            }
            Some(c) if c.is_ascii_alphabetic() => self.name(),
            Some(c) => Err(self.wrong(&format!("a number is missing before {c:?}"))),
            None => Err(self.wrong("a number is missing at the end")),
        }
    }

    fn close(&mut self) -> Result<(), String> {
        if self.take(')') { Ok(()) } else { Err(self.wrong("a \")\" is missing")) }
    }

    fn number(&mut self) -> Result<f64, String> {
        let start = self.at;
        let digits = |parser: &mut Self| {
            while parser.text.get(parser.at).is_some_and(|c| c.is_ascii_digit() || *c == '.' || *c == '_') {
                parser.at += 1;
            }
        };
        digits(self);
        // An exponent only where digits follow: 2e is not a number, and 2exp(1) lacks an operator.
        if matches!(self.text.get(self.at), Some('e' | 'E')) {
            let sign = usize::from(matches!(self.text.get(self.at + 1), Some('+' | '-')));
            if self.text.get(self.at + 1 + sign).is_some_and(char::is_ascii_digit) {
                self.at += 1 + sign;
                digits(self);
            }
        }
        let text: String = self.text[start..self.at].iter().filter(|c| **c != '_').collect();
        let number = text.parse::<f64>().map_err(|_| {
            self.at = start;
            self.wrong(&format!("{text:?} is not a number"))
        })?;
        finite(number)
    }

    fn name(&mut self) -> Result<f64, String> {
        let start = self.at;
        while self.text.get(self.at).is_some_and(char::is_ascii_alphanumeric) {
            self.at += 1;
        }
        let name: String = self.text[start..self.at].iter().collect::<String>().to_ascii_lowercase();
        match name.as_str() {
            "pi" => return Ok(std::f64::consts::PI),
            "e" => return Ok(std::f64::consts::E),
            "tau" => return Ok(std::f64::consts::TAU),
            _ => {}
        }
        if !FUNCTIONS.contains(&name.as_str()) {
            self.at = start;
            let known = FUNCTIONS.join(", ");
            return Err(
                self.wrong(&format!("{name:?} is unknown; there are pi, e, tau and the functions {known}"))
            );
        }
        if !self.take('(') {
            return Err(self.wrong(&format!("{name} needs its argument in parentheses")));
        }
        let mut arguments = Vec::new();
        if self.peek() != Some(')') {
            arguments.push(self.deeper(Self::sum)?);
            while self.take(',') {
                arguments.push(self.deeper(Self::sum)?);
            }
        }
        self.close()?;
        finite(apply(&name, &arguments)?)
    }
}

const FUNCTIONS: [&str; 21] = [
    "abs", "acos", "asin", "atan", "cbrt", "ceil", "cos", "exp", "floor", "hypot", "ln", "log10", "log2",
    "max", "min", "round", "sin", "sqrt", "sum", "tan", "trunc",
];

fn root(x: f64) -> Result<f64, String> {
    if x < 0.0 { Err("a negative number has no real square root".to_owned()) } else { Ok(x.sqrt()) }
}

fn logarithm(x: f64, of: fn(f64) -> f64) -> Result<f64, String> {
    if x <= 0.0 { Err("only a positive number has a logarithm".to_owned()) } else { Ok(of(x)) }
}

fn apply(name: &str, arguments: &[f64]) -> Result<f64, String> {
    match (name, arguments) {
        ("abs", [x]) => Ok(x.abs()),
        ("acos" | "asin", [x]) if x.abs() > 1.0 => Err(format!("{name} takes numbers from -1 to 1")),
        ("acos", [x]) => Ok(x.acos()),
        ("asin", [x]) => Ok(x.asin()),
        ("atan", [x]) => Ok(x.atan()),
        ("cbrt", [x]) => Ok(x.cbrt()),
        ("ceil", [x]) => Ok(x.ceil()),
        ("cos", [x]) => Ok(x.cos()),
        ("exp", [x]) => Ok(x.exp()),
        ("floor", [x]) => Ok(x.floor()),
        ("hypot", [x, y]) => Ok(x.hypot(*y)),
        ("ln", [x]) => logarithm(*x, f64::ln),
        ("log10", [x]) => logarithm(*x, f64::log10),
        ("log2", [x]) => logarithm(*x, f64::log2),
        ("max", [first, rest @ ..]) => Ok(rest.iter().copied().fold(*first, f64::max)),
        ("min", [first, rest @ ..]) => Ok(rest.iter().copied().fold(*first, f64::min)),
        ("round", [x]) => Ok(x.round()),
        ("round", [x, digits]) => Ok(crate::number::round(*x, digits.clamp(-15.0, 15.0) as i32)),
        ("sin", [x]) => Ok(x.sin()),
        ("sqrt", [x]) => root(*x),
        ("sum", numbers) => Ok(numbers.iter().sum()),
        ("tan", [x]) => Ok(x.tan()),
        ("trunc", [x]) => Ok(x.trunc()),
        (_, given) => Err(format!("{name} does not take {} arguments", given.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn expressions_have_the_value_of_paper() {
        for (expression, value) in [
            ("1+2*3", 7.0),
            ("(1 + 2) * 3", 9.0),
            ("-2^2", -4.0),
            ("2^-1", 0.5),
            ("2^3^2", 512.0),
            ("10 - 4 - 3", 3.0),
            ("7 % 4", 3.0),
            ("100 / 10 / 2", 5.0),
            ("--3", 3.0),
            ("1.5e3 + 1_000", 2500.0),
            ("2 × 3 − 4 ÷ 2", 4.0),
            ("√(16) + sqrt(9)", 7.0),
            ("round(2.345, 2) * 100", 235.0),
            ("round(1234, -2)", 1200.0),
            ("min(3, 1, 2) + MAX(3, 1, 2)", 4.0),
            ("sum(1, 2, 3)", 6.0),
            ("cos(pi)", -1.0),
            ("14 * (12 + 25 / 60)", 14.0 * (12.0 + 25.0 / 60.0)),
        ] {
            let found = evaluate(expression).unwrap_or_else(|problem| panic!("{expression}: {problem}"));
            assert!((found - value).abs() < 1e-9, "{expression} = {found}");
        }
    }

    #[test]
    fn errors_say_what_and_where() {
        for (expression, wanted) in [
            ("", "the expression is empty"),
            ("1 +", "a number is missing at the end (at character 4)"),
            ("1 + * 2", "a number is missing before '*' (at character 5)"),
            ("(1 + 2", "a \")\" is missing (at character 7)"),
            ("1 + 2)", "closes nothing (at character 6)"),
            ("2 3", "an operator is missing before '3' (at character 3)"),
            ("1.2.3", "\"1.2.3\" is not a number (at character 1)"),
            ("sqroot(4)", "\"sqroot\" is unknown; there are pi, e, tau and the functions abs"),
            ("sqrt 4", "sqrt needs its argument in parentheses"),
            ("sqrt(1, 2)", "sqrt does not take 2 arguments"),
            ("min()", "min does not take 0 arguments"),
            ("1 / (2 - 2)", "division by zero"),
            ("5 % 0", "division by zero"),
            ("sqrt(-1)", "no real square root"),
            ("ln(0)", "only a positive number"),
            ("10 ^ 400", "too large"),
            ("(-8) ^ 0.5", "not a number"),
            ("2 & 3", "an operator is missing before '&'"),
        ] {
            let problem = evaluate(expression).unwrap_err();
            assert!(problem.contains(wanted), "{expression}: {problem}");
        }
    }

    #[test]
    fn nesting_has_a_limit_instead_of_a_stack_overflow() {
        for deep in
            ["(".repeat(1900), "-".repeat(1900), "2^".repeat(950) + "2", "abs(".repeat(450), "√".repeat(1900)]
        {
            let problem = evaluate(&deep).unwrap_err();
            assert!(problem.contains("levels deep"), "{problem}");
        }
        assert!(evaluate(&"1".repeat(2001)).unwrap_err().contains("longer than"));
        assert_eq!(evaluate(&format!("{}1{}", "(".repeat(60), ")".repeat(60))), Ok(1.0));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_every_value_is_finite(text in ".{0,80}") {
            if let Ok(value) = evaluate(&text) {
                prop_assert!(value.is_finite());
            }
        }

        #[test]
        fn nothing_made_of_its_own_words_makes_it_panic(
            words in prop::collection::vec(prop::sample::select(vec![
                "1", "0", ".", "2e3", "e", "(", ")", "+", "-", "*", "/", "%", "^", ",", "sqrt(", "round(", "min", "√", "pi", " ",
            ]), 0..40)
        ) {
            if let Ok(value) = evaluate(&words.concat()) {
                prop_assert!(value.is_finite());
            }
        }

        #[test]
        fn a_sum_of_numbers_is_their_sum(numbers in prop::collection::vec(-1000i32..1000, 1..20)) {
            let text = numbers.iter().map(|n| format!("({n})")).collect::<Vec<_>>().join("+");
            prop_assert_eq!(evaluate(&text), Ok(f64::from(numbers.iter().sum::<i32>())));
        }
    }
}
