//! Models played from a script: a whole team's configuration can be rehearsed, in CI too, without paying for a token.
//!
//! A [`Script`] is a list of turns, per agent or for all. Each request is answered by the first turn whose `when`
//! fits and that is not used up; what the turn does goes out as the same events a provider's stream gives, so that
//! everything behind it (tools, votes, restarts, displays, logs) is real.
//!
//! ```yaml
//! question: What time is it in Lisbon?   # asked where the user asks nothing
//! chunk_delay: 20ms                      # between two words
//! agents:
//!   scout:
//!     - reasoning: A clock will know.
//!       calls:
//!         - { tool: mcp__desk__now, arguments: { zone: Europe/Lisbon } }
//!     - answer: "It is {{result:mcp__desk__now.time}} in Lisbon."
//! turns:                                 # for every agent, after its own
//!   - when: { candidates: some }
//!     vote: { for: agent1, reason: It read a clock. }
//!     repeat: true
//!   - when: { phase: presentation }
//!     text: "{{candidate:agent1}}"
//! ```
//!
//! ## Placeholders
//!
//! They stand in every text and, inside a call's arguments, in every string. A string that is one placeholder and
//! nothing else keeps the type of the value, so that a number stays a number.
//!
//! | placeholder | becomes |
//! |---|---|
//! | `{{question}}`, `{{agent}}`, `{{round}}` | what the request is about |
//! | `{{candidate:agent2}}` | that candidate's answer |
//! | `{{result:TOOL}}` | the text of the tool's last result in this conversation |
//! | `{{result:TOOL#1}}` | the text of its first result, and so on |
//! | `{{result:TOOL.hits.0.title}}` | a value inside a result that is JSON |
//! | `{{… \| a word}}` | the word, where there is no such value |
//! | `\{{` | two braces |
//!
//! A placeholder that cannot be filled is an error that names it; nothing is ever left standing in an answer.
//!
//! ```
//! use massgen_backends::{Backend, Event, Request, Script, ScriptedBackend};
//! use futures_util::StreamExt;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let script: Script = serde_json::from_str(r#"{"turns": [{"answer": "42"}]}"#)?;
//! assert!(script.validate().is_empty());
//!
//! let model = ScriptedBackend::new(script, "scout", "rehearsal");
//! let events: Vec<_> = model.stream(Request::default(), Default::default()).collect().await;
//! let Some(Ok(Event::Done { turn, .. })) = events.last() else { panic!("no end") };
//! assert_eq!(turn.calls[0].name, "new_answer");
//! # Ok(()) }
//! ```

mod check;
mod choose;
mod pause;
mod perform;
mod script;
mod template;

pub use check::ScriptProblem;
pub use pause::Pause;
pub use perform::ScriptedBackend;
pub use script::{
    CandidateMatch, Script, ScriptCall, ScriptError, ScriptPhase, ScriptTurn, ScriptUsage, ScriptVote,
    TextMatch, ToolPattern, ToolResultMatch, VoteTarget, When,
};

#[cfg(test)]
mod tests;
