//! Who may pass, by the rules and by people's answers.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mcp_core::{AgentId, BoxFuture, JsonObject, Refusal, ServerName, ToolCall, ToolName, ToolSpec};
use mcp_security::lock::Grant;
use mcp_security::permission::{Decision, Nature, Permissions, Verdict};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::taint::Taint;

/// How long a person may take to answer where the call has no deadline of its own.
const PATIENCE: Duration = Duration::from_secs(600);

/// Asks a person whether a call may happen. Libraries never touch a terminal: whoever has one implements this.
///
/// Questions come one at a time. A future that is dropped takes its question back.
pub trait Ask: Send + Sync {
    /// Asks, and waits for the answer.
    fn ask(&self, question: Question) -> BoxFuture<'_, Answer>;
}

/// A call that waits for somebody's word: exactly what would be sent. Its texts are a model's and a server's, so show
/// them with control characters escaped.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Question {
    /// The agent that makes the call; `None`: nobody of a team.
    pub caller: Option<AgentId>,
    /// The tool, as its server describes it.
    pub spec: ToolSpec,
    /// The arguments.
    pub arguments: JsonObject,
    /// Why it is asked: a rule, or what the tool says that it does.
    pub verdict: Verdict,
    /// Why a call that is allowed otherwise is asked about: what the team has read before it.
    pub concern: Option<String>,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// This call may happen.
    Once,
    /// Every call of this tool may happen, as long as the gate lives and the tool is described as it is now. It answers
    /// what was asked and no more: one that was given to a rule does not let out what is read later
    /// ([`Question::concern`]), and the other way round.
    ThisRun,
    /// This call may not happen.
    No,
    /// Nobody can be asked; what to do about it.
    Nobody {
        /// The remedy.
        hint: String,
    },
}

/// Lets calls through by rules and by people's answers. Cheap to clone: clones share answers, and ask one question at
/// a time.
///
/// The default has no rules and allows everything.
#[derive(Clone, Default)]
pub struct Gate {
    shared: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    permissions: Permissions,
    ask: Option<Arc<dyn Ask>>,
    /// Tools that were let through for the rest of the run where a rule asks, by what they were then: a tool that
    /// changes is asked about anew.
    granted: Mutex<HashSet<Granted>>,
    /// The same, where what the team has read asks. It is another question: whoever let a tool work did not let out what
    /// is read after that.
    granted_outlets: Mutex<HashSet<Granted>>,
    /// Held while a question is open.
    turn: tokio::sync::Mutex<()>,
    /// Why nothing may change the world for now.
    suspended: watch::Sender<Option<Refusal>>,
    /// What was read so far.
    taint: Mutex<Taint>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Granted {
    server: ServerName,
    tool: ToolName,
    fingerprint: String,
}

impl Granted {
    fn of(spec: &ToolSpec) -> Self {
        Self {
            server: spec.server.clone(),
            tool: spec.name.clone(),
            fingerprint: mcp_security::lock::fingerprint(spec),
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("permissions", &self.shared.permissions).finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate with these rules. `ask: None`: what a person has to be asked about is refused.
    pub fn new(permissions: Permissions, ask: Option<Arc<dyn Ask>>) -> Self {
        Self { shared: Arc::new(Inner { permissions, ask, ..Inner::default() }) }
    }

    /// From now on calls that may change the world are refused for this reason, such as an audit log that cannot be
    /// written, and servers that have such tools are degraded; `None` ends that.
    pub fn suspend_changes(&self, why: Option<Refusal>) {
        self.shared.suspended.send_replace(why);
    }

    /// Why calls that may change the world are refused for now, where they are.
    pub fn suspended(&self) -> Option<Refusal> {
        self.shared.suspended.borrow().clone()
    }

    /// Changes of [`Gate::suspended`].
    pub(crate) fn suspensions(&self) -> watch::Receiver<Option<Refusal>> {
        self.shared.suspended.subscribe()
    }

    /// Lets a tool through where a rule asks, as if somebody had answered so for the run, as long as it is what it was. What
    /// the team has read is asked about all the same ([`Gate::learn`]).
    pub fn grant(&self, grant: &Grant) {
        let (Ok(server), Ok(tool)) = (ServerName::new(&grant.server), ToolName::new(&grant.tool)) else {
            return;
        };
        let granted = Granted { server, tool, fingerprint: grant.sha256.clone() };
        self.shared.granted.lock().unwrap_or_else(PoisonError::into_inner).insert(granted);
    }

    /// Learns that an agent has read an answer of this tool; `suspicious`: it looks like orders to a model.
    ///
    /// Where private data and strangers' words have both been read, or words that look like orders, calls of tools whose
    /// arguments leave for where others read them ([`mcp_security::permission::Label::PublicSink`]) need somebody's word,
    /// unless a rule allows them. No grant that was written down speaks for that. It holds for all agents, for they show each
    /// other their answers.
    pub fn learn(&self, spec: &ToolSpec, suspicious: bool) {
        let labels = self.shared.permissions.labels(spec);
        self.shared.taint.lock().unwrap_or_else(PoisonError::into_inner).learn(spec, labels, suspicious);
    }

    /// Why this call of an agent needs somebody's word although nothing forbids it.
    fn concern(&self, call: &ToolCall, spec: &ToolSpec, verdict: &Verdict) -> Option<String> {
        // A rule that allows is somebody's word, and a call by nobody of a team was made by somebody.
        let allowed_by_rule = verdict.decision == Decision::Allow && verdict.pattern.is_some();
        if verdict.decision == Decision::Deny || allowed_by_rule || call.caller.is_none() {
            return None;
        }
        let concern = self.shared.taint.lock().unwrap_or_else(PoisonError::into_inner).concern()?;
        self.shared.permissions.labels(spec).public_sink.then_some(concern)
    }

    /// What the rules say about a call, without asking anybody.
    pub fn verdict(&self, caller: Option<&AgentId>, spec: &ToolSpec, arguments: &JsonObject) -> Verdict {
        self.shared.permissions.decide(caller, spec, arguments)
    }

    /// Lets a call pass, or says why not.
    pub(crate) async fn admit(&self, call: &ToolCall, spec: &ToolSpec) -> Result<(), Refusal> {
        let verdict = self.verdict(call.caller.as_ref(), spec, &call.arguments);
        if verdict.nature != Nature::Reads
            && let Some(Refusal { rule, reason, hint }) = &*self.shared.suspended.borrow()
        {
            let reason = format!("{} may change the world, and that is suspended: {reason}", spec.name);
            return Err(refusal(rule, reason, hint));
        }
        if let Some(concern) = self.concern(call, spec, &verdict) {
            return self.asked(call, spec, verdict, Some(concern)).await;
        }
        match verdict.decision {
            Decision::Allow => Ok(()),
            Decision::Deny => Err(refusal(
                "permission-denied",
                match &verdict.pattern {
                    Some(pattern) => format!("the permission rule {pattern:?} denies {}", spec.name),
                    None => format!("{} may change the world, and that is denied", spec.name),
                },
                "another tool may do; the rule is under permissions: in the configuration",
            )),
            Decision::Ask => self.asked(call, spec, verdict, None).await,
        }
    }

    async fn asked(
        &self,
        call: &ToolCall,
        spec: &ToolSpec,
        verdict: Verdict,
        concern: Option<String>,
    ) -> Result<(), Refusal> {
        let why = concern.as_ref().map(|concern| format!(", because {concern}")).unwrap_or_default();
        let granted = Granted::of(spec);
        let grants = if concern.is_some() { &self.shared.granted_outlets } else { &self.shared.granted };
        let has_granted = || grants.lock().unwrap_or_else(PoisonError::into_inner).contains(&granted);
        if has_granted() {
            return Ok(());
        }
        let until = call.deadline.map_or_else(|| Instant::now() + PATIENCE, Instant::from_std);
        let answer = timeout_at(until, async {
            let _turn = self.shared.turn.lock().await;
            // Whoever was asked before may have answered for this one as well.
            if has_granted() {
                return Answer::Once;
            }
            let question = Question {
                caller: call.caller.clone(),
                spec: spec.clone(),
                arguments: call.arguments.clone(),
                verdict,
                concern,
            };
            let answer = match &self.shared.ask {
                Some(ask) => ask.ask(question).await,
                None => Answer::Nobody { hint: "allow it by a rule under permissions:".to_owned() },
            };
            if answer == Answer::ThisRun {
                grants.lock().unwrap_or_else(PoisonError::into_inner).insert(granted.clone());
            }
            answer
        })
        .await;
        let tool = &spec.name;
        match answer {
            Ok(Answer::Once | Answer::ThisRun) => Ok(()),
            Ok(Answer::No) => Err(refusal(
                "permission-declined",
                format!("{tool} needs somebody's word{why}, and it was declined"),
                "do without this call",
            )),
            Ok(Answer::Nobody { hint }) => Err(refusal(
                "permission-unanswered",
                format!("{tool} needs somebody's word{why}, and nobody can be asked"),
                &hint,
            )),
            Err(_) => Err(refusal(
                "permission-unanswered",
                format!("{tool} needs somebody's word{why}, and nobody answered in time"),
                "allow it by a rule under permissions:, or answer sooner",
            )),
        }
    }
}

fn refusal(rule: &'static str, reason: String, hint: &str) -> Refusal {
    Refusal { rule, reason, hint: hint.to_owned() }
}
