//! A server whose certificate is no good.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::listener::Listener;

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// Its time is over.
    Expired,
    /// It is one of another host.
    OfAnotherHost,
    /// Nobody vouches for it but itself.
    SelfSigned,
    /// Nothing: it is one of `localhost`, and holds.
    Sound,
}

/// A server that speaks TLS with such a certificate, at `localhost`, and reads what comes. It ends on drop.
#[derive(Debug)]
pub struct TlsFaults {
    listener: Listener,
    authority: PathBuf,
    certificate: Vec<u8>,
    dialled: Arc<AtomicUsize>,
    received: Arc<Mutex<Vec<u8>>>,
    _folder: tempfile::TempDir,
}

impl TlsFaults {
    /// Listens on a free port of 127.0.0.1.
    pub fn start(certificate: Certificate) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let authority = folder.path().join("authority.pem");
        let (acceptor, pem, certificate) = acceptor(certificate);
        std::fs::write(&authority, pem).expect("a writable folder");
        let (dialled, received): (Arc<AtomicUsize>, Arc<Mutex<Vec<u8>>>) = Default::default();
        let (count, bytes) = (dialled.clone(), received.clone());
        let listener = Listener::bind().serve(move |stream| {
            count.fetch_add(1, Ordering::SeqCst);
            let (acceptor, received) = (acceptor.clone(), bytes.clone());
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut buffer = vec![0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    received.lock().unwrap().extend(&buffer[..count]);
                }
            }
        });
        Self { listener, authority, certificate, dialled, received, _folder: folder }
    }

    /// An address below it, as `https://localhost:PORT/path`.
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.listener.address().port())
    }

    /// The file with the certificate of the authority (PEM).
    pub fn authority(&self) -> PathBuf {
        self.authority.clone()
    }

    /// Its own certificate (DER).
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// How often somebody has dialled it.
    pub fn dialled(&self) -> usize {
        self.dialled.load(Ordering::SeqCst)
    }

    /// What came through TLS so far, of all connections.
    pub fn received(&self) -> Vec<u8> {
        self.received.lock().unwrap().clone()
    }
}

/// TLS with this certificate, that of the authority in PEM form, and the certificate itself (DER).
fn acceptor(kind: Certificate) -> (TlsAcceptor, String, Vec<u8>) {
    let mut authority = CertificateParams::new(Vec::new()).expect("no name is a good name");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "massgen's test authority");
    let authority_key = KeyPair::generate().expect("a key");
    let pem = authority.self_signed(&authority_key).expect("a certificate").pem();
    let issuer = Issuer::new(authority, authority_key);

    let host = if kind == Certificate::OfAnotherHost { "elsewhere.invalid" } else { "localhost" };
    let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
    if kind == Certificate::Expired {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    }
    let key = KeyPair::generate().expect("a key");
    let certificate = match kind {
        Certificate::SelfSigned => params.self_signed(&key),
        _ => params.signed_by(&key, &issuer),
    };
    let certificate = certificate.expect("a certificate").der().clone();
    let der = certificate.to_vec();
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("the key just made");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the default versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("the certificate fits its key");
    (TlsAcceptor::from(Arc::new(config)), pem, der)
}
