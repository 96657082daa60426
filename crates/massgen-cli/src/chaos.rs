//! `massgen mcp chaos … -- COMMAND`: a stdio server behind a proxy that makes trouble. Between a client and a real server,
//! it shows what the client does when messages are late, lost or mixed with noise, and when the server dies.

use std::sync::Arc;
use std::time::Duration;

use massgen::client::StderrSink;
use massgen::core::{Environment, Guard, LaunchSpec, ServerName};
use massgen::security::env;
use massgen::transport::{Program, ProgramPipes, SessionOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use crate::args::ChaosArgs;
use crate::failure::{Failure, Kind};
use crate::{environment, output};

/// The longest message that is passed on, bytes.
const MESSAGE: u64 = 64 * 1024 * 1024;
/// Messages on their way to the client.
const WAITING: usize = 64;
/// A line that is no message.
const NOISE: &[u8] = b"Traceback (most recent call last): this line is no message\n";

/// The standard error of the server is ours.
struct Stderr;

impl StderrSink for Stderr {
    fn line(&self, _: &ServerName, line: &str) {
        output::note(line);
    }
}

/// Draws that come out the same for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn strikes(&mut self, probability: f64) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The upper 53 bits: every value of a fraction that a float can hold.
        ((z >> 11) as f64) < probability * (1_u64 << 53) as f64
    }
}

/// What becomes of a message of the client.
#[derive(Debug, PartialEq)]
enum Verdict {
    Pass,
    /// This is the answer; the server never sees the message.
    Answer(Value),
    /// The server dies now.
    Crash,
}

/// Judges the messages of the client.
struct Trouble {
    args: ChaosArgs,
    dice: Dice,
    requests: u64,
}

impl Trouble {
    fn judge(&mut self, line: &[u8]) -> Verdict {
        let message: Value = serde_json::from_slice(line).unwrap_or_default();
        let (Some(id), Some(method)) = (message.get("id"), message.get("method")) else {
            return Verdict::Pass;
        };
        if self.args.crash_after.is_some_and(|count| self.requests >= count) {
            return Verdict::Crash;
        }
        self.requests += 1;
        match self.args.error {
            Some(code) if method == "tools/call" && self.dice.strikes(self.args.error_rate) => {
                let error = json!({"code": code, "message": "trouble made by massgen mcp chaos"});
                Verdict::Answer(json!({"jsonrpc": "2.0", "id": id, "error": error}))
            }
            _ => Verdict::Pass,
        }
    }
}

pub(crate) async fn run(args: ChaosArgs) -> Result<(), Failure> {
    let (program, pipes) = start(&args, environment::read()).await?;
    let seed = args.seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        now.as_nanos() as u64
    });
    output::note(format!("massgen mcp chaos: --seed {seed} makes the same trouble again"));

    let (sender, replies) = mpsc::channel(WAITING);
    let writer = tokio::spawn(write(replies));
    let answers = tokio::spawn(from_server(pipes.stdout, sender.clone(), args.clone(), Dice(!seed)));
    let trouble = Trouble { args, dice: Dice(seed), requests: 0 };
    let mut answers = answers;
    let crashed = tokio::select! {
        crashed = from_client(pipes.stdin, sender, trouble) => crashed,
        _ = &mut answers => false,
    };
    if crashed {
        drop(program);
        answers.abort();
    } else {
        program.close().await;
    }
    // What the server has said is passed on, whatever ended first.
    let _ = answers.await;
    let _ = writer.await;
    if crashed {
        output::note("massgen mcp chaos: the server was killed, as --crash-after says");
        return Err(Failure::silent(Kind::NoAnswer));
    }
    Ok(())
}

async fn start(args: &ChaosArgs, environment: Environment) -> Result<(Program, ProgramPipes), Failure> {
    let server = ServerName::new("chaos").map_err(|error| Failure::config(error.to_string()))?;
    let Some((program, arguments)) = args.command.split_first() else {
        return Err(Failure::new(Kind::Usage, "name the server's program behind --"));
    };
    // Whoever starts the proxy has chosen this environment for the server: all of it is meant for it.
    let declared = environment.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let spec = LaunchSpec {
        program: program.clone(),
        args: arguments.to_vec(),
        env: env::child_environment(&Environment::default(), &declared),
        cwd: None,
    };
    let admitted = massgen::launch_policy(&spec.program, &spec.args)
        .admit_command(&server, spec)
        .map_err(|refusal| Failure::config(refusal.to_string()).with_hint(refusal.hint))?;
    let mut options = SessionOptions::default();
    options.stderr = Some(Arc::new(Stderr));
    options.launcher = crate::session::launcher();
    Program::start(&server, &admitted, &options).await.map_err(|error| Failure::config(error.to_string()))
}

/// The next line with its end; `None`: there is none, or it is longer than anything that is passed on.
async fn next_line(reader: &mut BufReader<impl AsyncRead + Unpin>) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let read = reader.take(MESSAGE).read_until(b'\n', &mut line).await.ok()?;
    (read > 0).then_some(line)
}

/// Passes on what the client says. True: the server is to die.
async fn from_client(
    mut server: Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
    replies: mpsc::Sender<Vec<u8>>,
    mut trouble: Trouble,
) -> bool {
    let mut client = BufReader::new(tokio::io::stdin());
    while let Some(line) = next_line(&mut client).await {
        match trouble.judge(&line) {
            Verdict::Crash => return true,
            Verdict::Answer(answer) => {
                if replies.send(format!("{answer}\n").into_bytes()).await.is_err() {
                    return false;
                }
            }
            Verdict::Pass => {
                if server.write_all(&line).await.is_err() || server.flush().await.is_err() {
                    return false;
                }
            }
        }
    }
    false
}

/// Passes on what the server says, late, not at all, or with noise.
async fn from_server(
    server: Box<dyn AsyncRead + Send + Unpin>,
    replies: mpsc::Sender<Vec<u8>>,
    args: ChaosArgs,
    mut dice: Dice,
) {
    let mut server = BufReader::new(server);
    while let Some(line) = next_line(&mut server).await {
        if args.delay > 0 {
            tokio::time::sleep(Duration::from_millis(args.delay)).await;
        }
        let (garbage, dropped) = (dice.strikes(args.garbage), dice.strikes(args.drop));
        if garbage && replies.send(NOISE.to_vec()).await.is_err() {
            return;
        }
        if !dropped && replies.send(line).await.is_err() {
            return;
        }
    }
}

/// The one writer of standard output, so that lines stay whole.
async fn write(mut replies: mpsc::Receiver<Vec<u8>>) {
    let mut stdout = tokio::io::stdout();
    while let Some(line) = replies.recv().await {
        if stdout.write_all(&line).await.is_err() || stdout.flush().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_draws_again_at_about_the_rate_asked_for() {
        let draws = |seed| {
            let mut dice = Dice(seed);
            (0..10_000).map(|_| dice.strikes(0.25)).collect::<Vec<_>>()
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
        let hits = draws(7).into_iter().filter(|hit| *hit).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        let mut dice = Dice(1);
        assert!((0..1000).all(|_| dice.strikes(1.0) && !dice.strikes(0.0)));
    }

    #[test]
    fn only_requests_count_and_only_calls_fail() {
        let args =
            ChaosArgs { crash_after: Some(2), error: Some(-32000), error_rate: 1.0, ..Default::default() };
        let mut trouble = Trouble { args, dice: Dice(1), requests: 0 };
        assert_eq!(trouble.judge(br#"{"id":1,"method":"initialize"}"#), Verdict::Pass);
        assert_eq!(trouble.judge(br#"{"method":"notifications/initialized"}"#), Verdict::Pass);
        assert_eq!(trouble.judge(b"no message"), Verdict::Pass);
        let Verdict::Answer(answer) = trouble.judge(br#"{"id":"x","method":"tools/call"}"#) else {
            unreachable!()
        };
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("x"), &json!(-32000)));
        assert_eq!(trouble.judge(br#"{"id":3,"method":"ping"}"#), Verdict::Crash);
    }
}
