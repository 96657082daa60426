//! Faults on our side: the disk, our own death, everything at once.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use massgen_testkit::{Journal, Outcome, PATIENCE, process};
use mcp_client::{AuditRecord, Ledger, MultiMcpClient, Observer, ServerConfig, Target, read_ledger};
use mcp_core::{
    BoxFuture, Catalogue, ToolCall, ToolError, ToolFilter, ToolName, ToolOutput, ToolService, ToolSpec,
};
use serde_json::json;
use tracing::Level;

use crate::heard::Heard;
use crate::host;
use crate::lab::{Measured, Playing, ask_innocent, innocent, named};
use crate::stdio::script;
use crate::support::{call, child, listen, name, policy, restarts, start};
use crate::{Fault, Play};

fn own(id: &'static str, what: &'static str, play: fn() -> Playing) -> Fault {
    Fault { id, what, long: false, play: Play::Own(play) }
}

pub(crate) fn faults() -> Vec<Fault> {
    let mut all = vec![
        own(
            "F57",
            "the host is killed in mid-call: no child survives, the ledger names the call, sent once",
            || Box::pin(killed_host()),
        ),
        own(
            "F58",
            "a panic inside a call: that call fails at once, its place is free, nobody is blamed",
            || Box::pin(panics()),
        ),
        own(
            "F63",
            "a ledger that was cut off: the call of its last line is unknown, where that names it, and it is told",
            || Box::pin(torn()),
        ),
        own(
            "F73",
            "20 servers killed for good: all circuits open within a second, every call is answered, the one that works goes on",
            || Box::pin(all_away()),
        ),
    ];
    if cfg!(target_os = "linux") {
        all.push(own(
            "F60",
            "no room for the record of calls: what may change something is refused, reading goes on, the state says so, the record is \
             made up for",
            || Box::pin(crate::full::full_disk()),
        ));
    }
    all
}

async fn killed_host() -> Measured {
    let mut measured = Measured::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let scripted = script(Outcome::Hang).launch();
    let mut host = host::part("dies", &[], &scripted)
        .env(host::LEDGER, &path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let journal: Journal = scripted.journal();
    journal.await_method("tools/call").await;
    process::signal(host.id(), process::Signal::Kill);
    let _ = host.wait();
    measured.count_survivors(std::slice::from_ref(&journal)).await;
    let reading = read_ledger(&path).unwrap();
    let named: Vec<_> = reading.unknown.iter().map(|call| call.tool.as_str()).collect();
    measured.expect(named == ["do"], format!("the ledger lists {named:?}"));
    measured.sends = journal.method("tools/call").len() as f64;
    measured.got = "killed".into();
    measured
}

/// A server in this process whose tool `do` panics.
struct Panics(Arc<Catalogue>);

impl ToolService for Panics {
    fn catalogue(&self) -> Arc<Catalogue> {
        self.0.clone()
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            if call.tool.ends_with("do") {
                // Without the noise of the hook, which prints.
                std::panic::resume_unwind(Box::new("a fault of ours"));
            }
            Ok(ToolOutput::text("sound"))
        })
    }
}

/// What is said of a panic, with its backtrace and without secrets, is the program's: massgen-cli's test
/// `panics::a_panic_is_told_with_its_place_and_without_secrets`.
async fn panics() -> Measured {
    let mut measured = Measured::default();
    let server = name("faulty");
    let spec = |tool: &str| ToolSpec::new(server.clone(), ToolName::new(tool).unwrap());
    let tools = vec![spec("do"), spec("look")];
    let catalogue = Catalogue::build([(server.clone(), tools, ToolFilter::default())]).catalogue;
    let mut config =
        ServerConfig::new(server.clone(), Target::InMemory(Arc::new(Panics(Arc::new(catalogue)))));
    // A place that is not given back would be missed at once.
    config.bulkhead.in_flight = 1;
    config.breaker.failures_in_a_row = 1;
    let observer = Arc::new(Startled::default());
    let client = MultiMcpClient::start([config], policy(), observer.clone(), restarts(50));
    client.ready(PATIENCE).await;
    // In the tool, then in whoever is told of the calls.
    for (tool, is_startled) in [("do", false), ("look", true)] {
        observer.panics.store(is_startled, Ordering::SeqCst);
        // The best of a few: what the machine does besides is not the question.
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let calling = client.clone();
            let began = Instant::now();
            let made =
                tokio::spawn(
                    async move { calling.call(call(&format!("mcp__faulty__{tool}"), json!({}))).await },
                );
            let (class, text) = match made.await {
                Ok(result) => named(&result),
                Err(_) => ("panicked".to_owned(), String::new()),
            };
            let took = began.elapsed();
            measured.expect(class == "internal", format!("{tool}: the caller got {class} ({text})"));
            measured.expect(text.contains("a panic ended the call"), format!("{tool}: it was told {text:?}"));
            measured.expect(!text.contains("a fault of ours"), format!("{tool}: it was told {text:?}"));
            best = best.min(took);
            measured.got = class;
        }
        measured.in_time(best <= Duration::from_millis(10), format!("{tool}: it took {best:?} at best"));
        observer.panics.store(false, Ordering::SeqCst);
        let back = tokio::time::timeout(PATIENCE, client.call(call("mcp__faulty__look", json!({})))).await;
        measured.expect(matches!(back, Ok(Ok(_))), "the server does not answer any more");
    }
    let status = client.client("faulty").unwrap().status();
    measured.expect(status.circuit.name() == "closed", format!("its circuit is {:?}", status.circuit));
    measured.expect(status.restarts == 0, "it was started again");
    client.close().await;
    measured
}

/// Panics when it is told how a call ended, where that is wished.
#[derive(Default)]
struct Startled {
    panics: AtomicBool,
}

impl Observer for Startled {
    fn call_finished(&self, _: &AuditRecord) {
        if self.panics.load(Ordering::SeqCst) {
            std::panic::resume_unwind(Box::new("a fault of ours"));
        }
    }
}

async fn torn() -> Measured {
    let mut measured = Measured::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let ledger = Ledger::new();
    ledger.write_to(Some(path.clone()));
    let scripted = script(Outcome::Echo).launch();
    let mut options = restarts(1);
    options.ledger = Some(ledger.clone());
    let (client, _) = start([child("faulty", &scripted)], options);
    client.ready(PATIENCE).await;
    for _ in 0..3 {
        client.call(call("mcp__faulty__do", json!({}))).await.unwrap();
    }
    client.close().await;
    ledger.flush().await;
    let whole = std::fs::read_to_string(&path).unwrap();
    read_at_every_cut(&path, &whole, &mut measured);
    measured.count_survivors(&[scripted.journal()]).await;
    measured
}

/// Cuts a ledger off behind each of its bytes. Its calls were made one after the other, and are all of the tool `do`.
fn read_at_every_cut(path: &Path, whole: &str, measured: &mut Measured) {
    let heard = Heard::new(|metadata| metadata.is_event() && *metadata.level() == Level::WARN);
    let _heard = listen(heard.clone());
    let (mut named, mut unnamed) = (0, 0);
    for end in 0..whole.len() {
        std::fs::write(path, &whole[..end]).unwrap();
        let told = heard.lines().len();
        let reading = read_ledger(path).unwrap();
        let told = heard.lines().len() - told;
        let (lines, last) = whole[..end].rsplit_once('\n').unwrap_or(("", &whole[..end]));
        let is_whole = serde_json::from_str::<serde_json::Value>(last).is_ok();
        let is_torn = !is_whole && !last.is_empty();
        let count = |kind: &str| {
            let lines = lines.lines().chain(is_whole.then_some(last));
            lines.filter(|line| line.contains(&format!(r#""kind":"{kind}""#))).count()
        };
        // What of it can still be read.
        let head = last.rsplit_once(',').filter(|_| is_torn).map_or("", |(head, _)| head);
        let says = |words: &[&str]| words.iter().all(|word| head.contains(word));
        let names_it = says(&[r#""kind":"intent""#, r#""server":"faulty""#, r#""tool":"do""#]);
        let is_known = names_it
            || says(&[r#""kind":"opened""#])
            || says(&[r#""kind":"sent""#, r#""seq":"#])
            || says(&[r#""kind":"done""#, r#""seq":"#]);
        let expected = match count("intent") > count("done") || names_it {
            true => &[("faulty", "do")][..],
            false => &[],
        };
        let calls: Vec<_> =
            reading.unknown.iter().map(|call| (call.server.as_str(), call.tool.as_str())).collect();
        measured.expect(calls == expected, format!("cut at {end}: {calls:?} are unknown, not {expected:?}"));
        let counted = (reading.damaged, reading.unnamed, told);
        let wanted = (usize::from(is_torn), usize::from(is_torn && !is_known), usize::from(is_torn));
        measured.expect(counted == wanted, format!("cut at {end}: damaged, unnamed, told are {counted:?}"));
        named += usize::from(names_it);
        unnamed += reading.unnamed;
    }
    measured.expect(named > 0 && unnamed > 0, "not every kind of cut was made");
    measured.got = format!("{named} cuts left a call's name, {unnamed} did not");
}

/// That a run goes on without tools and says so in one line, or ends early with the list where they are required, is the
/// program's: massgen-cli's tests `trouble::a_run_whose_servers_all_die_goes_on_and_says_so_in_one_line` and
/// `trouble::twenty_required_servers_that_are_missing_are_one_list`.
async fn all_away() -> Measured {
    const SERVERS: usize = 20;
    let mut measured = Measured::default();
    let scripted: Vec<_> = (0..SERVERS).map(|_| script(Outcome::Echo).launch()).collect();
    let folder = tempfile::tempdir_in(scripted[0].program().parent().unwrap()).unwrap();
    let program = folder.path().join("server");
    symlink(scripted[0].program(), &program).unwrap();
    let configs = scripted.iter().enumerate().map(|(number, scripted)| {
        let mut config = child(&format!("away-{number}"), scripted);
        if let Target::Stdio(launch) = &mut config.target {
            launch.program = program.to_str().unwrap().to_owned();
        }
        config
    });
    let innocent = innocent();
    let (client, recorder) = start(configs.chain([child("innocent", &innocent)]), restarts(50));
    client.ready(PATIENCE).await;
    let tools = client.catalogue().len();
    measured.expect(tools == 2 * SERVERS + 1, format!("there are {tools} tools"));

    // They die, and there is nothing to start them with.
    std::fs::remove_file(&program).unwrap();
    let began = Instant::now();
    for journal in scripted.iter().map(|scripted| scripted.journal()) {
        journal.pids().into_iter().for_each(|pid| process::signal(pid, process::Signal::Kill));
    }
    let closed = || {
        let of = |number: &usize| client.client(&format!("away-{number}")).unwrap().status().circuit;
        (0..SERVERS).filter(|number| of(number).name() == "closed").count()
    };
    let opened = process::until(PATIENCE, || closed() == 0 && client.catalogue().len() == 1).await;
    let took = began.elapsed();
    measured.expect(opened, format!("{} circuits are closed still", closed()));
    measured.in_time(took <= Duration::from_secs(1), format!("it took {took:?}"));
    for number in 0..SERVERS {
        let (class, text) = named(&client.call(call(&format!("mcp__away-{number}__do"), json!({}))).await);
        measured.expect(class == "unavailable", format!("of away-{number} the caller got {class} ({text})"));
        measured.got = class;
        // Once each that it is gone, and not once for each call.
        let states = recorder.states(&format!("away-{number}"));
        let given_up = states.iter().filter(|state| **state == "given up").count();
        measured.expect(given_up == 1, format!("away-{number}: {states:?}"));
    }
    measured.expect(ask_innocent(&client).await < Duration::MAX, "the server that works failed");
    client.close().await;
    let journals: Vec<_> = scripted.iter().chain([&innocent]).map(|scripted| scripted.journal()).collect();
    measured.count_survivors(&journals).await;
    measured
}
