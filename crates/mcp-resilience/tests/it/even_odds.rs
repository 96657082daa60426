//! A tool that fails half of its calls, drawn from a seed, as a team meets it: somebody calls every 150 ms during two of every
//! four seconds. What becomes of it is told by the draws alone, in virtual time.

use std::time::Duration;

use mcp_resilience::breaker::{Failure, Gate, Outcome, RuleOptions, Rules, State};
use tokio::time::Instant;

/// Draws with even odds that come out the same for the same seed (SplitMix64), those of `massgen mcp chaos`.
struct Dice(u64);

impl Dice {
    fn fails(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 63 == 0
    }
}

/// What happened.
#[derive(Debug, Default, PartialEq)]
struct Story {
    answered: usize,
    failed: usize,
    rejected: usize,
    /// When each probe was made, milliseconds, and whether it was answered.
    probes: Vec<(u64, bool)>,
}

fn story(seed: u64, seconds: u64) -> Story {
    let rules = Rules::new(RuleOptions { open_jitter: 0.0, ..RuleOptions::default() });
    let (gate, mut dice, begun) = (Gate::new(rules), Dice(seed), Instant::now());
    let mut story = Story::default();
    for at in (0..seconds * 1000).step_by(150).filter(|at| (at / 2000) % 2 == 0) {
        let now = begun + Duration::from_millis(at);
        let Ok(permit) = gate.acquire(now) else {
            story.rejected += 1;
            continue;
        };
        let (probe, fails) = (permit.is_probe(), dice.fails());
        permit.record(if fails { Outcome::Failure(Failure::Call) } else { Outcome::Success }, now);
        if probe {
            // A verdict is the probe's own: an answer closes the circuit, a failure opens it again.
            assert_eq!(gate.state() == State::Closed, !fails);
            story.probes.push((at, !fails));
        } else if fails {
            story.failed += 1;
        } else {
            story.answered += 1;
        }
    }
    story
}

/// The draws of seed 7 begin `FF..F FFFFFF .`: three of five fail and open the circuit, and so do the next six, each of which
/// is a probe. Nobody who wants to probe is kept from it, and nothing but the draws keeps it open: with the first that is
/// answered, it closes.
#[test]
fn a_circuit_that_stays_open_for_two_minutes_lost_each_draw() {
    let short = story(7, 120);
    assert_eq!((short.answered, short.failed), (2, 3));
    assert_eq!(short.probes.len(), 4, "{short:?}");
    assert!(short.probes.iter().all(|(_, answered)| !answered), "{short:?}");

    let long = story(7, 700);
    let answered: Vec<_> = long.probes.iter().take(7).map(|(_, answered)| *answered).collect();
    assert_eq!(answered, [false, false, false, false, false, false, true]);
    // Each is made by the first who calls when the time has come: that may be at the end of a pause of 2 s.
    let mut opened = 600;
    for ((at, _), wait) in long.probes.iter().zip([5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000]) {
        assert!((wait..=wait + 2_150).contains(&(at - opened)), "{at} after {opened}, {wait} were due");
        opened = *at;
    }
}

/// Four probes come within two minutes, so that one seed in sixteen closes none.
#[test]
fn how_many_stay_open_is_what_even_odds_say() {
    let never = (0..2_000)
        .map(|seed| story(seed, 120))
        .filter(|story| story.probes.len() >= 4 && story.probes.iter().all(|(_, answered)| !answered));
    let never = never.count();
    assert!((85..=170).contains(&never), "{never} of 2,000, 125 are expected");
}
