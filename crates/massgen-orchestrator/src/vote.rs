//! Who may be voted for under which name, in which order a voter sees them, and who wins. Pure.

/// The name under which models know an agent: `agent1`, `agent2`, … in the team's order, the same for the whole run.
pub(crate) fn anonymous(agent: usize) -> String {
    format!("agent{}", agent + 1)
}

/// The order in which a voter sees the candidates: every voter another rotation, so that over the team each candidate
/// stands first (and second, …) equally often and a preference for a position cancels. When there are more voters
/// than rotations, the next ones see them backwards.
pub(crate) fn order_for<T>(voter: usize, seed: u64, mut candidates: Vec<T>) -> Vec<T> {
    let count = candidates.len();
    if count > 1 {
        let turn = voter.wrapping_add(usize::try_from(seed % 1_000_003).unwrap_or(0));
        candidates.rotate_left(turn % count);
        if (turn / count) % 2 == 1 {
            candidates.reverse();
        }
    }
    candidates
}

/// The count of a vote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Votes per candidate, in the team's order.
    pub(crate) counts: Vec<(usize, u32)>,
    /// Most votes; on a tie the first in the team's order; without votes the first candidate.
    pub(crate) winner: Option<usize>,
    /// Two or more had the most votes.
    pub(crate) tie: bool,
}

/// Counts. `candidates` stand in the team's order; votes for others do not count.
pub(crate) fn tally(candidates: &[usize], votes: impl IntoIterator<Item = usize>) -> Tally {
    let mut counts: Vec<(usize, u32)> = candidates.iter().map(|&candidate| (candidate, 0)).collect();
    for vote in votes {
        if let Some((_, count)) = counts.iter_mut().find(|(candidate, _)| *candidate == vote) {
            *count += 1;
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let mut first = counts.iter().filter(|(_, count)| *count == most).map(|(candidate, _)| *candidate);
    let winner = first.next();
    Tally { tie: most > 0 && first.next().is_some(), winner, counts }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::type_complexity, reason = "tables of cases")]

    use super::*;

    #[test]
    fn most_votes_win_and_the_teams_order_breaks_ties() {
        let cases: &[(&[usize], &[usize], Option<usize>, bool)] = &[
            (&[], &[], None, false),
            (&[], &[0, 1], None, false),
            (&[1, 2], &[], Some(1), false),
            (&[0, 1, 2], &[2, 2, 1], Some(2), false),
            (&[0, 1, 2], &[2, 1], Some(1), true),
            (&[0, 2], &[1, 1, 2], Some(2), false),
            (&[2], &[2, 2, 2], Some(2), false),
        ];
        for (candidates, votes, winner, tie) in cases {
            let tally = tally(candidates, votes.iter().copied());
            assert_eq!((tally.winner, tally.tie), (*winner, *tie), "{candidates:?} {votes:?}");
        }
    }

    #[test]
    fn over_the_team_every_candidate_stands_everywhere_equally_often() {
        for seed in [0, 1, 7, u64::MAX] {
            for count in 1..6 {
                let mut places = vec![vec![0; count]; count];
                for voter in 0..count * 2 {
                    let order = order_for(voter, seed, (0..count).collect());
                    for (place, candidate) in order.into_iter().enumerate() {
                        places[candidate][place] += 1;
                    }
                }
                assert!(places.iter().flatten().all(|&times| times == 2), "{seed} {places:?}");
            }
        }
        assert_ne!(order_for(0, 0, vec![1, 2]), order_for(0, 1, vec![1, 2]), "the seed turns the order");
    }
}
