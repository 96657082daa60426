//! TLS by an authority that nobody else trusts, and that ends with its test.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// The hosts that are reached over TLS.
const HOSTS: [&str; 3] = ["api.twitter.com", "api.x.com", "export.arxiv.org"];

/// Makes an authority and a certificate for all hosts; the authority's own certificate goes into a file.
pub(super) fn acceptor(file: &Path) -> TlsAcceptor {
    let mut params = CertificateParams::new(Vec::new()).expect("no name is a good name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "massgen's test authority");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("a certificate");
    std::fs::write(file, authority.pem()).expect("a writable folder");
    let issuer = Issuer::new(params, key);

    let mut params = CertificateParams::new(HOSTS.map(String::from)).expect("names");
    params.distinguished_name.push(DnType::CommonName, "massgen's stand-in of the outside world");
    // Python refuses certificates without it.
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("the key just made");

    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the default versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("the certificate fits its key");
    TlsAcceptor::from(Arc::new(config))
}
