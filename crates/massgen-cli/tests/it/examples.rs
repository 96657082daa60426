//! The examples with servers of others, as a user runs them: the file as it is, the real server, and the outside world
//! on a loopback port.
//!
//! `cargo xtask tools` installs the servers. Without them these tests say that they were skipped; in CI that is a failure.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use massgen_testkit::upstream::{Seen, Upstream, Via, discord, x};
use massgen_testkit::{PATIENCE, process, require, tools};
use tempfile::TempDir;

use crate::support::{Ended, Place, assert_well_formed, of_type};

/// An example, its server and the world outside.
struct Example {
    place: Place,
    upstream: Upstream,
    config: PathBuf,
    /// The launcher, and the server under a path of this test's own, so that its processes can be told from others.
    bin: TempDir,
}

impl Example {
    fn new(folder: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let config = root.join(folder).join("scripted.yaml").canonicalize().unwrap();
        Self { place: Place::new(), upstream: Upstream::start(), config, bin: tools::scratch() }
    }

    /// Plays `npx` or `uvx`, whose work (the download) is done already: takes what they are given in the file, and starts
    /// the server as their child, as they do.
    fn launcher(&mut self, name: &str, arguments: &str, server: &Path, variables: &[(&str, String)]) {
        let bin = self.bin.path();
        let own = bin.join(server.file_name().unwrap());
        symlink(server, &own).unwrap();
        let exports: String =
            variables.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
        let script = format!(
            "#!/bin/sh\n\
             if [ \"$*\" != '{arguments}' ]; then echo \"{name}: unexpected arguments: $*\" >&2; exit 64; fi\n\
             {exports}'{}'\n\
             exit $?\n",
            own.display()
        );
        let launcher = bin.join(name);
        std::fs::write(&launcher, script).unwrap();
        std::fs::set_permissions(&launcher, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var("PATH").unwrap();
        self.place.set("PATH", format!("{}:{path}", bin.display()));
    }

    /// Asks the team, and sees that nothing of it is left.
    fn ask(&self, question: &str) -> Ended {
        let ended = self.place.run(&["--config", self.config.to_str().unwrap(), question]).expect_code(0);
        assert_well_formed(&self.place.events());
        let text = self.bin.path().to_str().unwrap();
        let gone = process::until_blocking(PATIENCE, || process::with_argument(text).is_empty());
        assert!(gone, "still running: {:?}", process::with_argument(text));
        ended
    }

    /// The status that the journal has for each call of a tool.
    fn calls(&self, tool: &str) -> Vec<String> {
        let events = self.place.events();
        let calls = of_type(&events, "tool_finished").into_iter().filter(|event| event["tool"] == tool);
        calls.map(|event| event["status"].as_str().unwrap().to_owned()).collect()
    }

    /// The requests of one kind.
    fn requests(&self, method: &str, path: &str) -> Vec<Seen> {
        let requests = self.upstream.requests().into_iter();
        requests.filter(|seen| seen.http.method == method && seen.http.path == path).collect()
    }

    /// Nobody else was asked for anything.
    #[track_caller]
    fn assert_only(&self, hosts: &[&str]) {
        for seen in self.upstream.requests() {
            assert!(hosts.contains(&seen.host.as_str()), "asked for: {}", seen.line());
        }
    }
}

fn discord_example(server: &Path) -> Example {
    let mut example = Example::new("discord");
    let variables = example.upstream.discord();
    example.launcher("npx", "-y mcp-discord@1.3.4", server, &variables);
    example.place.set("DISCORD_TOKEN", discord::TOKEN);
    example
}

#[test]
fn a_message_reaches_the_channel() {
    let server = require!(node "discord", "mcp-discord");
    let example = discord_example(&server);
    let ended = example.ask(discord::CHANNEL);

    let posted = example.requests("POST", &format!("/api/v10/channels/{}/messages", discord::CHANNEL));
    assert_eq!(posted.len(), 1, "{:?}", example.upstream.requests());
    assert_eq!(posted[0].authorization(), format!("Bot {}", discord::TOKEN));
    assert_eq!(posted[0].json()["content"], "A rehearsal of massgen says hello.");
    assert_eq!(example.calls("mcp__discord__discord_send"), ["ok"]);
    // The answer has the message as the channel gave it back.
    assert!(ended.stdout.contains("A rehearsal of massgen says hello."), "{}", ended.stdout);
    assert!(!ended.stdout.contains(discord::TOKEN) && !ended.stderr.contains(discord::TOKEN));
    example.assert_only(&["127.0.0.1"]);
}

#[test]
fn an_unknown_channel_is_an_answer_of_the_tool() {
    let server = require!(node "discord", "mcp-discord");
    let example = discord_example(&server);
    let ended = example.ask("111");
    assert_eq!(example.calls("mcp__discord__discord_send"), ["tool_error"]);
    assert!(ended.stdout.contains("Unknown Channel"), "{}", ended.stdout);
}

fn twitter_example(server: &Path) -> Example {
    let mut example = Example::new("twitter");
    let arguments = "--with fastmcp<5 --from x-twitter-mcp==0.1.15 x-twitter-mcp-server";
    // These come to the server as they come to a user's behind a proxy: from massgen's own environment.
    for (name, value) in example.upstream.proxy() {
        example.place.set(name, value);
    }
    example.launcher("uvx", arguments, server, &[]);
    for (name, value) in [
        ("TWITTER_API_KEY", x::API_KEY),
        ("TWITTER_API_SECRET", x::API_SECRET),
        ("TWITTER_ACCESS_TOKEN", x::ACCESS_TOKEN),
        ("TWITTER_ACCESS_TOKEN_SECRET", x::ACCESS_TOKEN_SECRET),
        ("TWITTER_BEARER_TOKEN", x::BEARER_TOKEN),
    ] {
        example.place.set(name, value);
    }
    example
}

#[test]
fn a_post_is_signed_and_accepted() {
    let server = require!(python "twitter", "x-twitter-mcp-server");
    let example = twitter_example(&server);
    let ended = example.ask("A team of agents says hello.");

    let posted = example.requests("POST", "/2/tweets");
    assert_eq!(posted.len(), 1, "{:?}", example.upstream.requests());
    // Only a good signature is answered with 201.
    assert_eq!((posted[0].status, posted[0].via), (201, Via::Tunnel));
    assert!(posted[0].authorization().starts_with("OAuth "), "{}", posted[0].authorization());
    assert_eq!(posted[0].json()["text"], "A team of agents says hello.");
    let searched = example.requests("GET", "/2/tweets/search/recent");
    assert_eq!((searched.len(), searched[0].status), (1, 200));
    assert_eq!(searched[0].authorization(), format!("Bearer {}", x::BEARER_TOKEN));
    assert!(searched[0].http.query.contains("MCP"), "{}", searched[0].http.query);
    assert_eq!(example.calls("mcp__twitter__search_twitter"), ["ok"]);
    assert_eq!(example.calls("mcp__twitter__post_tweet"), ["ok"]);
    assert!(ended.stdout.contains(x::POST) && ended.stdout.contains("a post about MCP"), "{}", ended.stdout);
    for secret in [x::API_SECRET, x::ACCESS_TOKEN_SECRET, x::BEARER_TOKEN] {
        assert!(!ended.stdout.contains(secret) && !ended.stderr.contains(secret));
    }
    // Its framework does not look for a newer version of itself.
    example.assert_only(&["api.twitter.com", "api.x.com"]);
}

#[test]
fn a_refused_post_is_an_answer_of_the_tool() {
    let server = require!(python "twitter", "x-twitter-mcp-server");
    let example = twitter_example(&server);
    let ended = example.ask("a duplicate");
    assert_eq!(example.requests("POST", "/2/tweets")[0].status, 403);
    assert_eq!(example.calls("mcp__twitter__post_tweet"), ["tool_error"]);
    assert!(ended.stdout.contains("duplicate content"), "{}", ended.stdout);
}

#[test]
fn a_search_with_another_apps_token_is_refused() {
    let server = require!(python "twitter", "x-twitter-mcp-server");
    let mut example = twitter_example(&server);
    example.place.set("TWITTER_BEARER_TOKEN", "bearer-token-of-another");
    example.ask("A team of agents says hello.");
    assert_eq!(example.requests("GET", "/2/tweets/search/recent")[0].status, 401);
    assert_eq!(example.calls("mcp__twitter__search_twitter"), ["tool_error"]);
    // The post is signed with the keys, which are the right ones.
    assert_eq!(example.calls("mcp__twitter__post_tweet"), ["ok"]);
}

#[test]
fn papers_come_from_arxiv() {
    let server = require!(python "papers", "paper-search-mcp");
    let mut example = Example::new("paper-search");
    for (name, value) in example.upstream.proxy() {
        example.place.set(name, value);
    }
    example.launcher("uvx", "--with mcp<2 paper-search-mcp@0.1.4", &server, &[]);
    let ended = example.ask("tool use");

    let searched = example.requests("GET", "/api/query");
    assert!(searched[0].http.query.contains("tool"), "{}", searched[0].http.query);
    assert_eq!((searched[0].host.as_str(), searched[0].via), ("export.arxiv.org", Via::Proxy));
    assert_eq!(example.calls("mcp__papers__search_arxiv"), ["ok"]);
    assert_eq!(example.calls("mcp__papers__search_papers"), ["ok"]);
    for title in ["Paper 1 on all:tool use", "Paper 2 on all:tool use"] {
        assert!(ended.stdout.contains(title), "{title}: {}", ended.stdout);
    }
    example.assert_only(&["export.arxiv.org"]);
}
