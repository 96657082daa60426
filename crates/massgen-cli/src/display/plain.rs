//! Plain lines: one agent's name in front of each, complete lines only, no cursor codes.

use std::collections::BTreeMap;
use std::io::{self, Write};

use massgen::orchestrator::{Event, EventKind, RunOutcome, ServerState, ToolStatus};

use super::Display;
use crate::style::{Style, one_line, safe};
use crate::summary::Summary;

/// How much of a tool's arguments or result a line shows, in characters.
const GLIMPSE: usize = 100;

/// How long a line of an agent's text may grow until it is shown, in bytes.
const LINE: usize = 240;

/// The plain display.
pub(crate) struct Plain<W> {
    out: W,
    style: Style,
    summary: Summary,
    /// Each agent's text that has no line end yet.
    pending: BTreeMap<String, String>,
    /// The winner presents: its text is the answer and streams as it is.
    presenting: bool,
    /// The heading above the answer is there.
    headed: bool,
    /// How much of the final answer has been streamed, in bytes, and whether all of it was answer text.
    streamed: String,
}

impl<W: Write + Send> Plain<W> {
    pub(crate) fn new(out: W, style: Style) -> Self {
        Self {
            out,
            style,
            summary: Summary::default(),
            pending: BTreeMap::new(),
            presenting: false,
            headed: false,
            streamed: String::new(),
        }
    }

    fn name(&self, agent: &str) -> String {
        let width = self.summary.team.iter().map(|a| a.id.as_str().chars().count()).max().unwrap_or(0);
        let at = self.summary.team.iter().position(|a| a.id.as_str() == agent).unwrap_or(0);
        let name = format!("{:width$}", safe(agent));
        format!("{} {}", self.style.agent(at, &name), self.style.dim("│"))
    }

    fn line(&mut self, agent: &str, text: &str) -> io::Result<()> {
        self.flush_agent(agent)?;
        let name = self.name(agent);
        writeln!(self.out, "{name} {text}")
    }

    /// Prints an agent's unfinished line, so that what follows begins on its own.
    fn flush_agent(&mut self, agent: &str) -> io::Result<()> {
        match self.pending.remove(agent) {
            Some(text) if !text.trim().is_empty() => {
                let name = self.name(agent);
                writeln!(self.out, "{name} {}", self.style.dim(&safe(text.trim_end())))
            }
            _ => Ok(()),
        }
    }

    fn flush_agents(&mut self) -> io::Result<()> {
        let agents: Vec<String> = self.pending.keys().cloned().collect();
        agents.iter().try_for_each(|agent| self.flush_agent(agent))
    }

    fn text(&mut self, agent: &str, delta: &str) -> io::Result<()> {
        if self.presenting {
            self.streamed.push_str(delta);
            return write!(self.out, "{}", safe(delta));
        }
        // Only the new piece can hold a line's end: looking through all that waits would cost the square of its length.
        let mut rest = delta;
        while let Some(end) = rest.find('\n') {
            self.wait_with(agent, &rest[..end]);
            self.flush_agent(agent)?;
            rest = &rest[end + 1..];
        }
        self.wait_with(agent, rest);
        // A model that never ends its line is shown all the same, at the end of a word.
        let is_long = |text: &String| text.len() > LINE && text.ends_with(char::is_whitespace);
        if self.pending.get(agent).is_some_and(is_long) { self.flush_agent(agent) } else { Ok(()) }
    }

    fn wait_with(&mut self, agent: &str, text: &str) {
        match self.pending.get_mut(agent) {
            Some(waiting) => waiting.push_str(text),
            None => {
                self.pending.insert(agent.to_owned(), text.to_owned());
            }
        }
    }

    fn server(
        &mut self,
        server: &str,
        state: ServerState,
        tools: usize,
        detail: Option<&str>,
    ) -> io::Result<()> {
        let server = safe(server);
        match state {
            ServerState::Starting => Ok(()),
            ServerState::Ready => writeln!(
                self.out,
                "{}",
                self.style.dim(&format!(
                    "server {server} is ready: {tools} tool{}{}",
                    if tools == 1 { "" } else { "s" },
                    detail.map(|detail| format!(" ({})", safe(detail))).unwrap_or_default()
                ))
            ),
            ServerState::Degraded => {
                let detail = safe(detail.unwrap_or("it does not answer as it should"));
                writeln!(self.out, "{} server {server} is degraded: {detail}", self.style.bad("warning"))
            }
            ServerState::Unreachable | ServerState::AuthRequired | ServerState::Quarantined => {
                let detail = safe(detail.unwrap_or("it failed"));
                // Most reasons name their server themselves.
                let whose = match state {
                    ServerState::Quarantined => {
                        format!("server {server} is in quarantine, its calls are refused: ")
                    }
                    _ if detail.starts_with("server ") => String::new(),
                    _ => format!("server {server}: "),
                };
                writeln!(self.out, "{}", self.style.bad(&format!("{whose}{detail}")))
            }
            _ => Ok(()),
        }
    }

    /// The answer, unless it has been streamed already.
    fn final_answer(&mut self, text: &str) -> io::Result<()> {
        if !self.headed {
            self.heading("answer")?;
        }
        if self.streamed != text && !self.streamed.is_empty() {
            // What streamed was not the answer (the presentation broke off): say so rather than run both together.
            writeln!(
                self.out,
                "\n\n{}",
                self.style.dim("(the presentation broke off; this is the stored answer)")
            )?;
            self.streamed.clear();
        }
        if self.streamed != text {
            write!(self.out, "{}", safe(text))?;
        }
        self.presenting = false;
        self.streamed.clear();
        if text.ends_with('\n') { Ok(()) } else { writeln!(self.out) }
    }

    fn heading(&mut self, title: &str) -> io::Result<()> {
        // What an agent was about to say comes before, not into, what follows.
        self.flush_agents()?;
        writeln!(self.out, "\n{}", self.style.bold(&format!("── {title} ──")))
    }

    fn winner(&mut self, tie: bool) -> io::Result<()> {
        let Some(winner) = self.summary.winner.clone() else { return Ok(()) };
        self.headed = true;
        self.heading(&format!("answer, presented by {}", safe(&winner)))?;
        if tie {
            writeln!(
                self.out,
                "{}",
                self.style.dim("(a tie: the first of the team among the tied presents)")
            )?;
        }
        Ok(())
    }

    fn finished(&mut self, outcome: RunOutcome) -> io::Result<()> {
        self.flush_agents()?;
        let summary = self.summary.clone();
        let title = match outcome {
            RunOutcome::Answered => "done",
            RunOutcome::TimedOut => "time is over: this was the best answer so far",
            RunOutcome::NoAnswer => "no answer",
            _ => "interrupted",
        };
        self.heading(title)?;
        if !summary.ballots.is_empty() {
            let counts: Vec<_> =
                summary.votes.iter().map(|(agent, count)| format!("{} {count}", safe(agent))).collect();
            writeln!(self.out, "votes    {}", counts.join(", "))?;
            for ballot in &summary.ballots {
                let reason = one_line(&ballot.reason, 2 * GLIMPSE);
                writeln!(
                    self.out,
                    "         {} → {}: {reason}",
                    safe(&ballot.voter),
                    safe(&ballot.candidate)
                )?;
            }
        }
        let (calls, errors) = summary.calls();
        if calls > 0 {
            let failed = if errors > 0 { format!(", {errors} of them failed") } else { String::new() };
            writeln!(self.out, "tools    {calls} call{}{failed}", if calls == 1 { "" } else { "s" })?;
            for (tool, used) in &summary.tools {
                writeln!(self.out, "         {} × {}, {} ms", used.calls, safe(tool), used.total_ms)?;
            }
        }
        for agent in summary.agents.iter().filter(|agent| agent.failure.is_some()) {
            let failure = agent.failure.as_deref().unwrap_or_default();
            writeln!(self.out, "failed   {}: {}", safe(agent.id.as_str()), one_line(failure, 3 * GLIMPSE))?;
        }
        let cost = match summary.usage.cost_usd {
            Some(cost) => format!("${cost:.4}"),
            None => "unknown".to_owned(),
        };
        writeln!(
            self.out,
            "cost     {cost} ({} tokens in, {} out), {:.1} s",
            summary.usage.input_tokens,
            summary.usage.output_tokens,
            summary.duration_ms as f64 / 1000.0
        )
    }
}

impl<W: Write + Send> Display for Plain<W> {
    fn show(&mut self, event: &Event) -> io::Result<()> {
        self.summary.add(event);
        match &event.kind {
            EventKind::RunStarted { question, agents, .. } => {
                writeln!(self.out, "{} {}", self.style.bold("question"), safe(question))?;
                let team: Vec<_> = agents
                    .iter()
                    .map(|a| {
                        format!(
                            "{} ({}{}{})",
                            a.id,
                            a.provider,
                            if a.model.is_empty() { "" } else { " " },
                            a.model
                        )
                    })
                    .collect();
                writeln!(self.out, "{}     {}", self.style.bold("team"), safe(&team.join(", ")))
            }
            EventKind::Server { server, state, tools, detail } => {
                self.server(server, *state, *tools, detail.as_deref())
            }
            EventKind::Warning { message } => {
                writeln!(self.out, "{} {}", self.style.bad("warning"), safe(message))
            }
            EventKind::RoundStarted { agent, round, sees } => {
                let sees: Vec<_> = sees.iter().map(|agent| agent.as_str()).collect();
                let sees =
                    if sees.is_empty() { String::new() } else { format!(", reads {}", sees.join(", ")) };
                self.line(agent.as_str(), &format!("round {round}{}", safe(&sees)))
            }
            EventKind::Text { agent, delta } => self.text(agent.as_str(), delta),
            EventKind::Builtin { agent, tool, phase, .. } => {
                self.line(agent.as_str(), &format!("{} {}", safe(tool), safe(phase)))
            }
            EventKind::ToolStarted { agent, tool, arguments, .. } => {
                let arguments = one_line(&arguments.to_string(), GLIMPSE);
                self.line(agent.as_str(), &format!("calls {} {arguments}", safe(tool)))
            }
            EventKind::ToolFinished { agent, tool, status, duration_ms, result, .. } => {
                let result = one_line(result, GLIMPSE);
                let text = match status {
                    ToolStatus::Ok => format!("{} answered in {duration_ms} ms: {result}", safe(tool)),
                    _ => self
                        .style
                        .bad(&format!("{} failed after {duration_ms} ms: {result}", safe(tool)))
                        .into_owned(),
                };
                self.line(agent.as_str(), &text)
            }
            EventKind::TurnFinished { agent, .. } => {
                if self.presenting {
                    Ok(())
                } else {
                    self.flush_agent(agent.as_str())
                }
            }
            EventKind::Enforced { agent, problem, .. } => {
                self.line(agent.as_str(), &format!("is told: {}", one_line(problem, GLIMPSE)))
            }
            EventKind::Answer { agent, number, text } => {
                let text = format!("{} {number}: {}", self.style.bold("answer"), one_line(text, 2 * GLIMPSE));
                self.line(agent.as_str(), &text)
            }
            EventKind::Vote { agent, candidate, reason } => {
                let reason = one_line(reason, GLIMPSE);
                let text = format!("{} for {}: {reason}", self.style.bold("votes"), safe(candidate.as_str()));
                self.line(agent.as_str(), &text)
            }
            EventKind::Restarted { agent, because_of } => {
                self.line(agent.as_str(), &format!("starts again: {because_of} has a new answer"))
            }
            EventKind::AgentFailed { agent, error, hint, retry_in_ms } => {
                let next = match retry_in_ms {
                    Some(ms) => format!("tries again in {:.1} s", *ms as f64 / 1000.0),
                    None => "is given up".to_owned(),
                };
                let text = self.style.bad(&format!("failed and {next}: {}", safe(error))).into_owned();
                self.line(agent.as_str(), &text)?;
                match hint {
                    Some(hint) => self.line(agent.as_str(), &format!("hint: {}", safe(hint))),
                    None => Ok(()),
                }
            }
            EventKind::LimitReached { message, .. } => {
                writeln!(self.out, "{} {}", self.style.bad("limit"), safe(message))
            }
            EventKind::Winner { tie, .. } => self.winner(*tie),
            EventKind::PresentationStarted { .. } => {
                self.presenting = true;
                Ok(())
            }
            EventKind::FinalAnswer { text, .. } => self.final_answer(text),
            EventKind::RunFinished { outcome, .. } => self.finished(*outcome),
            _ => Ok(()),
        }
    }

    fn left_out(&mut self, count: u64) -> io::Result<()> {
        if self.presenting {
            // Of an answer that is not whole on the screen, all is shown again at the end.
            writeln!(self.out)?;
            self.presenting = false;
            self.streamed.clear();
        }
        self.flush_agents()?;
        let events = if count == 1 { "event is" } else { "events are" };
        let told = format!("({count} {events} not shown: there was no room for what waited)");
        writeln!(self.out, "{}", self.style.dim(&told))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use massgen::core::AgentId;
    use massgen::orchestrator::{AgentInfo, EventKind, VERSION};

    use super::*;

    fn show(kinds: Vec<EventKind>) -> String {
        let mut display = Plain::new(Vec::new(), Style::Plain);
        for (at, kind) in kinds.into_iter().enumerate() {
            let event = Event { v: VERSION, seq: at as u64 + 1, at: jiff::Timestamp::UNIX_EPOCH, kind };
            display.show(&event).unwrap();
        }
        display.flush().unwrap();
        String::from_utf8(display.out).unwrap()
    }

    fn started() -> EventKind {
        let agents = ["a", "longer"].map(|id| AgentInfo {
            id: AgentId::new(id).unwrap(),
            provider: "Scripted".into(),
            model: String::new(),
        });
        EventKind::RunStarted { question: "why?".into(), agents: agents.into(), history: 0 }
    }

    fn says(agent: &str, delta: &str) -> EventKind {
        EventKind::Text { agent: AgentId::new(agent).unwrap(), delta: delta.into() }
    }

    #[test]
    fn agents_who_speak_at_once_are_kept_apart_line_by_line() {
        let shown = show(vec![
            started(),
            says("a", "one "),
            says("longer", "first\nsec"),
            says("a", "line\n\nand a \u{1b}[2J trick"),
            says("longer", "ond"),
            EventKind::Winner { agent: Some(AgentId::new("a").unwrap()), votes: vec![], tie: false },
            EventKind::PresentationStarted { agent: AgentId::new("a").unwrap() },
            says("a", "the **answer**"),
            EventKind::FinalAnswer { agent: AgentId::new("a").unwrap(), text: "the **answer**".into() },
        ]);
        expect![[r#"
            question why?
            team     a (Scripted), longer (Scripted)
            longer │ first
            a      │ one line
            a      │ and a \u{1b}[2J trick
            longer │ second

            ── answer, presented by a ──
            the **answer**
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn an_answer_of_which_a_part_was_left_out_is_shown_whole() {
        let agent = AgentId::new("a").unwrap();
        let mut display = Plain::new(Vec::new(), Style::Plain);
        let mut show = |kind| {
            let event = Event { v: VERSION, seq: 1, at: jiff::Timestamp::UNIX_EPOCH, kind };
            display.show(&event).unwrap();
        };
        show(started());
        show(EventKind::PresentationStarted { agent: agent.clone() });
        show(says("a", "one "));
        display.left_out(2).unwrap();
        for kind in [says("a", "four"), EventKind::FinalAnswer { agent, text: "one two three four".into() }] {
            let event = Event { v: VERSION, seq: 2, at: jiff::Timestamp::UNIX_EPOCH, kind };
            display.show(&event).unwrap();
        }
        let shown = String::from_utf8(display.out).unwrap();
        assert!(shown.contains("(2 events are not shown"), "{shown}");
        assert!(shown.ends_with("\none two three four\n") && !shown.contains("broke off"), "{shown}");
    }

    #[test]
    fn a_line_without_end_is_shown_at_the_end_of_a_word() {
        let mut kinds = vec![started()];
        kinds.extend((0..100).map(|_| says("a", "words ")));
        let shown = show(kinds);
        assert_eq!(shown.lines().filter(|line| line.starts_with("a ")).count(), 2, "{shown}");
        assert!(shown.lines().all(|line| line.len() < LINE + 40), "{shown}");
    }
}
