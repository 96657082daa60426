//! Which tools of servers a model was offered last, and what it is told when they are others.

use std::collections::BTreeSet;

use crate::Message;

/// The most names of one kind in the line; the others are counted.
const NAMED: usize = 12;

/// The tools of the turn before; `None`: there was none.
#[derive(Default)]
pub(super) struct Roster(Option<BTreeSet<String>>);

impl Roster {
    /// Takes what is offered now, and answers with the line that says what changed. A turn of the model that was cut
    /// in two is not interrupted: it is told afterwards.
    pub(super) fn update<'a>(
        &mut self,
        offered: impl Iterator<Item = &'a str>,
        so_far: &[Message],
    ) -> Option<String> {
        let now: BTreeSet<_> = offered.map(str::to_owned).collect();
        let Some(before) = &self.0 else {
            self.0 = Some(now);
            return None;
        };
        if *before == now || !matches!(so_far.last(), Some(Message::ToolReplies(_))) {
            return None;
        }
        let mut sentences = Vec::new();
        let gone: Vec<_> = before.difference(&now).collect();
        if !gone.is_empty() {
            sentences.push(format!("These tools are not available any more: {}.", listed(&gone)));
        }
        let new: Vec<_> = now.difference(before).collect();
        if !new.is_empty() {
            sentences.push(format!("These tools are available now: {}.", listed(&new)));
        }
        self.0 = Some(now);
        Some(sentences.join(" "))
    }
}

fn listed(names: &[&String]) -> String {
    let mut text = names.iter().take(NAMED).map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        text.push_str(&format!(" and {} others", names.len() - NAMED));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_not_in_the_middle_of_a_turn() {
        let answered = [Message::ToolReplies(Vec::new())];
        let paused = [Message::User("q".into())];
        let mut roster = Roster::default();
        assert_eq!(roster.update(["a", "b"].into_iter(), &answered), None);
        assert_eq!(roster.update(["b", "a"].into_iter(), &answered), None);
        assert_eq!(roster.update(["a", "c"].into_iter(), &paused), None);
        assert_eq!(
            roster.update(["a", "c"].into_iter(), &answered).unwrap(),
            "These tools are not available any more: b. These tools are available now: c."
        );
        assert_eq!(roster.update(["a", "c"].into_iter(), &answered), None);
        let many: Vec<_> = (10..40).map(|number| number.to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).chain(["a", "c"]).collect();
        let line = roster.update(many.iter().copied(), &answered).unwrap();
        assert!(line.ends_with("20, 21 and 18 others."), "{line}");
    }
}
