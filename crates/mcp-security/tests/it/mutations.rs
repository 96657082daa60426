//! No rule knows a literal: an attack spelt in another way is still one, and everyday use spelt so still starts.

use mcp_security::url::{Context, Question, admit};
use mcp_security::{Level, Rules, command, scan};
use serde_json::Value;

const WRAPPERS: &[&[&str]] =
    &[&["env"], &["nice"], &["timeout", "60"], &["nohup"], &["stdbuf", "-oL"], &["setsid"], &["env", "A=1"]];

/// The labelled cases: the project's own, and those beside the repository, where they are.
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn labelled(category: &str) -> Vec<Value> {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(here.join(format!("tests/corpus/{category}.jsonl"))).unwrap();
    match std::fs::read_to_string(here.join("../../../shared/corpora/attacks/dev.jsonl")) {
        Ok(more) => text.push_str(&more),
        Err(_) => eprintln!("SKIPPED in part: the other labelled cases are not beside the repository"),
    }
    let cases = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    cases.filter(|case| case["category"] == category && !case.to_string().contains("$gen")).collect()
}

fn allowed(program: &str, args: &[String]) -> bool {
    command::judge(program, args, &Rules::default()).is_ok_and(|findings| findings.is_empty())
}

fn blocked(program: &str, args: &[String]) -> bool {
    command::judge(program, args, &Rules::default()).is_err()
}

fn command_lines(expect: &str) -> Vec<(String, Vec<String>)> {
    let cases = labelled("command").into_iter().filter(|case| {
        let input = &case["input"];
        case["expect"] == expect
            && input["command"].is_string()
            && input["platform"].is_null()
            && input["trust"].is_null()
            && case["also_ok"].is_null()
    });
    cases
        .map(|case| {
            let args = case["input"]["args"].as_array().into_iter().flatten();
            let args = args.filter_map(Value::as_str).map(str::to_owned).collect();
            (case["input"]["command"].as_str().unwrap_or_default().to_owned(), args)
        })
        .collect()
}

#[test]
fn attacks_stay_attacks_however_they_are_spelt() {
    let mut lines = command_lines("block");
    lines.push(("perl".into(), vec!["-e".into(), "x".into()]));
    lines.push(("docker".into(), ["run", "--privileged", "acme/mcp"].map(str::to_owned).to_vec()));
    for (program, args) in &lines {
        // A folder in other letters is another folder; a program is found by what its name shows.
        let name = program.rfind('/').map_or(0, |at| at + 1);
        let widened = |c: char| {
            if c.is_ascii_alphanumeric() { char::from_u32(u32::from(c) + 0xfee0).unwrap() } else { c }
        };
        let wide =
            format!("{}{}", &program[..name], program[name..].chars().map(widened).collect::<String>());
        let mut spelt = vec![
            program.to_uppercase(),
            format!("{program}."),
            format!("{program} "),
            format!("{program}\u{200b}"),
            wide,
        ];
        if !program.trim().is_empty() && !program.contains('/') {
            spelt.push(format!("/usr/bin/{program}"));
        }
        for program in spelt.iter().filter(|_| !program.trim().is_empty()) {
            assert!(blocked(program, args), "{program:?} {args:?}");
        }
        for wrapper in WRAPPERS.iter().filter(|_| !program.trim().is_empty()) {
            let inner = wrapper[1..].iter().map(|arg| (*arg).to_owned()).chain([program.clone()]);
            let all: Vec<String> = inner.chain(args.iter().cloned()).collect();
            assert!(blocked(wrapper[0], &all), "{wrapper:?} {program:?} {args:?}");
        }
        // "--option=value" and "--option value" are one.
        for (at, arg) in args.iter().enumerate() {
            if let Some((option, value)) = arg.split_once('=').filter(|(option, _)| option.starts_with("--"))
            {
                let mut apart = args.clone();
                apart.splice(at..=at, [option.to_owned(), value.to_owned()]);
                assert!(!allowed(program, &apart), "{program} {apart:?}");
            } else if arg.len() > 2
                && arg.starts_with("--")
                && args.get(at + 1).is_some_and(|next| !next.starts_with('-'))
            {
                let mut joined = args.clone();
                let value = joined.remove(at + 1);
                joined[at] = format!("{arg}={value}");
                assert!(!allowed(program, &joined), "{program} {joined:?}");
            }
        }
    }
}

/// Switches that mean nothing here, by the programs that read bundled letters.
const BUNDLED: &[(&[&str], &[char])] = &[
    (&["npx", "bunx", "pnpx"], &['y', 'q', 's']),
    (&["python", "python3", "python3.12", "pypy3"], &['u', 'B', 's', 'E', 'I', 'v']),
    (&["bash", "sh", "zsh", "dash", "ksh"], &['l', 'e', 'u', 'x']),
    (&["perl"], &['w', 'l', 'n']),
    (&["ruby"], &['w', 'n', 'l']),
    (&["docker", "podman"], &['i', 't', 'd']),
];

/// A command line with switches bundled to the option of one letter at each place: `-c` as `-yc`.
fn bundled(program: &str, args: &[String]) -> Vec<Vec<String>> {
    let Some((_, switches)) = BUNDLED.iter().find(|(programs, _)| programs.contains(&program)) else {
        return Vec::new();
    };
    let short = |arg: &str| arg.len() == 2 && arg.starts_with('-') && arg.as_bytes()[1].is_ascii_alphabetic();
    // What follows the first plain item may be the server's own.
    let own = args.iter().position(|arg| !arg.starts_with('-')).unwrap_or(args.len());
    let own = if args.first().is_some_and(|word| word == "run") { args.len() } else { own };
    let at = args[..own].iter().position(|arg| short(arg));
    let with = |at: usize| {
        switches.iter().map(move |switch| {
            let mut bundled = args.to_vec();
            bundled[at] = format!("-{switch}{}", &args[at][1..]);
            bundled
        })
    };
    at.into_iter().flat_map(with).collect()
}

#[test]
fn bundled_switches_change_no_verdict() {
    let mut tried = (0, 0);
    for (program, args) in command_lines("block") {
        for bundled in bundled(&program, &args) {
            tried.0 += 1;
            assert!(!allowed(&program, &bundled), "{program} {bundled:?}");
        }
    }
    for (program, args) in command_lines("allow") {
        // npm bundles nothing before its "-p".
        for bundled in
            bundled(&program, &args).iter().filter(|args| !args.iter().any(|arg| arg.ends_with('p')))
        {
            tried.1 += 1;
            assert!(allowed(&program, bundled), "{program} {bundled:?}");
        }
    }
    assert!(tried.0 > 20 && tried.1 > 20, "{tried:?}");
}

#[test]
fn everyday_use_starts_through_wrappers_and_by_full_path() {
    for (program, args) in command_lines("allow") {
        for wrapper in WRAPPERS {
            let inner = wrapper[1..].iter().map(|arg| (*arg).to_owned()).chain([program.clone()]);
            let all: Vec<String> = inner.chain(args.iter().cloned()).collect();
            assert!(allowed(wrapper[0], &all), "{wrapper:?} {program:?} {args:?}");
        }
        if !program.contains(['/', '\\']) {
            assert!(allowed(&format!("/usr/local/bin/{program}"), &args), "{program} {args:?}");
        }
    }
}

#[test]
fn this_computer_and_the_clouds_keys_are_found_in_every_spelling() {
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost.",
        "LOCALHOST",
        "a.localhost",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "metadata.google.internal",
        "10.1",
        "[fd00::1]",
        "intranet",
        "db.internal",
    ] {
        for context in
            [Context::OAuthMetadata, Context::Elicitation, Context::ResourceLink, Context::AuthorizationUrl]
        {
            let text = format!("https://{host}/x");
            let judged = admit(Question { text: &text, context, base: None, hops: 0 }, &Rules::default());
            assert!(judged.is_err(), "{text} as {context:?}");
        }
    }
}

/// The text in full-width letters, which read as the plain ones.
fn wide(text: &str) -> String {
    let widened = |c: char| {
        if c.is_ascii_alphabetic() { char::from_u32(u32::from(c) + 0xfee0).unwrap() } else { c }
    };
    text.chars().map(widened).collect()
}

/// The descriptions among the labelled cases that are judged by what they say.
fn descriptions(expect: &str) -> Vec<String> {
    let plain = |case: &Value| {
        let input = &case["input"];
        case["expect"] == expect
            && case["also_ok"].is_null()
            && ["pinned", "pinned_raw", "tool_raw", "pinned_set", "other_tools", "instructions"]
                .iter()
                .all(|key| input[*key].is_null())
            && input["tool"]["inputSchema"]["properties"].as_object().is_none_or(|fields| fields.is_empty())
    };
    let cases = labelled("tool_desc").into_iter().filter(plain);
    cases.filter_map(|case| case["input"]["tool"]["description"].as_str().map(str::to_owned)).collect()
}

fn is_poison(text: &str) -> bool {
    !scan::text(text, &scan::Around::default()).hard.is_empty()
}

#[test]
fn poison_is_found_in_every_spelling() {
    // What is hidden or encoded is another text in other letters.
    let is_words = |text: &String| {
        let scan = scan::text(text, &scan::Around::default());
        scan.hard.iter().any(|found| found.rule != "encoded-instruction")
            && text.chars().all(|c| c.is_ascii_graphic() || matches!(c, ' ' | '\n'))
            && !text.split([' ', '\n']).any(|word| word.len() > 40 && !word.contains("://"))
    };
    let all: Vec<String> = descriptions("block").into_iter().filter(is_words).collect();
    assert!(all.len() > 70, "only {} texts", all.len());
    let mut missed = Vec::new();
    for text in &all {
        let percent: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        // An address is another one in other letters; a name inside it is read as it stands.
        let homoglyph = text.replace('o', "\u{43e}").replace('e', "\u{435}");
        let invisible = text.replace('e', "e\u{200b}");
        let torn = text.replace(". ", ".\n\n");
        let accents = text.replace('e', "e\u{301}");
        for spelt in [
            text.to_uppercase(),
            text.to_lowercase(),
            wide(text),
            percent.clone(),
            percent.replace('%', "%25"),
            homoglyph,
            invisible,
            accents,
            text.replace(' ', "  "),
            torn,
            format!("Reads the weather of a town.\n\n{text}"),
            text.chars().map(|c| format!("&#{};", u32::from(c))).collect(),
        ] {
            if !is_poison(&spelt) {
                missed.push(spelt);
            }
        }
    }
    assert!(missed.is_empty(), "{}: {missed:#?}", missed.len());
}

#[test]
fn documentation_stays_documentation_in_every_spelling() {
    let all = descriptions("allow");
    assert!(all.len() > 100, "only {} texts", all.len());
    let mut hit = Vec::new();
    for text in &all {
        for spelt in [
            text.to_lowercase(),
            text.replace(' ', "  "),
            // A short form is torn by nobody.
            text.replace("e.g. ", "e.g.  ").replace(". ", ".\n").replace("e.g.\n", "e.g. "),
            format!("Reads the weather of a town.\n\n{text}"),
            format!("{text}\n\nReturns JSON."),
        ] {
            if is_poison(&spelt) {
                hit.push(spelt);
            }
        }
    }
    assert!(hit.is_empty(), "{}: {hit:#?}", hit.len());
}

fn context(name: &str) -> Context {
    match name {
        "oauth_metadata" => Context::OAuthMetadata,
        "www_authenticate_resource_metadata" => Context::ResourceMetadata,
        "authorization_url" => Context::AuthorizationUrl,
        "oauth_redirect_uri" => Context::RedirectUri,
        "redirect" => Context::Redirect,
        "elicitation" => Context::Elicitation,
        "resource_link" => Context::ResourceLink,
        _ => Context::ServerConfig,
    }
}

#[test]
fn addresses_are_judged_alike_in_every_spelling() {
    let mut wrong = Vec::new();
    for case in labelled("url") {
        let input = &case["input"];
        let plain =
            ["base", "resolves_to", "chain", "hops", "allow_private"].iter().all(|key| input[*key].is_null());
        let (Some(text), true) = (input["url"].as_str(), plain && case["also_ok"].is_null()) else {
            continue;
        };
        let context = context(input["context"].as_str().unwrap_or_default());
        let judge = |text: &str| admit(Question { text, context, base: None, hops: 0 }, &Rules::default());
        let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| scheme.starts_with("http"))
        else {
            continue;
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let percent: String = host
            .bytes()
            .map(|b| if b.is_ascii_alphanumeric() { format!("%{b:02X}") } else { char::from(b).to_string() })
            .collect();
        let is_name = !host.contains(['[', '@', ':', '%', '\\']) && host.is_ascii();
        let same = [
            format!("{}://{}{path}", scheme.to_uppercase(), host.to_uppercase()),
            format!(" {text} "),
            if is_name { format!("{scheme}://{}{path}", wide(host)) } else { text.to_owned() },
            if is_name { format!("{scheme}://{percent}{path}") } else { text.to_owned() },
        ];
        for spelt in same {
            let allowed = judge(&spelt).is_ok_and(|(_, findings)| findings.is_empty());
            match case["expect"].as_str() {
                Some("block") if allowed => wrong.push(format!("let through: {spelt}")),
                Some("allow") if !allowed => wrong.push(format!("stopped: {spelt}")),
                _ => {}
            }
        }
        // What does not show has no place in an address.
        let hidden = format!("{scheme}://{}{path}", host.replacen('.', "\u{200b}.", 1));
        if host.contains('.') && judge(&hidden).is_ok() {
            wrong.push(format!("hidden: {hidden}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn variables_are_judged_alike_in_every_spelling() {
    let windows = Rules { platform: mcp_security::Platform::Windows, ..Rules::default() };
    let mut wrong = Vec::new();
    for case in labelled("env") {
        let input = &case["input"];
        let Some(fields) = input["env"].as_object() else { continue };
        if !case["also_ok"].is_null() || input["trust"] == "project" || !input["platform"].is_null() {
            continue;
        }
        let env: std::collections::BTreeMap<String, String> = fields
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect();
        let renamed = |spell: &dyn Fn(&str) -> String| {
            env.iter()
                .map(|(name, value)| (spell(name), value.clone()))
                .collect::<std::collections::BTreeMap<_, _>>()
        };
        let judge = |env: &_, rules: &Rules| mcp_security::env::judge(env, rules.place());
        // Windows finds a variable in any case.
        if judge(&env, &windows).is_err() && judge(&renamed(&|name| name.to_lowercase()), &windows).is_ok() {
            wrong.push(format!("lower case: {env:?}"));
        }
        if case["expect"] == "allow"
            && judge(&env, &windows).is_ok_and(|findings| findings.is_empty())
            && judge(&renamed(&|name| name.to_lowercase()), &windows).is_err()
        {
            wrong.push(format!("stopped in lower case: {env:?}"));
        }
        let hidden = renamed(&|name| format!("{name}\u{200b}"));
        if case["expect"] == "block"
            && judge(&hidden, &Rules::default()).is_ok_and(|findings| findings.is_empty())
        {
            wrong.push(format!("hidden: {env:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn headers_are_judged_alike_in_every_case() {
    let mut wrong = Vec::new();
    for case in labelled("header") {
        let Some(fields) = case["input"]["headers"].as_object() else { continue };
        let spelt = |spell: fn(&str) -> String| {
            fields
                .iter()
                .map(|(name, value)| (spell(name), value.as_str().unwrap_or_default().to_owned()))
                .collect::<std::collections::BTreeMap<_, _>>()
        };
        for headers in [spelt(str::to_lowercase), spelt(str::to_uppercase)] {
            if headers.len() != fields.len() {
                continue;
            }
            let judged = mcp_security::header::judge(&headers);
            match case["expect"].as_str() {
                Some("block") if judged.is_ok() => wrong.push(format!("let through: {headers:?}")),
                Some("allow") if judged.is_err() => wrong.push(format!("stopped: {headers:?}")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn paths_are_judged_alike_in_every_spelling() {
    use mcp_security::path::{Operation, Scene, judge};
    let mut wrong = Vec::new();
    for case in labelled("path") {
        let input = &case["input"];
        let plain = ["symlinks", "platform", "case_insensitive"].iter().all(|key| input[*key].is_null());
        let (Some(path), true) = (input["path"].as_str(), plain && case["also_ok"].is_null()) else {
            continue;
        };
        let roots: Vec<String> = input["roots"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let scene = Scene {
            roots: &roots,
            platform: mcp_security::Platform::Unix,
            case_insensitive: false,
            link: &|_| None,
        };
        let write = !matches!(input["op"].as_str(), None | Some("read" | "list" | "stat"));
        let operation = if write { Operation::Write } else { Operation::Read };
        // A path that has no folder, or is not one of files, has no other spelling.
        if !path.starts_with('/') || path.contains(['%', '\\', '\0']) {
            continue;
        }
        for spelt in [path.replace('/', "//"), path.replace('/', "/./"), format!("/x/..{path}")] {
            let judged = judge(&spelt, operation, &scene);
            match case["expect"].as_str() {
                Some("block") if judged.as_ref().is_ok_and(|findings| findings.is_empty()) => {
                    wrong.push(format!("let through: {spelt}"));
                }
                Some("allow") if judged.is_err() => wrong.push(format!("stopped: {spelt}")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn names_that_imitate_are_found_in_every_spelling() {
    for case in labelled("tool_name") {
        let input = &case["input"];
        let (Some(server), Some(tool)) = (input["server"].as_str(), input["tool"].as_str()) else { continue };
        if case["expect"] != "allow" || !tool.is_ascii() || tool.len() < 3 {
            continue;
        }
        let existing = [(server, tool)];
        for spelt in [
            wide(tool),
            format!("{tool}\u{200b}"),
            tool.replacen('o', "\u{43e}", 1),
            tool.replacen('a', "\u{430}", 1),
        ] {
            if spelt != tool {
                let verdict = mcp_security::names::judge(server, &spelt, &existing);
                assert_eq!(verdict.name(), "block", "{spelt:?} beside {tool:?}");
            }
        }
    }
}

#[test]
fn documentation_that_uses_the_same_words_is_fine() {
    for text in [
        "If the directory already exists, this operation will succeed silently.",
        "Ignores previous matches in the same file.",
        "You must call 'resolve-id' before this tool.",
    ] {
        assert_eq!(scan::text(text, &scan::Around::default()), scan::Scan::default(), "{text}");
    }
}

/// As the servers' own pages tell to start them.
const DOCUMENTED: &[&str] = &[
    "npx -y @modelcontextprotocol/server-filesystem /home/user/Desktop",
    "npx -y @modelcontextprotocol/server-memory",
    "npx -y @modelcontextprotocol/server-sequential-thinking",
    "npx -y @modelcontextprotocol/server-everything",
    "npx -y @modelcontextprotocol/server-brave-search",
    "npx -y @modelcontextprotocol/server-postgres postgresql://localhost/mydb",
    "npx -y @modelcontextprotocol/server-slack",
    "uvx mcp-server-fetch",
    "uvx mcp-server-git --repository /home/user/project",
    "uvx mcp-server-time --local-timezone=America/New_York",
    "uvx mcp-server-sqlite --db-path /home/user/test.db",
    "docker run -i --rm -e GITHUB_PERSONAL_ACCESS_TOKEN ghcr.io/github/github-mcp-server",
    "docker run -i --rm mcp/fetch",
    "docker run -i --rm --init --pull=always mcr.microsoft.com/playwright/mcp",
    "docker run -i --rm --mount type=bind,src=/home/user/Desktop,dst=/projects/Desktop mcp/filesystem /projects",
    "docker mcp gateway run",
    "npx @playwright/mcp@latest",
    "npx -y @upstash/context7-mcp --api-key KEY",
    "npx -y chrome-devtools-mcp@latest",
    "npx -y @notionhq/notion-mcp-server",
    "npx -y @supabase/mcp-server-supabase@latest --read-only --project-ref=abc",
    "npx -y firecrawl-mcp",
    "npx -y tavily-mcp@latest",
    "npx -y figma-developer-mcp --figma-api-key=KEY --stdio",
    "npx -y mcp-remote https://mcp.example.com/sse",
    "npx -y @wonderwhy-er/desktop-commander@latest",
    "npx -y @browsermcp/mcp@latest",
    "npx -y exa-mcp-server",
    "npx -y @stripe/mcp --tools=all --api-key=KEY",
    "npx -y @sentry/mcp-server@latest --access-token=TOKEN",
    "npx -y @azure/mcp@latest server start",
    "uvx awslabs.aws-documentation-mcp-server@latest",
    "uvx --from git+https://github.com/oraios/serena serena start-mcp-server",
    "uvx markitdown-mcp",
    "uvx blender-mcp",
    "uvx --python 3.12 elevenlabs-mcp",
    "uvx --with fastmcp<5 --from x-twitter-mcp==0.1.15 x-twitter-mcp-server",
    "uv --directory /home/user/weather run weather.py",
    "uv run --with mcp[cli] mcp run server.py",
    "bunx -y @acme/mcp",
    "pipx run mcp-server-time",
    "deno run -A npm:@acme/mcp",
    "node /home/user/server/build/index.js",
    "python -m mcp_server_fetch",
    "python3 ../mcp_servers/simple_test_server.py",
    "java -jar /home/user/server.jar",
    "dotnet run --project /home/user/Server.csproj",
    "npx mcp-discord --config TOKEN",
];

#[test]
fn documented_command_lines_start_under_strict() {
    for line in DOCUMENTED {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(crate::admit(Level::Strict, &words), Ok(()), "{line}");
    }
}
