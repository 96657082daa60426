//! TLS as reqwest sets it up, with one thing more: a certificate that is not accepted is named, so that whoever looks after
//! the server can tell which one it is.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
};
use rustls_platform_verifier::Verifier;
use sha2::{Digest, Sha256};

/// Names that are told of one certificate.
const NAMES: usize = 4;

/// TLS that accepts what the system accepts, and what these authorities sign.
///
/// # Errors
///
/// Why there is none.
pub(super) fn tls(authorities: Vec<CertificateDer<'static>>) -> Result<ClientConfig, String> {
    let provider = CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let words = |error: rustls::Error| error.to_string();
    let verifier = if authorities.is_empty() {
        Verifier::new(provider.clone())
    } else {
        Verifier::new_with_extra_roots(authorities, provider.clone())
    };
    let verifier = Naming { inner: Arc::new(verifier.map_err(words)?) };
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(words)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

/// Leaves the judgement to another, and says more about what that one refuses.
#[derive(Debug)]
struct Naming {
    inner: Arc<dyn ServerCertVerifier>,
}

impl ServerCertVerifier for Naming {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verdict.map_err(|error| match error {
            rustls::Error::InvalidCertificate(reason) => {
                let refused = RefusedCertificate::new(reason, end_entity);
                rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
            }
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.inner.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.inner.root_hint_subjects()
    }
}

/// A certificate that is not accepted.
#[derive(Debug)]
pub(crate) struct RefusedCertificate {
    reason: CertificateError,
    /// The hosts that it names as its subjects.
    names: Vec<String>,
    sha256: [u8; 32],
}

impl RefusedCertificate {
    fn new(reason: CertificateError, certificate: &CertificateDer<'_>) -> Self {
        let parsed = webpki::EndEntityCert::try_from(certificate);
        let names = parsed.map(|parsed| parsed.valid_dns_names().take(NAMES).map(str::to_owned).collect());
        Self { reason, names: names.unwrap_or_default(), sha256: Sha256::digest(certificate).into() }
    }

    /// The one because of which this error of a connection came to be.
    pub(crate) fn behind<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut held = error;
        let tls = loop {
            match held.downcast_ref::<rustls::Error>() {
                Some(tls) => break tls,
                // An error of I/O does not name the error it holds as its source.
                None => held = held.downcast_ref::<std::io::Error>()?.get_ref()?,
            }
        };
        match tls {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(refused))) => {
                refused.downcast_ref()
            }
            _ => None,
        }
    }
}

impl fmt::Display for RefusedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid peer certificate: {}; its subject is ", self.reason)?;
        match self.names.as_slice() {
            [] => f.write_str("no host")?,
            names => f.write_str(&names.join(", "))?,
        }
        f.write_str(", its SHA-256 fingerprint ")?;
        self.sha256.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::error::Error for RefusedCertificate {}
