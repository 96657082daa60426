//! A session bus with a Secret Service on it, as far as a client that keeps secrets needs one: a real socket, the real
//! introduction, real messages, and values in memory.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

const COLLECTION: &str = "/org/freedesktop/secrets/collection/login";
const SESSION: &str = "/org/freedesktop/secrets/session/s1";
const PROMPT: &str = "/org/freedesktop/secrets/prompt/p1";

/// How the service behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyringMood {
    /// It is unlocked.
    Open,
    /// It is locked, and would like somebody to be asked.
    Locked,
    /// The bus takes connections and says nothing on them.
    Silent,
    /// The bus works, and nobody on it keeps secrets.
    Nobody,
}

/// An item: its attributes, and its value.
type Item = (BTreeMap<String, String>, Vec<u8>);

#[derive(Default)]
struct Kept {
    items: BTreeMap<u32, Item>,
    next: u32,
    calls: Vec<String>,
}

/// The bus, until it is dropped.
pub struct SecretServiceBus {
    folder: TempDir,
    mood: Arc<Mutex<KeyringMood>>,
    kept: Arc<Mutex<Kept>>,
    connections: Arc<AtomicUsize>,
}

impl SecretServiceBus {
    /// A bus with an empty keyring.
    pub fn start(mood: KeyringMood) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("bus")).unwrap();
        let bus = Self {
            folder,
            mood: Arc::new(Mutex::new(mood)),
            kept: Arc::default(),
            connections: Arc::default(),
        };
        let (mood, kept, connections) = (bus.mood.clone(), bus.kept.clone(), bus.connections.clone());
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                if *mood.lock().unwrap() == KeyringMood::Silent {
                    silent.push(stream);
                    continue;
                }
                let (mood, kept) = (mood.clone(), kept.clone());
                std::thread::spawn(move || {
                    let _ = Connection { stream, mood, kept, serial: 0 }.serve();
                });
            }
        });
        bus
    }

    /// Its address, for `DBUS_SESSION_BUS_ADDRESS`.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.folder.path().join("bus").display())
    }

    /// From now on it behaves like this.
    pub fn turn(&self, mood: KeyringMood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The methods of the Secret Service that were called.
    pub fn calls(&self) -> Vec<String> {
        self.kept.lock().unwrap().calls.clone()
    }

    /// Everything that is kept: attributes and value.
    pub fn items(&self) -> Vec<(BTreeMap<String, String>, String)> {
        let kept = self.kept.lock().unwrap();
        let shown =
            |(attributes, value): &Item| (attributes.clone(), String::from_utf8_lossy(value).into_owned());
        kept.items.values().map(shown).collect()
    }
}

struct Connection {
    stream: UnixStream,
    mood: Arc<Mutex<KeyringMood>>,
    kept: Arc<Mutex<Kept>>,
    serial: u32,
}

/// A call that came.
struct Call {
    serial: u32,
    path: String,
    interface: String,
    member: String,
    destination: String,
    body: Input,
}

/// What a call is answered: the signature and its values, or an error.
type Reply = Result<(&'static str, Output), (&'static str, &'static str)>;

const IS_LOCKED: (&str, &str) = ("org.freedesktop.Secret.Error.IsLocked", "the keyring is locked");
const NO_OBJECT: (&str, &str) = ("org.freedesktop.Secret.Error.NoSuchObject", "there is no such object");

impl Connection {
    /// Until the client hangs up, or breaks the protocol.
    fn serve(mut self) -> Option<()> {
        let mut nul = [0];
        self.stream.read_exact(&mut nul).ok()?;
        let hello = self.line()?;
        let user = hello.strip_prefix("AUTH EXTERNAL ")?;
        // The number of a user, in digits, in hexadecimal.
        let is_digit = |pair: &[u8]| pair.len() == 2 && pair[0] == b'3' && pair[1].is_ascii_digit();
        if nul != [0] || user.is_empty() || !user.as_bytes().chunks(2).all(is_digit) {
            self.stream.write_all(b"REJECTED EXTERNAL\r\n").ok()?;
            return None;
        }
        self.stream.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n").ok()?;
        if self.line()? != "BEGIN" {
            return None;
        }
        loop {
            let call = self.call()?;
            let serial = call.serial;
            let reply = self.answer(call);
            self.send(serial, reply)?;
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).ok()?;
            line.push(byte[0]);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).ok()
    }

    fn call(&mut self) -> Option<Call> {
        let mut fixed = [0; 16];
        self.stream.read_exact(&mut fixed).ok()?;
        assert_eq!((fixed[0], fixed[1], fixed[3]), (b'l', 1, 1), "a call of D-Bus, lowest byte first");
        let number = |at: usize| u32::from_le_bytes(fixed[at..at + 4].try_into().unwrap());
        let (length, serial, fields_length) = (number(4) as usize, number(8), number(12) as usize);
        let mut fields = vec![0; fields_length.next_multiple_of(8)];
        self.stream.read_exact(&mut fields).ok()?;
        fields.truncate(fields_length);
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        let mut call = Call {
            serial,
            path: String::new(),
            interface: String::new(),
            member: String::new(),
            destination: String::new(),
            body: Input { bytes: body, at: 0 },
        };
        let mut fields = Input { bytes: fields, at: 0 };
        while fields.at < fields.bytes.len() {
            fields.align(8);
            let field = fields.byte();
            let kind = fields.signature();
            let text = if kind == "g" { fields.signature() } else { fields.string() };
            match field {
                1 => call.path = text,
                2 => call.interface = text,
                3 => call.member = text,
                6 => call.destination = text,
                _ => {}
            }
        }
        Some(call)
    }

    fn answer(&mut self, mut call: Call) -> Reply {
        if call.destination == "org.freedesktop.DBus" {
            assert_eq!(call.member, "Hello");
            return Ok(("s", Output::default().string(":1.7")));
        }
        let mood = *self.mood.lock().unwrap();
        if mood == KeyringMood::Nobody {
            return Err(("org.freedesktop.DBus.Error.ServiceUnknown", "nobody has that name"));
        }
        let locked = mood == KeyringMood::Locked;
        let mut kept = self.kept.lock().unwrap();
        kept.calls.push(call.member.clone());
        let item =
            call.path.strip_prefix(COLLECTION).and_then(|rest| rest.strip_prefix('/')?.parse::<u32>().ok());
        let interface = call.interface.strip_prefix("org.freedesktop.").unwrap_or_default();
        match (interface, call.member.as_str()) {
            ("Secret.Service", "OpenSession") => {
                if call.body.string() != "plain" {
                    return Err(("org.freedesktop.DBus.Error.NotSupported", "plain only"));
                }
                Ok(("vo", Output::default().signature("s").string("").string(SESSION)))
            }
            ("Secret.Service", "ReadAlias") => {
                assert_eq!(call.body.string(), "default");
                Ok(("o", Output::default().string(COLLECTION)))
            }
            ("Secret.Service", "SearchItems") => {
                let wanted = call.body.texts();
                let has = |(_, (attributes, _)): &(&u32, &Item)| {
                    wanted.iter().all(|(name, value)| attributes.get(name) == Some(value))
                };
                let found: Vec<_> = kept
                    .items
                    .iter()
                    .filter(has)
                    .map(|(number, _)| format!("{COLLECTION}/{number}"))
                    .collect();
                let (open, shut) = if locked { (Vec::new(), found) } else { (found, Vec::new()) };
                Ok(("aoao", Output::default().strings(&open).strings(&shut)))
            }
            ("Secret.Service", "Unlock") => {
                let objects = call.body.strings();
                let (done, prompt) = if locked { (Vec::new(), PROMPT) } else { (objects, "/") };
                Ok(("aoo", Output::default().strings(&done).string(prompt)))
            }
            ("Secret.Collection", "CreateItem") => {
                assert_eq!(call.path, COLLECTION);
                let attributes = call.body.properties();
                let value = call.body.secret();
                assert_eq!(call.body.number(), 1, "what is there is replaced");
                if locked {
                    return Err(IS_LOCKED);
                }
                kept.items.retain(|_, (present, _)| *present != attributes);
                kept.next += 1;
                let number = kept.next;
                kept.items.insert(number, (attributes, value));
                Ok(("oo", Output::default().string(&format!("{COLLECTION}/{number}")).string("/")))
            }
            ("Secret.Item", "GetSecret") => {
                assert_eq!(call.body.string(), SESSION);
                let (_, value) = item.and_then(|number| kept.items.get(&number)).ok_or(NO_OBJECT)?;
                if locked { Err(IS_LOCKED) } else { Ok(("(oayays)", Output::default().secret(value))) }
            }
            ("Secret.Item", "Delete") => {
                if locked {
                    return Ok(("o", Output::default().string(PROMPT)));
                }
                item.and_then(|number| kept.items.remove(&number)).ok_or(NO_OBJECT)?;
                Ok(("o", Output::default().string("/")))
            }
            ("DBus.Properties", "Get") => {
                let asked = (call.body.string(), call.body.string());
                assert_eq!(
                    (asked.0.as_str(), asked.1.as_str()),
                    ("org.freedesktop.Secret.Item", "Attributes")
                );
                let (attributes, _) = item.and_then(|number| kept.items.get(&number)).ok_or(NO_OBJECT)?;
                Ok(("v", Output::default().signature("a{ss}").texts(attributes)))
            }
            _ => Err(("org.freedesktop.DBus.Error.UnknownMethod", "there is no such method")),
        }
    }

    fn send(&mut self, to: u32, reply: Reply) -> Option<()> {
        self.serial += 1;
        let (kind, error, signature, body) = match reply {
            Ok((signature, body)) => (2, None, signature, body),
            Err((name, message)) => (3, Some(name), "s", Output::default().string(message)),
        };
        let mut message = Output(vec![b'l', kind, 0, 1]);
        message.number(body.0.len() as u32);
        message.number(self.serial);
        let mut fields = Output::default();
        if let Some(name) = error {
            fields.0.push(4);
            fields = fields.signature("s").string(name);
        }
        fields.align(8);
        fields.0.push(5);
        fields = fields.signature("u");
        fields.number(to);
        fields.align(8);
        fields.0.push(8);
        fields = fields.signature("g").signature(signature);
        message.number(fields.0.len() as u32);
        message.0.extend(&fields.0);
        message.align(8);
        message.0.extend(&body.0);
        // A signal that nobody asked for comes before each answer, as on a real bus.
        let mut signal = Output(vec![b'l', 4, 1, 1]);
        signal.number(0);
        signal.number(u32::MAX);
        let mut fields = Output::default();
        for (field, sort, text) in
            [(1, "o", "/org/freedesktop/DBus"), (2, "s", "org.freedesktop.DBus"), (3, "s", "NameAcquired")]
        {
            fields.align(8);
            fields.0.push(field);
            fields = fields.signature(sort).string(text);
        }
        signal.number(fields.0.len() as u32);
        signal.0.extend(&fields.0);
        signal.align(8);
        self.stream.write_all(&signal.0).ok()?;
        self.stream.write_all(&message.0).ok()
    }
}

/// What came, read type by type.
struct Input {
    bytes: Vec<u8>,
    at: usize,
}

impl Input {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = self.bytes[self.at..self.at + count].to_vec();
        self.at += count;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn number(&mut self) -> u32 {
        self.align(4);
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    fn string(&mut self) -> String {
        let length = self.number() as usize;
        let text = self.take(length);
        assert_eq!(self.byte(), 0);
        String::from_utf8(text).unwrap()
    }

    fn signature(&mut self) -> String {
        let length = self.byte().into();
        let text = self.take(length);
        assert_eq!(self.byte(), 0);
        String::from_utf8(text).unwrap()
    }

    fn strings(&mut self) -> Vec<String> {
        let end = self.number() as usize + self.at;
        let mut strings = Vec::new();
        while self.at < end {
            strings.push(self.string());
        }
        strings
    }

    fn texts(&mut self) -> BTreeMap<String, String> {
        let length = self.number() as usize;
        self.align(8);
        let end = self.at + length;
        let mut texts = BTreeMap::new();
        while self.at < end {
            self.align(8);
            let name = self.string();
            texts.insert(name, self.string());
        }
        texts
    }

    /// The properties of a new item, of which the attributes matter.
    fn properties(&mut self) -> BTreeMap<String, String> {
        let length = self.number() as usize;
        self.align(8);
        let end = self.at + length;
        let mut attributes = BTreeMap::new();
        while self.at < end {
            self.align(8);
            match (self.string().as_str(), self.signature().as_str()) {
                ("org.freedesktop.Secret.Item.Label", "s") => assert!(!self.string().is_empty()),
                ("org.freedesktop.Secret.Item.Attributes", "a{ss}") => attributes = self.texts(),
                other => panic!("a property of an item: {other:?}"),
            }
        }
        attributes
    }

    fn secret(&mut self) -> Vec<u8> {
        self.align(8);
        assert_eq!(self.string(), SESSION);
        assert_eq!(self.number(), 0, "plain has no parameters");
        let length = self.number() as usize;
        let value = self.take(length);
        assert_eq!(self.string(), "text/plain");
        value
    }
}

/// What is sent.
#[derive(Default)]
struct Output(Vec<u8>);

impl Output {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    fn string(mut self, text: &str) -> Self {
        self.number(text.len() as u32);
        self.0.extend(text.bytes().chain([0]));
        self
    }

    fn signature(mut self, text: &str) -> Self {
        self.0.push(text.len() as u8);
        self.0.extend(text.bytes().chain([0]));
        self
    }

    /// An array whose elements are aligned so.
    fn array(mut self, align: usize, write: impl FnOnce(Self) -> Self) -> Self {
        self.number(0);
        let length_at = self.0.len() - 4;
        self.align(align);
        let start = self.0.len();
        let mut whole = write(self);
        let length = (whole.0.len() - start) as u32;
        whole.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
        whole
    }

    fn strings(self, texts: &[String]) -> Self {
        self.array(4, |body| texts.iter().fold(body, |body, text| body.string(text)))
    }

    fn texts(self, texts: &BTreeMap<String, String>) -> Self {
        self.array(8, |body| {
            texts.iter().fold(body, |mut body, (name, value)| {
                body.align(8);
                body.string(name).string(value)
            })
        })
    }

    fn secret(mut self, value: &[u8]) -> Self {
        self.align(8);
        let mut body = self.string(SESSION);
        body.number(0);
        body.number(value.len() as u32);
        body.0.extend(value);
        body.string("text/plain")
    }
}
