//! The certificate for TLS, read anew when its files change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio::sync::watch;

/// Where a certificate and its key lie.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// A certificate in use.
#[derive(Debug)]
pub(crate) struct Certificate {
    files: Files,
    changed: Option<Times>,
    config: watch::Sender<Arc<ServerConfig>>,
}

type Times = (SystemTime, SystemTime);

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("cannot read {}: {reason}", .path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{} contains no {what} in PEM format", .path.display())]
    Empty { path: PathBuf, what: &'static str },
    #[error("the certificate and the key do not make a pair that can be used: {0}")]
    Unusable(#[from] rustls::Error),
}

impl Certificate {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`CertificateError`].
    pub(crate) fn load(files: Files) -> Result<Self, CertificateError> {
        let changed = times(&files);
        let (config, _) = watch::channel(read(&files)?);
        Ok(Self {
            files,
            changed,
            config,
        })
    }

    pub(crate) fn config(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.config.subscribe()
    }

    /// Whether the files are others than at the last reading.
    pub(crate) fn has_changed(&self) -> bool {
        times(&self.files) != self.changed
    }

    /// Reads it again; with an error the one in use stays.
    ///
    /// # Errors
    ///
    /// [`CertificateError`].
    pub(crate) fn reload(&mut self) -> Result<(), CertificateError> {
        // Files that are half written are read again when they have changed again.
        self.changed = times(&self.files);
        self.config.send_replace(read(&self.files)?);
        Ok(())
    }
}

fn times(files: &Files) -> Option<Times> {
    let time = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    Some((time(&files.certificate)?, time(&files.key)?))
}

fn read(files: &Files) -> Result<Arc<ServerConfig>, CertificateError> {
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(|items| items.collect::<Result<Vec<_>, _>>())
        .map_err(|error| unreadable(&files.certificate, "certificate", &error))?;
    if chain.is_empty() {
        return Err(CertificateError::Empty {
            path: files.certificate.clone(),
            what: "certificate",
        });
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unreadable(&files.key, "private key", &error))?;
    // Named rather than taken from the process, see the signaling crate's client.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}

fn unreadable(path: &Path, what: &'static str, error: &pem::Error) -> CertificateError {
    let path = path.to_owned();
    match error {
        pem::Error::NoItemsFound => CertificateError::Empty { path, what },
        pem::Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            CertificateError::Unreadable {
                path,
                reason: "this user may not; in a systemd unit use LoadCredential".to_owned(),
            }
        }
        pem::Error::Io(error) => CertificateError::Unreadable {
            path,
            reason: error.to_string(),
        },
        other => CertificateError::Unreadable {
            path,
            reason: other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(directory: &Path) -> Files {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let files = Files {
            certificate: directory.join("cert.pem"),
            key: directory.join("key.pem"),
        };
        fs::write(&files.certificate, made.cert.pem()).expect("written");
        fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
        files
    }

    #[test]
    fn a_new_certificate_replaces_the_old_and_a_broken_one_does_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = write(directory.path());
        let mut certificate = Certificate::load(files.clone()).expect("a certificate");
        assert!(!certificate.has_changed());
        let mut config = certificate.config();
        config.mark_unchanged();

        fs::write(&files.key, "rubbish").expect("written");
        let error = certificate.reload().expect_err("no key");
        assert!(error.to_string().contains("no private key"), "{error}");
        assert!(!config.has_changed().expect("open"));

        let other = write(directory.path());
        let key = fs::File::options()
            .append(true)
            .open(&other.key)
            .expect("opens");
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        key.set_modified(later).expect("set");
        assert!(certificate.has_changed());
        certificate.reload().expect("a certificate");
        assert!(config.has_changed().expect("open"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = write(directory.path());
        let load = |files: &Files| {
            Certificate::load(files.clone())
                .expect_err("wrong")
                .to_string()
        };
        let missing = Files {
            key: directory.path().join("nowhere.pem"),
            ..files.clone()
        };
        assert!(load(&missing).contains("nowhere.pem"), "{}", load(&missing));
        let swapped = Files {
            certificate: files.key.clone(),
            key: files.certificate.clone(),
        };
        assert!(
            load(&swapped).contains("no certificate"),
            "{}",
            load(&swapped)
        );
        let other = rcgen::generate_simple_self_signed(["x".to_owned()]).expect("made");
        fs::write(&files.key, other.signing_key.serialize_pem()).expect("written");
        assert!(load(&files).contains("pair"), "{}", load(&files));
    }
}
