//! TCP faults, and the cache of third-party programs.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use massgen_testkit::faults::{TcpFaults, TcpStep, refused};
use massgen_testkit::{PATIENCE, process, tools};

fn connect(server: &TcpFaults) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn rest(mut stream: TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map(|_| bytes).map_err(|e| e.kind())
}

#[test]
fn connections_end_as_told() {
    let server = TcpFaults::reset_after(4);
    let mut stream = connect(&server);
    stream.write_all(b"GET ").unwrap();
    assert_eq!(rest(stream), Err(ErrorKind::ConnectionReset));

    let server = TcpFaults::close();
    let mut stream = connect(&server);
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(rest(stream), Ok(Vec::new()));
    assert_eq!(server.received(), [b"GET / HTTP/1.1\r\n\r\n"]);

    let server = TcpFaults::garbage();
    let mut stream = connect(&server);
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(rest(stream).unwrap().starts_with(b"\x16\x03"));

    let steps =
        [TcpStep::Drip(b"slow".to_vec(), Duration::from_millis(1)), TcpStep::Wait(Duration::from_millis(1))];
    let server = TcpFaults::start(steps);
    assert_eq!(rest(connect(&server)), Ok(b"slow".to_vec()));
}

#[test]
fn a_hanging_server_ends_on_drop() {
    let server = TcpFaults::hang();
    let stream = connect(&server);
    assert!(process::until_blocking(PATIENCE, || server.received().len() == 1));
    drop(server);
    assert_eq!(rest(stream), Ok(Vec::new()));
    assert_eq!(TcpStream::connect(refused()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn programs_are_found_only_in_complete_sets() {
    let folder = tempfile::tempdir().unwrap();
    let cache = tools::Cache::at(folder.path());
    let put = |path: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        path
    };
    if cfg!(windows) {
        return;
    }
    let everything = put("npm/node_modules/.bin/mcp-server-everything");
    assert_eq!(cache.npm("mcp-server-everything"), None, "no stamp yet");
    put("npm/massgen-stamp");
    assert_eq!(cache.npm("mcp-server-everything"), Some(everything));
    assert_eq!(cache.npm("mcp-server-nothing"), None);
    let time = put("py/mcp2/bin/mcp-server-time");
    put("py/mcp2/massgen-stamp");
    assert_eq!(cache.python("mcp2", "mcp-server-time"), Some(time));
    assert_eq!(cache.python("mcp1", "mcp-server-time"), None);
}

#[test]
fn what_is_there_is_passed_on() {
    assert_eq!(tools::or_skip(Some(1), "one"), Some(1));
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    let missing = std::panic::catch_unwind(|| tools::or_skip(None::<u8>, "a program that is not there"));
    assert_eq!(missing.is_err(), in_ci, "missing programs fail in CI only");
}
