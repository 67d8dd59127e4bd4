//! TLS towards TURN servers: rustls, with the certificates that the operating system trusts.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// Certificates that are trusted beside those of the operating system.
#[derive(Clone, Default)]
pub struct ExtraRoots(Arc<Vec<CertificateDer<'static>>>);

impl ExtraRoots {
    /// Trusts these as well, in DER.
    pub fn new(certificates: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let certificates = certificates.into_iter().map(CertificateDer::from);
        Self(Arc::new(certificates.collect()))
    }
}

impl fmt::Debug for ExtraRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExtraRoots({})", self.0.len())
    }
}

/// The system's certificates are read once: it takes some milliseconds of disk time.
static SYSTEM: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();

/// What a client needs. Blocks while it reads certificates. `Err` says why there are none.
///
/// The cryptography is named (ring) rather than taken from the process, which may have several.
pub(crate) fn client_config(extra: &ExtraRoots) -> Result<Arc<ClientConfig>, String> {
    if extra.0.is_empty() {
        return SYSTEM.get_or_init(|| build(extra)).clone();
    }
    build(extra)
}

fn build(extra: &ExtraRoots) -> Result<Arc<ClientConfig>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots.add_parsable_certificates(extra.0.iter().cloned());
    if roots.is_empty() {
        return Err("this computer has no trusted certificates".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
