//! As much of D-Bus as it takes to call a method and read its answer: a connection to the session bus over a socket of
//! this machine, and the few types of the Secret Service. Every wait ends at a deadline that the connection is made with.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The longest message that is read: no secret of ours is as long.
const LONGEST: u32 = 1024 * 1024;
/// The longest line while a connection introduces itself.
const LINE: usize = 1024;

/// Why a call came to nothing.
#[derive(Debug)]
pub(super) enum BusError {
    /// There is no bus, or nobody on it has the name that was called.
    Absent(String),
    /// It did not answer in time.
    Silent,
    /// The far end says no.
    Refused { name: String, message: String },
    /// What it says is not D-Bus.
    Broken(String),
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(reason) | Self::Broken(reason) => f.write_str(reason),
            Self::Silent => f.write_str("it does not answer in time"),
            Self::Refused { name, message } => write!(f, "{message} ({name})"),
        }
    }
}

impl From<io::Error> for BusError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent,
            _ => Self::Broken(format!("the connection to the session bus broke: {error}")),
        }
    }
}

/// Where a method is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) name: &'a str,
}

/// A connection to the session bus.
pub(super) struct Bus {
    stream: UnixStream,
    deadline: Instant,
    serial: u32,
}

impl Bus {
    /// Connects to the first of the addresses (`unix:path=...`) that can be reached. `user`: the number of ours.
    pub(super) fn connect(addresses: &str, user: u32, limit: Duration) -> Result<Self, BusError> {
        #[expect(clippy::disallowed_methods, reason = "a socket of the system knows no other clock")]
        let deadline = Instant::now() + limit;
        let mut reason = format!("no address of a session bus is among {addresses:?}");
        for address in addresses.split(';') {
            let Some(stream) = dial(address) else { continue };
            match stream {
                Ok(stream) => {
                    let mut bus = Self { stream, deadline, serial: 0 };
                    bus.introduce(user)?;
                    let hello = Method {
                        destination: "org.freedesktop.DBus",
                        path: "/org/freedesktop/DBus",
                        interface: "org.freedesktop.DBus",
                        name: "Hello",
                    };
                    bus.call(hello, Body::default())?;
                    return Ok(bus);
                }
                Err(error) => reason = format!("there is no session bus at {address}: {error}"),
            }
        }
        Err(BusError::Absent(reason))
    }

    /// SASL's EXTERNAL: the kernel vouches for who we are.
    fn introduce(&mut self, user: u32) -> Result<(), BusError> {
        let user: String = user.to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        self.send(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if line.len() > LINE {
                return Err(BusError::Broken("it does not speak D-Bus".to_owned()));
            }
            let mut byte = [0];
            self.receive(&mut byte)?;
            line.push(byte[0]);
        }
        if !line.starts_with(b"OK") {
            return Err(BusError::Absent("the session bus does not take us for its user".to_owned()));
        }
        self.send(b"BEGIN\r\n")
    }

    /// Calls a method and waits for its answer.
    pub(super) fn call(&mut self, method: Method<'_>, body: Body) -> Result<Reader, BusError> {
        self.serial += 1;
        let message = method.message(self.serial, &body);
        self.send(&message)?;
        loop {
            if let Some(answer) = self.message()?.answers(self.serial)? {
                return Ok(answer);
            }
        }
    }

    fn left(&self) -> Result<Duration, BusError> {
        #[expect(clippy::disallowed_methods, reason = "a socket of the system knows no other clock")]
        let left = self.deadline.saturating_duration_since(Instant::now());
        // A socket takes no limit of zero.
        if left.is_zero() { Err(BusError::Silent) } else { Ok(left) }
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), BusError> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(self.left()?))?;
            let sent = self.stream.write(bytes)?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    fn receive(&mut self, mut buffer: &mut [u8]) -> Result<(), BusError> {
        while !buffer.is_empty() {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(buffer)? {
                0 => return Err(BusError::Broken("the session bus hung up".to_owned())),
                count => buffer = &mut buffer[count..],
            }
        }
        Ok(())
    }

    /// The next message, whatever it is.
    fn message(&mut self) -> Result<Message, BusError> {
        let mut fixed = [0; 16];
        self.receive(&mut fixed)?;
        let big = match fixed[0] {
            b'l' => false,
            b'B' => true,
            _ => return Err(BusError::Broken("it does not speak D-Bus".to_owned())),
        };
        let kind = fixed[1];
        let mut reader = Reader { bytes: fixed.to_vec(), at: 4, big };
        let body_length = reader.u32()?;
        reader.u32()?;
        let fields_length = reader.u32()?;
        if body_length > LONGEST || fields_length > LONGEST {
            return Err(BusError::Broken("it sent a message that is too long".to_owned()));
        }
        let mut fields = vec![0; (fields_length as usize).next_multiple_of(8)];
        self.receive(&mut fields)?;
        fields.truncate(fields_length as usize);
        let mut body = vec![0; body_length as usize];
        self.receive(&mut body)?;
        let mut fields = Reader { bytes: fields, at: 0, big };
        let mut message =
            Message { kind, reply_to: None, error: None, body: Reader { bytes: body, at: 0, big } };
        while !fields.is_at_end() {
            fields.align(8)?;
            let field = fields.byte()?;
            match (field, fields.signature()?.as_str()) {
                (4, "s") => message.error = Some(fields.string()?),
                (5, "u") => message.reply_to = Some(fields.u32()?),
                (_, "s" | "o") => drop(fields.string()?),
                (_, "g") => drop(fields.signature()?),
                (_, "u") => _ = fields.u32()?,
                _ => return Err(BusError::Broken("a field of its message is none of D-Bus".to_owned())),
            }
        }
        Ok(message)
    }
}

/// Connects to one address; `None`: it is of a kind that is not for us.
fn dial(address: &str) -> Option<io::Result<UnixStream>> {
    let (transport, options) = address.split_once(':')?;
    let mut options = options.split(',').filter_map(|option| option.split_once('='));
    if transport != "unix" {
        return None;
    }
    options.find_map(|(key, value)| {
        let value = unescape(value)?;
        match key {
            "path" => Some(UnixStream::connect(PathBuf::from(value))),
            #[cfg(target_os = "linux")]
            "abstract" => {
                use std::os::linux::net::SocketAddrExt;
                let address = std::os::unix::net::SocketAddr::from_abstract_name(value);
                Some(address.and_then(|address| UnixStream::connect_addr(&address)))
            }
            _ => None,
        }
    })
}

/// A value of an address, in which `%2f` may stand for `/`.
fn unescape(value: &str) -> Option<String> {
    let mut bytes = value.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            plain.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            plain.push(byte);
        }
    }
    String::from_utf8(plain).ok()
}

/// A message that came.
struct Message {
    /// 2 for an answer, 3 for an error.
    kind: u8,
    reply_to: Option<u32>,
    error: Option<String>,
    body: Reader,
}

impl Message {
    /// The answer to a call; `None`: it is no answer, or that to another one.
    fn answers(mut self, serial: u32) -> Result<Option<Reader>, BusError> {
        match self.kind {
            _ if self.reply_to != Some(serial) => Ok(None),
            2 => Ok(Some(self.body)),
            3 => {
                let name = self.error.unwrap_or_default();
                let message = self.body.string().unwrap_or_default();
                Err(match name.as_str() {
                    "org.freedesktop.DBus.Error.ServiceUnknown"
                    | "org.freedesktop.DBus.Error.NameHasNoOwner"
                    | "org.freedesktop.DBus.Error.Spawn.ServiceNotFound" => BusError::Absent(message),
                    _ => BusError::Refused { name, message },
                })
            }
            _ => Ok(None),
        }
    }
}

impl Method<'_> {
    fn message(self, serial: u32, body: &Body) -> Vec<u8> {
        let mut head = Body::default();
        head.bytes.extend([b'l', 1, 0, 1]);
        head.u32(body.bytes.len() as u32);
        head.u32(serial);
        let signature = body.signature.as_str();
        head.array(8, |head| {
            for (field, kind, value) in [
                (1, "o", self.path),
                (2, "s", self.interface),
                (3, "s", self.name),
                (6, "s", self.destination),
                (8, "g", signature),
            ] {
                if value.is_empty() {
                    continue;
                }
                head.align(8);
                head.bytes.push(field);
                head.write_signature(kind);
                if kind == "g" { head.write_signature(value) } else { head.write_string(value) }
            }
        });
        head.align(8);
        head.bytes.extend(&body.bytes);
        head.bytes
    }
}

/// The arguments of a call, put together one by one.
#[derive(Default)]
pub(super) struct Body {
    bytes: Vec<u8>,
    signature: String,
}

impl Body {
    /// Text.
    pub(super) fn string(mut self, text: &str) -> Self {
        self.signature.push('s');
        self.write_string(text);
        self
    }

    /// The path of an object.
    pub(super) fn object(mut self, path: &str) -> Self {
        self.signature.push('o');
        self.write_string(path);
        self
    }

    /// Paths of objects.
    pub(super) fn objects(mut self, paths: &[String]) -> Self {
        self.signature.push_str("ao");
        self.array(4, |body| paths.iter().for_each(|path| body.write_string(path)));
        self
    }

    /// Yes or no.
    pub(super) fn flag(mut self, value: Flag) -> Self {
        self.signature.push('b');
        self.u32(value as u32);
        self
    }

    /// A variant that holds text.
    pub(super) fn variant(mut self, text: &str) -> Self {
        self.signature.push('v');
        self.write_signature("s");
        self.write_string(text);
        self
    }

    /// Texts by name.
    pub(super) fn texts(mut self, texts: &BTreeMap<&str, &str>) -> Self {
        self.signature.push_str("a{ss}");
        self.write_texts(texts);
        self
    }

    /// Properties: variants by name, which hold text or texts by name.
    pub(super) fn properties(mut self, properties: &[(&str, Property<'_>)]) -> Self {
        self.signature.push_str("a{sv}");
        self.array(8, |body| {
            for (name, value) in properties {
                body.align(8);
                body.write_string(name);
                match value {
                    Property::Text(text) => {
                        body.write_signature("s");
                        body.write_string(text);
                    }
                    Property::Texts(texts) => {
                        body.write_signature("a{ss}");
                        body.write_texts(texts);
                    }
                }
            }
        });
        self
    }

    /// A secret of the Secret Service: session, parameters, value, type of its content.
    pub(super) fn secret(mut self, session: &str, value: &[u8]) -> Self {
        self.signature.push_str("(oayays)");
        self.align(8);
        self.write_string(session);
        self.array(1, |_| {});
        self.array(1, |body| body.bytes.extend(value));
        self.write_string("text/plain");
        self
    }

    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    fn write_string(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn write_signature(&mut self, signature: &str) {
        self.bytes.push(signature.len() as u8);
        self.bytes.extend(signature.as_bytes());
        self.bytes.push(0);
    }

    fn write_texts(&mut self, texts: &BTreeMap<&str, &str>) {
        self.array(8, |body| {
            for (name, value) in texts {
                body.align(8);
                body.write_string(name);
                body.write_string(value);
            }
        });
    }

    /// An array whose elements are aligned so. What lies between its length and its first element is not counted.
    fn array(&mut self, align: usize, write: impl FnOnce(&mut Self)) {
        self.u32(0);
        let length_at = self.bytes.len() - 4;
        self.align(align);
        let start = self.bytes.len();
        write(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// The value of a property.
pub(super) enum Property<'a> {
    Text(&'a str),
    Texts(&'a BTreeMap<&'a str, &'a str>),
}

/// Yes or no, as an argument.
#[derive(Debug, Clone, Copy)]
pub(super) enum Flag {
    Yes = 1,
}

/// Reads what came, type by type.
pub(super) struct Reader {
    bytes: Vec<u8>,
    at: usize,
    /// Numbers begin with their highest byte.
    big: bool,
}

impl Reader {
    fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn align(&mut self, to: usize) -> Result<(), BusError> {
        self.at = self.at.next_multiple_of(to);
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&[u8], BusError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| BusError::Broken("its message ends early".to_owned()))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, BusError> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, BusError> {
        self.align(4)?;
        let big = self.big;
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4)?);
        Ok(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn text(&mut self, length: usize) -> Result<String, BusError> {
        let text = String::from_utf8(self.take(length)?.to_vec());
        self.take(1)?;
        text.map_err(|_| BusError::Broken("its text is none".to_owned()))
    }

    /// Text, or the path of an object.
    pub(super) fn string(&mut self) -> Result<String, BusError> {
        let length = self.u32()? as usize;
        self.text(length)
    }

    /// The signature of a variant.
    pub(super) fn signature(&mut self) -> Result<String, BusError> {
        let length = usize::from(self.byte()?);
        self.text(length)
    }

    /// Bytes.
    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, BusError> {
        let length = self.u32()? as usize;
        Ok(self.take(length)?.to_vec())
    }

    /// The begin of a structure.
    pub(super) fn structure(&mut self) -> Result<(), BusError> {
        self.align(8)
    }

    /// Elements that are aligned so, until the array ends.
    fn array<T>(
        &mut self,
        align: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, BusError>,
    ) -> Result<Vec<T>, BusError> {
        let length = self.u32()? as usize;
        self.align(align)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| BusError::Broken("its message ends early".to_owned()))?;
        let mut elements = Vec::new();
        while self.at < end {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    /// Paths of objects.
    pub(super) fn objects(&mut self) -> Result<Vec<String>, BusError> {
        self.array(4, Self::string)
    }

    /// Texts by name.
    pub(super) fn texts(&mut self) -> Result<BTreeMap<String, String>, BusError> {
        let pairs = self.array(8, |reader| {
            reader.align(8)?;
            Ok((reader.string()?, reader.string()?))
        });
        Ok(pairs?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let texts = BTreeMap::from([("a", "b"), ("long name", "")]);
        let body =
            Body::default().string("x").texts(&texts).secret("/s", b"v\0w").objects(&["/o".to_owned()]);
        assert_eq!(body.signature, "sa{ss}(oayays)ao");
        let mut reader = Reader { bytes: body.bytes, at: 0, big: false };
        assert_eq!(reader.string().unwrap(), "x");
        assert_eq!(reader.texts().unwrap().len(), 2);
        reader.structure().unwrap();
        assert_eq!(reader.string().unwrap(), "/s");
        assert_eq!(reader.bytes().unwrap(), b"");
        assert_eq!(reader.bytes().unwrap(), b"v\0w");
        assert_eq!(reader.string().unwrap(), "text/plain");
        assert_eq!(reader.objects().unwrap(), ["/o"]);
        assert!(reader.is_at_end() && reader.string().is_err());
    }

    #[test]
    fn no_bytes_are_too_strange() {
        let mut seed = 1_u64;
        for length in 0..400_usize {
            let mut bytes = Vec::new();
            for _ in 0..length % 67 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                bytes.push((seed >> 56) as u8 & if length % 2 == 0 { 0xff } else { 0x07 });
            }
            for big in [false, true] {
                let reader = || Reader { bytes: bytes.clone(), at: 0, big };
                let _ = (reader().string(), reader().texts(), reader().objects(), reader().bytes());
                let _ = reader().signature();
            }
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(unescape("/run/user%2f1").as_deref(), Some("/run/user/1"));
        assert_eq!(unescape("a%2"), None);
        assert!(dial("tcp:host=localhost,port=1").is_none() && dial("nonsense").is_none());
        assert!(dial("unix:guid=1,path=/nonexistent/bus").unwrap().is_err());
    }
}
