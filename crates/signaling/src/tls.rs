//! TLS for `wss`: rustls with the certificates that the operating system trusts.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// What a client needs to reach servers by `wss`.
///
/// The cryptography is named here (ring) rather than taken from the process: a process in which
/// two libraries bring different ones has no default, and rustls panics when asked for it.
/// Reading the system's certificates takes some milliseconds of disk time; `Err` says why there
/// are none.
pub(crate) fn client_config() -> Result<Arc<ClientConfig>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(format!(
            "this computer has no trusted certificates {}",
            reasons.join(", ")
        )
        .trim_end()
        .to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
