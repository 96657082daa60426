//! Ranking by BM25: rare words count more, repeated ones less and less, long texts are not preferred.

use std::collections::{BTreeMap, HashMap};

use crate::{Collection, Text};

/// How soon a repeated word stops counting, and how much length matters: the usual values.
const K1: f64 = 1.2;
const B: f64 = 0.75;
/// A word of the title says more about a text than one in it.
const TITLE_WEIGHT: u32 = 3;

/// Words that say nothing about a text.
const STOP_WORDS: &[&str] = &[
    "a", "about", "an", "and", "are", "as", "at", "be", "by", "do", "does", "for", "from", "how", "in", "is",
    "it", "its", "of", "on", "or", "that", "the", "there", "this", "to", "was", "what", "when", "where",
    "which", "who", "why", "with",
];

/// A found text.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit<'a> {
    /// The text.
    pub text: &'a Text,
    /// How well it fits; comparable within one search only.
    pub score: f64,
    /// The line that fits best, from 1.
    pub line: usize,
    /// What that line says.
    pub passage: &'a str,
}

/// An index of a collection.
#[derive(Debug)]
pub struct Index {
    /// Per text: how often it holds each word, and how many words it has.
    texts: Vec<Bag>,
    /// In how many texts each word is.
    frequency: HashMap<String, usize>,
    average: f64,
}

#[derive(Debug, Default)]
struct Bag {
    words: BTreeMap<String, u32>,
    length: u32,
}

impl Bag {
    fn add(&mut self, text: &str, weight: u32) {
        for word in words(text) {
            *self.words.entry(word).or_default() += weight;
            self.length += weight;
        }
    }
}

impl Index {
    /// Reads the whole collection once.
    pub fn new(collection: &Collection) -> Self {
        let mut frequency: HashMap<String, usize> = HashMap::new();
        let mut texts = Vec::new();
        for text in collection.texts() {
            let mut bag = Bag::default();
            bag.add(&text.title, TITLE_WEIGHT);
            for (_, passage) in text.passages() {
                bag.add(passage, 1);
            }
            for word in bag.words.keys() {
                *frequency.entry(word.clone()).or_default() += 1;
            }
            texts.push(bag);
        }
        let total: u32 = texts.iter().map(|bag| bag.length).sum();
        let average = f64::from(total.max(1)) / texts.len().max(1) as f64;
        Self { texts, frequency, average }
    }

    /// The texts of the collection (the one this index was made of) that hold a word of the query, best first.
    pub fn search<'a>(&self, collection: &'a Collection, query: &str, limit: usize) -> Vec<Hit<'a>> {
        let mut query: Vec<String> = words(query).collect();
        query.sort();
        query.dedup();
        let mut hits: Vec<Hit<'a>> = collection
            .texts()
            .iter()
            .zip(&self.texts)
            .filter_map(|(text, bag)| {
                let score = self.score(&query, bag);
                let (line, passage) = self.best_passage(&query, text)?;
                (score > 0.0).then_some(Hit { text, score, line, passage })
            })
            .collect();
        // Texts of one score come in the order of their ids, which is the collection's: the sort is stable.
        hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        hits.truncate(limit);
        hits
    }

    fn score(&self, query: &[String], bag: &Bag) -> f64 {
        query
            .iter()
            .map(|word| {
                let times = f64::from(bag.words.get(word).copied().unwrap_or(0));
                let length = f64::from(bag.length) / self.average;
                self.rarity(word) * times * (K1 + 1.0) / (times + K1 * (1.0 - B + B * length))
            })
            .sum()
    }

    fn rarity(&self, word: &str) -> f64 {
        let with = self.frequency.get(word).copied().unwrap_or(0) as f64;
        let all = self.texts.len() as f64;
        (1.0 + (all - with + 0.5) / (with + 0.5)).ln()
    }

    /// The passage with the most of the query's rare words; the first of equals. Length does not matter here: a
    /// passage is read whole.
    fn best_passage<'a>(&self, query: &[String], text: &'a Text) -> Option<(usize, &'a str)> {
        let mut best: Option<(f64, usize, &str)> = None;
        for (line, passage) in text.passages() {
            let mut bag = Bag::default();
            bag.add(passage, 1);
            let weight = |word: &String| {
                let times = f64::from(bag.words.get(word).copied().unwrap_or(0));
                self.rarity(word) * times * (K1 + 1.0) / (times + K1)
            };
            let score: f64 = query.iter().map(weight).sum();
            if best.is_none_or(|(most, ..)| score > most) {
                best = Some((score, line, passage));
            }
        }
        best.map(|(_, line, passage)| (line, passage))
    }
}

/// The words of a text, lower case, plural endings off, without those that say nothing.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .filter(|word| !STOP_WORDS.contains(&word.as_str()))
        .map(stem)
}

/// Just enough that "tides" finds "tide" and "ferries" finds "ferry".
fn stem(word: String) -> String {
    if word.len() > 4
        && let Some(stem) = word.strip_suffix("ies")
    {
        return format!("{stem}y");
    }
    match word.strip_suffix('s') {
        Some(stem) if stem.len() > 2 && !stem.ends_with(['s', 'u', 'i']) => stem.to_owned(),
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(query: &str) -> Vec<String> {
        let collection = Collection::built_in();
        let index = Index::new(&collection);
        index.search(&collection, query, 3).into_iter().map(|hit| hit.text.id.clone()).collect()
    }

    #[test]
    fn questions_find_the_text_that_answers_them() {
        for (query, id) in [
            ("time between one high water and the next", "tides"),
            ("Why does the tide come later every day?", "tides"),
            ("how hot should water be for green tea", "tea"),
            ("espresso", "coffee"),
            ("what is a knot", "knots-and-miles"),
            ("summer time in Japan", "time-zones"),
            ("barometer falling", "weather"),
            ("sourdough starter", "bread"),
            ("distance of the horizon from a lighthouse", "lighthouses"),
            ("mercator", "maps"),
            ("Polaris latitude", "stars"),
            ("FERRY ramps", "ferries"),
        ] {
            assert_eq!(found(query).first().map(String::as_str), Some(id), "{query}: {:?}", found(query));
        }
    }

    #[test]
    fn the_best_passage_is_the_one_that_answers() {
        let collection = Collection::built_in();
        let index = Index::new(&collection);
        for query in [
            "hours between two high waters",
            "hours from one high water to the next",
            "time between high waters",
            "next high water",
            "how long from high water to high water",
        ] {
            let hits = index.search(&collection, query, 1);
            assert!(hits[0].passage.contains("12 hours and 25 minutes"), "{query}: {}", hits[0].passage);
            assert_eq!(hits[0].text.lines[hits[0].line - 1], hits[0].passage);
        }
    }

    #[test]
    fn nothing_is_found_for_words_that_are_nowhere() {
        assert!(found("xylophone").is_empty());
        assert!(found("what is the").is_empty());
        assert!(found("").is_empty());
    }

    #[test]
    fn rare_words_count_more_and_long_texts_are_not_preferred() {
        let long = format!("# Long\n\nfish {}", "word ".repeat(200));
        let collection = Collection::of([
            ("long", long.as_str()),
            ("short", "# Short\n\nfish word"),
            ("rare", "# Rare\n\nword eel"),
        ]);
        let index = Index::new(&collection);
        let order = |query| -> Vec<&str> {
            index.search(&collection, query, 9).iter().map(|hit| hit.text.id.as_str()).collect()
        };
        assert_eq!(order("fish"), ["short", "long"]);
        assert_eq!(order("eel word")[0], "rare");
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic_and_scores_fall(query in ".{0,60}") {
            let collection = Collection::built_in();
            let hits = Index::new(&collection).search(&collection, &query, 12);
            prop_assert!(hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
        }
    }
}
