//! What models cost, for estimates: US dollars per million tokens, as the providers list them (standard tier, text).
//!
//! Sources: the providers' public price lists as of mid 2026; for older models also the fallback table of MassGen
//! v0.0.13, except where that was a guess. A model that is not here has no cost rather than a wrong one.

use crate::Usage;

/// A model's price, US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Price {
    /// Tokens read.
    pub input: f64,
    /// Tokens read that came from the provider's cache; `None`: they cost as much as others.
    pub cached_input: Option<f64>,
    /// Tokens written, reasoning included.
    pub output: f64,
}

impl Price {
    /// No cost at all: a model on this machine.
    pub const FREE: Self = Self { input: 0.0, cached_input: None, output: 0.0 };

    const fn new(input: f64, cached_input: f64, output: f64) -> Self {
        Self { input, cached_input: Some(cached_input), output }
    }

    /// What a request cost, in US dollars.
    ///
    /// ```
    /// use massgen_backends::{Usage, prices};
    ///
    /// let price = prices::price_of("gpt-4o-mini").expect("a known model");
    /// let usage = Usage { input_tokens: 1_000_000, output_tokens: 1_000_000, ..Usage::default() };
    /// assert!((price.cost(&usage) - 0.75).abs() < 1e-9);
    /// ```
    pub fn cost(&self, usage: &Usage) -> f64 {
        let cached = usage.cached_input_tokens.min(usage.input_tokens);
        let fresh = usage.input_tokens - cached;
        let dollars = fresh as f64 * self.input
            + cached as f64 * self.cached_input.unwrap_or(self.input)
            + usage.output_tokens as f64 * self.output;
        dollars / 1e6
    }
}

/// The price of a model by its name: dated and prefixed names (`openai/gpt-4o-2024-08-06`) are found as well.
pub fn price_of(model: &str) -> Option<Price> {
    let model = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    TABLE
        .iter()
        .filter(|(name, _)| is_version_of(&model, name))
        .max_by_key(|(name, _)| name.len())
        .map(|(_, price)| *price)
}

/// `name` itself, or with a date or `latest` behind it. Not with a word: `gpt-5-pro` is no `gpt-5`.
fn is_version_of(model: &str, name: &str) -> bool {
    let Some(rest) = model.strip_prefix(name) else { return false };
    rest.is_empty()
        || rest.strip_prefix(['-', '@']).is_some_and(|rest| {
            rest == "latest" || (rest.len() >= 3 && rest.chars().all(|c| c.is_ascii_digit() || c == '-'))
        })
}

const TABLE: &[(&str, Price)] = &[
    // OpenAI
    ("gpt-5", Price::new(1.25, 0.125, 10.0)),
    ("gpt-5-chat", Price::new(1.25, 0.125, 10.0)),
    ("gpt-5-codex", Price::new(1.25, 0.125, 10.0)),
    ("gpt-5.1", Price::new(1.25, 0.125, 10.0)),
    ("gpt-5-mini", Price::new(0.25, 0.025, 2.0)),
    ("gpt-5-nano", Price::new(0.05, 0.005, 0.40)),
    ("gpt-4.1", Price::new(2.0, 0.50, 8.0)),
    ("gpt-4.1-mini", Price::new(0.40, 0.10, 1.60)),
    ("gpt-4.1-nano", Price::new(0.10, 0.025, 0.40)),
    ("gpt-4o", Price::new(2.50, 1.25, 10.0)),
    ("gpt-4o-mini", Price::new(0.15, 0.075, 0.60)),
    ("o1", Price::new(15.0, 7.50, 60.0)),
    ("o3", Price::new(2.0, 0.50, 8.0)),
    ("o3-mini", Price::new(1.10, 0.55, 4.40)),
    ("o4-mini", Price::new(1.10, 0.275, 4.40)),
    ("gpt-4-turbo", Price::new(10.0, 10.0, 30.0)),
    ("gpt-4", Price::new(30.0, 30.0, 60.0)),
    ("gpt-3.5-turbo", Price::new(0.50, 0.50, 1.50)),
    // Anthropic; a cache hit costs a tenth
    ("claude-opus-4", Price::new(15.0, 1.50, 75.0)),
    ("claude-opus-4-0", Price::new(15.0, 1.50, 75.0)),
    ("claude-opus-4-1", Price::new(15.0, 1.50, 75.0)),
    ("claude-opus-4-5", Price::new(5.0, 0.50, 25.0)),
    ("claude-opus-4-6", Price::new(5.0, 0.50, 25.0)),
    ("claude-sonnet-4", Price::new(3.0, 0.30, 15.0)),
    ("claude-sonnet-4-0", Price::new(3.0, 0.30, 15.0)),
    ("claude-sonnet-4-5", Price::new(3.0, 0.30, 15.0)),
    ("claude-sonnet-4-6", Price::new(3.0, 0.30, 15.0)),
    ("claude-haiku-4-5", Price::new(1.0, 0.10, 5.0)),
    ("claude-3-7-sonnet", Price::new(3.0, 0.30, 15.0)),
    ("claude-3-5-sonnet", Price::new(3.0, 0.30, 15.0)),
    ("claude-3-5-haiku", Price::new(0.80, 0.08, 4.0)),
    ("claude-3-opus", Price::new(15.0, 1.50, 75.0)),
    ("claude-3-haiku", Price::new(0.25, 0.03, 1.25)),
    // Gemini; prompts above 200,000 tokens cost more, which is left out
    ("gemini-3-pro-preview", Price::new(2.0, 0.20, 12.0)),
    ("gemini-2.5-pro", Price::new(1.25, 0.125, 10.0)),
    ("gemini-2.5-flash", Price::new(0.30, 0.03, 2.50)),
    ("gemini-2.5-flash-lite", Price::new(0.10, 0.01, 0.40)),
    ("gemini-2.0-flash", Price::new(0.10, 0.025, 0.40)),
    ("gemini-2.0-flash-lite", Price::new(0.075, 0.075, 0.30)),
    // xAI
    ("grok-4", Price::new(3.0, 0.75, 15.0)),
    ("grok-4-fast-reasoning", Price::new(0.20, 0.05, 0.50)),
    ("grok-4-fast-non-reasoning", Price::new(0.20, 0.05, 0.50)),
    ("grok-code-fast-1", Price::new(0.20, 0.02, 1.50)),
    ("grok-3", Price::new(3.0, 0.75, 15.0)),
    ("grok-3-mini", Price::new(0.30, 0.075, 0.50)),
    ("grok-2", Price::new(2.0, 2.0, 10.0)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dated_and_prefixed_names_are_found_and_others_are_not_guessed() {
        for (model, output) in [
            ("gpt-5-mini", Some(2.0)),
            ("gpt-5-mini-2025-08-07", Some(2.0)),
            ("openai/gpt-4o", Some(10.0)),
            ("GPT-4o-mini", Some(0.60)),
            ("claude-sonnet-4-20250514", Some(15.0)),
            ("claude-opus-4-5-20251101", Some(25.0)),
            ("claude-3-5-haiku-latest", Some(4.0)),
            ("gemini-2.5-flash", Some(2.50)),
            ("gemini-2.5-flash-lite", Some(0.40)),
            ("gpt-5-pro", None),
            ("gpt-5.9", None),
            ("gpt-4-32k", None),
            ("my-model", None),
            ("", None),
        ] {
            assert_eq!(price_of(model).map(|price| price.output), output, "{model}");
        }
    }

    #[test]
    fn cached_tokens_are_cheaper_and_never_more_than_all() {
        let price = price_of("gpt-5").unwrap();
        let usage = Usage { input_tokens: 1_000_000, cached_input_tokens: 400_000, ..Usage::default() };
        assert!((price.cost(&usage) - (0.6 * 1.25 + 0.4 * 0.125)).abs() < 1e-9);
        let odd = Usage { input_tokens: 10, cached_input_tokens: 99, ..Usage::default() };
        assert!((price.cost(&odd) - 10.0 * 0.125 / 1e6).abs() < 1e-12);
        assert_eq!(Price::FREE.cost(&usage), 0.0);
    }
}
