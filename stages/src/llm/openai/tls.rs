//! Custom root certificates of encrypted connections: `SSL_CERT_FILE`, as OpenSSL reads it.
//!
//! The certificates of that file replace those that come with the program. A server's own certificate (a self-signed one) is
//! trusted if it stands in the file and is for the server's name; the library's verifier accepts such a certificate only as an
//! authority's.
//!
//! Not here: `SSL_CERT_DIR`, revocation, the dates of a certificate that stands in the file itself.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};
use ureq::tls::PemItem;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

/// The variable that names the file.
const VARIABLE: &str = "SSL_CERT_FILE";

/// The file that the environment names, if it names one.
pub(super) fn custom_file() -> Option<OsString> {
    std::env::var_os(VARIABLE).filter(|file| !file.is_empty())
}

/// TLS with the root certificates of one file.
#[derive(Debug)]
pub(super) struct CustomRoots {
    config: Arc<ClientConfig>,
}

impl CustomRoots {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or holds no certificate; the variable and the file are named.
    pub fn of(file: OsString) -> Result<Self> {
        let path = PathBuf::from(file);
        let help = format!("\nhelp: let `{VARIABLE}` name a file of certificates in PEM form, or unset it");
        let place = || format!("`{VARIABLE}` names {}", path.display());
        let bytes = std::fs::read(&path).with_context(|| format!("{}, which cannot be read{help}", place()))?;
        let mut certificates = Vec::new();
        for item in ureq::tls::parse_pem(&bytes) {
            let item = item.map_err(|error| anyhow::anyhow!("{}, which is no PEM file: {error}{help}", place()))?;
            if let PemItem::Certificate(certificate) = item {
                certificates.push(CertificateDer::from(certificate.der().to_vec()));
            }
        }
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates.iter().cloned());
        ensure!(added > 0, "{}, which holds no certificate{help}", place());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
        let verifier = Arc::new(Verifier { certificates, verifier });
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        Ok(Self { config: Arc::new(config) })
    }
}

/// The library's verifier, which also accepts a server's own certificate from the file.
#[derive(Debug)]
struct Verifier {
    certificates: Vec<CertificateDer<'static>>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let refused = match self.verifier.verify_server_cert(own, between, name, ocsp, now) {
            Ok(verified) => return Ok(verified),
            Err(refused) => refused,
        };
        if !self.certificates.iter().any(|certificate| certificate.as_ref() == own.as_ref()) {
            return Err(refused);
        }
        rustls::client::verify_server_name(&ParsedCertificate::try_from(own)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

impl<In: Transport> Connector<In> for CustomRoots {
    type Out = Either<In, Encrypted>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|_| ureq::Error::Tls("no name of a server"))?;
        let mut connection = ClientConnection::new(self.config.clone(), name).map_err(ureq::Error::Rustls)?;
        let mut socket = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        socket.set_timeout(details.timeout);
        connection.complete_io(&mut socket)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(Encrypted { buffers, stream: StreamOwned::new(connection, socket) })))
    }
}

/// An encrypted connection.
pub(super) struct Encrypted {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl std::fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encrypted").finish_non_exhaustive()
    }
}

impl Transport for Encrypted {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        self.stream.write_all(&self.buffers.output()[..amount])?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named_with_the_variable() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let message = || format!("{:#}", CustomRoots::of(file.clone().into()).unwrap_err());
        assert!(
            message().contains("`SSL_CERT_FILE` names ") && message().contains("which cannot be read\nhelp: "),
            "{}",
            message()
        );
        std::fs::write(&file, "nothing\n").unwrap();
        assert!(message().contains("which holds no certificate\nhelp: "), "{}", message());
    }
}
