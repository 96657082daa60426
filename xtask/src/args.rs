//! The words behind a command's name. Enough for ten commands; a library would be compiled on every first use.

use anyhow::{Result, bail};

/// What is left to be understood.
pub(crate) struct Args {
    words: Vec<String>,
}

impl Args {
    pub(crate) fn new(words: Vec<String>) -> Self {
        Self { words }
    }

    /// Takes a switch, and says whether it was there.
    pub(crate) fn switch(&mut self, name: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|word| word != name);
        self.words.len() < before
    }

    /// Takes an option and the word behind it.
    pub(crate) fn value(&mut self, name: &str) -> Result<Option<String>> {
        let Some(at) = self.words.iter().position(|word| word == name) else { return Ok(None) };
        self.words.remove(at);
        if at >= self.words.len() {
            bail!("{name} wants a word behind it");
        }
        Ok(Some(self.words.remove(at)))
    }

    /// Takes everything, options included, for a program that understands them itself.
    pub(crate) fn rest(self) -> Vec<String> {
        self.words.into_iter().filter(|word| word != "--").collect()
    }

    /// Takes the plain words. An option nobody took is an error.
    pub(crate) fn names(self) -> Result<Vec<String>> {
        if let Some(option) = self.words.iter().find(|word| word.starts_with('-')) {
            bail!("unknown option {option:?}. `--help` lists the known ones");
        }
        Ok(self.words)
    }

    /// Nothing may be left.
    pub(crate) fn finish(self) -> Result<()> {
        match self.names()?.first() {
            Some(word) => bail!("unexpected {word:?}. `--help` shows what the command takes"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Args {
        Args::new(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn a_switch_is_taken_once() {
        let mut args = args(&["--write", "npm"]);
        assert!(args.switch("--write"));
        assert!(!args.switch("--write"));
        assert_eq!(args.names().unwrap(), ["npm"]);
    }

    #[test]
    fn an_option_takes_the_word_behind_it() {
        let mut args = args(&["--scenario", "initialize", "--json"]);
        assert_eq!(args.value("--scenario").unwrap().as_deref(), Some("initialize"));
        assert_eq!(args.value("--scenario").unwrap(), None);
        assert!(args.value("--json").is_err());
    }

    #[test]
    fn what_is_left_over_is_an_error() {
        assert!(args(&["--nope"]).finish().is_err());
        assert!(args(&["word"]).finish().is_err());
        assert!(args(&[]).finish().is_ok());
    }
}
