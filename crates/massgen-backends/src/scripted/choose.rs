//! Which turn answers a request.

use super::script::{
    CandidateMatch, Script, ScriptPhase, ScriptTurn, ToolResultMatch, When, contains_ignoring_case,
};
use super::template::{Scene, list};
use crate::{Message, RequestPhase};

/// A turn of a script, with its place for messages.
#[derive(Debug, Clone)]
pub(super) struct Placed<'a> {
    pub(super) place: String,
    pub(super) turn: &'a ScriptTurn,
}

impl Script {
    /// The turns an agent may play, in the order in which they are tried.
    pub(super) fn turns_of(&self, agent: &str) -> Vec<Placed<'_>> {
        let own = self.agents.get(agent).map(Vec::as_slice).unwrap_or_default();
        let own = own.iter().enumerate().map(|(at, turn)| (format!("agents.{agent}[{at}]"), turn));
        let shared = self.turns.iter().enumerate().map(|(at, turn)| (format!("turns[{at}]"), turn));
        own.chain(shared).map(|(place, turn)| Placed { place, turn }).collect()
    }
}

impl ScriptTurn {
    /// How often the turn may be used; `None`: without end.
    pub(super) fn limit(&self) -> Option<u32> {
        if self.repeat { None } else { Some(self.times.unwrap_or(1)) }
    }
}

/// How often each turn was used, and in which run.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    used: Vec<u32>,
    run: Option<Run>,
}

#[derive(Debug)]
struct Run {
    question: String,
    round: u32,
    phase: RequestPhase,
}

impl Ledger {
    /// The place in `turns` of the one that answers; it counts as used from now on, even where the answer is cut short.
    ///
    /// # Errors
    ///
    /// What was looked for, why each turn did not fit, and the remedy.
    pub(super) fn choose(&mut self, turns: &[Placed<'_>], scene: Scene<'_>) -> Result<usize, String> {
        self.notice_new_run(scene);
        self.used.resize(turns.len(), 0);
        let mut reasons = Vec::new();
        for (at, Placed { place, turn }) in turns.iter().enumerate() {
            let used = self.used[at];
            let reason = if turn.limit().is_some_and(|limit| used >= limit) {
                format!("is used up ({used} of {used})")
            } else if let Err(reason) = turn.when.fits(scene) {
                reason
            } else {
                self.used[at] += 1;
                return Ok(at);
            };
            reasons.push(format!("{place} {reason}"));
        }
        Err(no_turn(scene, &reasons))
    }

    /// A script is played from its beginning for every question: interactive users ask more than one.
    fn notice_new_run(&mut self, scene: Scene<'_>) {
        let context = &scene.request.context;
        let goes_on = self.run.as_ref().is_some_and(|run| {
            let presented =
                run.phase == RequestPhase::Presentation && context.phase == RequestPhase::Coordination;
            run.question == context.question && context.round >= run.round && !presented
        });
        if !goes_on {
            self.used.clear();
        }
        self.run =
            Some(Run { question: context.question.clone(), round: context.round, phase: context.phase });
    }
}

fn no_turn(scene: Scene<'_>, reasons: &[String]) -> String {
    let context = &scene.request.context;
    let phase = match context.phase {
        RequestPhase::Coordination => "coordination",
        RequestPhase::Presentation => "presentation",
    };
    let agent = scene.agent;
    let results = list(scene.results().map(|reply| reply.name.as_str()));
    let candidates = list(context.candidates.iter().map(|(id, _)| id.as_str()));
    let looked_for = format!(
        "no turn of the script fits agent {agent:?} in round {} ({phase}; candidates: {candidates}; tool results: {results})",
        context.round
    );
    if reasons.is_empty() {
        return format!(
            "{looked_for}: the script has no turns for it. Add agents.{agent} or turns: for every agent"
        );
    }
    format!(
        "{looked_for}: {}. Add a turn for this, or let one be used again with repeat: true or times:",
        reasons.join("; ")
    )
}

impl When {
    /// Whether all conditions hold; if not, the first that does not.
    fn fits(&self, scene: Scene<'_>) -> Result<(), String> {
        let context = &scene.request.context;
        if let Some(phase) = self.phase {
            let holds = match phase {
                ScriptPhase::Coordination => context.phase == RequestPhase::Coordination,
                ScriptPhase::Presentation => context.phase == RequestPhase::Presentation,
            };
            let wanted = if phase == ScriptPhase::Coordination { "coordination" } else { "presentation" };
            check(holds, || format!("wants the phase {wanted}"))?;
        }
        if let Some(round) = self.round {
            check(round == context.round, || format!("wants round {round}"))?;
        }
        if let Some(candidates) = &self.candidates {
            let count = context.candidates.len();
            let (holds, wanted) = match candidates {
                CandidateMatch::None => (count == 0, "no candidates".to_owned()),
                CandidateMatch::Some => (count > 0, "candidates".to_owned()),
                CandidateMatch::Exactly(wanted) => {
                    (count == *wanted as usize, format!("exactly {wanted} candidates"))
                }
                CandidateMatch::Answer(text) => (
                    context.candidates.iter().any(|(_, answer)| text.is_match(answer)),
                    "another candidate".to_owned(),
                ),
            };
            check(holds, || format!("wants {wanted}"))?;
        }
        if let Some(question) = &self.question {
            check(question.is_match(&context.question), || "wants another question".to_owned())?;
        }
        if let Some(message) = &self.message {
            let last = scene.request.messages.iter().rev().find_map(|message| match message {
                Message::User(text) => Some(text.as_str()),
                Message::Assistant(_) | Message::ToolReplies(_) => None,
            });
            check(last.is_some_and(|last| message.is_match(last)), || "wants another message".to_owned())?;
        }
        if let Some(result) = &self.tool_result {
            result.fits(scene)?;
        }
        Ok(())
    }
}

impl ToolResultMatch {
    fn fits(&self, scene: Scene<'_>) -> Result<(), String> {
        let found = scene
            .results()
            .filter(|reply| self.tool.as_ref().is_none_or(|tool| tool.is_match(&reply.name)))
            .filter(|reply| {
                self.contains.as_deref().is_none_or(|part| contains_ignoring_case(&reply.text, part))
            })
            .filter(|reply| self.is_error.is_none_or(|is_error| is_error == reply.is_error))
            .count();
        let holds = match self.count {
            Some(0) => found == 0,
            wanted => found >= wanted.unwrap_or(1) as usize,
        };
        check(holds, || {
            let tool = self.tool.as_ref().map_or("any tool", |tool| tool.as_str());
            match self.count {
                Some(0) => format!("wants no result of {tool}"),
                wanted => format!("wants {} results of {tool} and found {found}", wanted.unwrap_or(1)),
            }
        })
    }
}

fn check(holds: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(reason()) }
}
