//! The certificate of our side of DTLS (RFC 8827 section 6.5): made before anybody is called, so that
//! its fingerprint can be vouched for.

use std::fmt;

use ahoy_sealing::Fingerprint;
use rtc::crypto::{SignatureScheme, default_provider};
use rtc::peer_connection::certificate::CertificateParams;
use rtc::shared::error::{Error, Result};
use webrtc::peer_connection::RTCCertificate;

use super::error::{TransportError, reason};
use crate::fingerprint;

/// A self-signed certificate with its key, which never leaves this program.
#[derive(Clone)]
pub struct Certificate {
    certificate: RTCCertificate,
    fingerprint: Fingerprint,
}

impl Certificate {
    /// A new one: ECDSA on P-256, as browsers make them.
    ///
    /// # Errors
    ///
    /// [`TransportError::Setup`]
    pub fn generate() -> std::result::Result<Self, TransportError> {
        Self::build().map_err(|error| TransportError::Setup(reason(&error)))
    }

    fn build() -> Result<Self> {
        let failed = |error: &dyn fmt::Display| Error::Crypto(error.to_string());
        let provider = default_provider().map_err(|error| failed(&error))?;
        // Nobody reads the name; one of this computer or user would give something away.
        let params =
            CertificateParams::new(vec!["ahoy".to_owned()]).map_err(|error| failed(&error))?;
        let scheme = SignatureScheme::EcdsaP256Sha256;
        let certificate = RTCCertificate::generate(provider.crypto(), scheme, params)?;
        let fingerprint = certificate
            .get_fingerprints(provider.crypto())?
            .first()
            .and_then(|named| fingerprint::parse(&format!("{} {}", named.algorithm, named.value)))
            .ok_or_else(|| failed(&"the certificate has no fingerprint"))?;
        Ok(Self {
            certificate,
            fingerprint,
        })
    }

    /// SHA-256 of it.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(super) fn for_connection(&self) -> RTCCertificate {
        self.certificate.clone()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}
