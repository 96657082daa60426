//! Faults that are not played here, each with its reason. None of them counts as passed.

use crate::{Fault, Play};

const WHY: &[(&str, &str, &str)] = &[
    (
        "F8",
        "a traceback in place of an answer",
        "noise is passed over; the call ends at its limit, not before",
    ),
    ("F14", "an id whose type changes", "such answers are taken: the number is what counts"),
    ("F15", "an answer for another agent's call", "ids are guessed by no scripted server here"),
    (
        "F17",
        "bytes without an end of line",
        "a line that is too long is told at its end; before that, the call's limit holds",
    ),
    ("F28", "a server that speaks 1999-01-01", "a version that nobody knows is taken for the oldest one"),
    ("F30", "16 calls meet HTTP 401 at once", "needs a login server in the test kit"),
    ("F52", "a tool that is redefined during a session", "not played by this harness"),
    ("F55", "a fork bomb in a server", "needs a control group of its own"),
    (
        "F59",
        "the clock jumps, the machine sleeps",
        "limits of time use the monotonic clock only; no wall clock to jump",
    ),
    ("F61", "the audit is moved away", "the audit is written by the program, not by the client"),
    ("F62", "the audit is changed afterwards", "not played by this harness"),
    ("F64", "a locked keyring", "not played by this harness"),
    ("F65", "no file descriptors left", "would starve the other faults of this process"),
    ("F66", "1,000 callers when a circuit half-opens", "a property test of mcp-resilience"),
    ("F67", "a probe that is dropped", "a property test of mcp-resilience"),
    ("F70", "the same destructive call by several agents", "not played by this harness"),
    ("F71", "a process id that is used again", "cannot be made to happen at will"),
    ("F72", "a network that comes and goes", "takes two minutes of real time; not played by this harness"),
    ("F75", "a result that repeats a secret", "not played by this harness"),
];

pub(crate) fn faults() -> Vec<Fault> {
    let fault = |(id, what, why): &(&'static str, &'static str, &'static str)| Fault {
        id,
        what,
        long: false,
        play: Play::NotCovered(why),
    };
    let mut all: Vec<Fault> = WHY.iter().map(fault).collect();
    if !cfg!(target_os = "linux") {
        all.push(Fault {
            id: "F60",
            what: "no room for the record of calls",
            long: false,
            play: Play::NotCovered("needs /dev/full"),
        });
    }
    all
}
