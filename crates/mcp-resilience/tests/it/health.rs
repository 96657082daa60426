//! Signs of life and starts over.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mcp_resilience::health::{Health, HealthOptions};
use mcp_resilience::{backoff::Backoff, restart::Restarts};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn who_is_heard_of_is_not_asked() {
    let health = Health::new(HealthOptions::default());
    let asked = AtomicU32::new(0);
    let watch = health.watch(|| {
        asked.fetch_add(1, Ordering::SeqCst);
        std::future::ready(true)
    });
    let speaks = async {
        for _ in 0..100 {
            tokio::time::sleep(20 * SECOND).await;
            health.seen();
        }
    };
    tokio::select! {
        () = watch => panic!("it is alive"),
        () = speaks => {}
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn only_misses_in_a_row_count() {
    let health = Health::new(HealthOptions { jitter: 0.0, ..HealthOptions::default() });
    let asked = AtomicU32::new(0);
    // Answers every third time, until the twelfth.
    let begun = Instant::now();
    health
        .watch(|| {
            let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
            std::future::ready(number.is_multiple_of(3) && number <= 12)
        })
        .await;
    assert_eq!((asked.load(Ordering::SeqCst), begun.elapsed()), (15, 5 * (30 + 4 + 4) * SECOND));
}

#[test]
fn a_crash_loop_ends_and_a_crash_a_day_does_not() {
    let backoff = Backoff { jitter: 0.0, ..Backoff::default() };
    let begin = Instant::now();
    for (gap, expected) in [(1, vec![500, 1000, 2000, 4000, 8000]), (24 * 3600, vec![500; 12])] {
        let mut restarts = Restarts::new(&backoff, Some(5), 300 * SECOND);
        let delays: Vec<_> = (0..12)
            .map_while(|number| restarts.next(begin + number * gap * SECOND))
            .map(|delay| delay.as_millis() as u64)
            .collect();
        assert_eq!(delays, expected, "every {gap} s");
    }
    let mut never = Restarts::new(&backoff, Some(0), 300 * SECOND);
    assert_eq!(never.next(begin), None);
    let mut always = Restarts::new(&backoff, None, 300 * SECOND);
    assert!((0..1000).all(|_| always.next(begin).is_some()));
}
