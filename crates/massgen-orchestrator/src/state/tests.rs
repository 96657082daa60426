use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { answers: 5, rounds: 100, failures: 3 };

fn failure(retryable: bool) -> Failure {
    Failure { error: "down".into(), hint: None, retryable, retry_after: None }
}

fn answer(agent: usize, round: u32, text: &str) -> Input {
    Input::Answer { agent, round, text: text.into() }
}

fn vote(agent: usize, round: u32, candidate: usize) -> Input {
    Input::Vote { agent, round, candidate, reason: String::new() }
}

fn fails(agent: usize, round: u32, retryable: bool) -> Input {
    Input::Failed { agent, round, failure: failure(retryable), jitter: 0.5 }
}

/// Commands in short, for comparison.
fn short(commands: Vec<Command>) -> String {
    let shown: Vec<_> = commands
        .iter()
        .map(|command| match command {
            Command::Start { agent, round, snapshot, may_answer } => format!(
                "start {agent}.{round} on {:?}{}",
                snapshot.answers.iter().map(|(agent, _)| *agent).collect::<Vec<_>>(),
                if *may_answer { "" } else { " vote only" }
            ),
            Command::Cancel { agent, round, because_of } => {
                format!("cancel {agent}.{round} for {because_of}")
            }
            Command::Accepted { agent, number, last, .. } => {
                format!("accepted {agent} #{number}{}", if *last { " last" } else { "" })
            }
            Command::Voted { agent, candidate, .. } => format!("voted {agent} for {candidate}"),
            Command::Pause { agent, delay, .. } => format!("pause {agent} {} ms", delay.as_millis()),
            Command::GiveUp { agent, .. } => format!("give up {agent}"),
            Command::Finish { ending, tally } => {
                format!("finish {ending:?} {:?} of {:?}", tally.winner, tally.counts)
            }
        })
        .collect();
    shown.join("; ")
}

/// Plays inputs one by one, starting rounds after each, and compares the commands of every step.
fn check(agents: usize, bounds: Bounds, steps: &[(Input, &str)]) {
    let mut state = Coordination::new(agents, bounds);
    state.start_rounds();
    for (input, expected) in steps {
        let mut commands = state.apply(input.clone());
        commands.extend(state.start_rounds());
        assert_eq!(short(commands), *expected, "after {input:?}");
    }
}

#[test]
fn a_new_answer_takes_votes_back_and_stops_stale_rounds_at_once() {
    check(
        3,
        BOUNDS,
        &[
            (
                answer(0, 1, "a"),
                "accepted 0 #1; cancel 1.1 for 0; cancel 2.1 for 0; start 0.2 on [0]; start 1.2 on [0]; start 2.2 on [0]",
            ),
            (vote(0, 2, 0), "voted 0 for 0"),
            (
                answer(1, 2, "b"),
                "accepted 1 #1; cancel 2.2 for 1; start 0.3 on [0, 1]; start 1.3 on [0, 1]; start 2.3 on [0, 1]",
            ),
            // Stale: of the round before.
            (vote(2, 2, 0), ""),
            (vote(0, 3, 1), "voted 0 for 1"),
            (vote(1, 3, 0), "voted 1 for 0"),
            (vote(2, 3, 1), "voted 2 for 1; finish Agreed Some(1) of [(0, 1), (1, 2)]"),
            (vote(2, 3, 0), ""),
        ],
    );
}

#[test]
fn a_single_agent_wins_with_its_first_answer() {
    check(1, BOUNDS, &[(answer(0, 1, "a"), "accepted 0 #1; finish Agreed Some(0) of [(0, 0)]")]);
}

#[test]
fn the_last_one_living_need_not_vote_for_itself() {
    check(
        2,
        BOUNDS,
        &[
            (answer(0, 1, "a"), "accepted 0 #1; cancel 1.1 for 0; start 0.2 on [0]; start 1.2 on [0]"),
            (fails(1, 2, false), "give up 1; finish Agreed Some(0) of [(0, 0)]"),
        ],
    );
    // But it has to where there is somebody else's answer.
    check(
        2,
        BOUNDS,
        &[
            (answer(1, 1, "b"), "accepted 1 #1; cancel 0.1 for 1; start 0.2 on [1]; start 1.2 on [1]"),
            (fails(1, 2, false), "give up 1"),
            (answer(0, 2, "a"), "accepted 0 #1; start 0.3 on [0, 1]"),
            (vote(0, 3, 1), "voted 0 for 1; finish Agreed Some(1) of [(0, 0), (1, 1)]"),
        ],
    );
}

#[test]
fn failures_pause_longer_and_longer_and_end_in_giving_up() {
    check(
        2,
        BOUNDS,
        &[
            (fails(0, 1, true), "pause 0 1000 ms"),
            (Input::PauseOver { agent: 0 }, "start 0.2 on []"),
            (fails(0, 2, true), "pause 0 2000 ms"),
            // An answer meanwhile does not shorten the pause.
            (answer(1, 1, "b"), "accepted 1 #1; start 1.2 on [1]"),
            (Input::PauseOver { agent: 0 }, "start 0.3 on [1]"),
            (vote(1, 2, 1), "voted 1 for 1"),
            (fails(0, 3, true), "give up 0; finish Agreed Some(1) of [(1, 1)]"),
        ],
    );
}

#[test]
fn a_success_forgets_failures_and_nobody_left_ends_the_run() {
    check(
        2,
        Bounds { failures: 2, ..BOUNDS },
        &[
            (fails(0, 1, true), "pause 0 1000 ms"),
            (Input::PauseOver { agent: 0 }, "start 0.2 on []"),
            (answer(0, 2, "a"), "accepted 0 #1; cancel 1.1 for 0; start 0.3 on [0]; start 1.2 on [0]"),
            (fails(0, 3, true), "pause 0 1000 ms"),
            (fails(1, 2, false), "give up 1; finish Agreed Some(0) of [(0, 0)]"),
        ],
    );
    check(
        2,
        BOUNDS,
        &[(fails(0, 1, false), "give up 0"), (fails(1, 1, false), "give up 1; finish NobodyLeft None of []")],
    );
    check(0, BOUNDS, &[]);
    assert_eq!(short(Coordination::new(0, BOUNDS).start_rounds()), "finish NobodyLeft None of []");
}

#[test]
fn the_same_answer_is_agreement_and_no_news() {
    check(
        3,
        BOUNDS,
        &[
            (
                answer(0, 1, "42"),
                "accepted 0 #1; cancel 1.1 for 0; cancel 2.1 for 0; start 0.2 on [0]; start 1.2 on [0]; start 2.2 on [0]",
            ),
            // Finished in the same moment as the first, on the old snapshot: its agent looks again.
            (answer(1, 1, " 42\n"), ""),
            (answer(1, 2, "42"), "voted 1 for 0"),
            (vote(0, 2, 0), "voted 0 for 0"),
            (answer(2, 2, "\n42"), "voted 2 for 0; finish Agreed Some(0) of [(0, 3)]"),
        ],
    );
}

#[test]
fn an_answer_finished_just_too_late_is_not_thrown_away() {
    check(
        2,
        BOUNDS,
        &[
            (answer(0, 1, "a"), "accepted 0 #1; cancel 1.1 for 0; start 0.2 on [0]; start 1.2 on [0]"),
            (
                answer(1, 1, "b"),
                "accepted 1 #1; cancel 0.2 for 1; cancel 1.2 for 1; start 0.3 on [0, 1]; start 1.3 on [0, 1]",
            ),
        ],
    );
}

#[test]
fn after_its_last_answer_an_agent_only_votes() {
    check(
        2,
        Bounds { answers: 1, ..BOUNDS },
        &[
            (
                answer(0, 1, "a"),
                "accepted 0 #1 last; cancel 1.1 for 0; start 0.2 on [0] vote only; start 1.2 on [0]",
            ),
            (answer(0, 2, "b"), "pause 0 750 ms"),
            (vote(1, 2, 0), "voted 1 for 0"),
            (Input::PauseOver { agent: 0 }, "start 0.3 on [0] vote only"),
            (vote(0, 3, 0), "voted 0 for 0; finish Agreed Some(0) of [(0, 2)]"),
        ],
    );
}

#[test]
fn limits_and_the_user_end_it_with_the_votes_there_are() {
    for (input, ending) in [
        (Input::Limit(Limit::Time), "Limit(Time)"),
        (Input::Limit(Limit::Cost), "Limit(Cost)"),
        (Input::Interrupt, "Interrupted"),
    ] {
        check(
            2,
            BOUNDS,
            &[
                (answer(0, 1, "a"), "accepted 0 #1; cancel 1.1 for 0; start 0.2 on [0]; start 1.2 on [0]"),
                (
                    answer(1, 2, "b"),
                    "accepted 1 #1; cancel 0.2 for 1; start 0.3 on [0, 1]; start 1.3 on [0, 1]",
                ),
                (vote(0, 3, 1), "voted 0 for 1"),
                (input.clone(), &format!("finish {ending} Some(1) of [(0, 0), (1, 1)]")),
            ],
        );
        check(2, BOUNDS, &[(input, &format!("finish {ending} None of []"))]);
    }
    check(
        1,
        Bounds { rounds: 1, ..BOUNDS },
        &[
            (fails(0, 1, true), "pause 0 1000 ms"),
            (Input::PauseOver { agent: 0 }, "finish Limit(Rounds) None of []"),
        ],
    );
}

#[test]
fn pauses_double_spread_and_heed_the_provider() {
    let cases = [
        (1, None, 0.0, 750),
        (1, None, 1.0, 1250),
        (3, None, 0.5, 4000),
        (200, None, 0.5, 60_000),
        (1, Some(17), 0.5, 17_000),
        (1, Some(900), 0.5, 60_000),
        (1, None, f64::NAN, 1000),
    ];
    for (failures, retry_after, jitter, expected) in cases {
        let delay = pause(failures, retry_after.map(Duration::from_secs), jitter);
        assert_eq!(delay.as_millis(), expected, "{failures} {retry_after:?} {jitter}");
    }
}

/// What a scheduler under test does next: `who` picks among what is possible, `what` decides how it goes.
#[derive(Debug, Clone)]
struct Choice {
    who: usize,
    what: u8,
    text: u8,
}

fn choices() -> impl Strategy<Value = Vec<Choice>> {
    let choice = (0..64_usize, 0..100_u8, 0..12_u8).prop_map(|(who, what, text)| Choice { who, what, text });
    proptest::collection::vec(choice, 0..400)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Live {
    Idle,
    Running(u32, u64),
    Pausing,
    GivenUp,
}

/// Plays a random schedule, late messages of stopped rounds included, and checks every command.
fn play(agents: usize, bounds: Bounds, schedule: &[Choice]) -> Result<(), TestCaseError> {
    let mut state = Coordination::new(agents, bounds);
    let mut live = vec![Live::Idle; agents];
    let mut stale: Vec<(usize, u32)> = Vec::new();
    let mut generation = 0_u64;
    let mut voted: Vec<Option<u64>> = vec![None; agents];
    let mut answers = vec![0_u32; agents];
    let mut finished = None;
    // After the random part everybody behaves, so that the run must come to its end.
    let behaves = std::iter::repeat_n(Choice { who: 0, what: 99, text: 0 }, 4000);
    for (step, choice) in schedule.iter().cloned().chain(behaves).enumerate() {
        let started = state.start_rounds();
        let mut commands = started;
        let mut possible: Vec<Input> = Vec::new();
        // One step: start, then one input on what is known after the start.
        let mut apply = |commands: Vec<Command>,
                         live: &mut Vec<Live>,
                         stale: &mut Vec<(usize, u32)>,
                         voted: &mut Vec<Option<u64>>,
                         answers: &mut Vec<u32>|
         -> Result<(), TestCaseError> {
            for command in commands {
                prop_assert!(finished.is_none(), "a command after the end: {command:?}");
                match command {
                    Command::Start { agent, round, snapshot, may_answer } => {
                        prop_assert_eq!(live[agent], Live::Idle, "started while {:?}", live[agent]);
                        prop_assert_eq!(snapshot.generation, generation);
                        prop_assert!(round <= bounds.rounds);
                        prop_assert_eq!(may_answer, answers[agent] < bounds.answers);
                        live[agent] = Live::Running(round, generation);
                    }
                    Command::Cancel { agent, round, .. } => {
                        prop_assert!(matches!(live[agent], Live::Running(running, _) if running == round));
                        live[agent] = Live::Idle;
                        stale.push((agent, round));
                    }
                    Command::Accepted { agent, number, .. } => {
                        prop_assert!(live[agent] != Live::GivenUp);
                        answers[agent] += 1;
                        prop_assert_eq!(number, answers[agent]);
                        prop_assert!(number <= bounds.answers);
                        generation += 1;
                        voted.fill(None);
                    }
                    Command::Voted { agent, candidate, .. } => {
                        prop_assert!(live[agent] == Live::Idle, "{:?}", live[agent]);
                        prop_assert!(answers[candidate] > 0, "a vote for somebody without an answer");
                        voted[agent] = Some(generation);
                    }
                    Command::Pause { agent, delay, .. } => {
                        prop_assert!(delay > Duration::ZERO && delay <= LONGEST_PAUSE);
                        live[agent] = Live::Pausing;
                    }
                    Command::GiveUp { agent, .. } => {
                        prop_assert!(live[agent] != Live::GivenUp);
                        live[agent] = Live::GivenUp;
                    }
                    Command::Finish { ending, tally } => {
                        prop_assert_eq!(tally.winner.is_some(), answers.iter().any(|&count| count > 0));
                        if let Some(winner) = tally.winner {
                            prop_assert!(answers[winner] > 0, "the winner has no answer");
                        }
                        let fresh = voted.iter().filter(|vote| **vote == Some(generation)).count();
                        let counted: u32 = tally.counts.iter().map(|(_, votes)| votes).sum();
                        prop_assert_eq!(counted as usize, fresh, "a stale vote was counted");
                        let living = live.iter().filter(|l| **l != Live::GivenUp).count();
                        match ending {
                            Ending::NobodyLeft => prop_assert_eq!(living, 0),
                            Ending::Agreed => prop_assert!(fresh >= living || living == 1),
                            _ => {}
                        }
                        finished = Some(ending);
                    }
                }
            }
            Ok(())
        };
        apply(std::mem::take(&mut commands), &mut live, &mut stale, &mut voted, &mut answers)?;
        for (agent, now) in live.iter().enumerate() {
            let candidate = (0..agents).map(|n| (choice.who + n) % agents).find(|&a| answers[a] > 0);
            let text = format!("text {}", choice.text);
            match (*now, choice.what) {
                (Live::Running(round, _), 0..40) => possible.push(answer(agent, round, &text)),
                (Live::Running(round, _), 40..60) => possible.push(fails(agent, round, choice.what < 58)),
                (Live::Running(round, _), 60..64) => possible.push(vote(agent, round, choice.who % agents)),
                (Live::Running(round, _), _) => possible.push(match candidate {
                    Some(candidate) => vote(agent, round, candidate),
                    None => answer(agent, round, &text),
                }),
                (Live::Pausing, _) => possible.push(Input::PauseOver { agent }),
                _ => {}
            }
        }
        if choice.what < 60 {
            for &(agent, round) in &stale {
                possible.push(match choice.what % 3 {
                    0 => answer(agent, round, &format!("text {}", choice.text)),
                    1 => vote(agent, round, choice.who % agents),
                    _ => fails(agent, round, false),
                });
            }
        }
        if possible.is_empty() {
            break;
        }
        let input = possible.swap_remove(choice.who % possible.len());
        // The round that speaks is over, whether or not it was stale.
        match &input {
            Input::Answer { agent, round, .. }
            | Input::Vote { agent, round, .. }
            | Input::Failed { agent, round, .. } => {
                if matches!(live[*agent], Live::Running(running, _) if running == *round) {
                    live[*agent] = Live::Idle;
                }
                stale.retain(|other| *other != (*agent, *round));
            }
            Input::PauseOver { agent } => live[*agent] = Live::Idle,
            _ => {}
        }
        let commands = state.apply(input);
        apply(commands, &mut live, &mut stale, &mut voted, &mut answers)?;
        if finished.is_some() {
            prop_assert!(state.apply(Input::Interrupt).is_empty());
            prop_assert!(state.start_rounds().is_empty());
            return Ok(());
        }
        prop_assert!(step < 4399, "it does not end");
    }
    prop_assert!(finished.is_some(), "it neither ends nor goes on");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_keeps_the_rules_and_ends(
        agents in 1..6_usize,
        answers in 1..4_u32,
        rounds in 3..60_u32,
        failures in 1..4_u32,
        schedule in choices(),
    ) {
        play(agents, Bounds { answers, rounds, failures }, &schedule)?;
    }
}
