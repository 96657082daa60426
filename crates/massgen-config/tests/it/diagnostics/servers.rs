//! What is said of wrong servers.

use expect_test::expect;

use super::check;

#[test]
fn servers_must_be_reachable() {
    check(
        "agent: { backend: { model: gpt-5 } }
mcp_servers:
  none: {}
  both: { command: a, url: 'https://x.example' }
  odd: { type: stdin, command: a }
  old: { type: sse, url: 'https://x.example/sse' }
  nourl: { type: http }
  badurl: { url: 'x y' }
  ftp: { url: 'ftp://x.example' }
  user: { url: 'https://me:hush@x.example' }
  nocommand: { type: stdio, args: [] }
  useless: { command: a, headers: { X: y }, http_read_timeout: 3 }
  time: { command: a, timeout: soon, startup_timeout: 0 }
  unknown: { command: a, comand: b, foo: 1 }
  effects: { command: a, effects: later }
  glob: { command: a, allowed_tools: ['[x'], effects: { '[y': planned } }
  name: { command: a, name: other }
  level: { command: a, security: { level: permisive, env: { mode: x } } }
  env: { command: a, env: { 'A=B': c, D: [1] } }
  text: just text
",
        expect![[r#"
            conf/team.yaml:3:3: error: the server none has neither command nor url
              3 |   none: {}
                |   ^^^^
              help: add command: (a program) or url: (a remote server)
            conf/team.yaml:4:28: warning: the server both has both command and url; it is started by command
              4 |   both: { command: a, url: 'https://x.example' }
                |                            ^^^^^^^^^^^^^^^^^^^
              help: remove one, or set type
            conf/team.yaml:5:16: error: mcp_servers.odd.type cannot be "stdin"
              5 |   odd: { type: stdin, command: a }
                |                ^^^^^
              help: did you mean stdio?
            conf/team.yaml:6:16: warning: the sse transport is deprecated
              6 |   old: { type: sse, url: 'https://x.example/sse' }
                |                ^^^
              help: use streamable-http if the server offers it
            conf/team.yaml:7:3: error: the server nourl has no url
              7 |   nourl: { type: http }
                |   ^^^^^
              help: type http needs url
            conf/team.yaml:8:18: error: this is not a url: relative URL without a base
              8 |   badurl: { url: 'x y' }
                |                  ^^^^^
              help: write it as https://host/path
            conf/team.yaml:9:15: error: the url's scheme is ftp, not http or https
              9 |   ftp: { url: 'ftp://x.example' }
                |               ^^^^^^^^^^^^^^^^^
              help: a remote server is reached over http or https
            conf/team.yaml:10:16: error: the url holds a user or a password
              10 |   user: { url: 'https://***@x.example' }
                 |                ^^^^^^^^^^^^^^^^^^^^^^^
              help: send it in headers: { Authorization: "..." }
            conf/team.yaml:11:3: error: the server nocommand has no command
              11 |   nocommand: { type: stdio, args: [] }
                 |   ^^^^^^^^^
              help: type stdio needs command: the program that is the server
            conf/team.yaml:12:35: warning: headers has no effect: the server useless is reached by a child process (stdio)
              12 |   useless: { command: a, headers: { X: *** }, http_read_timeout: 3 }
                 |                                   ^
            conf/team.yaml:12:64: warning: http_read_timeout has no effect: the server useless is reached by a child process (stdio)
              12 |   useless: { command: a, headers: { X: *** }, http_read_timeout: 3 }
                 |                                                                  ^
            conf/team.yaml:13:32: error: mcp_servers.time.timeout must be a time such as 30 (seconds), "90s", "2m" or "500ms", longer than nothing and at most a day, not "soon"
              13 |   time: { command: a, timeout: soon, startup_timeout: 0 }
                 |                                ^^^^
            conf/team.yaml:13:55: error: mcp_servers.time.startup_timeout must be a time such as 30 (seconds), "90s", "2m" or "500ms", longer than nothing and at most a day, not 0
              13 |   time: { command: a, timeout: soon, startup_timeout: 0 }
                 |                                                       ^
            conf/team.yaml:14:26: warning: unknown key mcp_servers.unknown.comand; it is ignored
              14 |   unknown: { command: a, comand: b, foo: 1 }
                 |                          ^^^^^^
              help: did you mean command?
            conf/team.yaml:14:37: warning: unknown key mcp_servers.unknown.foo; it is ignored
              14 |   unknown: { command: a, comand: b, foo: 1 }
                 |                                     ^^^
            conf/team.yaml:15:35: error: mcp_servers.effects.effects cannot be "later"
              15 |   effects: { command: a, effects: later }
                 |                                   ^^^^^
              help: it is one of planned, immediate
            conf/team.yaml:16:39: error: "[x" is not a pattern: error parsing glob '[x': unclosed character class; missing ']'
              16 |   glob: { command: a, allowed_tools: ['[x'], effects: { '[y': planned } }
                 |                                       ^^^^
              help: close every [ and {
            conf/team.yaml:16:57: error: "[y" is not a pattern: error parsing glob '[y': unclosed character class; missing ']'
              16 |   glob: { command: a, allowed_tools: ['[x'], effects: { '[y': planned } }
                 |                                                         ^^^^
              help: close every [ and {
            conf/team.yaml:17:9: warning: the server is called "name", not "other"
              17 |   name: { command: a, name: other }
                 |         ^
              help: remove name: the key is the name
            conf/team.yaml:18:43: error: mcp_servers.level.security.level cannot be "permisive"
              18 |   level: { command: a, security: { level: permisive, env: { mode: *** } } }
                 |                                           ^^^^^^^^^
              help: did you mean permissive?
            conf/team.yaml:18:67: error: mcp_servers.level.security.env.mode cannot be "x"
              18 |   level: { command: a, security: { level: permisive, env: { mode: *** } } }
                 |                                                                   ^^^
              help: it is one of denylist, allowlist
            conf/team.yaml:19:42: error: mcp_servers.env.env.D must be text, not a list
              19 |   env: { command: ***, env: { ***
                 |                               ^^^
              help: write it as one text, in quotes
            conf/team.yaml:20:9: error: mcp_servers.text must be a mapping, not text
              20 |   text: just text
                 |         ^^^^^^^^^
              help: write it as a mapping with keys such as name, type, command"#]],
    );
    check(
        "agent: { backend: { model: gpt-5 } }\nmcp_servers: [{ command: a }, { name: x, command: a }, { name: x, command: b }]",
        expect![[r#"
        conf/team.yaml:2:15: error: mcp_servers[0] has no name
          2 | mcp_servers: [{ command: a }, { name: x, command: a }, { name: x, command: b }]
            |               ^
          help: in the list form every server needs name
        conf/team.yaml:2:64: error: there are two servers called x
          2 | mcp_servers: [{ command: a }, { name: x, command: a }, { name: x, command: b }]
            |                                                                ^
          help: rename one; the other is in line 2"#]],
    );
    check(
        "agent: { backend: { model: gpt-5 } }\nmcp_servers: { x: { command: a }, x: { command: b } }",
        expect![[r#"
        conf/team.yaml:2:35: error: there are two servers called x
          2 | mcp_servers: { x: { command: a }, x: { command: b } }
            |                                   ^
          help: rename one; the other is in line 2"#]],
    );
    check(
        "agent: { backend: { model: gpt-5 } }\nmcp_servers: text\nmcp_config: nowhere.json",
        expect![[r#"
        conf/team.yaml:2:14: error: mcp_servers must be a mapping of names to servers, or a list of servers, not text
          2 | mcp_servers: text
            |              ^^^^
        conf/team.yaml:3:13: error: conf/nowhere.json cannot be read: there is no such file
          3 | mcp_config: nowhere.json
            |             ^^^^^^^^^^^^
          help: the path starts from the folder of the configuration file"#]],
    );
    check(
        "agent: { backend: { model: gpt-5 } }\nmcpServers: {}",
        expect![[r#"
        conf/team.yaml:2:1: warning: unknown key mcpServers; it is ignored
          2 | mcpServers: {}
            | ^^^^^^^^^^
          help: did you mean mcp_servers? A whole mcpServers file is named by mcp_config"#]],
    );
}

#[test]
fn a_switch_of_a_server_is_plainly_on_or_off() {
    check(
        "agent: { backend: { model: gpt-5 } }
mcp_servers:
  a: { command: a, circuit_breaker: { enabled: perhaps } }
  b: { command: b, disabled: yes }
  c: { command: c, disabled: no }
",
        expect![[r#"
            conf/team.yaml:3:48: error: mcp_servers.a.circuit_breaker.enabled must be true or false, not "perhaps"
              3 |   a: { command: a, circuit_breaker: { enabled: perhaps } }
                |                                                ^^^^^^^
            conf/team.yaml:4:20: warning: unknown key mcp_servers.b.disabled; it is ignored
              4 |   b: { command: b, disabled: yes }
                |                    ^^^^^^^^"#]],
    );
}
