//! The rules, in the order they are asked.

use std::collections::BTreeMap;

use globset::Glob;
use mcp_core::{AgentId, Annotations, JsonObject, ToolFilter, ToolSpec};

use super::labels::{Label, Labelled, Labels};
use super::predicate::Predicate;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It may happen.
    Allow,
    /// A person is asked first.
    Ask,
    /// It is refused.
    Deny,
}

/// What a tool says that it does, read so that a lie can only make things stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nature {
    /// It says that it leaves the world as it is.
    Reads,
    /// It may change the world: it says so, or it says nothing.
    Changes,
    /// It says that it may delete or overwrite.
    Destroys,
}

impl Nature {
    /// The nature that the hints claim. `readOnlyHint` and `destructiveHint` together mean the worse of the two.
    pub fn of(hints: &Annotations) -> Self {
        match (hints.destructive_hint, hints.read_only_hint) {
            (Some(true), _) => Self::Destroys,
            (_, Some(true)) => Self::Reads,
            _ => Self::Changes,
        }
    }
}

/// What becomes of a call that no rule speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// A tool that says it only reads.
    pub reads: Decision,
    /// A tool that may change the world.
    pub changes: Decision,
    /// A tool that says it may delete or overwrite.
    pub destroys: Decision,
}

impl Default for Defaults {
    /// Everything is allowed: for programs that made the call themselves.
    fn default() -> Self {
        Self::all_changes(Decision::Allow)
    }
}

impl Defaults {
    /// A person is there: whatever may change the world is asked about.
    pub const ATTENDED: Self = Self::all_changes(Decision::Ask);
    /// Nobody is there: tools of servers that the user configured may work, but what says of itself that it deletes or
    /// overwrites needs somebody's word.
    pub const UNATTENDED: Self =
        Self { reads: Decision::Allow, changes: Decision::Allow, destroys: Decision::Ask };

    /// One decision for everything but reading, which is allowed.
    pub const fn all_changes(decision: Decision) -> Self {
        Self { reads: Decision::Allow, changes: decision, destroys: decision }
    }

    fn decide(&self, nature: Nature) -> Decision {
        match nature {
            Nature::Reads => self.reads,
            Nature::Changes => self.changes,
            Nature::Destroys => self.destroys,
        }
    }
}

/// A pattern that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a pattern: {reason}")]
pub struct PermissionError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Decides about the calls it matches.
#[derive(Debug, Clone)]
pub struct Rule {
    pattern: String,
    tools: ToolFilter,
    when: Vec<Predicate>,
    nature: Option<Nature>,
    decision: Decision,
}

impl Rule {
    /// A rule about the tools that a glob matches, by their exposed name (`mcp__tracker__delete_*`), by their server's
    /// name for them, or all of a server's (`mcp__tracker`).
    ///
    /// # Errors
    ///
    /// [`PermissionError`] where the glob is none.
    pub fn new(tool: &str, decision: Decision) -> Result<Self, PermissionError> {
        let error = |reason: String| PermissionError { pattern: tool.to_owned(), reason };
        Glob::new(tool).map_err(|error_| error(error_.kind().to_string()))?;
        let tools = ToolFilter::new(Some(&[tool]), &[]).map_err(error)?;
        Ok(Self { pattern: tool.to_owned(), tools, when: Vec::new(), nature: None, decision })
    }

    /// The same rule for calls only whose argument, named by its dotted path, matches a glob. Several all have to.
    ///
    /// A rule that allows needs every value of a list to match, and a path to stay inside the pattern when its `..`
    /// are resolved; one that asks or denies needs one value, in either reading.
    ///
    /// # Errors
    ///
    /// [`PermissionError`] where the glob is none.
    pub fn when(mut self, argument: &str, pattern: &str) -> Result<Self, PermissionError> {
        let predicate = Predicate::new(argument, pattern).map_err(|error| PermissionError {
            pattern: pattern.to_owned(),
            reason: error.kind().to_string(),
        })?;
        self.when.push(predicate);
        Ok(self)
    }

    /// The same rule for tools of this nature only; [`Nature::Changes`] means [`Nature::Destroys`] as well.
    #[must_use]
    pub fn only(mut self, nature: Nature) -> Self {
        self.nature = Some(nature);
        self
    }

    fn matches(&self, spec: &ToolSpec, arguments: &JsonObject) -> bool {
        let nature = Nature::of(&spec.annotations);
        let of_nature = match self.nature {
            None => true,
            Some(Nature::Changes) => nature != Nature::Reads,
            Some(wanted) => nature == wanted,
        };
        of_nature
            && self.tools.permits(&spec.server, &spec.name)
            && self.when.iter().all(|predicate| predicate.matches(arguments, self.decision))
    }
}

/// What becomes of one call, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of it.
    pub decision: Decision,
    /// The pattern of the rule that decided; `None`: no rule speaks of it.
    pub pattern: Option<String>,
    /// What the tool says that it does.
    pub nature: Nature,
}

/// All rules of a team: an agent's own come first, then those for everybody, then the defaults. The first that matches
/// decides.
///
/// ```
/// use mcp_core::{AgentId, JsonObject, ServerName, ToolName, ToolSpec};
/// use mcp_security::permission::{Decision, Permissions, Rule};
///
/// let scout = AgentId::new("scout")?;
/// let mut permissions = Permissions::default();
/// permissions.add(Some(scout.clone()), Rule::new("mcp__tracker__delete_*", Decision::Deny)?);
///
/// let tool = ToolSpec::new(ServerName::new("tracker")?, ToolName::new("delete_issue")?);
/// assert_eq!(permissions.decide(Some(&scout), &tool, &JsonObject::new()).decision, Decision::Deny);
/// assert_eq!(permissions.decide(None, &tool, &JsonObject::new()).decision, Decision::Allow);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Permissions {
    agents: BTreeMap<AgentId, Vec<Rule>>,
    everybody: Vec<Rule>,
    labelled: Vec<Labelled>,
    /// What becomes of an agent's call that no rule speaks of.
    pub defaults: Defaults,
}

impl Permissions {
    /// No rules, and these defaults.
    pub fn new(defaults: Defaults) -> Self {
        Self { defaults, ..Self::default() }
    }

    /// Adds a rule behind those that are there already; `agent: None`: for everybody.
    pub fn add(&mut self, agent: Option<AgentId>, rule: Rule) {
        match agent {
            Some(agent) => self.agents.entry(agent).or_default().push(rule),
            None => self.everybody.push(rule),
        }
    }

    /// Says what flows through the tools that a glob matches, written as for [`Rule::new`].
    ///
    /// # Errors
    ///
    /// [`PermissionError`] where the glob is none.
    pub fn label(&mut self, tool: &str, labels: &[Label]) -> Result<(), PermissionError> {
        self.labelled.push(Labelled::new(tool, labels)?);
        Ok(())
    }

    /// What flows through a tool: what it says itself, and all labels that match it.
    pub fn labels(&self, spec: &ToolSpec) -> Labels {
        let mut labels = Labels::of(&spec.annotations);
        self.labelled.iter().for_each(|labelled| labelled.apply(spec, &mut labels));
        labels
    }

    /// Decides about a call. One without a caller was made by a person or a program itself: rules for everybody hold for
    /// it, the defaults do not.
    pub fn decide(&self, caller: Option<&AgentId>, spec: &ToolSpec, arguments: &JsonObject) -> Verdict {
        let nature = Nature::of(&spec.annotations);
        let own = caller.and_then(|caller| self.agents.get(caller)).into_iter().flatten();
        match own.chain(&self.everybody).find(|rule| rule.matches(spec, arguments)) {
            Some(rule) => Verdict { decision: rule.decision, pattern: Some(rule.pattern.clone()), nature },
            None => {
                let decision = if caller.is_some() { self.defaults.decide(nature) } else { Decision::Allow };
                Verdict { decision, pattern: None, nature }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mcp_core::{ServerName, ToolName};
    use serde_json::json;

    use super::*;

    fn tool(server: &str, name: &str, read_only: Option<bool>, destructive: Option<bool>) -> ToolSpec {
        ToolSpec::new(ServerName::new(server).unwrap(), ToolName::new(name).unwrap()).with_annotations(
            Annotations { read_only_hint: read_only, destructive_hint: destructive, ..Default::default() },
        )
    }

    fn agent(name: &str) -> AgentId {
        AgentId::new(name).unwrap()
    }

    #[test]
    fn the_first_rule_decides_and_an_agents_own_come_first() {
        let mut permissions = Permissions::new(Defaults::ATTENDED);
        let rule = |tool, decision| Rule::new(tool, decision).unwrap();
        permissions.add(None, rule("mcp__tracker__*", Decision::Deny));
        permissions.add(Some(agent("a")), rule("mcp__tracker__delete_*", Decision::Ask));
        permissions.add(Some(agent("a")), rule("mcp__tracker", Decision::Allow));
        let decide = |caller: &str, name: &str| {
            let verdict = permissions.decide(
                Some(&agent(caller)),
                &tool("tracker", name, None, None),
                &JsonObject::new(),
            );
            (verdict.decision, verdict.pattern.unwrap_or_default())
        };
        assert_eq!(decide("a", "delete_issue"), (Decision::Ask, "mcp__tracker__delete_*".into()));
        assert_eq!(decide("a", "list"), (Decision::Allow, "mcp__tracker".into()));
        assert_eq!(decide("b", "list"), (Decision::Deny, "mcp__tracker__*".into()));
    }

    #[test]
    fn defaults_follow_the_nature_and_hints_only_narrow() {
        use Decision::{Allow, Ask};
        for (read_only, destructive, attended, unattended) in [
            (Some(true), None, Allow, Allow),
            (Some(true), Some(false), Allow, Allow),
            (Some(true), Some(true), Ask, Ask),
            (None, None, Ask, Allow),
            (Some(false), Some(false), Ask, Allow),
            (None, Some(true), Ask, Ask),
        ] {
            let spec = tool("s", "t", read_only, destructive);
            for (defaults, expected) in [(Defaults::ATTENDED, attended), (Defaults::UNATTENDED, unattended)] {
                let permissions = Permissions::new(defaults);
                let decided = permissions.decide(Some(&agent("a")), &spec, &JsonObject::new()).decision;
                assert_eq!(decided, expected, "{read_only:?} {destructive:?} {defaults:?}");
                assert_eq!(permissions.decide(None, &spec, &JsonObject::new()).decision, Allow);
            }
        }
    }

    #[test]
    fn rules_look_at_arguments_and_nature() {
        let mut permissions = Permissions::new(Defaults::all_changes(Decision::Deny));
        let inside = Rule::new("write_*", Decision::Allow).unwrap().when("path", "/srv/**").unwrap();
        permissions.add(None, inside);
        permissions.add(None, Rule::new("*", Decision::Ask).unwrap().only(Nature::Destroys));
        let decide = |spec: &ToolSpec, path: &str| {
            let arguments = json!({ "path": path });
            permissions.decide(Some(&agent("a")), spec, arguments.as_object().unwrap()).decision
        };
        let write = tool("files", "write_file", None, None);
        assert_eq!(decide(&write, "/srv/notes.md"), Decision::Allow);
        assert_eq!(decide(&write, "/srv/../home/.bashrc"), Decision::Deny);
        assert_eq!(decide(&tool("files", "remove", None, Some(true)), "/srv/x"), Decision::Ask);
        assert_eq!(Rule::new("[a", Decision::Deny).unwrap_err().pattern, "[a");
    }
}
