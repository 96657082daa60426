//! Whatever answers as the Secret Service on the session bus: GNOME's keyring, KDE's wallet, KeePassXC.
//!
//! Values cross the socket of the session bus as they are, the protocol's `plain`: both ends are processes of one user, and
//! who can read that socket can ask for the value itself.

use std::collections::BTreeMap;
use std::time::Duration;

use massgen::config::Secret;
use massgen::core::Environment;

use super::KeyringError;
use super::dbus::{Body, Bus, BusError, Flag, Method, Property};

/// How long one operation may take: whoever needs the value is answered within two seconds, what comes after included.
const LIMIT: Duration = Duration::from_millis(1500);

const SERVICE: &str = "org.freedesktop.secrets";
const ROOT: &str = "/org/freedesktop/secrets";
/// What stands for no object: no prompt is needed, or there is no such collection.
const NOTHING: &str = "/";
/// Under which attribute the key of a value is.
const KEY: &str = "name";
/// The attribute that all our values have, and its value.
const OURS: (&str, &str) = ("application", "massgen");
/// What we keep, in the words of libsecret.
const SCHEMA: (&str, &str) = ("xdg:schema", "org.freedesktop.Secret.Generic");

/// Where the service is.
pub(super) struct System {
    addresses: Option<String>,
}

impl System {
    pub(super) fn new(environment: &Environment) -> Self {
        let said = environment.non_empty("DBUS_SESSION_BUS_ADDRESS").map(str::to_owned);
        // Where systemd has one, it is there, whether the variable was passed on or not.
        let usual = || Some(format!("unix:path={}/bus", environment.non_empty("XDG_RUNTIME_DIR")?));
        Self { addresses: said.or_else(usual) }
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Secret>, KeyringError> {
        let mut service = self.open()?;
        let found = service.find(key)?;
        let Some(item) = found.first() else { return Ok(None) };
        let body = Body::default().object(&service.session);
        let mut reader = service.call(item, "Item", "GetSecret", body)?;
        reader.structure()?;
        reader.string()?;
        reader.bytes()?;
        let value = String::from_utf8(reader.bytes()?);
        let value = value.map_err(|_| KeyringError::Locked("what it holds is no text".to_owned()))?;
        Ok(Some(Secret::new(value)))
    }

    pub(super) fn set(&self, key: &str, value: &Secret) -> Result<(), KeyringError> {
        let mut service = self.open()?;
        let body = Body::default().string("default");
        let collection = service.call(ROOT, "Service", "ReadAlias", body)?.string()?;
        if collection == NOTHING {
            return Err(KeyringError::Absent("it has no default collection".to_owned()));
        }
        service.unlock(std::slice::from_ref(&collection))?;
        let label = format!("massgen: {key}");
        let attributes = BTreeMap::from([OURS, SCHEMA, (KEY, key)]);
        let body = Body::default()
            .properties(&[
                ("org.freedesktop.Secret.Item.Label", Property::Text(&label)),
                ("org.freedesktop.Secret.Item.Attributes", Property::Texts(&attributes)),
            ])
            .secret(&service.session, value.expose().as_bytes())
            .flag(Flag::Yes);
        let mut reader = service.call(&collection, "Collection", "CreateItem", body)?;
        reader.string()?;
        no_prompt(&reader.string()?)
    }

    pub(super) fn remove(&self, key: &str) -> Result<bool, KeyringError> {
        let mut service = self.open()?;
        let found = service.find(key)?;
        for item in &found {
            no_prompt(&service.call(item, "Item", "Delete", Body::default())?.string()?)?;
        }
        Ok(!found.is_empty())
    }

    pub(super) fn keys(&self) -> Result<Vec<String>, KeyringError> {
        let mut service = self.open()?;
        let (unlocked, locked) = service.search(&BTreeMap::from([OURS]))?;
        let mut keys = Vec::new();
        // What an item is called can be read while it is locked.
        for item in unlocked.iter().chain(&locked) {
            let method = Method {
                destination: SERVICE,
                path: item,
                interface: "org.freedesktop.DBus.Properties",
                name: "Get",
            };
            let body = Body::default().string("org.freedesktop.Secret.Item").string("Attributes");
            let mut reader = service.bus.call(method, body)?;
            reader.signature()?;
            keys.extend(reader.texts()?.remove(KEY));
        }
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    /// Whether it is there and answers.
    pub(super) fn answers(&self) -> Result<(), KeyringError> {
        self.open().map(drop)
    }

    fn open(&self) -> Result<Service, KeyringError> {
        let Some(addresses) = &self.addresses else {
            let reason = "there is no session bus (DBUS_SESSION_BUS_ADDRESS is not set)";
            return Err(KeyringError::Absent(reason.to_owned()));
        };
        let user = rustix::process::getuid().as_raw();
        let bus = Bus::connect(addresses, user, LIMIT)?;
        let mut service = Service { bus, session: String::new() };
        let body = Body::default().string("plain").variant("");
        let mut reader = service.call(ROOT, "Service", "OpenSession", body)?;
        // The output of `plain` is an empty text.
        reader.signature()?;
        reader.string()?;
        service.session = reader.string()?;
        Ok(service)
    }
}

/// A session with the service. It ends with the connection.
struct Service {
    bus: Bus,
    session: String,
}

impl Service {
    fn call(
        &mut self,
        path: &str,
        interface: &str,
        name: &str,
        body: Body,
    ) -> Result<super::dbus::Reader, KeyringError> {
        let interface = format!("org.freedesktop.Secret.{interface}");
        let method = Method { destination: SERVICE, path, interface: &interface, name };
        Ok(self.bus.call(method, body)?)
    }

    /// Items with these attributes: those that can be read, and those that are locked.
    fn search(
        &mut self,
        attributes: &BTreeMap<&str, &str>,
    ) -> Result<(Vec<String>, Vec<String>), KeyringError> {
        let body = Body::default().texts(attributes);
        let mut reader = self.call(ROOT, "Service", "SearchItems", body)?;
        Ok((reader.objects()?, reader.objects()?))
    }

    /// The items under a key, unlocked.
    fn find(&mut self, key: &str) -> Result<Vec<String>, KeyringError> {
        let (mut found, locked) = self.search(&BTreeMap::from([OURS, (KEY, key)]))?;
        if found.is_empty() && !locked.is_empty() {
            self.unlock(&locked)?;
            found = locked;
        }
        Ok(found)
    }

    fn unlock(&mut self, objects: &[String]) -> Result<(), KeyringError> {
        let body = Body::default().objects(objects);
        let mut reader = self.call(ROOT, "Service", "Unlock", body)?;
        reader.objects()?;
        no_prompt(&reader.string()?)
    }
}

/// A prompt would wait for somebody, for as long as it takes; we do not.
fn no_prompt(prompt: &str) -> Result<(), KeyringError> {
    match prompt {
        NOTHING => Ok(()),
        _ => Err(KeyringError::Locked("it is locked; unlock it and try again".to_owned())),
    }
}

impl From<BusError> for KeyringError {
    fn from(error: BusError) -> Self {
        match error {
            BusError::Absent(reason) => Self::Absent(short(&reason)),
            BusError::Silent => Self::Locked(format!("it does not answer within {} s", LIMIT.as_secs_f32())),
            other => Self::Locked(short(&other.to_string())),
        }
    }
}

/// The first line, and no more than fits into a message.
fn short(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}
